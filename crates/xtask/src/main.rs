//! `cargo xtask`: the command line of the project's own tasks.
#![expect(clippy::print_stderr, reason = "the error is this program's last output")]

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Runs the project's own tasks")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Rebuild example guests into guest-examples/prebuilt and refresh its manifest
    Guests {
        /// Guests to build, by folder [default: all]
        names: Vec<String>,
        /// Build nothing; verify that sources, files and manifest match
        #[arg(long, conflicts_with = "names")]
        check: bool,
    },
    /// Run seeds of the deterministic simulation until one fails
    Sim {
        /// Number of seeds
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// The first seed
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
    },
    /// Build for release and measure the cost of a request; exit code 0 if no figure is missing and no budget
    /// is exceeded
    Bench(xtask::bench::Bench),
    /// Count the instructions of the hot path's parts under valgrind; exit code 0 if none takes over 5 % more
    /// than its baseline
    Instructions {
        /// Write the new counts as the baseline
        #[arg(long)]
        update: bool,
    },
    /// Measure what each way to hold guests apart costs, on a machine that nothing else uses
    Isolation {
        /// How often each is measured, in turns
        #[arg(long, default_value_t = 7)]
        rounds: u32,
        /// Leave the instructions out, which take minutes under valgrind
        #[arg(long)]
        without_instructions: bool,
    },
    /// Run random components as they are, with their data taken out, and linked, and compare what they do
    FuzzLinking {
        /// How long
        #[arg(long, default_value_t = 2)]
        minutes: u64,
        /// What the components follow from
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Build the binary with a profile of the load bench, and print its path
    Pgo,
    /// Run a cluster on this machine, to try
    Cluster {
        #[command(subcommand)]
        command: Cluster,
    },
    /// Run all steps of continuous integration until one fails
    Ci,
}

#[derive(Subcommand)]
enum Cluster {
    /// Build the binary, and run three nats-servers and three nodes in target/cluster until Ctrl-C
    Up,
}

fn main() -> ExitCode {
    match run(Args::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning the error: that would add a backtrace, and tasks fail for simple reasons.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    let root = xtask::root()?;
    match chore {
        Chore::Guests { check: true, .. } => xtask::guests::check(&root),
        Chore::Guests { names, check: false } => xtask::guests::rebuild(&root, &names),
        Chore::Sim { seeds: count, from, trace, cluster, identical } => {
            xtask::sim::run(&root, xtask::sim::Seeds { count, from, trace, cluster, identical })
        }
        Chore::Bench(bench) => xtask::bench::run(&root, &bench),
        Chore::Instructions { update } => xtask::instructions::run(&root, update),
        Chore::Isolation { rounds, without_instructions } => {
            xtask::isolation::run(&root, rounds, !without_instructions)
        }
        Chore::FuzzLinking { minutes, seed } => xtask::fuzz_linking::run(&root, minutes, seed),
        Chore::Pgo => xtask::pgo::run(&root),
        Chore::Cluster { command: Cluster::Up } => xtask::cluster::up(&root),
        Chore::Ci => xtask::ci::run(&root),
    }
}
