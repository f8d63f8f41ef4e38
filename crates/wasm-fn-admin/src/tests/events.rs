//! Events of the nodes in these tests: the real ones over a real inbox, and a data plane that a test answers
//! for.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use tempfile::TempDir;
use tokio::sync::{Notify, oneshot, watch};
use wasm_fn_control::{Control, state::State};
use wasm_fn_core::{FunctionName, StageName, VersionNo};
use wasm_fn_delivery::{
    ActiveTrigger, Deliver, DeployEvents, DeployFuture, DeployOutcome, DeployingEvent, Destination, Ended,
    EventOperations as _, Events, EventsOptions, Pauses, Pausing, Triggers, WallClock,
};
use wasm_fn_events::{Timestamp, TriggerId, WatchSource};
use wasm_fn_store::{EmbeddedInbox, InboxLimits};

use crate::fake::{FakeHost, FakeStore};

/// Longer than anything a test waits for.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Half past noon of a day on which nothing special happens.
const NOW: Timestamp = Timestamp::from_unix_seconds(1_796_041_830);

/// Deliveries that wait for their answers.
#[derive(Default)]
struct Held {
    waiting: Mutex<VecDeque<oneshot::Sender<Ended>>>,
    came: Notify,
}

impl Deliver for Held {
    fn canary(&self, _: &FunctionName, _: &StageName) -> Option<VersionNo> {
        None
    }

    async fn deliver(&self, _: Destination, _: Request<Bytes>) -> Ended {
        let (end, ended) = oneshot::channel();
        self.waiting.lock().unwrap().push_back(end);
        self.came.notify_one();
        match ended.await {
            Ok(ended) => ended,
            // The test is over.
            Err(_) => std::future::pending().await,
        }
    }
}

/// Does not pause anything: no test here has a schedule that asks for it.
struct NoPause;

impl Pauses for NoPause {
    fn pause<'a>(&'a self, trigger: &'a TriggerId, _: u32) -> Pausing<'a> {
        Box::pin(async move { panic!("{trigger} is paused, expected nobody to ask for it") })
    }

    fn pause_rollout<'a>(&'a self, trigger: &'a TriggerId, _: VersionNo, _: String) -> Pausing<'a> {
        Box::pin(async move { panic!("the rollout of {trigger} is paused, expected nobody to ask for it") })
    }
}

/// Deploys nothing.
struct NoDeployments;

impl DeployEvents for NoDeployments {
    fn deploy<'a>(&'a self, event: DeployingEvent<'a>) -> DeployFuture<'a, DeployOutcome> {
        panic!("{} deploys, expected nobody to ask for it", event.id)
    }

    fn digest<'a>(
        &'a self,
        id: &'a TriggerId,
        _: &'a WatchSource,
    ) -> DeployFuture<'a, Result<String, String>> {
        panic!("{id} is looked at, expected nobody to ask for it")
    }
}

/// The events of a node, and how a test takes part in them.
pub(super) struct NodeEvents {
    pub(super) events: Arc<Events<EmbeddedInbox>>,
    plane: Arc<Held>,
    triggers: watch::Receiver<Arc<Triggers>>,
    _time: watch::Sender<Timestamp>,
    _folder: TempDir,
}

impl NodeEvents {
    pub(super) async fn start(control: &Arc<Control<FakeHost, FakeStore>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let inbox = EmbeddedInbox::open(folder.path(), InboxLimits::STANDARD).unwrap();
        let mut states = control.follow();
        let (sender, triggers) = watch::channel(Arc::new(triggers_of(&states.borrow())));
        let (time, told) = watch::channel(NOW);
        let options = EventsOptions { in_flight_max: 100 };
        let (pauses, deploys) = (Box::new(NoPause), Arc::new(NoDeployments));
        let events = Events::new(inbox, WallClock::told(told), options, triggers.clone(), pauses, deploys);
        let plane = Arc::new(Held::default());
        events.start(Arc::clone(&plane));
        tokio::spawn(async move {
            while states.changed().await.is_ok() {
                sender.send_replace(Arc::new(triggers_of(&states.borrow_and_update())));
            }
        });
        Self { events, plane, triggers, _time: time, _folder: folder }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.events.now().unix_ms()
    }

    /// Waits until the trigger with `key` is known to the scheduler.
    pub(super) async fn active(&self, key: &str) {
        let mut triggers = self.triggers.clone();
        let known = triggers.wait_for(|all| all.triggers.keys().any(|id| id.to_string() == key));
        tokio::time::timeout(PATIENCE, known).await.expect("it becomes known").unwrap();
    }

    /// Answers the next delivery with `status`, as v1.
    pub(super) async fn answer(&self, status: u16) {
        let next = async {
            loop {
                if let Some(end) = self.plane.waiting.lock().unwrap().pop_front() {
                    return end;
                }
                self.plane.came.notified().await;
            }
        };
        let end = tokio::time::timeout(PATIENCE, next).await.expect("a delivery");
        let answered = Ended::Answered {
            version: VersionNo::new(1),
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            detail: String::new(),
            is_canary: false,
            refused_effect: false,
        };
        end.send(answered).unwrap();
    }
}

/// The triggers in `state`.
fn triggers_of(state: &State) -> Triggers {
    let active = |(id, found): (TriggerId, &wasm_fn_control::state::TriggerState)| {
        let since = Timestamp::from_unix_ms(found.active_ms).max(NOW);
        (id, ActiveTrigger { trigger: Arc::clone(&found.trigger), since, hook: found.hook.clone() })
    };
    let stages = state
        .functions()
        .flat_map(|(name, function)| function.stages.keys().map(move |stage| (name.clone(), stage.clone())));
    Triggers {
        triggers: state.triggers().map(active).collect(),
        stages: stages.collect(),
        asynchronous: Default::default(),
    }
}
