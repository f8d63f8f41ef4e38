//! Rollouts in virtual time: requests arrive, take as long as they do, and end in that order; the real feed
//! and gate hear of them as they would in a node.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    time::{Duration, Instant},
};

use wasm_fn_core::{Outcome, Point, Weight};
use wasm_fn_rollout::{
    Arm, Baseline, Class, Ending, Feed, FeedTicket, Gate, GateFailure, GateSpec, Group, PastCounts, Stretch,
    Thresholds, Trapped, Verdict,
};

use crate::{
    record::{Latencies, Record, limits},
    stream::{Random, arm, baseline_share},
};

/// Seconds between two looks at the gate that nothing bad brought about.
const LOOK_EVERY: f64 = 1.0;

/// Seconds after the last request of a part at which its verdict is asked: the gate waits for none longer
/// than 30.
const DRAIN: f64 = 31.0;

/// A rollout, and what its versions do.
pub(crate) struct Scene {
    /// Requests a second, at random times.
    pub(crate) rps: f64,
    pub(crate) parts: Vec<Part>,
    /// How many users there are, each of whom keeps to one side; `None` when each request draws its side.
    pub(crate) users: Option<u64>,
    /// Share of the requests that a rule places on the canary.
    pub(crate) cohort: f64,
    /// Requests of stable before the rollout.
    pub(crate) past: u64,
    /// Requests of the cohort before the rollout.
    pub(crate) cohort_past: u64,
    pub(crate) measure: Measure,
    /// The canary's deadline and stable's, as far as the gate is told; the same for both when not.
    pub(crate) deadlines: [Duration; 2],
    pub(crate) world: Box<dyn World>,
}

/// Some of a rollout's requests.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// The canary's share, basis points.
    pub(crate) share: u16,
    pub(crate) requests: u64,
    pub(crate) begins: Begins,
}

/// What a part begins with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Begins {
    /// A step, under the gate that there is.
    Step,
    /// Another gate beside stable, as after a `resume`.
    Gate,
    /// Another gate, against stable's past.
    Watch,
}

/// Whose latencies the canary is compared with.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    /// A baseline's.
    Baseline,
    /// All of stable's, which is what there would be without a baseline.
    Stable,
}

/// Which version runs a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Version {
    Stable,
    Canary,
}

/// A request, as far as it matters for what becomes of it.
pub(crate) struct Request {
    pub(crate) version: Version,
    pub(crate) arm: Arm,
    /// Hash of the user's key; nothing in particular without users.
    pub(crate) user: u64,
    /// Seconds since the rollout began; negative before.
    pub(crate) at: f64,
    /// Requests a second of the version's instances that run it.
    pub(crate) rate: f64,
    /// Requests that those have run before.
    pub(crate) served: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// Seconds.
    pub(crate) latency: f64,
    pub(crate) trap: Option<u64>,
    /// Whether its client left while the version worked.
    pub(crate) abandoned: bool,
}

/// What versions do.
pub(crate) trait World: Send {
    fn answer(&mut self, request: &Request, random: &mut Random) -> Answer;
}

impl<F: FnMut(&Request, &mut Random) -> Answer + Send> World for F {
    fn answer(&mut self, request: &Request, random: &mut Random) -> Answer {
        self(request, random)
    }
}

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) abort: Option<Abort>,
    /// Whether some part ended with the verdict that all is well.
    pub(crate) passed: bool,
}

/// The end of a canary.
pub(crate) struct Abort {
    /// Requests that had begun.
    pub(crate) sent: u64,
    /// Of them, those that ran on the canary.
    pub(crate) canary: u64,
    /// Of them, those that were heard to fail.
    pub(crate) failures: u64,
    /// Seconds since the rollout began.
    pub(crate) seconds: f64,
    pub(crate) cause: String,
}

/// A request under way.
#[derive(Clone, Copy)]
struct Flight {
    gate: usize,
    arm: Arm,
    ticket: FeedTicket,
    user: Option<u64>,
    share: Weight,
    answer: Answer,
}

struct Run {
    scene: Scene,
    random: Random,
    // What users' keys are hashed with.
    salt: u64,
    start: Instant,
    /// The gates of the rollout; the last one counts.
    gates: Vec<Feed>,
    stretch: Stretch,
    now: f64,
    sent: u64,
    /// Requests of the canary, of stable and of the baseline.
    served: [u64; 3],
    failures: u64,
    stable: Record,
    cohort: Record,
    baseline: Latencies,
    // By when they end, in nanoseconds, and by number.
    flights: BinaryHeap<Reverse<(u64, u64)>>,
    under_way: Vec<Option<Flight>>,
    free: Vec<usize>,
}

#[expect(clippy::disallowed_methods, reason = "an instant to count from: none can be made otherwise")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

impl Abort {
    fn cause(failure: &GateFailure) -> String {
        match failure {
            GateFailure::Signal(evidence) => match evidence.group {
                Group::Placed => evidence.signal.to_string(),
                Group::Alone => format!("{} alone", evidence.signal),
                Group::Cohort => format!("{} of the cohort", evidence.signal),
            },
            GateFailure::NovelTrap { .. } => "novel trap".to_owned(),
            GateFailure::Floor { .. } => "floor".to_owned(),
            GateFailure::Elsewhere { .. } => "another node".to_owned(),
        }
    }
}

/// Runs `scene` until its canary is aborted, or it is over.
pub(crate) fn run(scene: Scene, seed: u64) -> Ended {
    let parts = scene.parts.clone();
    let mut run = Run::new(scene, seed);
    run.remember();
    let mut passed = false;
    for part in parts {
        run.begin(part);
        match run.play(part.requests) {
            Some(Verdict::Fail(failure)) => return Ended { abort: Some(run.aborted(&failure)), passed },
            Some(verdict) => passed |= verdict == Verdict::Pass,
            None => {}
        }
    }
    Ended { abort: None, passed }
}

impl Run {
    fn new(scene: Scene, seed: u64) -> Self {
        let share = Weight::ZERO;
        Self {
            scene,
            random: Random::new(seed),
            salt: Random::new(!seed).bits(),
            start: start(),
            gates: Vec::new(),
            stretch: Stretch { no: 0, share, baseline_share: share, begins_step: true, by_cohort: false },
            now: 0.0,
            sent: 0,
            served: [0, 1_000_000, 0],
            failures: 0,
            stable: Record::default(),
            cohort: Record::default(),
            baseline: Latencies::default(),
            flights: BinaryHeap::new(),
            under_way: Vec::new(),
            free: Vec::new(),
        }
    }

    /// What was before the rollout.
    fn remember(&mut self) {
        for (requests, arm) in [(self.scene.past, Arm::Stable), (self.scene.cohort_past, Arm::Cohort)] {
            for number in 0..requests {
                let before = (requests - number) as f64 / self.scene.rps;
                let user = self.user();
                let request = Request {
                    version: Version::Stable,
                    arm,
                    user,
                    at: -before,
                    rate: self.scene.rps,
                    served: 1_000_000,
                };
                let answer = self.scene.world.answer(&request, &mut self.random);
                if arm == Arm::Stable { &mut self.stable } else { &mut self.cohort }.take(&answer);
            }
        }
    }

    fn instant(&self, at: f64) -> Instant {
        self.start + Duration::from_secs_f64(at)
    }

    /// A key: one of the users', or anyone's.
    fn user(&mut self) -> u64 {
        let bits = self.random.bits();
        self.scene.users.map_or(bits, |users| Random::new(self.salt.wrapping_add(bits % users)).bits())
    }

    fn begin(&mut self, part: Part) {
        let share = Weight::from_basis_points(part.share).expect("at most everything");
        let baseline_share = match self.scene.measure {
            Measure::Baseline => baseline_share(share),
            Measure::Stable => share.complement(),
        };
        let no = self.stretch.no + 1;
        self.stretch = Stretch { no, share, baseline_share, begins_step: true, by_cohort: false };
        if self.gates.is_empty() || part.begins != Begins::Step {
            self.baseline = Latencies::default();
            self.served[2] = 0;
        }
        let compared = self.baseline.percentiles().or_else(|| self.stable.latencies.percentiles());
        let thresholds = compared.map_or_else(Thresholds::default, limits);
        if let (Some(feed), Begins::Step) = (self.gates.last(), part.begins) {
            feed.begin_stretch(self.stretch, thresholds, self.instant(self.now));
            return;
        }
        let baseline = if part.begins == Begins::Watch {
            Baseline::Past(self.stable.counts())
        } else {
            let (stable, cohort) = (self.stable.counts(), self.cohort.counts());
            Baseline::Concurrent(Box::new(PastCounts { stable, cohort }))
        };
        let number = u32::try_from(self.gates.len() + 1).expect("a few gates");
        let mut gate = Gate::new(GateSpec::default(), number, baseline).expect("the default is a gate");
        for &fingerprint in &self.stable.traps {
            let (arm, share) = (Arm::Stable, Weight::ZERO);
            gate.trap(&Trapped { arm, fingerprint, user: None, share, begun: 0 });
        }
        let [canary, stable] = self.scene.deadlines;
        self.gates.push(Feed::new(gate, self.stretch, thresholds).with_deadlines(canary, stable));
    }

    /// Has so many requests arrive; the verdict on them.
    fn play(&mut self, requests: u64) -> Option<Verdict> {
        let mut look = self.now + LOOK_EVERY;
        for _ in 0..requests {
            let at = self.now + self.random.exponential() / self.scene.rps;
            while look < at {
                if let Some(failed) = self.land_until(look).or_else(|| self.failed(true)) {
                    return Some(failed);
                }
                // Where requests are rare nothing happens for long.
                look = if self.flights.is_empty() { at.max(look + LOOK_EVERY) } else { look + LOOK_EVERY };
            }
            if let Some(failed) = self.land_until(at) {
                return Some(failed);
            }
            self.take_off();
        }
        let end = self.now + DRAIN;
        if let Some(failed) = self.land_until(end) {
            return Some(failed);
        }
        let feed = self.gates.last()?;
        Some(feed.ask(self.instant(self.now), Gate::verdict))
    }

    /// The verdict, if it is that the canary has failed.
    fn failed(&self, ask: bool) -> Option<Verdict> {
        let feed = self.gates.last()?;
        let verdict = if ask { feed.ask(self.instant(self.now), Gate::verdict) } else { feed.verdict() };
        matches!(verdict, Verdict::Fail(_)).then_some(verdict)
    }

    /// A request begins now.
    fn take_off(&mut self) {
        self.sent += 1;
        let user = self.user();
        let share = self.stretch.share;
        let of_cohort = self.scene.cohort > 0.0 && self.random.unit() < self.scene.cohort;
        let place = arm(Point::from_bits(user), share);
        let (arm, handle, part) = match place {
            _ if of_cohort => (Arm::Cohort, 0, self.scene.cohort),
            Arm::Canary => (Arm::Canary, 0, part_of(share)),
            _ if self.scene.measure == Measure::Stable => (Arm::Baseline, 1, part_of(share.complement())),
            Arm::Baseline => (Arm::Baseline, 2, part_of(self.stretch.baseline_share)),
            _ => (Arm::Stable, 1, 1.0 - part_of(share) - part_of(self.stretch.baseline_share)),
        };
        let request = Request {
            version: if handle == 0 { Version::Canary } else { Version::Stable },
            arm,
            user,
            at: self.now,
            rate: self.scene.rps * part,
            served: self.served[handle],
        };
        self.served[handle] += 1;
        let answer = self.scene.world.answer(&request, &mut self.random);
        let sticky = self.scene.users.map(|_| user);
        let gate = self.gates.len() - 1;
        let ticket = self.gates[gate].begin(self.stretch.no, arm, sticky, self.instant(self.now));
        let flight = Flight { gate, arm, ticket, user: sticky, share, answer };
        let place = self.free.pop().unwrap_or(self.under_way.len());
        if place == self.under_way.len() {
            self.under_way.push(None);
        }
        self.under_way[place] = Some(flight);
        self.flights.push(Reverse((nanos(self.now + answer.latency), place as u64)));
    }

    /// Ends what ends before `until`, which is then; the verdict if the canary failed.
    fn land_until(&mut self, until: f64) -> Option<Verdict> {
        let last = nanos(until);
        while let Some(&Reverse((at, place))) = self.flights.peek() {
            if at > last {
                break;
            }
            self.flights.pop();
            let place = usize::try_from(place).expect("a place in memory");
            let Some(flight) = self.under_way[place].take() else { continue };
            self.free.push(place);
            self.now = at as f64 / 1e9;
            if let Some(failed) = self.land(&flight) {
                return Some(failed);
            }
        }
        self.now = until;
        None
    }

    /// A request ends now.
    fn land(&mut self, flight: &Flight) -> Option<Verdict> {
        let Flight { gate, arm, ticket, user, share, answer } = *flight;
        let at = self.instant(self.now);
        let on_canary = matches!(arm, Arm::Canary | Arm::Cohort);
        self.failures += u64::from(on_canary && Class::of(answer.outcome).is_some());
        if !on_canary {
            self.stable.take(&answer);
        }
        let feed = &self.gates[gate];
        if arm == Arm::Baseline
            && !matches!(answer.outcome, Outcome::Cancelled | Outcome::Shed | Outcome::Internal)
            && let Some(compared) = self.baseline.take(answer.latency)
        {
            feed.hold_to(limits(compared), at);
        }
        if let Some(fingerprint) = answer.trap {
            let begun = feed.begun(arm);
            feed.trap(&Trapped { arm, fingerprint, user, share, begun });
        }
        let left = answer.outcome == Outcome::Cancelled && !answer.abandoned;
        let ending = Ending {
            outcome: answer.outcome,
            latency: Duration::from_secs_f64(if left { 0.0 } else { answer.latency }),
            memory_peak_bytes: 0,
            user,
            at,
        };
        let learnt = feed.end(ticket, &ending) || answer.trap.is_some();
        if learnt { self.failed(false) } else { None }
    }

    fn aborted(&self, failure: &GateFailure) -> Abort {
        Abort {
            sent: self.sent,
            canary: self.served[0],
            failures: self.failures,
            seconds: self.now,
            cause: Abort::cause(failure),
        }
    }
}

fn part_of(share: Weight) -> f64 {
    f64::from(share.basis_points()) / f64::from(Weight::FULL.basis_points())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times are some hours at most")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests;
