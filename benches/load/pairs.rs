//! Two servers side by side on one core: nodes of ours that release the same function in two ways, or one of
//! them and the limit.
//!
//! What slows the machine down slows both, so what one costs beside the other is far more certain than by two
//! measurements that lie apart. Servers that are the same differ a little from one start to the next, by
//! where their memory happens to lie, so several pairs are started.

use std::{
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use anyhow::{Result, anyhow};

use crate::{
    machine::Cores,
    measurement::{Effort, LATENCY_LOAD, saturated, undisturbed},
    now, open_loop,
    results::Latency,
    systems::{Ground, Release, Served, System},
    wrk,
};

/// Pairs that are started, one after the other.
const STARTS: usize = 8;

/// Measurements of each.
const ROUNDS: usize = 3;

/// How long one takes, where both are driven.
const ROUND: Duration = Duration::from_secs(2);

/// How long one works while the other is stopped, where they take turns: long beside the 100 µs or so in
/// which it brings back what the other took out of the caches, short beside the time for which a machine
/// stays as fast as it is.
const TURN: Duration = Duration::from_millis(50);

/// Two ways of releasing the hello guest, one of which is compared with the other.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) of: Release,
    pub(crate) beside: Release,
    pub(crate) sharing: Sharing,
}

/// How the two share the core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// Both work at once.
    AtOnce,
    /// One works while the other is stopped: for those that differ in how much memory they touch, for at once
    /// each would take the other's out of the caches.
    InTurns,
}

impl Pair {
    /// CPU per request of the first beside the second, round by round.
    pub(crate) fn measure(&self, ground: Ground<'_>, connections: u32) -> Result<Vec<f64>> {
        let [of, beside] = System::pair([self.of, self.beside])?;
        let mut ratios = Vec::with_capacity(STARTS * ROUNDS);
        for start in 0..STARTS {
            let [first, mut second] = start_both([&of, &beside], start, ground)?;
            // The same users ask both, or one of them would have a header less to read.
            if first.requests.all[0].user.is_some() {
                second.script.clone_from(&first.script);
            }
            let round = || undisturbed(|| self.round([&first, &second], connections, ground.cores));
            // The first round warms both up.
            round()?;
            for _ in 0..ROUNDS {
                ratios.push(round()?);
            }
            first.check()?;
            second.check()?;
        }
        Ok(ratios)
    }

    /// One ratio.
    fn round(&self, nodes: [&Served; 2], connections: u32, cores: Cores) -> Result<f64> {
        let [first, second] = costs(nodes, self.sharing, connections, ROUND, cores)?;
        Ok(first.per_request() / second.per_request())
    }
}

/// What each of `nodes` uses while all share the core for `duration`. Refuses when the clients, and not the
/// core, were what they waited for.
pub(crate) fn costs<const N: usize>(
    nodes: [&Served; N],
    sharing: Sharing,
    connections: u32,
    duration: Duration,
    cores: Cores,
) -> Result<[Cost; N]> {
    let begun = now();
    let costs = thread::scope(|scope| {
        let clients = nodes.map(|node| scope.spawn(move || cost(node, connections, duration, cores.client)));
        if sharing == Sharing::InTurns {
            take_turns(&nodes, || clients.iter().all(ScopedJoinHandle::is_finished))?;
        }
        let joined = clients.into_iter().map(|client| client.join());
        joined
            .map(|cost| cost.map_err(|_| anyhow!("a measuring thread panicked"))?)
            .collect::<Result<Vec<_>>>()
    })?;
    saturated(costs.iter().map(|cost| cost.cpu).sum(), begun.elapsed(), cores.server)?;
    costs.try_into().map_err(|_| anyhow!("a node has no cost"))
}

/// Latencies of ours and of the limit, one second after the other, at half of the rate at which ours is
/// saturated.
pub(crate) fn beside_the_limit(ground: Ground<'_>, effort: Effort) -> Result<Vec<[Latency; 2]>> {
    let [ours, limit] = System::ours_and_limit()?;
    let core = ground.cores.client;
    let mut latencies = Vec::with_capacity(STARTS * ROUNDS);
    for start in 0..STARTS {
        let both = start_both([&ours, &limit], start, ground)?;
        for served in &both {
            wrk::drive(served, effort.connections, ROUND, core)?;
        }
        let rate = wrk::drive(&both[0], effort.connections, ROUND, core)?.requests_per_second * LATENCY_LOAD;
        let latency = |served| undisturbed(|| open_loop::measure(served, rate, effort.seconds, core));
        for _ in 0..ROUNDS {
            let [ours, limit] = both.each_ref().map(latency);
            latencies.push([ours?, limit?]);
        }
    }
    Ok(latencies)
}

/// Starts both, in an order that changes with the number of the start.
fn start_both(systems: [&System; 2], number: usize, ground: Ground<'_>) -> Result<[Served; 2]> {
    let [first, second] = systems;
    if number.is_multiple_of(2) {
        let first = first.start(ground)?;
        Ok([first, second.start(ground)?])
    } else {
        let second = second.start(ground)?;
        Ok([first.start(ground)?, second])
    }
}

/// Lets one of `nodes` work at a time until it is `over`, and all then.
fn take_turns(nodes: &[&Served], over: impl Fn() -> bool) -> Result<()> {
    nodes.iter().skip(1).try_for_each(|waits| waits.stop())?;
    let mut works = 0;
    while !over() {
        thread::sleep(TURN);
        nodes[works].stop()?;
        works = (works + 1) % nodes.len();
        nodes[works].go_on()?;
    }
    nodes.iter().try_for_each(|waits| waits.go_on())
}

/// What one server used in a round.
pub(crate) struct Cost {
    pub(crate) cpu: Duration,
    requests: u64,
    pub(crate) requests_per_second: f64,
}

impl Cost {
    /// Server CPU per request, seconds.
    pub(crate) fn per_request(&self) -> f64 {
        self.cpu.as_secs_f64() / self.requests as f64
    }
}

/// What `served` uses while `connections` from `core` keep it busy for `duration`.
pub(crate) fn cost(served: &Served, connections: u32, duration: Duration, core: usize) -> Result<Cost> {
    let before = served.usage()?;
    let load = wrk::drive(served, connections, duration, core)?;
    let cpu = served.usage()?.cpu_since(&before);
    Ok(Cost { cpu, requests: load.requests, requests_per_second: load.requests_per_second })
}
