//! Tests of rollouts that decide by themselves, with paused time.

mod clustered;

use std::collections::BTreeMap;

use wasm_fn_core::VersionNo;
use wasm_fn_rollout::{OnFail, Place};

use super::*;
use crate::state::{Check, CheckText, RolloutOutcome, StageState};

fn canary_with(change: impl FnOnce(&mut PlanSpec, &mut GateSpec)) -> ReleaseStrategy {
    let steps = ["10%", "50%"].map(|step| step.parse().unwrap()).to_vec();
    by(rollout::Strategy::Canary { steps }, Vec::new(), change)
}

fn by(
    strategy: rollout::Strategy,
    checks: Vec<Check>,
    change: impl FnOnce(&mut PlanSpec, &mut GateSpec),
) -> ReleaseStrategy {
    let (mut plan, mut gate) =
        (PlanSpec::usual(strategy), GateSpec { min_requests: 10, ..GateSpec::default() });
    change(&mut plan, &mut gate);
    ReleaseStrategy::Rollout(Arc::new(
        RolloutSpec::new(plan, gate, true, Duration::from_secs(3600), checks).unwrap(),
    ))
}

/// How the responses of each side end, and the trap of the canary's.
struct Load {
    canary: Outcome,
    stable: Outcome,
    trap: Option<Trap>,
}

const GOOD: Load = Load { canary: Outcome::Success, stable: Outcome::Success, trap: None };

impl Node {
    fn live(&self) -> StageState {
        let state = self.control.state();
        state.function(&name("hello")).unwrap().stages[&live()].clone()
    }

    fn ended(&self) -> Option<(RolloutOutcome, String)> {
        let state = self.control.state();
        let ended = state.function(&name("hello")).unwrap().ended.get(&live()).cloned()?;
        Some((ended.outcome, ended.reason))
    }

    fn place(&self) -> Option<Place> {
        self.live().rollout.and_then(|rollout| rollout.phase.place())
    }

    /// Sends one request at each of a hundred points, by the current table.
    fn hundred(&self, load: &Load) -> Vec<VersionNo> {
        (0..100).map(|at| self.request(at * 100, load)).collect()
    }

    fn request(&self, point: u16, load: &Load) -> VersionNo {
        let stage = self.stage("hello");
        let (headers, query) = (http::HeaderMap::new(), None);
        let traits = RequestAttributes { headers: &headers, query, client: [127, 0, 0, 1].into() };
        let Chosen { version, assignment: part, .. } =
            stage.choose(&traits, None, || Point::new(point).unwrap()).unwrap();
        let side = part.as_ref().map_or(Side::Stable, |part| part.side);
        let outcome = if side == Side::Canary { load.canary } else { load.stable };
        let ended = InvocationRecord {
            outcome,
            latency: Duration::from_millis(1),
            queue_wait: Duration::ZERO,
            memory_peak_bytes: 1 << 16,
        };
        version.tally.record(ended);
        if let Some(part) = part {
            let trap = load.trap.as_ref().filter(|_| side == Side::Canary);
            hear(version.hold().observer().unwrap(), &part, ended, trap);
        }
        version.no
    }

    /// Lets the reconciling task act until it has nothing left to do.
    async fn settle(&self) {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    /// Lets time pass.
    async fn wait(&self, seconds: u64) {
        self.settle().await;
        tokio::time::advance(Duration::from_secs(seconds)).await;
        self.settle().await;
    }
}

async fn rolling(strategy: ReleaseStrategy) -> Node {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", strategy).await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn good_canary_promotes_itself_step_by_step() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.hundred(&GOOD);
    node.wait(59).await;
    assert_eq!(node.place(), Some(Place::Step(0)));
    node.wait(2).await;
    assert_eq!(node.place(), Some(Place::Step(1)));
    node.hundred(&GOOD);
    node.wait(61).await;
    assert_eq!(node.place(), Some(Place::Watch));
    assert_eq!(node.live().stable.to_string(), "v2");
    node.wait(301).await;
    assert_eq!(node.ended().unwrap().0, RolloutOutcome::Promoted);
    let range = JournalRange { function: Some(name("hello")), before: None, limit: 9 };
    let journal = node.control.journal(range).await.unwrap();
    let words: Vec<_> = journal.iter().rev().map(|entry| entry.change.as_str()).collect();
    assert_eq!(words, ["deploy", "deploy", "step", "promote", "settle"]);
    let step = journal[2].change.action().unwrap().report().unwrap();
    assert_eq!((step.canary.requests, step.stable.requests), (10, 90), "a step's numbers are kept");
    assert_eq!(journal[2].actor, "rollout");
}

#[tokio::test(start_paused = true)]
async fn canary_without_requests_waits_and_goes_on_with_the_last_one_needed() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.wait(10_000).await;
    assert_eq!(node.place(), Some(Place::Step(0)));
    node.hundred(&GOOD);
    node.settle().await;
    assert_eq!(node.place(), Some(Place::Step(1)));
}

#[tokio::test(start_paused = true)]
async fn step_without_requests_waits_though_the_one_before_had_enough() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.hundred(&GOOD);
    node.wait(61).await;
    assert_eq!(node.place(), Some(Place::Step(1)));
    node.wait(10_000).await;
    assert_eq!(node.place(), Some(Place::Step(1)));
    node.hundred(&GOOD);
    node.settle().await;
    assert_eq!(node.place(), Some(Place::Watch));
}

#[tokio::test(start_paused = true)]
async fn canary_without_requests_passes_when_asked_to() {
    let node = rolling(canary_with(|plan, _| plan.on_no_data = rollout::OnNoData::Pass)).await;
    node.wait(61).await;
    assert_eq!(node.place(), Some(Place::Step(1)));
}

#[tokio::test(start_paused = true)]
async fn broken_canary_gets_no_request_after_the_one_that_proves_it() {
    let node = rolling(canary_with(|_, _| ())).await;
    let load = Load { canary: Outcome::ServerError, ..GOOD };
    let answered: Vec<_> = (0..10).flat_map(|_| node.hundred(&load)).collect();
    let canary = answered.iter().filter(|version| version.to_string() == "v2").count();
    assert!((3..=12).contains(&canary), "{canary}");
    assert_eq!(node.place(), Some(Place::Step(0)), "the table and the journal follow");
    node.settle().await;
    assert_eq!(node.live().rollout, None);
    let (outcome, reason) = node.ended().unwrap();
    assert_eq!(outcome, RolloutOutcome::Aborted);
    assert!(reason.starts_with("errors"), "{reason}");
    let verdict = node
        .control
        .state()
        .function(&name("hello"))
        .unwrap()
        .versions
        .values()
        .last()
        .unwrap()
        .verdict
        .clone();
    assert_eq!(verdict.unwrap().reason, Some(reason));
}

#[tokio::test(start_paused = true)]
async fn full_disk_keeps_no_broken_canary_alive() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.store.fails.store(true, SeqCst);
    (0..5).for_each(|_| drop(node.hundred(&Load { canary: Outcome::ServerError, ..GOOD })));
    node.wait(5).await;
    assert_eq!(node.place(), Some(Place::Step(0)), "nothing could be committed");
    assert!(node.hundred(&GOOD).iter().all(|version| version.to_string() == "v1"));
    node.store.fails.store(false, SeqCst);
    node.wait(2).await;
    assert_eq!(node.ended().unwrap().0, RolloutOutcome::Aborted);
}

#[tokio::test(start_paused = true)]
async fn rollout_stands_still_while_another_process_has_the_state() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.hundred(&GOOD);
    node.settle().await;
    node.control.hand_over().await;
    node.wait(100).await;
    assert_eq!(node.place(), Some(Place::Step(0)));
    node.control.take_back().await.unwrap();
    node.settle().await;
    assert_eq!(node.place(), Some(Place::Step(1)));
}

#[tokio::test(start_paused = true)]
async fn novel_trap_is_named_in_history() {
    let node = rolling(canary_with(|_, _| ())).await;
    let trap = Trap { fingerprint: 7, backtrace: "wasm trap: unreachable\n  hello::handle".into() };
    let load = Load { canary: Outcome::Trap, stable: Outcome::Success, trap: Some(trap) };
    node.hundred(&load);
    node.settle().await;
    let state = node.control.state();
    let ended = state.function(&name("hello")).unwrap().ended[&live()].clone();
    let report = ended.report.unwrap();
    assert_eq!(report.traps[0].backtrace, "wasm trap: unreachable\n  hello::handle");
    assert_eq!(report.traps[0].hits, 5);
}

#[tokio::test(start_paused = true)]
async fn failure_pauses_or_freezes_when_asked_to() {
    for (on_fail, phase) in [(OnFail::Pause, "paused"), (OnFail::Freeze, "frozen")] {
        let node = rolling(canary_with(|plan, _| plan.on_fail = on_fail)).await;
        (0..2).for_each(|_| drop(node.hundred(&Load { canary: Outcome::Timeout, ..GOOD })));
        node.settle().await;
        assert_eq!(node.live().rollout.unwrap().phase.as_str(), phase);
        assert_eq!(node.live().split.weight(node.live().rollout.unwrap().canary).to_string(), "10%");
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_at_once_is_taken_back_by_the_past_of_the_version_before() {
    let node = Node::start().await;
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    (0..20).for_each(|_| drop(node.hundred(&GOOD)));
    node.deploy("hello", b"2", by(rollout::Strategy::AllAtOnce, Vec::new(), |_, _| ())).await.unwrap();
    assert_eq!(node.place(), Some(Place::Watch));
    let load = Load { canary: Outcome::ServerError, ..GOOD };
    (0..2).for_each(|_| drop(node.hundred(&load)));
    assert!(node.hundred(&load).iter().all(|version| version.to_string() == "v1"), "it is withheld at once");
    node.settle().await;
    assert_eq!(node.ended().unwrap().0, RolloutOutcome::RolledBack);
    assert_eq!(node.live().stable.to_string(), "v1");
}

#[tokio::test(start_paused = true)]
async fn restarted_node_repeats_the_step_with_its_whole_time() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.hundred(&GOOD);
    node.wait(50).await;
    // The clock of a restarted fake node begins where the first one's did, so it steps back.
    let again = node.restarted().await;
    drop(node);
    assert_eq!(again.place(), Some(Place::Step(0)));
    again.hundred(&GOOD);
    again.wait(59).await;
    assert_eq!(again.place(), Some(Place::Step(0)));
    again.wait(2).await;
    assert_eq!(again.place(), Some(Place::Step(1)));
}

#[tokio::test(start_paused = true)]
async fn paused_rollout_stays_and_resumes_with_the_time_it_had() {
    let node = rolling(canary_with(|_, _| ())).await;
    node.wait(30).await;
    let command = |command| node.control.command(name("hello"), live(), command, note());
    command(Command::Pause).await.unwrap();
    node.hundred(&GOOD);
    node.wait(1000).await;
    assert_eq!(node.live().rollout.unwrap().phase.as_str(), "paused");
    command(Command::Resume).await.unwrap();
    node.hundred(&GOOD);
    node.wait(29).await;
    assert_eq!(node.place(), Some(Place::Step(0)));
    node.wait(2).await;
    assert_eq!(node.place(), Some(Place::Step(1)));
}

#[tokio::test(start_paused = true)]
async fn paused_rollout_that_its_own_version_replaces_starts_anew() {
    let strategy = canary_with(|_, _| ());
    let node = rolling(strategy.clone()).await;
    node.hundred(&GOOD);
    node.wait(61).await;
    assert_eq!(node.place(), Some(Place::Step(1)));
    node.hundred(&GOOD);
    node.control.command(name("hello"), live(), Command::Pause, note()).await.unwrap();
    let before = node.live().rollout.unwrap();
    let again = Deploy { replace: true, ..order("hello", node.upload(b"2").await, strategy) };
    let deployed = node.control.deploy(again, note(), Arc::new(|_| {})).await.unwrap();
    assert_eq!((deployed.version.number(), deployed.unchanged), (2, false));
    let rollout = node.live().rollout.unwrap();
    assert_eq!((rollout.phase.as_str(), node.place()), ("progressing", Some(Place::Step(0))));
    assert_ne!(rollout.id(), before.id());
    let gate = node.control.gate(&(name("hello"), live()), &rollout).unwrap();
    assert_eq!((gate.requests, gate.report.canary.requests), (0, 0), "nothing is known of it yet");
    let (outcome, reason) = node.ended().unwrap();
    assert_eq!((outcome, reason.as_str()), (RolloutOutcome::Aborted, "replaced by another deployment of v2"));
}

fn check(path: &str, expected: &str) -> Check {
    let none = BTreeMap::new();
    let text = CheckText {
        method: None,
        path,
        headers: &none,
        body: None,
        status: None,
        expected_headers: &none,
        pattern: Some(expected),
        json: &BTreeMap::new(),
    };
    Check::parse(text).unwrap()
}

async fn checked(checks: Vec<Check>) -> Node {
    green(checks, |_, _| ()).await
}

async fn green(checks: Vec<Check>, change: impl FnOnce(&mut PlanSpec, &mut GateSpec)) -> Node {
    let node = Node::start().await;
    node.host.answers.lock().unwrap().insert("/hello", (200, b"hello"));
    node.deploy("hello", b"1", ReleaseStrategy::AllAtOnce).await.unwrap();
    node.deploy("hello", b"2", by(rollout::Strategy::BlueGreen, checks, change)).await.unwrap();
    node
}

#[tokio::test(start_paused = true)]
async fn green_is_switched_to_when_its_checks_pass_and_blue_is_kept_ready() {
    let node = checked(vec![check("/hello", "^hello$")]).await;
    node.settle().await;
    assert_eq!(node.live().stable.to_string(), "v2");
    assert_eq!(*node.host.kept.lock().unwrap(), [("hello v1".to_owned(), Duration::from_secs(3600))]);
    node.control.command(name("hello"), live(), Command::Abort, note()).await.unwrap();
    assert_eq!(node.live().stable.to_string(), "v1");
    assert_eq!(node.ended().unwrap().0, RolloutOutcome::RolledBack);
}

#[tokio::test(start_paused = true)]
async fn blue_is_kept_ready_when_nobody_watches_green() {
    let node = green(vec![check("/hello", "^hello$")], |plan, _| plan.watch = Duration::ZERO).await;
    node.settle().await;
    assert_eq!(node.live().rollout, None);
    assert_eq!(*node.host.kept.lock().unwrap(), [("hello v1".to_owned(), Duration::from_secs(3600))]);
}

#[tokio::test(start_paused = true)]
async fn blue_is_kept_over_a_restart_for_what_is_left_of_its_time() {
    let node = green(vec![check("/hello", "^hello$")], |plan, _| plan.watch = Duration::ZERO).await;
    node.wait(600).await;
    let again = node.restarted().await;
    assert_eq!(*again.host.kept.lock().unwrap(), [("hello v1".to_owned(), Duration::from_secs(3000))]);
    again.wait(3000).await;
    let late = again.restarted().await;
    assert!(late.host.kept.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn blue_that_is_stable_again_needs_no_keeping() {
    let node = checked(vec![check("/hello", "^hello$")]).await;
    node.settle().await;
    node.control.rollback(name("hello"), live(), None, note()).await.unwrap();
    assert!(node.restarted().await.host.kept.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn green_that_fails_a_check_gets_nobody() {
    let node = checked(vec![check("/hello", "goodbye")]).await;
    node.settle().await;
    let (outcome, reason) = node.ended().unwrap();
    assert_eq!(outcome, RolloutOutcome::Aborted);
    assert_eq!(reason, "check failed: GET /hello: body begins with \"hello\", expected a match of goodbye");
}

#[tokio::test(start_paused = true)]
async fn check_that_never_answers_fails_in_time() {
    let node = checked(vec![check("/silence", "")]).await;
    node.wait(29).await;
    assert_eq!(node.place(), Some(Place::Check));
    node.wait(2).await;
    assert_eq!(node.ended().unwrap().1, "check failed: GET /silence: no answer within 30s");
}

#[tokio::test(start_paused = true)]
async fn function_deleted_in_mid_rollout_is_forgotten_by_whoever_conducts() {
    let node = rolling(canary_with(|_, _| ())).await;
    let stage = node.stage("hello");
    node.control.delete(name("hello"), note()).await.unwrap();
    assert!(node.control.analysis(&(name("hello"), live())).is_none());
    node.wait(1000).await;
    assert_eq!(node.control.state().revision(), Revision(3));
    drop(stage);
}
