//! Formats rollouts: the state of a rollout, its gate's evidence, and its changes.

use std::time::Duration;

use wasm_fn_api::{self as api, RolloutChange, RolloutOutcomeView};
use wasm_fn_core::Weight;
use wasm_fn_rollout::{Factor, Step};

use super::{tables, time, visible};

/// Characters between the brackets of a bar.
const BAR: usize = 24;

/// Lines of a backtrace in a summary: the trap and its place.
const BACKTRACE_LINES: usize = 4;

/// How to draw a rollout's time and evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawn {
    /// Numbers only.
    Plain,
    /// With bars, for a picture that is redrawn.
    Bars,
}

/// `canary`, `blue-green`.
fn strategy(strategy: &api::StrategySpec) -> &'static str {
    match strategy {
        api::StrategySpec::Canary { .. } => "canary",
        api::StrategySpec::Linear { .. } => "linear",
        api::StrategySpec::BlueGreen => "blue-green",
        api::StrategySpec::AllAtOnce => "all-at-once",
        api::StrategySpec::NoTraffic => "no-traffic",
    }
}

/// `promoted`, `rolled back`.
fn outcome(outcome: RolloutOutcomeView) -> &'static str {
    match outcome {
        RolloutOutcomeView::Promoted => "promoted",
        RolloutOutcomeView::Aborted => "aborted",
        RolloutOutcomeView::RolledBack => "rolled back",
    }
}

/// `step 2 of 4`, `step 1 of 4: cohort beta`; `None` outside the steps.
pub(crate) fn place(rollout: &api::RolloutView) -> Option<String> {
    let cohort = cohort_step(rollout).map(|step| format!(": {}", cohort(&step))).unwrap_or_default();
    rollout.step.map(|step| format!("step {step} of {}{cohort}", rollout.steps.len()))
}

/// The rollout's current step, if it is by cohort.
pub(crate) fn cohort_step(rollout: &api::RolloutView) -> Option<Step> {
    let index = usize::try_from(rollout.step?.checked_sub(1)?).ok()?;
    let step: Step = rollout.steps.get(index)?.parse().ok()?;
    step.cohort().is_some().then_some(step)
}

/// `cohort beta`, `10% of cohort beta`.
pub(crate) fn cohort(step: &Step) -> String {
    match step {
        Step::Cohort { name, share: Weight::FULL } => format!("cohort {name}"),
        Step::Cohort { name, share } => format!("{share} of cohort {name}"),
        Step::Share(share) => share.to_string(),
    }
}

/// `34s`, `1m 5s`; milliseconds only below one second.
pub(crate) fn span(ms: u64) -> String {
    let shown = if ms < 1000 { Duration::from_millis(ms) } else { Duration::from_secs(ms / 1000) };
    humantime::format_duration(shown).to_string()
}

fn percent(part: f64) -> String {
    format!("{:.2}%", part * 100.0)
}

/// `[=======>                ] ` for the fraction `part`; nothing if no bars are drawn.
fn bar(drawn: Drawn, part: f64) -> String {
    if drawn == Drawn::Plain {
        return String::new();
    }
    // There are at most `BAR` marks; counting them in a loop needs no cast.
    let full = (1..=BAR).take_while(|&mark| mark as f64 <= part * BAR as f64 + 1e-9).count();
    let head = if full == 0 || full == BAR { "" } else { ">" };
    let body = "=".repeat(full - head.len());
    format!("[{:<BAR$}] ", body + head)
}

fn ratio(done: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { (done as f64 / of as f64).min(1.0) }
}

/// The actual share of requests that the canary had.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Actual {
    /// Since the rollout began, over all its steps.
    Rollout(Option<f64>),
    /// Since its step began, or since watching began if that was later.
    Step(Option<f64>),
}

impl Actual {
    /// The share in the whole rollout, from its evidence.
    pub(crate) fn of(rollout: &api::RolloutView) -> Self {
        Self::Rollout(requests(rollout).and_then(|(canary, stable)| share(canary, stable)))
    }
}

/// The canary's share of these requests; `None` if there are none.
pub(crate) fn share(canary: u64, stable: u64) -> Option<f64> {
    (canary + stable > 0).then(|| ratio(canary, canary + stable))
}

/// Requests of canary and stable in the rollout; `None` if the two did not run at the same time.
pub(crate) fn requests(rollout: &api::RolloutView) -> Option<(u64, u64)> {
    let evidence = &rollout.gate.as_ref()?.evidence;
    (evidence.baseline == "concurrent").then_some((evidence.canary.requests, evidence.stable.requests))
}

/// The state of a rollout: some lines, a table of both sides, and the evidence against the canary.
pub(crate) fn standing(rollout: &api::RolloutView, actual: Actual, drawn: Drawn, now_ms: u64) -> String {
    let api::RolloutView { stable, canary, weight, phase, lasted_ms, lasts_ms, reason, gate, .. } = rollout;
    let from = rollout.provenance.as_ref().map(tables::provenance);
    let mut text = format!(
        "rollout  {} from {stable} to {canary}, {phase}, began {} ago\n",
        strategy(&rollout.strategy),
        time::age(rollout.started_ms, now_ms)
    );
    if let Some(from) = from {
        text += &format!("from     {}\n", visible(&from));
    }
    if let Some(reason) = reason {
        text += &format!("reason   {}\n", visible(reason));
    }
    let actual = match actual {
        Actual::Step(Some(part)) => format!(", {} actual", percent(part)),
        Actual::Rollout(Some(part)) => format!(", {} of all requests since it began", percent(part)),
        Actual::Step(None) | Actual::Rollout(None) => String::new(),
    };
    let place = place(rollout).map(|place| place.replacen(' ', "     ", 1));
    match (place, cohort_step(rollout)) {
        (Some(place), Some(_)) if weight == "0%" => text += &format!("{place}\n"),
        (Some(place), Some(_)) => text += &format!("{place}, and {weight} of everybody set{actual}\n"),
        (Some(place), None) => text += &format!("{place}: {weight} set{actual}\n"),
        (None, _) => text += &format!("share    {weight}\n"),
    }
    let (lasted, lasts) = (span(*lasted_ms), span(*lasts_ms));
    let of_what = if rollout.step.is_some() { "in this step" } else { "in this phase" };
    match lasts_ms {
        0 => text += &format!("time     {lasted} {of_what}\n"),
        _ => {
            let bar = bar(drawn, ratio(*lasted_ms, *lasts_ms));
            text += &format!("time     {bar}{lasted} of {lasts} {of_what}\n");
        }
    }
    if let Some(gate) = gate {
        let api::GateView { verdict, reason, requests, requests_needed, evidence } = gate;
        if rollout.step.is_some() {
            let bar = bar(drawn, ratio(*requests, *requests_needed));
            text += &format!("requests {bar}{requests} of {requests_needed} needed in this step\n");
        }
        text += &format!("gate     {verdict}: {}\n", visible(reason));
        text += &against(evidence, drawn);
        text += &format!("\n{}\n{}\n", since(evidence), sides(evidence));
    }
    text
}

/// The period that the numbers of both sides cover.
fn since(evidence: &api::EvidenceView) -> String {
    let (canary, stable) = (&evidence.canary.version, &evidence.stable.version);
    match evidence.baseline.as_str() {
        "past" => format!("in the rollout: {canary} since it has had all traffic, {stable} before that"),
        _ => "in the rollout, since its gate began:".to_owned(),
    }
}

/// The strongest evidence against the canary.
fn against(evidence: &api::EvidenceView, drawn: Drawn) -> String {
    let mut text = String::new();
    let (canary, stable) = (&evidence.canary.version, &evidence.stable.version);
    if let Some(strongest) = evidence.signals.first() {
        let api::SignalEvidenceView { signal, e_value, threshold, progress, .. } = strongest;
        text += &format!(
            "evidence {}e-value {}, fails at {}; {}: {} ({}) on {canary}, {} ({}) on {stable}\n",
            bar(drawn, *progress),
            Factor(*e_value),
            Factor(*threshold),
            visible(signal),
            strongest.canary,
            percent(strongest.canary_rate),
            strongest.stable,
            percent(strongest.stable_rate),
        );
    }
    for trap in &evidence.traps {
        text += &trapped(trap, evidence, BACKTRACE_LINES);
    }
    if !evidence.failed_requests.is_empty() {
        text += &format!("failed   {}\n", visible(&evidence.failed_requests.join(" ")));
    }
    text
}

/// A trap, and at most `lines` of its backtrace.
fn trapped(trap: &api::TrapEvidenceView, evidence: &api::EvidenceView, lines: usize) -> String {
    let api::TrapEvidenceView { fingerprint, hits, backtrace } = trap;
    let times = if *hits == 1 { "once".to_owned() } else { format!("{hits} times") };
    let mut text = format!("trap     {} hit {} {times}", visible(fingerprint), evidence.canary.version);
    text += &format!(", never {}\n", evidence.stable.version);
    for line in backtrace.lines().take(lines) {
        text += &format!("         {}\n", visible(line));
    }
    let left = backtrace.lines().count().saturating_sub(lines);
    if left > 0 {
        let lines = if left == 1 { "line" } else { "lines" };
        text += &format!("         ({left} more {lines} with -o json)\n");
    }
    text
}

/// Both sides as a table, with those parts that are judged separately.
fn sides(evidence: &api::EvidenceView) -> String {
    let mut table = tables::table(&["ROLE", "VERSION", "REQUESTS", "FAILURES", "P50", "P99"], &[2, 3, 4, 5]);
    let role = |numbers: &api::SideView, usual| tables::role_word(numbers.role.unwrap_or(usual));
    let sides = [(api::VersionRole::Canary, &evidence.canary), (api::VersionRole::Stable, &evidence.stable)]
        .map(|(usual, numbers)| (role(numbers, usual), Some(numbers)));
    let parts = [("baseline", evidence.baseline_side.as_ref()), ("cohort", evidence.cohort.as_ref())];
    for (side, numbers) in sides.into_iter().chain(parts) {
        let Some(numbers) = numbers else { continue };
        let api::SideView { version, requests, failures, latency_p50_ms, latency_p99_ms, .. } = numbers;
        tables::row(
            &mut table,
            [
                side.to_owned(),
                version.clone(),
                requests.to_string(),
                time::failures(*failures, *requests),
                time::latency(*latency_p50_ms),
                time::latency(*latency_p99_ms),
            ],
        );
    }
    table.trim_fmt()
}

/// All numbers of `evidence`, with whole backtraces.
pub(crate) fn evidence(evidence: &api::EvidenceView) -> String {
    let mut text = format!("{}\n", sides(evidence));
    // The strongest signal is always shown, the others only if they have seen anything.
    let seen =
        |&(at, signal): &(usize, &api::SignalEvidenceView)| at == 0 || signal.canary + signal.stable > 0;
    for (_, signal) in evidence.signals.iter().enumerate().filter(seen) {
        text += &format!("evidence {}\n", visible(&signal.text));
    }
    for trap in &evidence.traps {
        text += &trapped(trap, evidence, usize::MAX);
    }
    for node in &evidence.nodes {
        let api::NodeEvidenceView {
            canary_requests, canary_failures, stable_requests, stable_failures, ..
        } = node;
        let (name, canary, stable) =
            (visible(&node.node), &evidence.canary.version, &evidence.stable.version);
        text += &format!(
            "node     {name}: {canary} failed {canary_failures} of {canary_requests}, {stable} {stable_failures} of \
             {stable_requests}\n"
        );
    }
    if !evidence.failed_requests.is_empty() {
        text += &format!("failed   {}\n", visible(&evidence.failed_requests.join(" ")));
    }
    text
}

/// The last rollout that ended; with `numbers`, also the evidence against a canary that was not promoted.
pub(crate) fn last(ended: &api::EndedRolloutView, numbers: bool, now_ms: u64) -> String {
    let api::EndedRolloutView { stable, canary, outcome: how, ended_ms, reason, evidence, .. } = ended;
    // After a rollback, the version it went back to is stable now.
    let from =
        if *how == RolloutOutcomeView::RolledBack { String::new() } else { format!(", from {stable}") };
    let mut text = format!(
        "last     {canary} was {} {} ago{from}: {}\n",
        outcome(*how),
        time::age(*ended_ms, now_ms),
        visible(reason)
    );
    if let Some(evidence) = evidence.as_ref().filter(|_| numbers && *how != RolloutOutcomeView::Promoted) {
        text += &against(evidence, Drawn::Plain);
    }
    text
}

/// A rollout in progress as one line, without the function's name; `split` is the split of its stage.
pub(crate) fn line(rollout: &api::RolloutView, split: &[api::SplitShare], actual: Actual) -> String {
    let api::RolloutView { canary, phase, lasted_ms, lasts_ms, gate, .. } = rollout;
    let place = place(rollout).map(|place| format!(", {place}")).unwrap_or_default();
    let mut text = format!("{canary} {phase}{place}, {}", tables::split(split));
    if let Actual::Step(Some(part)) | Actual::Rollout(Some(part)) = actual {
        text += &format!(" ({canary} actual {})", percent(part));
    }
    text += &format!(", {}", span(*lasted_ms));
    if *lasts_ms > 0 {
        text += &format!(" of {}", span(*lasts_ms));
    }
    let Some(gate) = gate else { return text };
    for numbers in [&gate.evidence.canary, &gate.evidence.stable] {
        let api::SideView { version, requests, failures, latency_p99_ms, .. } = numbers;
        let p99 = time::latency(*latency_p99_ms);
        text += &format!(" | {version}: {requests} requests, {failures} failures, p99 {p99}");
    }
    if let Some(api::SideView { version, requests, failures, .. }) = &gate.evidence.cohort {
        text += &format!(" | cohort on {version}: {requests} requests, {failures} failures");
    }
    let api::GateView { verdict, requests, requests_needed, evidence, .. } = gate;
    text += &format!(" | gate {verdict}");
    if rollout.step.is_some() {
        text += &format!(", {requests} of {requests_needed} requests in this step");
    }
    if let Some(strongest) = evidence.signals.first() {
        let (found, fails) = (Factor(strongest.e_value), Factor(strongest.threshold));
        text += &format!(" | evidence {found} of {fails}: {}", visible(&strongest.signal));
    }
    text
}

/// The commands that move a rollout on from `phase`, in which it stands still; `target` is the function,
/// and its stage if that is not `live`.
pub(crate) fn ways_out(phase: &str, target: &str) -> Vec<(String, &'static str)> {
    let abort = (format!("wasm-fn abort {target}"), "all traffic back to stable");
    match phase {
        "awaiting promotion" => vec![(format!("wasm-fn promote {target}"), "continue the rollout"), abort],
        "paused" => vec![(format!("wasm-fn resume {target}"), "continue the rollout"), abort],
        "frozen" => vec![abort, (format!("wasm-fn promote {target} --full"), "all traffic to the canary")],
        _ => vec![],
    }
}

/// A change of a rollout as one line, without the function's name.
pub(crate) fn change(change: &RolloutChange) -> String {
    match change {
        RolloutChange::Idle { split } => format!("no rollout, traffic is {}", tables::split(split)),
        RolloutChange::Begun { rollout } => {
            let api::RolloutView { stable, canary, weight, phase, .. } = rollout;
            let by_cohort = cohort_step(rollout).is_some() && weight == "0%";
            let weight = if by_cohort { String::new() } else { format!(", {weight}") };
            let place = place(rollout).map(|place| format!(" at {place}")).unwrap_or_default();
            let kind = strategy(&rollout.strategy);
            format!("{kind} from {stable} to {canary}: {phase}{place}{weight}")
        }
        RolloutChange::Step { canary, step: Some(step), steps, weight, cohort: by } => {
            let who = by.as_ref().and_then(|by| by.parse().ok()).map(|step| cohort(&step));
            let who = who.unwrap_or_else(|| weight.clone());
            format!("{canary} is at step {step} of {steps}, {who}")
        }
        RolloutChange::Step { canary, weight, .. } => format!("{canary} has {weight}"),
        RolloutChange::Phase { canary, phase, reason } => {
            let reason = reason.as_ref().map(|reason| format!(": {}", visible(reason))).unwrap_or_default();
            format!("{canary} is {phase}{reason}")
        }
        RolloutChange::Verdict { canary, gate } => {
            format!("{canary} gate says {}: {}", gate.verdict, visible(&gate.reason))
        }
        RolloutChange::Ended { canary, outcome: how, reason, .. } => {
            format!("{canary} is {}: {}", outcome(*how), visible(reason))
        }
        RolloutChange::Gone { canary } => {
            format!("the rollout of {canary} is over, but its end was not seen")
        }
        RolloutChange::Inconclusive { canary, because } => {
            format!("{canary} is inconclusive ({because}): the rollout continues unwatched")
        }
    }
}

#[cfg(test)]
mod tests;
