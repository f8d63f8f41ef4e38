//! One run: a version warms, its successor is released under the same load, and the gate has its time.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Result, ensure};
use wasm_fn_benches::{
    node::Node,
    open_loop::{Asked, OpenLoop},
    times::now,
};

use crate::{
    cases::{Case, Release},
    rollout::{self, Rollout, Version},
};

/// How often the rollout is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Share of what was due that must have been answered: with less the node, or the machine, was too slow for
/// the load.
const ANSWERED_MIN: f64 = 0.9;

/// What every run is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// How long the first version runs alone.
    pub(crate) warm: Duration,
    /// How long its successor may run.
    pub(crate) whole: Duration,
    /// Connections of each client.
    pub(crate) connections: u32,
    /// The latest that a client may send.
    pub(crate) late_max: Duration,
}

/// Two versions of a function.
#[derive(Debug, Clone)]
pub(crate) struct Pair {
    pub(crate) first: Version,
    pub(crate) second: Version,
}

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) rollout: Rollout,
    /// From the release to the end of the rollout, or of the run.
    pub(crate) lasted: Duration,
    /// The latest that the client sent.
    pub(crate) late_max: Duration,
}

impl Effort {
    /// Releases the second version of `pair` after the first, as `function`.
    ///
    /// # Errors
    ///
    /// A deployment or an answer failed, the client was late, or the node did not keep up: nothing of it can
    /// be judged. Says which, and what became of the rollout all the same.
    pub(crate) fn run(self, node: &Node, function: &str, case: Case, pair: &Pair) -> Result<Seen> {
        pair.first.deploy(&mut node.control()?, function, Release::AllAtOnce)?;
        let path = format!("/{function}");
        let load = OpenLoop {
            address: node.listen(),
            path: &path,
            rate: case.rate,
            connections: self.connections.min(case.rate),
        };
        let (ended, begun) = (AtomicBool::new(false), now());
        let (asked, released) = thread::scope(|scope| {
            let client = scope.spawn(|| load.run(|_| !ended.load(Ordering::Relaxed)));
            let over = || client.is_finished();
            let released = self.release(node, function, case, pair, &over);
            ended.store(true, Ordering::Relaxed);
            (client.join().expect("the client returns its error"), released)
        });
        let due = begun.elapsed().as_secs_f64() * f64::from(case.rate);
        let (rollout, lasted) = released?;
        let asked = asked.and_then(|asked| self.trusted(asked, due));
        let Asked { late_max, .. } = asked.map_err(|error| match rollout.taken_back() {
            Some(ended) => error.context(format!("taken back as well: {}", ended.reason)),
            None => error,
        })?;
        Ok(Seen { rollout, lasted, late_max })
    }

    /// Waits until the first version is warm, releases the second, and looks until that is taken back, its
    /// time is over, or the client has ended.
    fn release(
        self,
        node: &Node,
        function: &str,
        case: Case,
        pair: &Pair,
        over: &dyn Fn() -> bool,
    ) -> Result<(Rollout, Duration)> {
        thread::sleep(self.warm);
        // A new connection, as the node closes those that are silent for long.
        let mut control = node.control()?;
        pair.second.deploy(&mut control, function, case.release)?;
        let begun = now();
        loop {
            thread::sleep(LOOK_EVERY);
            let rollout = rollout::status(&mut control, function)?;
            if let Rollout::Ended(ended) = &rollout {
                let lasted = ended.after();
                return Ok((rollout, lasted));
            }
            if begun.elapsed() > self.whole || over() {
                return Ok((rollout, begun.elapsed()));
            }
        }
    }

    fn trusted(self, asked: Asked, due: f64) -> Result<Asked> {
        let Asked { latencies, late_max } = &asked;
        ensure!(
            *late_max <= self.late_max,
            "the client sent up to {late_max:.0?} late, expected at most {:.0?}",
            self.late_max
        );
        ensure!(
            latencies.len() as f64 >= due * ANSWERED_MIN,
            "{} of {due:.0} requests were answered in time: the machine is too slow for the load",
            latencies.len()
        );
        Ok(asked)
    }
}
