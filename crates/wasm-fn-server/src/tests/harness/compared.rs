//! A node on which v2 of `hello` is compared with v1.

use std::{
    collections::HashSet,
    future::Future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use http::{HeaderMap, Response};
use http_body_util::BodyExt;
use tokio::sync::watch;
use wasm_fn_core::{Outcome, Revision, Side, TrafficSplit};
use wasm_fn_router::{
    Assignment, ComparisonSpec, Observation, ObservationTicket, Placement, Recalled, RouteTable, Tally,
    TrafficObserver,
};

use super::{Fake, FakeBody, Node, entry, eventually, options, stage_with, v};
use crate::{Call, InvokeFailure, ServerOptions};

/// What the observer learned of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::tests) struct Told {
    pub(in crate::tests) side: Side,
    pub(in crate::tests) placement: Placement,
    pub(in crate::tests) outcome: Outcome,
    pub(in crate::tests) abandoned: bool,
    pub(in crate::tests) user: Option<u64>,
    pub(in crate::tests) request_id: u128,
    pub(in crate::tests) trap: Option<u64>,
}

/// An observer that remembers what it learned and does as a test says. Each request that began must end once,
/// as that which began.
#[derive(Default)]
pub(in crate::tests) struct FakeObserver {
    heard: Mutex<Vec<Told>>,
    begun: Mutex<Begun>,
    pub(in crate::tests) withheld: AtomicBool,
    /// How often somebody wanted to know of a recall.
    pub(in crate::tests) watched: AtomicU32,
    recall: watch::Sender<bool>,
}

/// Requests that began.
#[derive(Default)]
struct Begun {
    next: u64,
    under_way: HashSet<(u64, Side, Placement, Option<u64>)>,
    faults: Vec<String>,
}

impl FakeObserver {
    /// How many requests began and have not ended.
    #[track_caller]
    pub(in crate::tests) fn under_way(&self) -> usize {
        let begun = self.begun.lock().unwrap();
        assert!(begun.faults.is_empty(), "{:?}", begun.faults);
        begun.under_way.len()
    }

    pub(in crate::tests) fn recall(&self) {
        self.recall.send_replace(true);
    }

    /// What was heard, once that is of `count` requests.
    pub(in crate::tests) async fn heard(&self, count: usize) -> Vec<Told> {
        eventually(|| self.heard.lock().unwrap().len() >= count).await;
        let heard = self.heard.lock().unwrap().clone();
        assert_eq!(heard.len(), count, "{heard:?}");
        let begun = self.begun.lock().unwrap();
        assert!(begun.faults.is_empty(), "{:?}", begun.faults);
        heard
    }
}

impl TrafficObserver for FakeObserver {
    fn request_began(&self, part: &Assignment, at: Instant) -> ObservationTicket {
        let mut begun = self.begun.lock().unwrap();
        if at > crate::clock::now() {
            begun.faults.push("a request begins in the future".to_owned());
        }
        begun.next += 1;
        let number = begun.next;
        begun.under_way.insert((number, part.side, part.placement, part.user));
        ObservationTicket(number)
    }

    fn request_ended(&self, heard: &Observation<'_>) {
        let Observation { ticket, side, placement, record, abandoned, user, request_id, trap, .. } =
            heard.clone();
        let mut begun = self.begun.lock().unwrap();
        if !begun.under_way.remove(&(ticket.0, side, placement, user)) {
            begun.faults.push(format!("what did not begin so ends: {heard:?}"));
        }
        drop(begun);
        let (outcome, trap) = (record.outcome, trap.map(|trap| trap.fingerprint));
        let told = Told { side, placement, outcome, abandoned, user, request_id, trap };
        self.heard.lock().unwrap().push(told);
    }

    fn is_withheld(&self) -> bool {
        self.withheld.load(SeqCst)
    }

    fn recalled(&self) -> Recalled {
        self.watched.fetch_add(1, SeqCst);
        let mut recalled = self.recall.subscribe();
        Box::pin(async move {
            recalled.wait_for(|&recalled| recalled).await.unwrap();
        })
    }
}

/// A running comparison; its node's tally is stable's.
pub(in crate::tests) struct Tried {
    pub(in crate::tests) node: Node,
    pub(in crate::tests) canary: Arc<Tally>,
    pub(in crate::tests) observer: Arc<FakeObserver>,
    /// Requests that stable was given.
    pub(in crate::tests) stable_runs: Arc<AtomicU32>,
}

/// How a comparison is set up.
pub(in crate::tests) struct Setup {
    pub(in crate::tests) options: ServerOptions,
    pub(in crate::tests) split: TrafficSplit,
    pub(in crate::tests) fallback_after: Option<Duration>,
}

impl Default for Setup {
    /// Everybody on the canary, which has all the time that a test takes.
    fn default() -> Self {
        Self {
            options: options(),
            split: TrafficSplit::all(v(2)),
            fallback_after: Some(Duration::from_secs(3600)),
        }
    }
}

impl Setup {
    pub(in crate::tests) async fn start(self, canary: Fake, stable: Fake) -> Tried {
        let (tally, canary_tally) = (Arc::new(Tally::new()), Arc::new(Tally::new()));
        let observer = Arc::new(FakeObserver::default());
        let (stable, stable_runs) = stable.counting();
        let versions = vec![entry(v(1), &tally, stable), entry(v(2), &canary_tally, canary)];
        let spec = ComparisonSpec {
            observer: Arc::clone(&observer) as Arc<dyn TrafficObserver>,
            canary: Some(v(2)),
            fallback: v(1),
            fallback_after: self.fallback_after,
        };
        let stage = stage_with("hello", self.split, versions, Some(spec));
        let table = RouteTable::new(Revision(1), vec![stage]).unwrap();
        let node = Node::with_table(table, tally, self.options).await;
        Tried { node, canary: canary_tally, observer, stable_runs }
    }

    /// With a stable that [`echo`]es.
    pub(in crate::tests) async fn canary<F>(self, answer: impl Fn(Call) -> F + Send + Sync + 'static) -> Tried
    where
        F: Future<Output = Result<Response<FakeBody>, InvokeFailure>> + Send + 'static,
    {
        self.start(Fake::new(answer), Fake::new(echo)).await
    }
}

impl Tried {
    /// Waits until the canary has counted exactly one request, as `outcome`, and the observer has learned of
    /// that; returns what it heard.
    pub(in crate::tests) async fn charged(&self, outcome: Outcome) -> Told {
        eventually(|| self.canary.snapshot().total() >= 1).await;
        let snapshot = self.canary.snapshot();
        assert_eq!((snapshot.count(outcome), snapshot.total()), (1, 1), "{snapshot:?}");
        let told = self.observer.heard(1).await.remove(0);
        assert_eq!((told.side, told.outcome), (Side::Canary, outcome));
        told
    }

    /// Asserts that stable was given `count` requests.
    #[track_caller]
    pub(in crate::tests) fn ran_on_stable(&self, count: u32) {
        assert_eq!(self.stable_runs.load(SeqCst), count);
    }
}

/// Answers with the request's body, and tells its head and trailers in headers.
pub(in crate::tests) async fn echo(call: Call) -> Result<Response<FakeBody>, InvokeFailure> {
    let (head, body) = call.request.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().map_or(0, HeaderMap::len).to_string();
    let response = Response::builder()
        .header("x-method", head.method.as_str())
        .header("x-target", head.uri.to_string())
        .header("x-headers", head.headers.len().to_string())
        .header("x-trailers", trailers);
    Ok(response.body(FakeBody::text(body.to_bytes())).unwrap())
}
