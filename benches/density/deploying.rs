//! What others notice of a deployment that compiles a large component.

use std::{path::Path, thread, time::Duration};

use anyhow::{Result, ensure};
use wasm_fn_benches::{
    node::Node,
    open_loop::{Asked, OpenLoop},
    times::{millis, now, quantile},
};

use crate::Args;

/// Measures and prints.
pub(crate) fn measure(args: &Args, component: &Path) -> Result<()> {
    // A new node has no artefacts, so that the deployment has to compile.
    let node = Node::start(args.node())?;
    node.deploy("hello", &args.guest, "")?;
    let Args { rate, connections, .. } = *args;
    let hello = OpenLoop { address: node.listen(), path: "/hello", rate, connections };

    let whole = Duration::from_secs(args.alone_seconds.into());
    let alone = hello.run(|since| since < whole)?;
    println!("hello at {rate} requests a second over {connections} connections:");
    let alone = print("alone", &alone);

    let (beside, took) = thread::scope(|scope| {
        let deployment = scope.spawn(|| {
            let began = now();
            node.deploy("large", component, "").map(|()| began.elapsed())
        });
        let beside = hello.run(|_| !deployment.is_finished());
        let took = deployment.join().expect("a deployment returns its error")?;
        anyhow::Ok((beside?, took))
    })?;
    ensure!(
        !beside.latencies.is_empty(),
        "the deployment was over within {took:?}, expected a larger component"
    );
    let beside = print(&format!("beside a deployment of {:.1} s", took.as_secs_f64()), &beside);
    let [p50, p99, p999] = [0, 1, 2].map(|at| beside[at].div_duration_f64(alone[at]));
    println!("beside / alone: p50 {p50:.2}, p99 {p99:.2}, p99.9 {p999:.2}");
    Ok(())
}

/// Says what hello took at the 50th, 99th and 99.9th percentile, and returns these.
fn print(when: &str, Asked { latencies, late_max }: &Asked) -> [Duration; 3] {
    let found = [500, 990, 999].map(|permille| quantile(latencies, permille));
    let [p50, p99, p999] = found.map(millis);
    println!("{when}: p50 {p50:.2} ms, p99 {p99:.2} ms, p99.9 {p999:.2} ms");
    println!("  {} answered, none lost; client at most {:.2} ms late", latencies.len(), millis(*late_max));
    found
}
