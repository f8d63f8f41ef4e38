//! Tests of the plans of triggers.

use std::num::NonZeroU32;

use wasm_fn_core::VersionNo;
use wasm_fn_events::{
    EventPath, PausedBy, Redeliver, RetryPolicy, Trigger, TriggerId, TriggerKind, WebhookSource,
};

use super::OF_FUNCTION_MAX;
use crate::state::{Action, Change, Function, FunctionChange, Meta, StageState, State};

fn meta(at_ms: u64) -> Meta<'static> {
    Meta { revision: wasm_fn_core::Revision(at_ms), at_ms, actor: "ana", message: None }
}

fn id(stage: &str, name: &str) -> TriggerId {
    TriggerId {
        function: "hello".parse().unwrap(),
        stage: stage.parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

fn webhook(name: &str) -> Trigger {
    Trigger {
        kind: TriggerKind::Webhook(
            WebhookSource::new("standard".parse().unwrap(), vec!["WEBHOOK_KEY".parse().unwrap()]).unwrap(),
        ),
        path: EventPath::of(&name.parse().unwrap()),
        retry: RetryPolicy::default(),
        concurrency_max: NonZeroU32::new(1).unwrap(),
        rate: None,
        ordered_by: None,
        redeliver: Redeliver::Always,
        paused: None,
    }
}

/// A state in which `hello` has traffic in `live` and `staging`.
fn world() -> State {
    let build = crate::state::Build {
        digest: "0".repeat(64).parse().unwrap(),
        kind: "cgi".to_owned(),
        config: std::sync::Arc::default(),
    };
    let version = crate::state::VersionState {
        build,
        created_ms: 0,
        created_by: "ana".to_owned(),
        message: None,
        provenance: None,
        verdict: None,
        secrets: std::collections::BTreeMap::new(),
        stage_configs: std::collections::BTreeMap::new(),
    };
    let mut function = Function { next_version: VersionNo::new(2).unwrap(), ..Function::default() };
    function.versions.insert(VersionNo::FIRST, version.into());
    for stage in ["live", "staging"] {
        let first = StageState::first(VersionNo::FIRST, wasm_fn_router::Salt([1, 2]));
        function.stages.insert(stage.parse().unwrap(), first);
    }
    let mut state = State::default();
    state.functions.put(&"hello".parse().unwrap(), function.into());
    state
}

fn apply(state: &mut State, change: FunctionChange, at_ms: u64) {
    state.apply(&Change::Function(change), &meta(at_ms));
}

#[test]
fn a_trigger_is_active_since_it_was_made_or_resumed() {
    let mut state = world();
    let change = state.plan_add_trigger(id("live", "work"), webhook("work"), None).unwrap();
    assert_eq!(change.action.as_str(), "add-trigger");
    apply(&mut state, change, 10);
    let change = state.plan_pause_trigger(id("live", "work"), PausedBy::Command, "broken".parse().ok(), 20);
    apply(&mut state, change.unwrap().unwrap(), 20);
    let found = state.trigger(&id("live", "work")).unwrap();
    assert_eq!((found.created_ms, found.active_ms), (10, 10));
    let pause = found.trigger.paused.clone().unwrap();
    assert_eq!((pause.since.unix_ms(), pause.note.unwrap().as_str()), (20, "broken"));
    // To pause it again changes nothing.
    let again = state.plan_pause_trigger(id("live", "work"), PausedBy::Failures(3), None, 25);
    assert_eq!(again, Ok(None));
    let change = state.plan_resume_trigger(id("live", "work")).unwrap().unwrap();
    apply(&mut state, change, 30);
    let found = state.trigger(&id("live", "work")).unwrap();
    assert_eq!((found.created_ms, found.active_ms, &found.trigger.paused), (10, 30, &None));
    assert_eq!(state.plan_resume_trigger(id("live", "work")), Ok(None));
}

#[test]
fn two_triggers_of_a_stage_have_two_names() {
    let mut state = world();
    let change = state.plan_add_trigger(id("live", "work"), webhook("work"), None).unwrap();
    apply(&mut state, change, 10);
    let error = state.plan_add_trigger(id("live", "work"), webhook("work"), None).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`hello` already has a trigger `work` in stage `live`, expected another name"
    );
    assert!(state.plan_add_trigger(id("staging", "work"), webhook("work"), None).is_ok());
    let error = state.plan_add_trigger(id("nowhere", "work"), webhook("work"), None).unwrap_err();
    assert_eq!(error.to_string(), "`hello` has no traffic in stage `nowhere`");
}

#[test]
fn a_function_has_so_many_triggers() {
    let mut state = world();
    for number in 0..OF_FUNCTION_MAX {
        let name = format!("t{number}");
        let change = state.plan_add_trigger(id("live", &name), webhook(&name), None).unwrap();
        apply(&mut state, change, 10);
    }
    let error = state.plan_add_trigger(id("live", "more"), webhook("more"), None).unwrap_err();
    assert_eq!(error.to_string(), "the function has 100 triggers, expected fewer than 100 to make another");
}

#[test]
fn triggers_go_with_their_stage_and_their_function() {
    let mut state = world();
    for stage in ["live", "staging"] {
        let change = state.plan_add_trigger(id(stage, "work"), webhook("work"), None).unwrap();
        apply(&mut state, change, 10);
    }
    assert_eq!(state.functions.triggers(), 2);
    state.functions.check_indexes();
    let delete = |action| FunctionChange { function: "hello".parse().unwrap(), action };
    apply(&mut state, delete(Action::DeleteStage { stage: "staging".parse().unwrap() }), 20);
    assert_eq!(state.triggers().map(|(id, _)| id).collect::<Vec<_>>(), [id("live", "work")]);
    let error = state.plan_remove_trigger(id("staging", "work")).unwrap_err();
    assert_eq!(error.to_string(), "`hello` has no trigger `work` in stage `staging`");
    apply(&mut state, delete(Action::Delete), 30);
    assert_eq!((state.triggers().count(), state.functions.triggers()), (0, 0));
    state.functions.check_indexes();
}
