//! Tests of following the control plane's state, which is planned and applied as the control plane does it.

use wasm_fn_control::state::{Action, Change, Deployment, FunctionChange, Meta, ReleaseStrategy};
use wasm_fn_core::{Digest, FunctionConfig, Revision};
use wasm_fn_events::{EventPath, Redeliver, RetryPolicy, Trigger, TriggerKind, WebhookSource};
use wasm_fn_router::Salt;

use super::*;

/// A state, and what follows it.
struct Following {
    state: State,
    triggers: Arc<Triggers>,
}

impl Following {
    /// Applies `changes`, and follows them as one. Returns whether anybody has to hear of that.
    fn change(&mut self, changes: impl IntoIterator<Item = FunctionChange>) -> bool {
        let before = self.state.clone();
        for change in changes {
            let revision = Revision(self.state.revision().0 + 1);
            let meta = Meta { revision, at_ms: 1000 * revision.0, actor: "ann", message: None };
            self.state.apply(&Change::from(change), &meta);
        }
        let is_news = follow(&mut self.triggers, &before, &self.state);
        self.check();
        is_news
    }

    /// Whether what follows is what is there.
    fn check(&self) {
        let (found, anew) = (&*self.triggers, triggers(&self.state));
        let shown = |of: &Triggers| -> Vec<_> {
            of.triggers.iter().map(|(id, found)| (id.clone(), found.since, found.trigger.clone())).collect()
        };
        assert_eq!(shown(found), shown(&anew));
        assert_eq!((&found.stages, &found.asynchronous), (&anew.stages, &anew.asynchronous));
    }

    fn deploy(&self, function: &str, stage: &str, asynchronous: bool) -> FunctionChange {
        let deployment = Deployment {
            function: &function.parse().unwrap(),
            stage: &stage.parse().unwrap(),
            digest: Digest([7; 32]),
            kind: "cgi",
            config: &Arc::new(FunctionConfig { asynchronous, ..FunctionConfig::default() }),
            stage_config: None,
            strategy: &ReleaseStrategy::AllAtOnce,
            past: None,
            report: None,
            replace: false,
            allow_new: true,
            provenance: None,
            imports: None,
            salt: Salt([1, 2]),
            now_ms: 5,
        };
        self.state.plan_deploy(&deployment).unwrap().change.unwrap()
    }
}

fn id() -> TriggerId {
    TriggerId {
        function: "a".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: "work".parse().unwrap(),
    }
}

fn webhook() -> Trigger {
    let source = WebhookSource::new("standard".parse().unwrap(), vec!["KEY".parse().unwrap()]).unwrap();
    Trigger {
        kind: TriggerKind::Webhook(source),
        path: EventPath::of(&"work".parse().unwrap()),
        retry: RetryPolicy::default(),
        concurrency_max: std::num::NonZeroU32::MIN,
        rate: None,
        ordered_by: None,
        redeliver: Redeliver::Always,
        paused: None,
    }
}

#[test]
fn what_follows_the_state_is_what_the_state_has_and_news_are_told() {
    let state = State::default();
    let mut all = Following { triggers: Arc::new(triggers(&state)), state };
    assert!(!all.change([all.deploy("a", "live", false)]), "nothing was sent to a new stage");
    let several = ["b", "c", "d"].map(|function| all.deploy(function, "live", false));
    assert!(!all.change(several), "also if there are several");
    assert!(all.change([all.deploy("b", "live", true)]), "it takes asynchronous requests now");
    assert!(!all.change([all.deploy("b", "staging", false)]));
    let change = all.state.plan_add_trigger(id(), webhook(), None).unwrap();
    assert!(all.change([change]));
    assert!(!all.change([all.deploy("a", "staging", false)]), "its trigger is as it was");
    let paused = all.state.plan_pause_trigger(id(), wasm_fn_events::PausedBy::Command, None, 9).unwrap();
    assert!(all.change(paused));
    let stage = "staging".parse().unwrap();
    let gone = FunctionChange { function: "b".parse().unwrap(), action: Action::DeleteStage { stage } };
    assert!(all.change([gone]), "events of the stage are to be removed");
    assert!(all.change([FunctionChange { function: "a".parse().unwrap(), action: Action::Delete }]));
    assert!(!all.change([]));
}

#[test]
fn an_older_state_that_comes_back_is_followed_as_a_whole() {
    let state = State::default();
    let mut all = Following { triggers: Arc::new(triggers(&state)), state };
    let (empty, change) = (all.state.clone(), all.deploy("a", "live", false));
    all.change([change]);
    assert!(follow(&mut all.triggers, &all.state, &empty));
    all.state = empty;
    all.check();
}
