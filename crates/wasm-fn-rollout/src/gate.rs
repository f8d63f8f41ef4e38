//! The gate: whether a canary is worse than stable, asked after every batch of responses.
//!
//! A signal is a stream of bad events. Given that one happened, and that the canary's share of requests
//! was `w`, it hit the canary with a probability of at most `p = tolerate * w / (tolerate * w + 1 - w)`,
//! unless the canary's rate is more than `tolerate` times stable's. An [`EProcess`] collects the evidence
//! against that. It needs no model of the traffic: how many requests come, and how the rate of bad events
//! moves for both sides alike, cancels out.
//!
//! Alpha is divided: half of it to failures of all classes together, which is where a broken canary shows
//! first, the other half in equal parts to the other signals in use. So a canary that is no worse is
//! failed by any of them, ever, with a probability of at most alpha.
//!
//! Two rules are outside of alpha because their guarantee is another: a novel trap fails at its third hit,
//! and nothing passes with too few requests.

mod batch;
mod bound;
mod evidence;
mod mixture;
mod spec;
mod traps;
mod users;

use wasm_fn_core::{Side, Weight};

pub use batch::{Bad, Batch, Counts, Response, Thresholds};
pub use evidence::{Evidence, Factor, Failure, SignalEvidence, Verdict, Waiting};
pub use mixture::{EProcess, RATIOS};
pub use spec::{GateError, GateSpec};
pub use users::UserSet;

use crate::Signal;

/// Bad events of the canary below which no signal fails it: two are a coincidence at any share.
const EVENTS_MIN: u64 = 3;

/// Share of requests that may lie above a 99th percentile.
const ABOVE_P99: f64 = 0.01;

/// What the canary is compared with.
#[derive(Clone, Debug, PartialEq)]
pub enum Baseline {
    /// Stable's responses in the same batches.
    Concurrent,
    /// What the previous version did before: after a switch nothing else is left to compare with.
    ///
    /// The rate of the past is known only so well: half of a signal's alpha pays for an upper bound of it.
    /// What changed for everybody since then is charged to the canary. Under sticky routing the counts are
    /// to come from a time about as long as the canary's will be, since each user counts once.
    Past(Counts),
}

/// What a gate has seen, and what it makes of it.
#[derive(Clone, Debug)]
pub struct Gate {
    spec: GateSpec,
    baseline: Baseline,
    watches: Vec<Watch>,
    canary: Counts,
    stable: Counts,
    /// Requests of the canary since the last [`step`](Gate::step).
    step_requests: u64,
    traps: traps::Traps,
    failure: Option<Failure>,
}

/// One signal's test.
#[derive(Clone, Debug)]
struct Watch {
    signal: Signal,
    /// The logarithm of the e-value that fails.
    log_threshold: f64,
    null: Null,
    process: EProcess,
}

/// What holds while the canary is not worse.
#[derive(Clone, Copy, Debug)]
enum Null {
    /// Its rate is at most this multiple of stable's.
    Multiple(f64),
    /// Its rate is at most this.
    Rate(f64),
}

/// A gate as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct GateState {
    /// What the canary did.
    pub canary: Counts,
    /// What stable did.
    pub stable: Counts,
    /// Requests of the canary since the step began.
    pub step_requests: u64,
    /// The tests, in any order.
    pub signals: Vec<SignalState>,
    /// Fingerprints of the traps that stable has shown.
    pub known_traps: Vec<u64>,
    /// Whether stable showed more than are kept, so that none is novel any more.
    pub known_overflowed: bool,
}

impl GateState {
    /// The same after [`Gate::step`]: for a step that begins when this is stored.
    #[must_use]
    pub fn stepped(mut self) -> Self {
        self.step_requests = 0;
        for signal in &mut self.signals {
            if let Some(mut process) = EProcess::from_logs(signal.logs.clone()) {
                process.restart();
                signal.logs = process.logs().to_vec();
            }
        }
        self
    }
}

/// A test as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalState {
    /// Which one.
    pub signal: Signal,
    /// Its evidence: [`EProcess::logs`].
    pub logs: Vec<[f64; RATIOS.len()]>,
}

/// Why a stored gate cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The gate has a signal that the stored one had not.
    #[error("no evidence is stored for signal {0}")]
    Missing(Signal),
    /// The evidence is no evidence.
    #[error("the stored evidence of signal {0} has no runs, too many, or some that are not finite")]
    Malformed(Signal),
}

impl Gate {
    /// A gate that has seen nothing.
    ///
    /// # Errors
    /// When `spec` has a value out of its bounds, or no signal at all.
    pub fn new(spec: GateSpec, baseline: Baseline) -> Result<Self, GateError> {
        spec.check()?;
        let watches = spec.alphas().into_iter().map(|(signal, alpha)| {
            let (null, alpha) = null(&spec, &baseline, signal, alpha);
            Watch { signal, log_threshold: -alpha.ln(), null, process: EProcess::default() }
        });
        let watches = watches.collect();
        Ok(Self {
            spec,
            baseline,
            watches,
            canary: Counts::default(),
            stable: Counts::default(),
            step_requests: 0,
            traps: traps::Traps::default(),
            failure: None,
        })
    }

    /// Goes on from `state`. Hits of novel traps are not part of it: they are counted anew.
    ///
    /// # Errors
    /// When evidence of a signal is missing or malformed.
    pub fn resume(mut self, state: GateState) -> Result<Self, StateError> {
        for watch in &mut self.watches {
            let stored = state.signals.iter().find(|stored| stored.signal == watch.signal);
            let logs = stored.ok_or(StateError::Missing(watch.signal))?.logs.clone();
            watch.process = EProcess::from_logs(logs).ok_or(StateError::Malformed(watch.signal))?;
        }
        (self.canary, self.stable) = (state.canary, state.stable);
        self.step_requests = state.step_requests;
        self.traps = traps::Traps::knowing(state.known_traps, state.known_overflowed);
        Ok(self)
    }

    /// What [`resume`](Self::resume) needs.
    pub fn state(&self) -> GateState {
        let signals = self
            .watches
            .iter()
            .map(|watch| SignalState { signal: watch.signal, logs: watch.process.logs().to_vec() });
        GateState {
            canary: self.canary,
            stable: self.stable,
            step_requests: self.step_requests,
            signals: signals.collect(),
            known_traps: self.traps.known().collect(),
            known_overflowed: self.traps.known_overflowed(),
        }
    }

    /// A step began: requests are counted anew for it, evidence is kept, and a fault that begins here is
    /// looked for too.
    pub fn step(&mut self) {
        self.step_requests = 0;
        self.watches.iter_mut().for_each(|watch| watch.process.restart());
    }

    /// Takes a trap of `side` with its backtrace's `fingerprint`; `user` as in [`Response`].
    ///
    /// Stable's traps from before the rollout belong here too: a trap is novel when stable never showed it.
    /// Without that past, a trap that both versions have fails the canary when its first three hits are
    /// the canary's, so with a probability of the canary's share to the power of three.
    pub fn trap(&mut self, side: Side, fingerprint: u64, user: Option<u64>) {
        if let Some(hits) = self.traps.take(side, fingerprint, user) {
            self.failure.get_or_insert(Failure::NovelTrap { fingerprint, hits });
        }
    }

    /// Hits of a trap that stable never showed, 3 at most; `None` for any other.
    pub fn novel_hits(&self, fingerprint: u64) -> Option<usize> {
        self.traps.novel_hits(fingerprint)
    }

    /// Takes what happened since the last batch. A failure is final: it stays, whatever follows.
    pub fn observe(&mut self, batch: &Batch) {
        self.canary.add(&batch.canary);
        self.stable.add(&batch.stable);
        self.step_requests = self.step_requests.saturating_add(batch.canary.requests);
        for watch in &mut self.watches {
            watch.observe(batch);
        }
        // Evidence rises by hits alone, so without any there is nothing to look at.
        let hit = |watch: &&Watch| batch.canary.bad(watch.signal.event()).units > 0;
        let failed = self.watches.iter().filter(hit).find(|watch| watch.failed(&self.canary));
        if let (None, Some(watch)) = (&self.failure, failed) {
            self.failure = Some(Failure::Signal(self.evidence_of(watch)));
        }
    }

    /// What it says now.
    pub fn verdict(&self) -> Verdict {
        if let Some(failure) = &self.failure {
            return Verdict::Fail(failure.clone());
        }
        let needed = self.spec.min_requests;
        let stable = self.compared().requests;
        if self.step_requests < needed || stable < needed {
            return Verdict::Wait(Waiting { canary: self.step_requests, stable, needed });
        }
        Verdict::Pass
    }

    /// Requests of the canary since the last [`step`](Self::step).
    pub fn step_requests(&self) -> u64 {
        self.step_requests
    }

    /// What the canary did.
    pub fn canary(&self) -> &Counts {
        &self.canary
    }

    /// What it is compared with did.
    pub fn stable(&self) -> &Counts {
        self.compared()
    }

    /// The numbers behind the verdict.
    pub fn evidence(&self) -> Evidence {
        Evidence {
            baseline: self.baseline.clone(),
            canary_requests: self.canary.requests,
            stable_requests: self.compared().requests,
            signals: self.watches.iter().map(|watch| self.evidence_of(watch)).collect(),
        }
    }

    /// What the canary is compared with.
    fn compared(&self) -> &Counts {
        match &self.baseline {
            Baseline::Concurrent => &self.stable,
            Baseline::Past(past) => past,
        }
    }

    fn evidence_of(&self, watch: &Watch) -> SignalEvidence {
        let (event, compared) = (watch.signal.event(), self.compared());
        let (tolerate, rate_max) = match watch.null {
            Null::Multiple(tolerate) => (Some(tolerate), None),
            Null::Rate(rate) => (self.spec.tolerate(watch.signal), Some(rate)),
        };
        SignalEvidence {
            signal: watch.signal,
            canary: self.canary.bad(event),
            canary_requests: self.canary.requests,
            stable: compared.bad(event),
            stable_requests: compared.requests,
            tolerate,
            rate_max,
            log_e: watch.process.log_e(),
            log_threshold: watch.log_threshold,
        }
    }
}

impl Watch {
    fn observe(&mut self, batch: &Batch) {
        let event = self.signal.event();
        let hits = batch.canary.bad(event).units;
        match self.null {
            Null::Multiple(tolerate) => {
                // At no share and at the full share every event falls on the only side there is.
                if batch.share != Weight::ZERO && batch.share != Weight::FULL {
                    let share = f64::from(batch.share.basis_points());
                    let rest = f64::from(batch.share.complement().basis_points());
                    self.process.update(hits, batch.stable.bad(event).units, tolerate * share / rest);
                }
            }
            Null::Rate(_) if batch.clustered && self.is_of_latency() => {}
            Null::Rate(rate) => {
                let good = batch.canary.requests.saturating_sub(hits);
                self.process.update(hits, good, rate / (1.0 - rate));
            }
        }
    }

    fn is_of_latency(&self) -> bool {
        matches!(self.signal, Signal::Latency | Signal::MaxLatency)
    }

    fn failed(&self, canary: &Counts) -> bool {
        let bad = canary.bad(self.signal.event());
        let percentile = matches!(self.signal, Signal::Latency | Signal::Memory | Signal::MaxLatency);
        // A percentile is not above its threshold while fewer lie above than it allows, however rare they
        // are on stable. Both conditions only make failing rarer, so the guarantee stands.
        let above = !percentile || bad.requests as f64 > ABOVE_P99 * canary.requests as f64;
        bad.units >= EVENTS_MIN && above && self.process.log_e() >= self.log_threshold
    }
}

/// The null hypothesis of `signal`, and what is left of `alpha` for its test.
fn null(spec: &GateSpec, baseline: &Baseline, signal: Signal, alpha: f64) -> (Null, f64) {
    match (signal, baseline) {
        (Signal::MaxErrorRate, _) => (Null::Rate(spec.max_error_rate.unwrap_or(1.0)), alpha),
        (Signal::MaxLatency, _) => (Null::Rate(ABOVE_P99), alpha),
        (_, Baseline::Concurrent) => (Null::Multiple(spec.tolerate(signal).unwrap_or(1.0)), alpha),
        (_, Baseline::Past(past)) => {
            let bound = bound::upper(past.bad(signal.event()).units, past.requests, alpha / 2.0);
            (Null::Rate((spec.tolerate(signal).unwrap_or(1.0) * bound).min(1.0)), alpha / 2.0)
        }
    }
}

#[cfg(test)]
mod tests;
