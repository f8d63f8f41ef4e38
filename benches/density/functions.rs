//! Thousands of functions of a hundred components: memory, the start, first requests, deployments.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use wasm_fn_benches::{
    guests::marked,
    node::Node,
    times::{millis, now, quantile},
};

use crate::{Args, budget};

/// Resident memory of an idle node, bytes: without functions, and for each.
const RESIDENT_BYTES_MAX: (u64, u64) = (500_000_000, 10_000);

/// From the start of the process to the first answer: without functions, and for each.
const RESTART_MAX: (Duration, Duration) = (Duration::from_millis(1333), Duration::from_nanos(16_666));

/// A deployment of a known component, p50, however many functions there are.
const DEPLOYMENT_MAX: Duration = Duration::from_millis(4);

/// What such a deployment takes at the end, by what it took while there were [`FEW`] functions.
const GROWTH_MAX: f64 = 1.5;

/// How many functions are few.
const FEW: usize = 1000;

/// First requests to functions that are not loaded, p99.
const FIRST_REQUEST_MAX: Duration = Duration::from_millis(3);

/// Deployments that are timed at each end.
const TIMED: usize = 200;

/// Measures and prints; whether the budgets held.
pub(crate) fn measure(args: &Args) -> Result<bool> {
    let mut node = Node::start(args.node())?;
    let mut held = deploy(&node, args)?;
    println!("resident after the deployments: {} MB", mb(node.memory().resident_bytes()?));

    let (mut starts, mut firsts, mut resident) = (Vec::new(), Vec::new(), 0);
    for _ in 0..args.restarts {
        let began = node.restart()?;
        node.functions()?.get(&path(args.functions - 1))?.success()?;
        starts.push(began.elapsed());
        resident = resident.max(node.memory().resident_bytes()?);
        // The last function's component is loaded now.
        let mut functions = node.functions()?;
        let loaded = (args.functions - 1) % args.components;
        for at in (0..args.components).filter(|&at| at != loaded) {
            let path = path(at);
            let began = now();
            functions.get(&path)?.success()?;
            firsts.push(began.elapsed());
        }
    }
    let (bytes, bytes_each) = RESIDENT_BYTES_MAX;
    let resident_max = bytes + bytes_each * args.functions as u64;
    held &= budget("resident when idle", mb(resident), mb(resident_max), "MB");
    let (start, start_each) = RESTART_MAX;
    let start_max = start + start_each * u32::try_from(args.functions)?;
    let start = quantile(&starts, 1000);
    held &= budget("process start to first answer, slowest", millis(start), millis(start_max), "ms");
    if !firsts.is_empty() {
        println!("first request, p50: {:.2} ms", millis(quantile(&firsts, 500)));
        let p99 = quantile(&firsts, 990);
        held &= budget("first request, p99", millis(p99), millis(FIRST_REQUEST_MAX), "ms");
    }
    let called = mb(node.memory().resident_bytes()?);
    println!("resident with {} components called: {called} MB", args.components);
    Ok(held)
}

/// Deploys every function, and says what deployments took. Whether they kept their budgets.
fn deploy(node: &Node, args: &Args) -> Result<bool> {
    let guest = fs::read(&args.guest).with_context(|| format!("{} cannot be read", args.guest.display()))?;
    let mut control = node.control()?;
    let mut digests = Vec::new();
    for at in 0..args.components {
        let component = marked(&guest, u32::try_from(at)?);
        let digest = hex(&Sha256::digest(&component));
        let path = format!("/v1/components/{digest}");
        control.send("PUT", &path, "application/wasm", &component)?.success()?;
        digests.push(digest);
    }
    // The first deployment of each component compiles it.
    let mut times = Vec::new();
    for at in 0..args.functions {
        let began = now();
        let body = format!(r#"{{"component":"{}"}}"#, digests[at % digests.len()]);
        let path = format!("/v1/functions/f{at}/deployments");
        control.send("POST", &path, "application/json", body.as_bytes())?.success()?;
        times.push(began.elapsed());
    }
    let (compiled, cached) = times.split_at(args.components);
    println!("deployment that compiles, p50: {:.1} ms", millis(quantile(compiled, 500)));
    let few = args.components.max(FEW);
    if times.len() < few + 2 * TIMED {
        return Ok(true);
    }
    let at_few = millis(quantile(&times[few..few + TIMED], 500));
    let last = millis(quantile(&cached[cached.len() - TIMED..], 500));
    println!("deployment of a known component beside {few} functions, p50: {at_few:.2} ms");
    let beside = format!("deployment of a known component beside {} functions, p50", args.functions);
    let is_quick = budget(&beside, last, millis(DEPLOYMENT_MAX), "ms");
    Ok(budget("the latter by the former", last / at_few, GROWTH_MAX, "times") && is_quick)
}

/// Where function number `at` is.
fn path(at: usize) -> String {
    format!("/f{at}/")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mb(bytes: u64) -> f64 {
    (bytes as f64 / 1e5).round() / 10.0
}
