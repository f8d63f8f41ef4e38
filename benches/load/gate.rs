//! What gate and shield cost: two nodes on the same core at the same time, one with them and one without.
//!
//! What slows the machine down slows both in the same moment, so their ratio is far more certain than two
//! measurements one after the other.

use std::{path::Path, thread, time::Duration};

use anyhow::{Result, ensure};

use crate::{
    system::{Guest, Release, Served, start_ours},
    wrk,
};

const ROUNDS: usize = 15;

const ROUND: Duration = Duration::from_secs(2);

/// CPU per request under gate and shield beside the same split by hand, round by round.
pub(crate) fn measure(program: &Path, guests: &Path, connections: u32) -> Result<Vec<f64>> {
    let guest = guests.join(Guest::Hello02.file());
    let split = start_ours(program, Release::Split, &guest)?;
    let gated = start_ours(program, Release::Gated, &guest)?;
    // The first round warms both up.
    round(&split, &gated, connections)?;
    (0..ROUNDS).map(|_| round(&split, &gated, connections)).collect()
}

/// One ratio.
fn round(split: &Served, gated: &Served, connections: u32) -> Result<f64> {
    let (split, gated) = thread::scope(|scope| {
        let split = scope.spawn(|| cost(split, connections));
        let gated = cost(gated, connections);
        (split.join(), gated)
    });
    let split = split.map_err(|_| anyhow::anyhow!("a measuring thread panicked"))??;
    Ok(gated? / split)
}

/// Server CPU per request, seconds.
fn cost(served: &Served, connections: u32) -> Result<f64> {
    let before = served.server.cpu()?;
    let load = wrk::drive(&served.url(), connections, ROUND)?;
    let cpu = served.server.cpu()?.saturating_sub(before);
    ensure!(load.requests > 0, "a node never answered");
    Ok(cpu.as_secs_f64() / load.requests as f64)
}
