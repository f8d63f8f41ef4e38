//! The real inbox, a data plane that does as a test says, and a clock that a test sets.

mod canaries;
mod delivering;
mod deploying;
mod queueing;
mod ticking;

use std::{
    collections::VecDeque,
    future::Future,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};
use wasm_fn_core::{FunctionName, StageName, VersionNo};
use wasm_fn_events::{
    CATCH_UP_DEFAULT, EventPath, Interval, Overlap, Redeliver, RetryOptions, RetryPolicy, Schedule,
    ScheduleOptions, ScheduleTime, Timestamp, Trigger, TriggerId, TriggerKind,
};
use wasm_fn_store::{EmbeddedInbox, Inbox as _, InboxLimits};

use crate::{
    ActiveTrigger, Deliver, DeployEnd, DeployEvents, DeployFuture, DeployOutcome, DeployingEvent,
    Destination, Ended, EventRunner, Events, EventsOptions, Pauses, Pausing, Triggers, WallClock,
};

/// Longer than anything a test waits for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A time at which nothing special happens: 2026-11-30T12:00:00Z.
const NOON: Timestamp = Timestamp::from_unix_seconds(1_796_040_000);

/// The version that is a canary wherever there is one.
const CANARY: u32 = 4;

/// A delivery under way, which a test ends.
struct Under {
    request: Request<Bytes>,
    destination: Destination,
    end: tokio::sync::oneshot::Sender<Ended>,
}

/// A data plane whose deliveries wait until a test ends them.
#[derive(Default)]
struct Held {
    under_way: Mutex<VecDeque<Under>>,
    came: Notify,
    canary: Mutex<Option<VersionNo>>,
}

impl Deliver for Held {
    fn canary(&self, _: &FunctionName, _: &StageName) -> Option<VersionNo> {
        *self.canary.lock().unwrap()
    }

    async fn deliver(&self, destination: Destination, request: Request<Bytes>) -> Ended {
        let (end, ended) = tokio::sync::oneshot::channel();
        self.under_way.lock().unwrap().push_back(Under { request, destination, end });
        self.came.notify_one();
        ended.await.expect("a test ends what it took")
    }
}

/// Triggers that were paused, and after how many failures; canaries whose rollouts were, and why.
#[derive(Clone, Default)]
struct Paused(Arc<Mutex<Vec<(TriggerId, u32)>>>, Arc<Mutex<Vec<(VersionNo, String)>>>);

impl Pauses for Paused {
    fn pause<'a>(&'a self, trigger: &'a TriggerId, failures: u32) -> Pausing<'a> {
        self.0.lock().unwrap().push((trigger.clone(), failures));
        Box::pin(async { Ok(()) })
    }

    fn pause_rollout<'a>(&'a self, _: &'a TriggerId, canary: VersionNo, reason: String) -> Pausing<'a> {
        self.1.lock().unwrap().push((canary, reason));
        Box::pin(async { Ok(()) })
    }
}

/// Deployments and digests that are as a test says.
#[derive(Clone, Default)]
struct Deploys(Arc<Mutex<DeploysState>>);

#[derive(Default)]
struct DeploysState {
    /// How the next deployments end; none means that they are skipped.
    ends: VecDeque<DeployOutcome>,
    /// The ids of the events that came, and what was remembered then.
    came: Vec<(String, Option<Bytes>)>,
    /// What watched tags have.
    digest: Option<Result<String, String>>,
    looks: usize,
}

impl DeployEvents for Deploys {
    fn deploy<'a>(&'a self, event: DeployingEvent<'a>) -> DeployFuture<'a, DeployOutcome> {
        let mut state = self.0.lock().unwrap();
        let id = event.request.headers["ce-id"].to_str().unwrap().to_owned();
        state.came.push((id, event.memory));
        let skipped = DeployOutcome { end: DeployEnd::Skipped { text: "nothing".to_owned() }, memory: None };
        let end = state.ends.pop_front().unwrap_or(skipped);
        Box::pin(async { end })
    }

    fn digest<'a>(
        &'a self,
        _: &'a TriggerId,
        _: &'a wasm_fn_events::WatchSource,
    ) -> DeployFuture<'a, Result<String, String>> {
        let mut state = self.0.lock().unwrap();
        state.looks += 1;
        let digest = state.digest.clone().unwrap_or_else(|| Err("there is no such tag".to_owned()));
        Box::pin(async { digest })
    }
}

/// Events of one node.
struct Node {
    events: Arc<Events<EmbeddedInbox>>,
    runner: EventRunner<EmbeddedInbox>,
    plane: Arc<Held>,
    time: watch::Sender<Timestamp>,
    triggers: watch::Sender<Arc<Triggers>>,
    paused: Paused,
    deploys: Deploys,
    folder: TempDir,
}

impl Node {
    async fn start(triggers: Triggers) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), NOON, triggers).await
    }

    async fn in_folder(folder: TempDir, now: Timestamp, triggers: Triggers) -> Self {
        let inbox = EmbeddedInbox::open(folder.path(), InboxLimits::STANDARD).unwrap();
        let (time, told) = watch::channel(now);
        let (triggers, current) = watch::channel(Arc::new(triggers));
        let paused = Paused::default();
        let options = EventsOptions { in_flight_max: 100 };
        let deploys = Deploys::default();
        let (pauses, deploying) = (Box::new(paused.clone()), Arc::new(deploys.clone()));
        let events = Events::new(inbox, WallClock::told(told), options, current, pauses, deploying);
        let plane = Arc::new(Held::default());
        let runner = events.start(Arc::clone(&plane));
        Self { events, runner, plane, time, triggers, paused, deploys, folder }
    }

    fn set_time(&self, seconds: u64) {
        self.time.send_replace(NOON.saturating_add(Duration::from_secs(seconds)));
    }

    /// The next delivery.
    async fn next(&self) -> Under {
        let next = async {
            loop {
                if let Some(under_way) = self.plane.under_way.lock().unwrap().pop_front() {
                    return under_way;
                }
                self.plane.came.notified().await;
            }
        };
        tokio::time::timeout(PATIENCE, next).await.expect("a delivery")
    }

    /// Asserts that nothing is under way now.
    fn nothing_more(&self) {
        assert!(self.plane.under_way.lock().unwrap().is_empty());
    }

    /// Waits until nothing with `key` is in progress: until a delivery is settled, its run is.
    async fn idle(&self, key: &str) {
        eventually(|| async { self.events.inbox.in_progress(key) == (0, 0) }).await;
    }

    async fn stop(self) -> TempDir {
        assert!(self.runner.stop(PATIENCE).await);
        self.folder
    }
}

impl Under {
    fn header(&self, name: &str) -> &str {
        self.request.headers()[name].to_str().unwrap()
    }

    fn answer(self, status: u16) {
        self.answer_by(3, status, false);
    }

    /// Answers by this version, which was refused an effect, or was not.
    fn answer_by(self, version: u32, status: u16, refused_effect: bool) {
        let answered = Ended::Answered {
            version: VersionNo::new(version),
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: None,
            detail: "so it says".to_owned(),
            is_canary: version == CANARY,
            refused_effect,
        };
        // A delivery that was broken off waits for nothing.
        let _ = self.end.send(answered);
    }
}

/// Waits until `holds`, which changes with what happens in the background.
async fn eventually<F: Future<Output = bool>>(holds: impl Fn() -> F) {
    let held = async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, held).await.expect("it holds in time");
}

fn id(name: &str) -> TriggerId {
    TriggerId {
        function: "hello".parse().unwrap(),
        stage: "live".parse().unwrap(),
        name: name.parse().unwrap(),
    }
}

/// A schedule that ticks every minute.
fn minutely(overlap: Overlap) -> ScheduleOptions {
    let every = Interval::new(Duration::from_secs(60), Duration::ZERO).unwrap();
    ScheduleOptions {
        times: vec![ScheduleTime::Every(every)],
        overlap,
        catch_up: CATCH_UP_DEFAULT,
        jitter: Duration::ZERO,
        pause_on_failure: None,
        canary_runs: 0,
        start: None,
        end: None,
    }
}

fn trigger(name: &str, options: ScheduleOptions, attempts_max: u32) -> Trigger {
    let retry =
        RetryOptions { attempts_max: NonZeroU32::new(attempts_max).unwrap(), ..RetryOptions::default() };
    Trigger {
        kind: TriggerKind::Schedule(Schedule::new(options).unwrap()),
        path: EventPath::of(&name.parse().unwrap()),
        retry: RetryPolicy::new(retry).unwrap(),
        concurrency_max: NonZeroU32::new(10).unwrap(),
        rate: None,
        ordered_by: None,
        redeliver: Redeliver::Always,
        paused: None,
    }
}

fn triggers(all: Vec<(&str, Trigger)>) -> Triggers {
    let active = |(name, trigger): (&str, Trigger)| {
        (id(name), ActiveTrigger { trigger: Arc::new(trigger), since: NOON, hook: None })
    };
    Triggers {
        triggers: all.into_iter().map(active).collect(),
        stages: [("hello".parse().unwrap(), "live".parse().unwrap())].into_iter().collect(),
        asynchronous: Default::default(),
    }
}
