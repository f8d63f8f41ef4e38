//! The first request to a large component whose artefact is cached and not loaded.

use std::{path::Path, time::Duration};

use anyhow::Result;
use wasm_fn_benches::{
    node::Node,
    times::{millis, now, quantile},
};

use crate::{Args, budget};

/// First requests, p99.
const FIRST_REQUEST_MAX: Duration = Duration::from_millis(60);

/// Measures and prints; whether the budget held.
pub(crate) fn measure(args: &Args, component: &Path) -> Result<bool> {
    let mut node = Node::start(args.node())?;
    // Compiles it, once for all restarts.
    let began = now();
    node.deploy("javascript", component, "")?;
    println!("JavaScript, deployment: {:.1} s", began.elapsed().as_secs_f64());

    let mut firsts = Vec::new();
    for _ in 0..args.javascript_restarts {
        node.restart()?;
        let mut functions = node.functions()?;
        let began = now();
        functions.get("/javascript")?.success()?;
        firsts.push(began.elapsed());
    }
    let [p50, p99, most] = [500, 990, 1000].map(|permille| millis(quantile(&firsts, permille)));
    println!("JavaScript, first request of {}: p50 {p50:.2} ms, max {most:.2} ms", firsts.len());
    Ok(budget("JavaScript, first request, p99", p99, millis(FIRST_REQUEST_MAX), "ms"))
}
