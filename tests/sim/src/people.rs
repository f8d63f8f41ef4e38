//! People: what they command, and what must be true when they are told that it is done.

use std::{fs, sync::Arc, time::Duration};

use tokio::time::sleep;
use wasm_fn_control::{
    Control, ControlError, Deploy, Note,
    state::{ReleaseStrategy, StageKey, State},
};
use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo, VersionRef, Weight};
use wasm_fn_rollout::Command;
use wasm_fn_store::{JournalRange, Store, StoreError};

use crate::{host::SimHost, model::rollout_at, node::Plane, scenario::Scenario};

/// The control plane of a simulation, with its state in `S`.
pub(crate) type SimControl<S> = Control<SimHost, S>;

/// What somebody wants.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Deploy { component: usize, strategy: ReleaseStrategy, replace: bool },
    Command(Command),
    AbortNow,
    Rollback(Option<VersionRef>),
    Traffic(Vec<(VersionRef, Weight)>),
    Delete,
}

impl Wish {
    /// Something that people do at random moments.
    pub(crate) fn draw(plane: &Plane) -> Self {
        let scenario = &plane.world.scenario;
        let mut inner = plane.world.lock();
        let dice = &mut inner.dice;
        match dice.within(0..=99) {
            0..=39 => {
                let last = scenario.behaviours.len() as u64 - 1;
                let component = usize::try_from(dice.within(0..=last)).expect("an index fits");
                Self::Deploy { component, strategy: scenario.strategy(dice), replace: dice.chance(0.3) }
            }
            40..=49 => Self::Command(Command::Promote),
            50..=52 => Self::Command(Command::PromoteFully),
            53..=59 => Self::Command(Command::Pause),
            60..=69 => Self::Command(Command::Resume),
            70..=74 => Self::Command(Command::Abort),
            75..=79 => Self::AbortNow,
            80..=88 => Self::Rollback(match dice.within(0..=3) {
                0 | 1 => None,
                2 => Some(VersionRef::Previous),
                _ => VersionNo::new(u32::try_from(dice.within(1..=3)).expect("3 fits")).map(VersionRef::No),
            }),
            89..=97 => {
                let points = u16::try_from(dice.within(1..=9999)).expect("below 10,000");
                let share = Weight::from_basis_points(points).expect("below 10,000");
                let other = dice.pick(&[VersionRef::Canary, VersionRef::Previous, VersionRef::Latest]);
                match dice.within(0..=4) {
                    0 => Self::Traffic(vec![(other, Weight::FULL)]),
                    1 => Self::Traffic(vec![(VersionRef::Stable, Weight::FULL)]),
                    2 => Self::Traffic(vec![(VersionRef::Stable, share), (other, share.complement())]),
                    _ => Self::Traffic(vec![(other, share), (VersionRef::Stable, share.complement())]),
                }
            }
            _ => Self::Delete,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Deploy { component, strategy, replace } => {
                let plan = match strategy {
                    ReleaseStrategy::Rollout(spec) => {
                        format!("{:?} {:?}", spec.plan().spec(), spec.gate().min_requests)
                    }
                    other => format!("{other:?}"),
                };
                format!("deploy component {component} by {plan}, replace {replace}")
            }
            other => format!("{other:?}"),
        }
    }
}

/// Has `wish` done to the live stage at `key`, and checks what its answer promises.
pub(crate) async fn wish<S: Store>(
    plane: Arc<Plane>,
    control: Arc<SimControl<S>>,
    key: StageKey,
    wish: Wish,
) {
    let world = &plane.world;
    let described = wish.describe();
    world.say(format_args!("person: {} {described}", key.0));
    let (seen, expects) = (control.state(), world.lock().dice.chance(0.2));
    let expected_revision = expects.then(|| seen.revision());
    let (actor, origin) = ("ann".to_owned(), "127.0.0.1:1".to_owned());
    let message = Some("as she likes it".to_owned());
    let note = Note { actor, token: None, origin, message, expected_revision };
    let rollout = rollout_at(&seen, &key).cloned();
    let done = act(&plane, &control, &key, &wish, note).await;
    let state = match done {
        Ok(state) => state,
        Err(error) => {
            world.say(format_args!("person: {described}: {}", told(&error)));
            if matches!(
                error,
                ControlError::Interrupted | ControlError::Table(_) | ControlError::Conflict { .. }
            ) && !(expects && matches!(error, ControlError::Conflict { .. }))
            {
                world.fault(format!("{described}: {error}"));
            }
            return;
        }
    };
    world.say(format_args!("person: {described}: r{}", state.revision().0));
    if matches!(&wish, Wish::Traffic(shares) if shares.len() == 1) {
        world.happened("all to one side");
    }
    if let Err(what) = promised(&control, &key.0, &seen, &state, expected_revision).await {
        world.fault(format!("{described}: {what}"));
    }
    if let (Wish::AbortNow, Some(rollout)) = (&wish, rollout) {
        // What is cut off is told so in its own task, before time goes on.
        sleep(Duration::from_millis(1)).await;
        let mut inner = world.lock();
        let on_it = Some((key.0.clone(), rollout.started_ms));
        let gone = rollout_at(&control.state(), &key).is_none_or(|now| now.id() != rollout.id());
        let left = inner.requests.pending.iter().find(|(_, canary)| **canary == on_it).map(|(id, _)| *id);
        if let Some(id) = left.filter(|_| gone) {
            inner.fault(format!("request {id} runs on {} after it was aborted at once", rollout.canary));
        }
    }
}

/// What `error` says, but for the time of day.
fn told(error: &ControlError) -> String {
    match error {
        ControlError::Store(StoreError::OutOfTouch { .. }) => "out of touch".to_owned(),
        ControlError::Store(StoreError::Unknown { .. }) => "it is not known".to_owned(),
        error => error.to_string(),
    }
}

/// What every answer promises: that the table says so, and that nobody else changed the function since the
/// expected revision.
async fn promised<S: Store>(
    control: &SimControl<S>,
    function: &FunctionName,
    seen: &State,
    state: &State,
    expected: Option<Revision>,
) -> Result<(), String> {
    let published = control.tables().load().revision();
    if published < state.revision() {
        return Err(format!("done at r{}, and r{} is published", state.revision().0, published.0));
    }
    let Some(expected) = expected else { return Ok(()) };
    let changed = state.stored_function(function).map_or(Revision(0), |function| function.revision);
    let range = JournalRange { function: Some(function.clone()), before: Some(changed), limit: 1 };
    let before = control.journal(range).await.map_err(|error| error.to_string())?;
    let before = before.first().map_or(Revision(0), |entry| entry.revision);
    if expected != seen.revision() || before > expected {
        return Err(format!("r{} was made of r{}, expected r{}", changed.0, before.0, expected.0));
    }
    Ok(())
}

async fn act<S: Store>(
    plane: &Plane,
    control: &Arc<SimControl<S>>,
    key: &StageKey,
    wish: &Wish,
    note: Note,
) -> Result<Arc<State>, ControlError> {
    let (function, stage) = key.clone();
    match wish {
        Wish::Deploy { component, strategy, replace } => {
            let digest = Scenario::digest(*component);
            // What an upload leaves behind.
            fs::write(plane.folder.join("blobs").join(digest.to_string()), [])?;
            let deploy = Deploy {
                prepared: Weight::FULL,
                provenance: None,
                function,
                stage: StageName::live(),
                component: digest,
                config: Arc::clone(&plane.world.scenario.config),
                stage_config: None,
                strategy: strategy.clone(),
                replace: *replace,
                may_move_traffic: true,
                allow_new: false,
            };
            Ok(control.deploy(deploy, note, Arc::new(|_| {})).await?.state)
        }
        Wish::Command(command) => control.command(function, stage, *command, note).await,
        Wish::AbortNow => control.abort_now(function, stage, note).await,
        Wish::Rollback(to) => Ok(control.rollback(function, stage, *to, note).await?.0),
        Wish::Traffic(shares) => control.set_traffic(function, stage, shares.clone(), note).await,
        Wish::Delete => control.delete(function, note).await,
    }
}
