//! Watches rollouts: `status -w` until the user interrupts, `deploy --wait` until one has ended.

mod seen;
mod stream;

use std::{collections::BTreeMap, pin::pin, time::Duration};

use tokio::time::{Instant, MissedTickBehavior, interval};
use wasm_fn_api::{self as api, RolloutChange, RolloutEvent, RolloutOutcomeView};

use super::DONE;
use crate::{
    client::{Client, ClientError},
    fault::{self, Fault},
    output::{
        self, Look, Output, lines,
        picture::Picture,
        rollout::{self, Drawn},
        tables, time,
    },
};
use seen::Seen;
pub(super) use stream::{Functions, Known, Statuses};

/// Time before a node that does not answer is asked again.
pub(super) const RETRY: Duration = Duration::from_millis(500);

/// Time after which the picture is drawn again although nothing is new: it shows how time passes.
const TICK: Duration = Duration::from_secs(1);

/// Ticks per line about a stage where nothing is drawn: one line every 5 seconds.
const TICKS_A_LINE: u64 = 5;

/// The command that watches.
#[derive(Clone, Debug)]
enum For {
    /// `status -w`: all stages, as data.
    Status,
    /// `deploy --wait`: one stage, as messages; only the end of its rollout is data.
    Deploy {
        /// The stage.
        stage: String,
    },
}

/// Follows one function.
struct Watcher {
    function: String,
    who: For,
    output: Output,
    /// Present if the output is a terminal.
    picture: Option<Picture>,
    stages: BTreeMap<String, Seen>,
    ticks: u64,
    /// Whether the node has answered.
    heard: bool,
    /// Whether the node did not answer when it was last asked.
    away: bool,
}

/// Shows `function` until the node refuses for good or the user interrupts.
///
/// # Errors
/// The node does not answer, the function is deleted, or standard output is gone.
pub(super) async fn status(client: &Client, function: &str, output: Output) -> Result<(), Fault> {
    let drawn = output::stdout_is_terminal() && !output.is_json();
    let mut watcher = Watcher::new(function, For::Status, output, drawn.then(Picture::on_stdout));
    let mut statuses = Statuses::new(client, function);
    tokio::select! {
        ended = watcher.follow(async || statuses.next().await, RETRY) => ended.map(drop),
        _ = tokio::signal::ctrl_c() => {
            if watcher.stages.values().any(|seen| seen.rollout().is_some()) {
                output.talk("stopped watching; the rollout continues");
            }
            Ok(())
        }
    }
}

/// Shows the rollout of `deployed` until it has ended, and returns the exit code.
///
/// # Errors
/// The function is deleted, or the rollout's end was missed.
pub(super) async fn deploy(
    client: &Client,
    deployed: &api::DeployResult,
    timeout: Duration,
    output: Output,
) -> Result<u8, Fault> {
    let of_this = |rollout: &&api::RolloutView| rollout.canary == deployed.version;
    let Some(rollout) = deployed.rollout.as_ref().filter(of_this) else {
        output.talk("there is no rollout to wait for");
        return Ok(DONE);
    };
    follow_rollout(client, &deployed.function, &deployed.stage, rollout, timeout, output).await
}

/// Shows `rollout` until it has ended, and returns the exit code.
async fn follow_rollout(
    client: &Client,
    function: &str,
    stage: &str,
    rollout: &api::RolloutView,
    timeout: Duration,
    output: Output,
) -> Result<u8, Fault> {
    let drawn = output::stderr_is_terminal() && !output.is_json();
    let who = For::Deploy { stage: stage.to_owned() };
    let mut watcher = Watcher::new(function, who, output, drawn.then(Picture::on_stderr));
    watcher.begin(stage, rollout)?;
    let deadline = Instant::now().checked_add(timeout);
    let mut statuses = Statuses::new(client, function);
    let because = tokio::select! {
        ended = watcher.follow(async || statuses.next().await, RETRY) => {
            return watcher.ended(stage, &ended?);
        }
        () = reached(deadline) => "timeout",
        _ = tokio::signal::ctrl_c() => "interrupted",
    };
    watcher.inconclusive(stage, &rollout.canary, because)
}

/// Waits until others have approved `proposal` of `function`, and then until its rollout has ended. Returns
/// the exit code.
///
/// # Errors
/// The function is deleted, or the rollout's end was missed.
pub(super) async fn approval(
    client: &Client,
    function: &str,
    proposal: &api::ProposalView,
    timeout: Duration,
    output: Output,
) -> Result<u8, Fault> {
    let deadline = Instant::now().checked_add(timeout);
    let decided = async {
        let mut statuses = Statuses::new(client, function);
        loop {
            match statuses.next().await {
                Ok(status) if !status.proposals.iter().any(|waits| waits.id == proposal.id) => {
                    return Ok::<_, ClientError>(status);
                }
                Ok(_) => {}
                Err(error) if error.is_passing() => tokio::time::sleep(RETRY).await,
                Err(error) => return Err(error),
            }
        }
    };
    let status = tokio::select! {
        status = decided => status.map_err(|error| error.fault(format!("`{function}` cannot be watched")))?,
        () = reached(deadline) => {
            output.talk("the release still waits for approval; it stays there");
            return Ok(fault::UNDECIDED);
        }
    };
    let stage = status.stages.iter().find(|stage| stage.stage == proposal.stage);
    let rollout = stage.and_then(|stage| stage.rollout.clone());
    let is_stable = stage.is_some_and(|stage| stage.stable == proposal.version);
    match rollout.filter(|rollout| rollout.canary == proposal.version) {
        Some(rollout) => {
            let left =
                deadline.map_or(timeout, |deadline| deadline.saturating_duration_since(Instant::now()));
            follow_rollout(client, function, &proposal.stage, &rollout, left, output).await
        }
        None if is_stable => Ok(DONE),
        None => {
            output.talk("the release was rejected, or replaced by another one");
            Ok(fault::ROLLED_BACK)
        }
    }
}

/// Waits for `deadline`, or for ever if a clock cannot represent it.
async fn reached(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

impl Watcher {
    fn new(function: &str, who: For, output: Output, picture: Option<Picture>) -> Self {
        let stages = BTreeMap::new();
        let function = function.to_owned();
        Self { function, who, output, picture, stages, ticks: 0, heard: false, away: false }
    }

    /// Records a rollout that is known before the node was asked.
    fn begin(&mut self, stage: &str, rollout: &api::RolloutView) -> Result<(), Fault> {
        self.stages.insert(stage.to_owned(), Seen::first(Some(rollout), None));
        // People have already seen it in the deployment's line.
        if self.output.is_json() {
            self.event(stage, RolloutChange::Begun { rollout: rollout.clone() })?;
        }
        Ok(())
    }

    /// Takes each status that `next` waits for, until a deployment's rollout has ended, and returns that
    /// change. If the node does not answer, it is asked again after the time `retry`.
    async fn follow(
        &mut self,
        mut next: impl AsyncFnMut() -> Result<api::FunctionStatus, ClientError>,
        retry: Duration,
    ) -> Result<RolloutChange, Fault> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last: Option<(api::FunctionStatus, Instant)> = None;
        loop {
            let answer = {
                let mut next = pin!(next());
                loop {
                    tokio::select! {
                        answer = &mut next => break answer,
                        _ = ticks.tick() => if let Some((status, at)) = &last {
                            self.tick(&later(status, at.elapsed()))?;
                        }
                    }
                }
            };
            let Some(status) = self.answer(answer)? else {
                tokio::time::sleep(retry).await;
                continue;
            };
            let ended = match self.who.clone() {
                For::Status => self.look_at_all(&status)?,
                For::Deploy { stage } => self.look_at(&status, &stage)?,
            };
            if let Some(ended) = ended {
                return Ok(ended);
            }
            if !std::mem::replace(&mut self.heard, true) {
                self.line(&status)?;
            }
            self.draw(&status)?;
            last = Some((status, Instant::now()));
        }
    }

    /// Shows the status again, after a time without news.
    fn tick(&mut self, status: &api::FunctionStatus) -> Result<(), Fault> {
        self.ticks += 1;
        if self.ticks.is_multiple_of(TICKS_A_LINE) {
            self.line(status)?;
        }
        if self.away { Ok(()) } else { self.draw(status) }
    }

    /// Returns the answer, or `None` if the node is unreachable after it has answered before.
    fn answer(
        &mut self,
        answer: Result<api::FunctionStatus, ClientError>,
    ) -> Result<Option<api::FunctionStatus>, Fault> {
        let there_before = self.heard || matches!(self.who, For::Deploy { .. });
        match answer {
            Ok(status) => {
                if std::mem::take(&mut self.away) {
                    self.talk("the node answers again")?;
                }
                Ok(Some(status))
            }
            Err(error) if there_before && error.is_passing() => {
                if !std::mem::replace(&mut self.away, true) {
                    self.talk(&format!("{error}; retrying until it answers"))?;
                }
                Ok(None)
            }
            Err(error) => Err(error.fault(format!("`{}` cannot be shown", self.function))),
        }
    }

    fn look_at_all(&mut self, status: &api::FunctionStatus) -> Result<Option<RolloutChange>, Fault> {
        self.stages.retain(|name, _| status.stages.iter().any(|stage| stage.stage == *name));
        for stage in &status.stages {
            let (rollout, last) = (stage.rollout.as_ref(), stage.last_rollout.as_ref());
            let changes = match self.stages.get_mut(&stage.stage) {
                Some(seen) => seen.look(rollout, last),
                None => {
                    self.stages.insert(stage.stage.clone(), Seen::first(rollout, last));
                    vec![match rollout {
                        Some(rollout) => RolloutChange::Begun { rollout: rollout.clone() },
                        None => RolloutChange::Idle { split: stage.split.clone() },
                    }]
                }
            };
            for change in changes {
                self.event(&stage.stage, change)?;
            }
        }
        Ok(None)
    }

    fn look_at(&mut self, status: &api::FunctionStatus, stage: &str) -> Result<Option<RolloutChange>, Fault> {
        let found = status.stages.iter().find(|found| found.stage == stage);
        let rollout = found.and_then(|found| found.rollout.as_ref());
        let last = found.and_then(|found| found.last_rollout.as_ref());
        let changes = self.stages.entry(stage.to_owned()).or_default().look(rollout, last);
        for change in changes {
            let is_end = is_end(&change);
            // For people, the end is printed as data.
            if self.output.is_json() || !is_end {
                self.event(stage, change.clone())?;
            }
            if is_end {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    /// Prints one change.
    fn event(&mut self, stage: &str, change: RolloutChange) -> Result<(), Fault> {
        let (function, stage) = (self.function.clone(), stage.to_owned());
        let event = RolloutEvent { at_ms: time::now_ms(), function, stage, change };
        match (&self.who, &self.picture) {
            _ if self.output.is_json() => self.output.record(&event, lines::event),
            // The picture shows it.
            (For::Status, Some(_)) => Ok(()),
            (For::Status, None) => self.output.record(&event, lines::event),
            (For::Deploy { .. }, _) => {
                self.talk(&lines::event(&event))?;
                if let RolloutChange::Phase { phase, .. } = &event.change {
                    self.output.next(&rollout::ways_out(phase, &self.target(&event.stage)));
                }
                Ok(())
            }
        }
    }

    /// The function, and its stage if that is not `live`: `hello -s staging`.
    fn target(&self, stage: &str) -> String {
        let on = if stage == "live" { String::new() } else { format!(" -s {stage}") };
        format!("{}{on}", self.function)
    }

    /// Prints a message that stays when the picture changes.
    fn talk(&mut self, text: &str) -> Result<(), Fault> {
        self.clear()?;
        self.output.talk(text);
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Fault> {
        match &mut self.picture {
            Some(picture) => picture.clear().map_err(|error| Fault::output(&error)),
            None => Ok(()),
        }
    }

    /// Draws the status, if there is a picture.
    fn draw(&mut self, status: &api::FunctionStatus) -> Result<(), Fault> {
        let now_ms = time::now_ms();
        if let Some(picture) = &mut self.picture {
            let actual = |stage: &str, _: &api::RolloutView| {
                self.stages.get(stage).map_or(rollout::Actual::Step(None), Seen::actual)
            };
            let text = match &self.who {
                For::Status => tables::stages(status, Drawn::Bars, actual, now_ms, Look::of_stdout()),
                For::Deploy { stage } => {
                    let rollout = self.stages.get(stage).and_then(Seen::rollout);
                    let standing = rollout.map(|rollout| {
                        rollout::standing(rollout, actual(stage, rollout), Drawn::Bars, now_ms)
                    });
                    standing.unwrap_or_default()
                }
            };
            return picture.draw(&text).map_err(|error| Fault::output(&error));
        }
        Ok(())
    }

    /// Prints a line about each stage, if nothing is drawn.
    fn line(&mut self, status: &api::FunctionStatus) -> Result<(), Fault> {
        if self.output.is_json() || self.picture.is_some() {
            return Ok(());
        }
        let now_ms = time::now_ms();
        let only = |stage: &&api::StageStatus| match &self.who {
            For::Status => true,
            For::Deploy { stage: only } => stage.stage == *only,
        };
        for stage in status.stages.iter().filter(only) {
            let actual = self.stages.get(&stage.stage).map_or(rollout::Actual::Step(None), Seen::actual);
            let line = lines::stage(&self.function, stage, actual, now_ms);
            match self.who {
                For::Status => self.output.record(stage, |_| line)?,
                For::Deploy { .. } => self.output.talk(&line),
            }
        }
        Ok(())
    }

    /// Prints how the rollout of `stage` ended, and returns the exit code.
    fn ended(&mut self, stage: &str, end: &RolloutChange) -> Result<u8, Fault> {
        self.clear()?;
        let on = if stage == "live" { String::new() } else { format!(" in stage {stage}") };
        let history = || (format!("wasm-fn history {} --evidence", self.function), "the numbers behind it");
        let code = match end {
            RolloutChange::Ended { outcome, .. } => code(*outcome),
            other => {
                let error = format!("the end of the rollout of `{}`{on} was not seen", self.function);
                let help = format!("see `wasm-fn history {}`", self.function);
                return Err(Fault::new("rollout-gone", error, rollout::change(other)).help(help));
            }
        };
        if !self.output.is_json() {
            self.output.record(end, |end| format!("{} {}{on}", self.function, rollout::change(end)))?;
        }
        if code != DONE {
            self.output.next(&[history()]);
        }
        Ok(code)
    }

    /// Says that the rollout continues without a watcher, and returns the exit code.
    fn inconclusive(&mut self, stage: &str, canary: &str, because: &str) -> Result<u8, Fault> {
        let change = RolloutChange::Inconclusive { canary: canary.to_owned(), because: because.to_owned() };
        self.event(stage, change)?;
        self.output.next(&[
            (format!("wasm-fn status {} -w", self.function), "watch it again"),
            (format!("wasm-fn abort {}", self.target(stage)), "all traffic back to stable"),
        ]);
        Ok(fault::UNDECIDED)
    }
}

/// `status` after the time `passed`, in which nothing has happened. The time of a step or a watch goes on,
/// unless the rollout is on hold.
fn later(status: &api::FunctionStatus, passed: Duration) -> api::FunctionStatus {
    let mut status = status.clone();
    let passed = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    for rollout in status.stages.iter_mut().filter_map(|stage| stage.rollout.as_mut()) {
        if matches!(rollout.phase.as_str(), "progressing" | "awaiting promotion" | "watching") {
            rollout.lasted_ms = rollout.lasted_ms.saturating_add(passed);
        }
    }
    status
}

/// Whether `change` is the end of a rollout.
fn is_end(change: &RolloutChange) -> bool {
    matches!(change, RolloutChange::Ended { .. } | RolloutChange::Gone { .. })
}

/// The exit code for a rollout with this outcome.
fn code(outcome: RolloutOutcomeView) -> u8 {
    match outcome {
        RolloutOutcomeView::Promoted => DONE,
        RolloutOutcomeView::Aborted | RolloutOutcomeView::RolledBack => fault::ROLLED_BACK,
    }
}

#[cfg(test)]
mod tests;
