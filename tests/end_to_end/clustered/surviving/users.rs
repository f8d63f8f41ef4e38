//! Users of each node, who send one request after the other, and what they may not see.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use http::{Method, Request};
use hyper_util::client::legacy;
use serde_json::Value;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::{changes::FUNCTIONS, sites::Site};
use crate::harness::client::Client;

/// How long a version that was taken back may still answer: the lease of the cluster. That is counted from
/// when the answer to its end was read, which is later than its end.
const LEASE: Duration = Duration::from_secs(2);

/// How long a user waits between two requests, and how often a node's revision is looked at.
const PACE: Duration = Duration::from_millis(15);
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// How long a node waits for the head of a request. One that it had not read when it was stopped for that
/// long is late when it goes on.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// What is wrong at most before nothing more is noted.
const WRONG_MAX: usize = 20;

/// What users saw and commands were told, over all nodes.
#[derive(Default)]
pub(super) struct Seen {
    /// When the end of a version was acknowledged.
    withdrawn: Mutex<BTreeMap<(&'static str, String), Instant>>,
    wrong: Mutex<Vec<String>>,
    /// How long after its end a version has answered.
    latest: Mutex<Duration>,
    pub(super) answers: AtomicU64,
    /// Requests that a node took along when it was killed.
    killed: AtomicU64,
    /// Connections that a node did not take because it was about to end.
    refused: AtomicU64,
    /// Requests that a node had not read when it was stopped for as long as it waits for their head.
    late: AtomicU64,
    /// Looks at a node's revision.
    looks: AtomicU64,
    pub(super) ended: AtomicBool,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seen {
    pub(super) fn take_back(&self, function: &'static str, version: String) {
        locked(&self.withdrawn).entry((function, version)).or_insert_with(Instant::now);
    }

    pub(super) fn note_wrong(&self, what: String) {
        let mut wrong = locked(&self.wrong);
        if wrong.len() < WRONG_MAX {
            wrong.push(what);
        }
    }

    pub(super) fn wrong(&self) -> Vec<String> {
        locked(&self.wrong).clone()
    }

    pub(super) fn is_wrong(&self) -> bool {
        !locked(&self.wrong).is_empty()
    }

    fn has_ended(&self) -> bool {
        self.ended.load(SeqCst)
    }

    /// `version` of `function` answered a request to `node` that began at `began`.
    fn answered(&self, node: &str, function: &'static str, version: &str, began: Instant) {
        self.answers.fetch_add(1, SeqCst);
        let withdrawn = locked(&self.withdrawn).get(&(function, version.to_owned())).copied();
        let Some(late) = withdrawn.and_then(|at| began.checked_duration_since(at)) else { return };
        let mut latest = locked(&self.latest);
        *latest = latest.max(late);
        if late > LEASE {
            self.note_wrong(format!("{version} of {function} answers on {node} {late:?} after its end"));
        }
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: &AtomicU64| number.load(SeqCst);
        write!(
            f,
            "{} answers, {} requests lost with a node that was killed, {} connections refused by one that \
             ended, {} cut as too late by one that was stopped, {} errors; {} versions were taken back, the last answer of one began {:?} later; {} \
             looks at revisions",
            count(&self.answers),
            count(&self.killed),
            count(&self.refused),
            count(&self.late),
            locked(&self.wrong).len(),
            locked(&self.withdrawn).len(),
            *locked(&self.latest),
            count(&self.looks),
        )
    }
}

/// Starts a user of each node and each function, and somebody who looks at its revision.
pub(super) fn start(sites: &[Arc<Site>], seen: &Arc<Seen>) -> Vec<JoinHandle<()>> {
    let mut tasks = Vec::new();
    for site in sites {
        for function in FUNCTIONS {
            tasks.push(tokio::spawn(call(Arc::clone(site), function, Arc::clone(seen))));
        }
        tasks.push(tokio::spawn(look(Arc::clone(site), Arc::clone(seen))));
    }
    tasks
}

async fn call(site: Arc<Site>, function: &'static str, seen: Arc<Seen>) {
    while !seen.has_ended() {
        sleep(PACE).await;
        let lives = site.lives();
        if !site.serves() {
            continue;
        }
        let began = Instant::now();
        let request = Request::get(format!("http://{}/{function}", site.listen)).body("").unwrap();
        let answer = Client::http1(site.listen).send(request).await;
        let (now, name) = (site.lives(), site.name);
        match answer {
            Ok(answer) if answer.status == 200 => seen.answered(name, function, answer.version(), began),
            Ok(answer) => {
                seen.note_wrong(format!("{name} answered {function} {} {}", answer.status, answer.text()));
            }
            Err(_) if now.kills != lives.kills => {
                seen.killed.fetch_add(1, SeqCst);
            }
            Err(error) if now.ends != lives.ends && is_refused(&*error) => {
                seen.refused.fetch_add(1, SeqCst);
            }
            Err(_) if now.stops != lives.stops && began.elapsed() >= HEAD_MAX => {
                seen.late.fetch_add(1, SeqCst);
            }
            Err(error) => {
                let took = began.elapsed();
                seen.note_wrong(format!("{name} did not answer {function} after {took:?}: {error:?}"));
            }
        }
    }
}

/// Whether there was no connection: a balancer takes another node then.
fn is_refused(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    error.downcast_ref::<legacy::Error>().is_some_and(legacy::Error::is_connect)
}

/// Looks at the revision of a node, which never falls, not even over its lives.
async fn look(site: Arc<Site>, seen: Arc<Seen>) {
    let mut newest = 0;
    while !seen.has_ended() {
        sleep(LOOKS_EVERY).await;
        let lives = site.lives();
        if !site.serves() {
            continue;
        }
        let answer = site.ask(Method::GET, "/v1/node", None).await;
        match answer {
            Ok(answer) if answer.status == 200 => {
                let node: Value = serde_json::from_slice(&answer.body).expect("the API answers JSON");
                let revision = node["revision"].as_u64().expect("a number");
                if revision < newest {
                    seen.note_wrong(format!("{} has revision {revision} after {newest}", site.name));
                }
                newest = newest.max(revision);
                seen.looks.fetch_add(1, SeqCst);
            }
            _ if site.lives() != lives => {}
            other => {
                let other = other.map(|answer| answer.text());
                seen.note_wrong(format!("{} did not tell its revision: {other:?}", site.name));
            }
        }
    }
}
