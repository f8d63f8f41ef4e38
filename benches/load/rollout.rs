//! What a rollout costs: two nodes on the same core at the same time, one that splits users under gate and
//! shield, and one with a single version.
//!
//! What slows the machine down slows both in the same moment, so their ratio is far more certain than two
//! measurements one after the other.

use std::{thread, time::Duration};

use anyhow::{Result, anyhow};

use crate::{
    systems::{Ground, Served, System},
    wrk,
};

const ROUNDS: usize = 15;

const ROUND: Duration = Duration::from_secs(2);

/// CPU per request of the first of a pair beside the second, round by round.
pub(crate) fn measure(pair: &[System; 2], ground: Ground<'_>, connections: u32) -> Result<Vec<f64>> {
    let [first, second] = pair;
    let (first, mut second) = (first.start(ground)?, second.start(ground)?);
    // The same users ask both, or one of them would have a header less to read.
    second.script.clone_from(&first.script);
    let round = || round(&first, &second, connections, ground.cores.client);
    // The first round warms both up.
    round()?;
    let ratios = (0..ROUNDS).map(|_| round()).collect();
    first.check()?;
    second.check()?;
    ratios
}

/// One ratio.
fn round(first: &Served, second: &Served, connections: u32, core: usize) -> Result<f64> {
    let (first, second) = thread::scope(|scope| {
        let first = scope.spawn(|| cost(first, connections, core));
        let second = cost(second, connections, core);
        (first.join(), second)
    });
    let first = first.map_err(|_| anyhow!("a measuring thread panicked"))?;
    Ok(first? / second?)
}

/// Server CPU per request, seconds.
fn cost(served: &Served, connections: u32, core: usize) -> Result<f64> {
    let before = served.usage()?;
    let load = wrk::drive(served, connections, ROUND, core)?;
    Ok(served.usage()?.cpu_since(&before).as_secs_f64() / load.requests as f64)
}
