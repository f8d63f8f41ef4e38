//! What a seed means: which versions there are and how they behave, who calls them, and what goes wrong.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use wasm_fn_control::state::{Check, ReleaseStrategy, RolloutSpec};
use wasm_fn_core::{
    CohortName, CohortRule, Condition, Digest, FunctionConfig, FunctionName, Limits, Outcome, Role, Source,
    Sticky, Weight,
};
use wasm_fn_rollout::{self as rollout, Command, GateSpec, OnFail, OnNoData, PlanSpec, Step};

use crate::dice::Dice;

/// Components that a seed has, the first of which every function begins with.
const COMPONENTS: u64 = 6;

/// Longest time that an answer goes on: longer than a gate waits for a request.
const HANGS_MS: u64 = 80_000;

/// Longest time that an answer goes on, and that a request may take, in a cluster.
const DAWDLES_MAX_MS: u64 = 15_000;
const TIMEOUT_MAX_MS: u64 = 20_000;

/// How long a cluster is called.
const CLUSTER_MS: u64 = 75_000;

/// The failures that versions have rates for.
const FAILURES: [Outcome; 5] =
    [Outcome::Trap, Outcome::Timeout, Outcome::OutOfMemory, Outcome::ServerError, Outcome::InvalidResponse];

/// Everything that happens, but for its moments.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// One rollout that nothing and nobody disturbs, whose end can be foretold.
    pub(crate) quiet: bool,
    pub(crate) functions: Vec<FunctionName>,
    pub(crate) config: Arc<FunctionConfig>,
    /// By number of the component.
    pub(crate) behaviours: Vec<Behaviour>,
    /// How users stick: so many there are; none stick when there are 0.
    pub(crate) users: u64,
    /// Each user whose number this divides meets nothing but failures, whoever answers.
    pub(crate) cursed: Option<u64>,
    /// Share of the requests that a rule would place on a canary, where there is such a rule.
    pub(crate) beta: f64,
    /// Share of the clients that leave if they wait for too long.
    pub(crate) leave: f64,
    /// When the node fails requests of its own fault.
    pub(crate) bursts: Vec<Burst>,
    /// What people do to a quiet rollout at which moment, milliseconds after the beginning.
    pub(crate) pauses: Vec<(u64, Command)>,
    /// Requests before a quiet rollout begins.
    pub(crate) past: Option<u64>,
    pub(crate) instances_max: usize,
    pub(crate) running_max: u32,
    pub(crate) loads: Vec<Load>,
    pub(crate) disk: Disk,
    /// Mean time between commands of people, milliseconds.
    pub(crate) command_every_ms: f64,
    /// When the node is stopped, of its own will or not, milliseconds after the beginning.
    pub(crate) stops: BTreeMap<u64, Stop>,
}

/// How a node ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// At once.
    Crash,
    /// After its requests.
    Restart,
}

/// A time of the same load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) lasts_ms: u64,
    pub(crate) per_second: f64,
}

/// A time in which the node fails requests, whatever their version.
#[derive(Clone, Debug)]
pub(crate) struct Burst {
    /// Milliseconds after the beginning.
    pub(crate) lasts: RangeInclusive<u64>,
    pub(crate) share: f64,
    pub(crate) outcome: Outcome,
}

/// What commits meet, as probabilities.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Disk {
    pub(crate) slow: f64,
    pub(crate) fails: f64,
    pub(crate) crash_before: f64,
    pub(crate) crash_after: f64,
}

/// How good a version is, as far as its verdict can be foretold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// As the first component.
    Same,
    /// Every answer fails.
    Broken,
    /// As the first component, but for those whom a rule places: every answer to them fails.
    BrokenForCohort,
    /// Something else.
    Other,
}

/// How a component behaves.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) health: Health,
    /// In the order of [`FAILURES`].
    rates: [f64; FAILURES.len()],
    fingerprint: u64,
    latency_ms: u64,
    spread_ms: f64,
    /// The same of failures.
    failure_ms: (u64, f64),
    memory_bytes: u64,
    /// Breaks after so many requests.
    breaks_at: Option<u64>,
    /// Never answers.
    silent: bool,
    /// Share of requests that have an effect, so that they cannot be run again.
    effects: f64,
    /// Share of the answers that go on for long after their head, and the longest of them.
    dawdles: f64,
    dawdles_ms: u64,
    pub(crate) check_status: StatusCode,
}

/// What one invocation is going to do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Act {
    pub(crate) outcome: Outcome,
    pub(crate) head_ms: u64,
    pub(crate) body_ms: u64,
    /// It fails in its body; the head was fine.
    pub(crate) late: bool,
    pub(crate) effect: bool,
    pub(crate) memory_bytes: u64,
    pub(crate) fingerprint: u64,
}

impl Behaviour {
    fn first(dice: &mut Dice) -> Self {
        let mut rates = [0.0; FAILURES.len()];
        if dice.chance(0.5) {
            // A trap that it has, the canary has too.
            rates[dice.pick(&[0, 3, 3])] = dice.pick(&[0.002, 0.01, 0.05, 0.2]);
        }
        let quick = (dice.within(2..=20), dice.pick(&[1.0, 5.0, 20.0]));
        let seconds = (dice.within(500..=3000), dice.pick(&[100.0, 1000.0]));
        let ((latency_ms, spread_ms), failure_ms) = match dice.within(0..=5) {
            0 => (seconds, (1, 1.0)),
            1 => (quick, seconds),
            _ => (quick, quick),
        };
        Self {
            health: Health::Same,
            rates,
            fingerprint: 1,
            latency_ms,
            spread_ms,
            failure_ms,
            memory_bytes: 1 << 20,
            breaks_at: None,
            silent: false,
            effects: dice.pick(&[0.0, 0.0, 0.2]),
            dawdles: dice.pick(&[0.0, 0.02]),
            dawdles_ms: dice.pick(&[15_000, 15_000, HANGS_MS]),
            check_status: StatusCode::OK,
        }
    }

    /// Another component than `first`.
    fn after(first: &Self, dice: &mut Dice) -> Self {
        let other = Self { health: Health::Other, ..first.clone() };
        match dice.within(0..=11) {
            11 => Self { health: Health::BrokenForCohort, ..other },
            0..=2 => first.clone(),
            3 | 4 => Self::broken(first, dice),
            5 => {
                let mut rates = first.rates;
                rates[usize::try_from(dice.within(0..=4)).expect("an index fits")] =
                    dice.pick(&[0.03, 0.1, 0.4]);
                Self { rates, fingerprint: dice.pick(&[1, 2]), ..other }
            }
            6 => Self { latency_ms: first.latency_ms * 3, spread_ms: first.spread_ms * 2.0, ..other },
            7 => Self { memory_bytes: 64 << 20, ..other },
            8 => Self { breaks_at: Some(dice.within(0..=400)), ..other },
            9 => Self { silent: true, ..other },
            _ => Self { check_status: StatusCode::IM_A_TEAPOT, ..other },
        }
    }

    fn broken(first: &Self, dice: &mut Dice) -> Self {
        let mut rates = [0.0; FAILURES.len()];
        rates[usize::try_from(dice.within(0..=4)).expect("an index fits")] = 1.0;
        let (fingerprint, dawdles) = (dice.pick(&[1, 2]), 0.0);
        Self { health: Health::Broken, rates, fingerprint, dawdles, ..first.clone() }
    }

    /// Whether no answer of it fails by itself.
    pub(crate) fn is_faultless(&self) -> bool {
        self.rates.iter().all(|rate| *rate == 0.0) && self.breaks_at.is_none() && !self.silent
    }

    /// What the invocation after `served` others does.
    pub(crate) fn act(&self, served: u64, cursed: bool, beta: bool, dice: &mut Dice) -> Act {
        let mut left = dice.unit();
        let failure = FAILURES.into_iter().zip(self.rates).find(|(_, rate)| {
            left -= rate;
            left < 0.0
        });
        let mut outcome = failure.map_or(Outcome::Success, |(outcome, _)| outcome);
        if self.breaks_at.is_some_and(|at| served >= at) {
            outcome = Outcome::Trap;
        } else if self.silent {
            outcome = Outcome::Timeout;
        } else if cursed || (beta && self.health == Health::BrokenForCohort) {
            outcome = Outcome::ServerError;
        }
        let failed = outcome != Outcome::Success;
        let (latency_ms, spread_ms) =
            if failed { self.failure_ms } else { (self.latency_ms, self.spread_ms) };
        let head_ms = latency_ms + dice.wait_ms(spread_ms);
        let dawdles = dice.chance(self.dawdles);
        let late = failed && outcome != Outcome::ServerError && dice.chance(0.1);
        Act {
            outcome,
            head_ms,
            body_ms: if dawdles { dice.within(500..=self.dawdles_ms) } else { dice.within(0..=3) },
            late,
            effect: dice.chance(self.effects),
            memory_bytes: self.memory_bytes,
            fingerprint: self.fingerprint,
        }
    }
}

impl Scenario {
    /// What `dice` say.
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        if dice.chance(0.4) { Self::quiet(dice) } else { Self::wild(dice) }
    }

    /// A scenario of several nodes, whose disks and lives are another matter.
    pub(crate) fn of_cluster(dice: &mut Dice) -> Self {
        let scenario = Self::draw(dice);
        let mut config = FunctionConfig::clone(&scenario.config);
        config.limits.timeout = config.limits.timeout.min(Duration::from_millis(TIMEOUT_MAX_MS));
        let shorter = |mut behaviour: Behaviour| {
            behaviour.dawdles_ms = behaviour.dawdles_ms.min(DAWDLES_MAX_MS);
            behaviour
        };
        let behaviours = scenario.behaviours.into_iter().map(shorter).collect();
        let disk = Disk { fails: scenario.disk.fails / 5.0, slow: scenario.disk.slow, ..Disk::default() };
        let loads = vec![Load { lasts_ms: CLUSTER_MS, per_second: dice.pick(&[15.0, 30.0]) }];
        Self { config: Arc::new(config), behaviours, disk, loads, stops: BTreeMap::new(), ..scenario }
    }

    /// The same, quiet and with a canary that is as good as stable.
    pub(crate) fn of_cluster_with_identical(dice: &mut Dice) -> Self {
        loop {
            let scenario = Self::of_cluster(dice);
            if scenario.quiet {
                let behaviours = vec![scenario.behaviours[0].clone(); 2];
                return Self { behaviours, ..scenario };
            }
        }
    }

    fn quiet(dice: &mut Dice) -> Self {
        let first = Behaviour::first(dice);
        let dawdles = if first.dawdles_ms == HANGS_MS { first.dawdles } else { 0.0 };
        let first = Behaviour { dawdles, ..first };
        let cohorts = if dice.chance(0.3) { vec![cohort()] } else { Vec::new() };
        let canary = match dice.within(0..=9) {
            0..=4 => first.clone(),
            5 | 6 if !cohorts.is_empty() => Behaviour { health: Health::BrokenForCohort, ..first.clone() },
            _ => Behaviour::broken(&first, dice),
        };
        let is_slow = first.latency_ms.max(first.failure_ms.0) > 100;
        let timeout = match (dawdles > 0.0, is_slow) {
            (true, _) => 100,
            (false, true) => 20,
            (false, false) => 2,
        };
        let timeout = Duration::from_secs(timeout);
        let limits = Limits { timeout, ..Limits::default() };
        let (users, cursed) = sticking(dice, 0.25);
        let config = FunctionConfig { limits, sticky: sticky(users), cohorts, ..FunctionConfig::default() };
        let busy = |dice: &mut Dice, lasts_ms| Load { lasts_ms, per_second: dice.pick(&[15.0, 30.0]) };
        let loads = if dice.chance(0.2) {
            vec![busy(dice, 20_000), Load { lasts_ms: 100_000, per_second: 0.0 }, busy(dice, 40_000)]
        } else {
            vec![busy(dice, 60_000)]
        };
        let pauses = if dice.chance(0.2) {
            let at_ms = dice.within(3000..=20_000);
            vec![(at_ms, Command::Pause), (at_ms + dice.within(500..=5000), Command::Resume)]
        } else {
            Vec::new()
        };
        Self {
            quiet: true,
            functions: vec![name("f")],
            config: Arc::new(config),
            behaviours: vec![first, canary],
            users,
            cursed,
            beta: dice.pick(&[0.05, 0.2]),
            leave: dice.pick(&[0.0, 0.0, 0.1]),
            bursts: bursts(dice, 60_000),
            pauses,
            past: dice.pick(&[None, Some(300)]),
            instances_max: 5000,
            running_max: 5000,
            loads,
            disk: Disk::default(),
            command_every_ms: f64::INFINITY,
            stops: BTreeMap::new(),
        }
    }

    fn wild(dice: &mut Dice) -> Self {
        let first = Behaviour::first(dice);
        let mut behaviours = vec![first.clone()];
        behaviours.extend((1..COMPONENTS).map(|_| Behaviour::after(&first, dice)));
        let limits = Limits {
            timeout: Duration::from_millis(dice.pick(&[200, 2000, 20_000, 100_000])),
            concurrency: dice.pick(&[1, 4, 100]),
            queue: dice.pick(&[0, 3, 100]),
            queue_wait: Duration::from_millis(dice.pick(&[0, 100, 1000])),
            reuse: dice.pick(&[1, 10]),
            ..Limits::default()
        };
        let (users, cursed) = sticking(dice, 0.4);
        let cohorts = if dice.chance(0.3) { vec![cohort()] } else { Vec::new() };
        let config = FunctionConfig { limits, sticky: sticky(users), cohorts, ..FunctionConfig::default() };
        let load = |dice: &mut Dice| Load {
            lasts_ms: dice.within(2000..=25_000),
            per_second: dice.pick(&[0.0, 2.0, 10.0, 20.0, 40.0]),
        };
        let mut loads: Vec<_> = (0..dice.within(2..=6)).map(|_| load(dice)).collect();
        if dice.chance(0.3) {
            loads.push(Load { lasts_ms: 1000, per_second: 300.0 });
            loads.push(load(dice));
        }
        let lasts: u64 = loads.iter().map(|load| load.lasts_ms).sum();
        let faulty = dice.chance(0.6);
        let disk = Disk { slow: 0.1, fails: 0.1, crash_before: 0.02, crash_after: 0.03 };
        let stops = if faulty { dice.within(0..=3) } else { 0 };
        let stop = |_| (dice.within(1000..=lasts), dice.pick(&[Stop::Crash, Stop::Crash, Stop::Restart]));
        let stops = (0..stops).map(stop).collect();
        Self {
            quiet: false,
            functions: (0..dice.within(1..=2)).map(|at| name(if at == 0 { "f" } else { "g" })).collect(),
            config: Arc::new(config),
            behaviours,
            users,
            cursed,
            beta: dice.pick(&[0.05, 0.3]),
            leave: dice.pick(&[0.0, 0.05, 0.3]),
            bursts: bursts(dice, lasts),
            pauses: Vec::new(),
            past: None,
            instances_max: usize::try_from(dice.pick(&[3, 30, 1000])).expect("a small number fits"),
            running_max: dice.pick(&[5, 200]),
            loads,
            disk: if faulty { disk } else { Disk::default() },
            command_every_ms: dice.pick(&[2000.0, 10_000.0]),
            stops,
        }
    }

    /// A rollout of this scenario.
    pub(crate) fn strategy(&self, dice: &mut Dice) -> ReleaseStrategy {
        if !self.quiet && dice.chance(0.05) {
            return if dice.chance(0.5) { ReleaseStrategy::AllAtOnce } else { ReleaseStrategy::NoTraffic };
        }
        let strategy = match dice.within(0..=9) {
            0..=4 => {
                let steps: [&[u16]; 4] =
                    [&[1000, 5000], &[100, 2500, 7500], &[5000], &[2000, 4000, 8000, 10_000]];
                let shares = dice.pick(&steps).iter().map(|&points| weight(points).into());
                rollout::Strategy::Canary {
                    steps: self.cohort_steps(dice).into_iter().chain(shares).collect(),
                }
            }
            5 | 6 => rollout::Strategy::Linear {
                by: weight(dice.pick(&[1000, 3000])),
                every: Duration::from_millis(dice.pick(&[1500, 5000])),
            },
            7 if !self.quiet => rollout::Strategy::AllAtOnce,
            8 if !self.quiet => rollout::Strategy::BlueGreen,
            _ => rollout::Strategy::Canary { steps: vec![weight(2000).into()] },
        };
        let checks = if strategy == rollout::Strategy::BlueGreen && dice.chance(0.7) {
            vec![check()]
        } else {
            Vec::new()
        };
        let plan = PlanSpec {
            strategy,
            manual: !self.quiet && dice.chance(0.2),
            on_fail: if self.quiet {
                OnFail::Rollback
            } else {
                dice.pick(&[OnFail::Rollback, OnFail::Rollback, OnFail::Pause, OnFail::Freeze])
            },
            on_no_data: if !self.quiet && dice.chance(0.2) { OnNoData::Pass } else { OnNoData::Wait },
            step_min: Duration::from_millis(dice.pick(&[1000, 4000, 8000])),
            watch: Duration::from_millis(dice.pick(&[0, 2000, 10_000])),
        };
        let gate = GateSpec {
            min_requests: dice.pick(&[3, 10, 30]),
            max_error_rate: (!self.quiet && dice.chance(0.2)).then_some(0.3),
            ..GateSpec::default()
        };
        let keep = Duration::from_secs(dice.pick(&[0, 60]));
        let spec = RolloutSpec::new(plan, gate, dice.chance(0.7), keep, checks);
        ReleaseStrategy::Rollout(Arc::new(spec.expect("every choice here is a rollout")))
    }

    /// The steps by cohort that a canary of this scenario begins with.
    fn cohort_steps(&self, dice: &mut Dice) -> Vec<Step> {
        let named = self.config.cohorts.iter().find_map(|rule| rule.name.clone());
        let Some(name) = named.filter(|_| dice.chance(0.5)) else { return Vec::new() };
        let shares: [&[u16]; 3] = [&[10_000], &[3000, 10_000], &[2000]];
        let step = |&points: &u16| Step::Cohort { name: name.clone(), share: weight(points) };
        dice.pick(&shares).iter().map(step).collect()
    }

    /// The digest of the component with this number.
    pub(crate) fn digest(component: usize) -> Digest {
        Digest([u8::try_from(component).expect("there are few components"); 32])
    }

    /// How the component with this digest behaves.
    pub(crate) fn behaviour(&self, digest: Digest) -> &Behaviour {
        &self.behaviours[usize::from(digest.0[0])]
    }

    /// Whether `user` meets nothing but failures.
    pub(crate) fn is_cursed(&self, user: Option<u64>) -> bool {
        user.zip(self.cursed).is_some_and(|(user, every)| user % every == 0)
    }
}

/// When the node fails, in so many milliseconds.
fn bursts(dice: &mut Dice, within_ms: u64) -> Vec<Burst> {
    let burst = |dice: &mut Dice| {
        let from_ms = dice.within(0..=within_ms);
        Burst {
            lasts: from_ms..=from_ms + dice.within(500..=5000),
            share: dice.pick(&[0.3, 1.0]),
            outcome: dice.pick(&[Outcome::Shed, Outcome::Internal]),
        }
    };
    let count = dice.pick(&[0, 0, 1, 3]);
    (0..count).map(|_| burst(dice)).collect()
}

/// How many users stick, and which are cursed.
fn sticking(dice: &mut Dice, p: f64) -> (u64, Option<u64>) {
    if !dice.chance(p) {
        return (0, None);
    }
    let users = dice.pick(&[3, 40, 500]);
    (users, dice.chance(0.4).then(|| dice.pick(&[3, 40])))
}

fn sticky(users: u64) -> Sticky {
    let user = || Source::header("user").expect("`user` is a header's name");
    if users == 0 { Sticky::None } else { Sticky::Key(user()) }
}

/// Those who ask for it get the canary.
fn cohort() -> CohortRule {
    let source = Source::header("beta").expect("`beta` is a header's name");
    let condition = Condition::new(source, vec!["1".to_owned()]).expect("one value is allowed");
    let name: CohortName = "beta".parse().expect("`beta` is a cohort's name");
    CohortRule { name: Some(name), condition, role: Role::Canary }
}

fn check() -> Check {
    Check {
        method: Method::GET,
        path: "/health".parse().expect("`/health` is a path"),
        headers: Vec::new(),
        body: String::new(),
        status: StatusCode::OK,
        expected_headers: Vec::new(),
        pattern: None,
        json: BTreeMap::new(),
    }
}

fn weight(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).expect("at most 10,000")
}

fn name(text: &str) -> FunctionName {
    text.parse().expect("a letter is a name")
}
