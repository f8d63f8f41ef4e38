//! Runs seeds of the simulation and says what did not hold, and how to see it again.
#![expect(clippy::print_stdout, reason = "the findings are this program's output")]

use std::{collections::BTreeMap, process::ExitCode};

use clap::Parser;
use wasm_fn_sim::{ClusterKind, Run, run, run_cluster};

#[derive(Parser)]
#[command(name = "wasm-fn-sim", about = "Runs seeds of the deterministic simulation")]
struct Args {
    /// How many seeds to run
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Print what happens, line by line
    #[arg(long)]
    trace: bool,
    /// Run seeds of a cluster, instead of a node that is alone
    #[arg(long)]
    cluster: bool,
    /// Of a cluster, run rollouts of canaries that are as good as stable, on five nodes
    #[arg(long, requires = "cluster")]
    identical: bool,
}

impl Args {
    fn run(&self, seed: u64, trace: bool) -> std::io::Result<Run> {
        match (self.cluster, self.identical) {
            (false, _) => run(seed, trace),
            (true, false) => run_cluster(seed, ClusterKind::Any, trace),
            (true, true) => run_cluster(seed, ClusterKind::Identical, trace),
        }
    }

    /// What to add to the command to run the same kind of seeds.
    fn kind(&self) -> &'static str {
        match (self.cluster, self.identical) {
            (false, _) => "",
            (true, false) => " --cluster",
            (true, true) => " --cluster --identical",
        }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let (mut lines, mut healthy, mut healthy_failed, mut broken) = (0, 0, 0, 0);
    let (mut heard_max, mut ms_max) = (0, 0);
    let mut happened = BTreeMap::<_, u64>::new();
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let mut run = args.run(seed, args.trace)?;
        if run.fault.is_some() && !args.trace {
            run = args.run(seed, true)?;
        }
        run.trace.iter().for_each(|line| println!("{line}"));
        if let Some(fault) = run.fault {
            println!("seed {seed} failed: {fault}");
            println!("replay: cargo xtask sim{} --seeds 1 --from {seed} --trace", args.kind());
            return Ok(ExitCode::FAILURE);
        }
        for (what, count) in run.happened {
            *happened.entry(what).or_default() += count;
        }
        lines += run.lines;
        healthy += run.healthy;
        if run.healthy_failed > 0 {
            println!("seed {seed}: a gate failed a canary that is as good as stable");
        }
        healthy_failed += run.healthy_failed;
        broken += run.broken_failed;
        heard_max = heard_max.max(run.broken_heard_max);
        ms_max = ms_max.max(run.broken_ms_max);
    }
    println!("{} seeds held, {lines} lines of trace", args.seeds);
    let happened: Vec<_> = happened.iter().map(|(what, count)| format!("{count} {what}")).collect();
    println!("what happened: {}", happened.join(", "));
    println!("canaries as good as stable: {healthy}, of which the gate failed {healthy_failed}");
    println!(
        "broken canaries aborted: {broken}, after at most {heard_max} of their responses and {ms_max} ms"
    );
    if !wasm_fn_sim::explains(healthy_failed, healthy) {
        println!("alpha does not explain so many failed canaries that are as good as stable");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
