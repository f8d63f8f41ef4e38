//! Reconciles rollouts: asks their gates and the clock, then commits and publishes what they decide.
//!
//! A decision is planned against the state for which it was made. If the state has changed meanwhile, nothing
//! is done, and the rollout is checked again.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use wasm_fn_rollout::{Decision, HoldCause, Place, Time, Verdict, Waiting, advance, failed};
use wasm_fn_rollout::{OnNoData, Phase};

use super::{Control, ControlError, Note};
use wasm_fn_store::Store;

use crate::{
    analysis::{Analysis, run_checks},
    host::Host,
    state::{Rollout, StageKey, effective},
};

/// How long to wait before retrying a failed commit.
const RETRY: Duration = Duration::from_secs(1);

/// The actor in the journal.
const ACTOR: &str = "rollout";

/// Reconciles all rollouts until the control plane is gone.
pub(super) async fn reconcile<H: Host, S: Store>(control: Weak<Control<H, S>>) {
    loop {
        let Some(control) = control.upgrade() else { return };
        let changed = Arc::clone(&control.changed);
        let due = control.reconcile_all().await;
        let until = control.clock.instant(due);
        drop(control);
        tokio::select! {
            biased;
            () = changed.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
}

/// The result of checking a rollout.
enum Look {
    /// Nothing to do before this time.
    Until(Time),
    /// Nothing to do until something changes.
    Idle,
    /// A decision to carry out.
    Do(Decision, String),
}

impl<H: Host, S: Store> Control<H, S> {
    /// Checks every rollout, carries out the decisions, and returns when to check again.
    async fn reconcile_all(self: &Arc<Self>) -> Time {
        let mut due = Time(u64::MAX);
        self.contend();
        for (key, analysis) in self.analyses.load().all() {
            let decides = self.decides(&key);
            if self.peers.is_some() {
                analysis.lead(decides);
            }
            if !decides {
                continue;
            }
            match self.reconcile_one(&key, &analysis).await {
                Ok(Some(at)) => due = due.min(at),
                // The other process decides now. If it hands the state back, `changed` is notified.
                Ok(None) | Err(ControlError::HandedOver) => {}
                Err(error) => {
                    tracing::error!(function = %key.0, stage = %key.1, %error, "the decision of a rollout was not carried out");
                    due = due.min(self.clock.now().after(RETRY));
                }
            }
        }
        due
    }

    /// Checks one rollout. Returns when to check it again.
    async fn reconcile_one(
        self: &Arc<Self>,
        key: &StageKey,
        analysis: &Arc<Analysis>,
    ) -> Result<Option<Time>, ControlError> {
        let state = self.state();
        let Some(rollout) = state.rollout(key).filter(|rollout| analysis.is_of(rollout)) else {
            return Ok(None);
        };
        match self.decide(key, analysis, rollout) {
            Look::Until(at) => Ok(Some(at)),
            Look::Idle => Ok(None),
            Look::Do(decision, reason) => {
                self.enact(key, rollout.clone(), decision, reason).await?;
                // The change is notified, and then the rollout is checked again.
                Ok(None)
            }
        }
    }

    fn decide(self: &Arc<Self>, key: &StageKey, analysis: &Arc<Analysis>, rollout: &Rollout) -> Look {
        let (plan, now) = (rollout.spec.plan(), self.clock.now());
        let phase = effective(&rollout.phase, self.observed_since(key, &rollout.phase), now);
        let Some(place) = phase.place() else { return Look::Idle };
        // Users whom a cohort rule places on the canary can make it fail, even if its share is zero.
        let heard = analysis.verdict();
        let verdict = if place == Place::Check && !matches!(heard, Verdict::Fail(_)) {
            match (rollout.spec.checks().is_empty(), analysis.checked()) {
                (true, _) | (_, Some(Ok(()))) => Verdict::Pass,
                (false, Some(Err(found))) if matches!(phase, Phase::Running { .. }) => {
                    let reason = format!("check failed: {found}");
                    return Look::Do(failed(plan, place, HoldCause::Check(found.clone())), reason);
                }
                (false, _) => {
                    if matches!(phase, Phase::Running { .. }) && analysis.begin_checks() {
                        tokio::spawn(check(
                            Arc::clone(self),
                            key.clone(),
                            Arc::clone(analysis),
                            rollout.clone(),
                        ));
                    }
                    Verdict::Wait(Waiting {
                        canary: 0,
                        stable: 0,
                        needed: 0,
                        voices: None,
                        by_cohort: false,
                        failed: None,
                    })
                }
            }
        } else {
            heard
        };
        let decision = advance(plan, &phase, &verdict, now);
        if decision != Decision::Hold {
            let reason = reason(&decision, &verdict, rollout);
            return Look::Do(decision, reason);
        }
        let Phase::Running { place, since } = phase else { return Look::Idle };
        let lasts = match place {
            Place::Check => return Look::Idle,
            Place::Step(_) => plan.step_min(),
            Place::Watch => plan.watch(),
        };
        let due = since.after(lasts);
        // Once the time is over, a step waits only for requests.
        analysis.await_verdict(due <= now && plan.on_no_data() == OnNoData::Wait);
        if due > now { Look::Until(due) } else { self.look_again(analysis) }
    }

    /// Checks again, because a response may have arrived between reading the verdict and asking to be
    /// notified.
    fn look_again(&self, analysis: &Analysis) -> Look {
        match analysis.verdict() {
            Verdict::Wait(_) => Look::Idle,
            Verdict::Pass | Verdict::Fail(_) => Look::Until(self.clock.now()),
        }
    }

    /// Commits `decision`, if the rollout is still in the state for which it was made.
    async fn enact(
        self: &Arc<Self>,
        key: &StageKey,
        seen: Rollout,
        decision: Decision,
        reason: String,
    ) -> Result<(), ControlError> {
        let note = Note {
            actor: ACTOR.to_owned(),
            token: None,
            origin: "node".to_owned(),
            message: None,
            expected_revision: None,
        };
        let (control, function, key) = (Arc::clone(self), key.0.clone(), key.clone());
        let plan = move |state: &crate::state::State| {
            if state.rollout(&key).is_none_or(|now| *now != seen) {
                return Ok(None);
            }
            let facts = control.facts(&key, state, reason.clone());
            state.plan_decision(&key.0, &key.1, decision.clone(), facts)
        };
        self.mutate(function, note, plan).await.map(drop)
    }
}

/// Runs the checks of a blue-green rollout on its new version.
async fn check<H: Host, S: Store>(
    control: Arc<Control<H, S>>,
    key: StageKey,
    analysis: Arc<Analysis>,
    rollout: Rollout,
) {
    let Some(entry) = control.entry(&key, rollout.canary) else { return };
    // A check is about the version, so it does not wait for the node.
    control.host.ready(&entry.target).await;
    let result = run_checks(rollout.spec.checks(), |check| {
        let mut request = Request::new(Bytes::from(check.body.clone()));
        *request.method_mut() = check.method.clone();
        *request.uri_mut() = check.path.clone().into();
        request.headers_mut().extend(check.headers.iter().cloned());
        control.host.call(entry.target.clone(), request)
    });
    analysis.end_checks(result.await);
}

/// The reason for `decision`, in a sentence.
fn reason(decision: &Decision, verdict: &Verdict, rollout: &Rollout) -> String {
    let passed = || match (rollout.phase.place(), verdict) {
        (Some(Place::Check), _) if rollout.spec.checks().is_empty() => {
            "a person has to check the new version first".to_owned()
        }
        (Some(Place::Check), _) => "every check passed".to_owned(),
        (_, Verdict::Wait(waiting)) => format!("the time is over, with {waiting}"),
        _ => "the gate passed".to_owned(),
    };
    match decision {
        Decision::Abort(cause)
        | Decision::Rollback(cause)
        | Decision::Pause(cause)
        | Decision::Freeze(cause) => cause.to_string(),
        Decision::Settle => "the watch is over, and the gate did not fail".to_owned(),
        Decision::Hold | Decision::Await | Decision::Step(..) | Decision::Promote | Decision::Resume => {
            passed()
        }
    }
}
