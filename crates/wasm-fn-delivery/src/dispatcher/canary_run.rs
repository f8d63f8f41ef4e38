//! Ticks that run on a canary as well, without effects, while their real run is stable's.
//!
//! What such a run shows is limited. A canary that is refused an effect may fail because of that, so nothing
//! is concluded from its run, however it ends. What is left is a canary that fails by itself, at a tick that
//! stable handles. That pauses its rollout, for a person to decide: one tick is no statistic.

use wasm_fn_core::VersionNo;
use wasm_fn_events::{TriggerId, TriggerKind};
use wasm_fn_store::TakenEvent;

use crate::{
    deliver::{Deliver, Destination, Ended, Recipient},
    pauses::Pauses,
    stats::Stats,
    triggers::Route,
};

/// A tick that runs on stable because a canary has runs without effects.
pub(crate) struct CanaryRun {
    canary: VersionNo,
    trigger: TriggerId,
    key: String,
}

/// What a run shows of the canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Finding {
    Passed,
    Failed,
    Unclear,
    /// It did not run.
    None,
}

impl CanaryRun {
    /// The run of `event` on a canary, if it is a tick that has one.
    pub(crate) fn of<D: Deliver>(
        stats: &Stats,
        deliver: &D,
        route: &Route<'_>,
        event: &TakenEvent,
    ) -> Option<Self> {
        let (id, trigger) = route.trigger?;
        let TriggerKind::Schedule(schedule) = &trigger.kind else { return None };
        let max = schedule.options().canary_runs;
        if max == 0 {
            return None;
        }
        let canary = deliver.canary(&route.function, &route.stage)?;
        let has_runs = stats.has_canary_runs(&event.trigger, canary, max);
        has_runs.then(|| Self { canary, trigger: id.clone(), key: event.trigger.to_string() })
    }

    /// Runs the tick on the canary.
    pub(crate) async fn run<D: Deliver>(
        &self,
        stats: &Stats,
        deliver: &D,
        destination: Destination,
        request: http::Request<bytes::Bytes>,
    ) -> Ended {
        stats.note_canary_run(&self.key, self.canary, |runs| runs.begun += 1);
        let recipient = Recipient::CanaryWithoutEffects;
        deliver.deliver(Destination { recipient, ..destination }, request).await
    }

    /// Counts a run that `ended`, and pauses the rollout if the canary has failed where stable has not.
    pub(crate) async fn judge(self, stats: &Stats, pauses: &dyn Pauses, ended: Ended, stable: &Ended) {
        let Self { canary, trigger, key } = self;
        let finding = finding(&ended, canary, stable);
        stats.note_canary_run(&key, canary, |runs| match finding {
            Finding::Passed => runs.passed += 1,
            Finding::Failed => runs.failed += 1,
            Finding::Unclear => runs.unclear += 1,
            Finding::None => runs.begun -= 1,
        });
        let Ended::Answered { status, detail, .. } = ended else { return };
        if finding != Finding::Failed {
            return;
        }
        let said = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        let reason = format!(
            "{canary} answered {} to a tick of `{}` that stable handled{said}",
            status.as_u16(),
            trigger.name
        );
        tracing::warn!(%trigger, %canary, reason, "canary failed a run without effects");
        if let Err(error) = pauses.pause_rollout(&trigger, canary, reason).await {
            tracing::warn!(%trigger, %canary, error, "rollout was not paused");
        }
    }
}

/// What a run of `canary` that `ended` shows, if the one on stable ended as `stable` did.
fn finding(ended: &Ended, canary: VersionNo, stable: &Ended) -> Finding {
    let handled = |ended: &Ended| matches!(ended, Ended::Answered { status, .. } if status.is_success());
    match ended {
        Ended::Answered { version, .. } if *version != Some(canary) => Finding::None,
        Ended::Answered { refused_effect: true, .. } => Finding::Unclear,
        Ended::Answered { .. } if handled(ended) => Finding::Passed,
        Ended::Answered { .. } if handled(stable) => Finding::Failed,
        Ended::Answered { .. } => Finding::Unclear,
        Ended::OfNode { .. } | Ended::NoSuchStage => Finding::None,
    }
}

#[cfg(test)]
mod tests;
