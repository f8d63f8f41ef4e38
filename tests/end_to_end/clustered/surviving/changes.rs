//! Changes that go on while machines fail, and which of them were acknowledged.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering::SeqCst},
    time::Duration,
};

use http::Method;
use rand::{RngExt as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{sites::Site, users::Seen};
use crate::harness::{client::Answer, guests, patiently};

/// A function whose canaries stay until somebody takes them back.
const HELD: &str = "held";

/// A function whose canaries move on by themselves, to everybody, or are found to be broken.
const MOVING: &str = "moving";

pub(super) const FUNCTIONS: [&str; 2] = [HELD, MOVING];

/// How long a change may take before nobody waits for it any more.
const CHANGE_MAX: Duration = Duration::from_secs(20);

/// How long it is waited between two changes.
const PACE: Duration = Duration::from_millis(50);

/// Share of the canaries of [`MOVING`] that always fail, and of those under way that are taken back by hand.
const BROKEN: f64 = 0.3;
const TAKEN_BACK: f64 = 0.03;

/// The steps that one rollout of [`MOVING`] goes through.
fn moving() -> Value {
    json!({ "step_min_ms": 500, "watch_ms": 500 })
}

/// Changes to a cluster.
pub(super) struct Changes {
    sites: Vec<Arc<Site>>,
    seen: Arc<Seen>,
    good: String,
    broken: String,
    made: Mutex<Made>,
}

/// What was tried.
#[derive(Default)]
struct Made {
    tried: u64,
    /// What was acknowledged: a function, what was done, and to which version.
    acknowledged: BTreeSet<(String, String, String)>,
    /// The highest revision that was.
    revision: u64,
    /// How often something was refused, and as what.
    refused: BTreeMap<String, u64>,
}

impl Changes {
    /// Deploys the first versions, and what follows once, so that all nodes have its code: one that is cut
    /// off while something new becomes stable compiles it afterwards, and is not ready until it has.
    pub(super) async fn begin(sites: &[Arc<Site>], seen: &Arc<Seen>) -> Arc<Self> {
        let node = sites[0].node.lock().await;
        let node = node.as_ref().expect("it runs");
        for function in FUNCTIONS {
            node.deploy_with(function, "hello-v1", json!({})).await;
        }
        let (good, broken) = ("hello-v2", "broken");
        for guest in [good, broken] {
            node.deploy(guest).await;
        }
        let good = node.upload(guests::bytes(good)).await;
        let broken = node.upload(guests::bytes(broken)).await;
        let revision = node.revision().await;
        for site in sites {
            patiently("the first versions", async {
                while !site.has(revision).await || !site.is_ready().await {
                    sleep(PACE).await;
                }
            })
            .await;
        }
        let (sites, seen) = (sites.to_vec(), Arc::clone(seen));
        Arc::new(Self { sites, seen, good, broken, made: Mutex::default() })
    }

    fn made(&self) -> MutexGuard<'_, Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes changes until the test ends.
    pub(super) async fn go_on(self: Arc<Self>, mut dice: StdRng) {
        while !self.seen.ended.load(SeqCst) {
            sleep(PACE).await;
            let sites: Vec<_> = self.sites.iter().filter(|site| site.answers()).collect();
            if sites.is_empty() {
                continue;
            }
            let site = sites[dice.random_range(0..sites.len())];
            let function = FUNCTIONS[dice.random_range(0..FUNCTIONS.len())];
            // A node that is stopped meanwhile answers later: nobody knows what became of that change.
            let _ = timeout(CHANGE_MAX, self.change(site, function, &mut dice)).await;
        }
    }

    /// Has a node make a change. What is refused for want of a broker is no fault.
    async fn change(&self, site: &Site, function: &'static str, dice: &mut StdRng) -> Option<()> {
        // What other nodes count is not waited for.
        let path = format!("/v1/functions/{function}?node={}", site.name);
        let status = site.ask(Method::GET, &path, None).await.ok().filter(|answer| answer.status == 200)?;
        let status = json_of(&status);
        let canary = status["stages"][0]["rollout"]["canary"].as_str();
        match canary {
            Some(canary) if function == HELD || dice.random_bool(TAKEN_BACK) => {
                // Not another one that came meanwhile.
                let body = json!({ "expected_revision": status["revision"] });
                let path = format!("/v1/functions/{function}/abort");
                let answer = site.ask(Method::POST, &path, Some(&body)).await.ok()?;
                if self.is_acknowledged(&answer, function, "abort", canary) {
                    self.seen.take_back(function, canary.to_owned());
                }
            }
            Some(_) => {}
            None => {
                let number = {
                    let mut made = self.made();
                    made.tried += 1;
                    made.tried
                };
                let is_broken = function == MOVING && dice.random_bool(BROKEN);
                let component = if is_broken { &self.broken } else { &self.good };
                let held = json!({ "step_min_ms": 3_600_000 });
                let body = json!({
                    "component": component, "config": { "env": { "N": number.to_string() } },
                    "strategy": { "name": "canary", "steps": ["30%"] },
                    "rollout": if function == HELD { held } else { moving() },
                    "gate": { "min_requests": 20 }, "allow_new": true,
                });
                let path = format!("/v1/functions/{function}/deployments");
                let answer = site.ask(Method::POST, &path, Some(&body)).await.ok()?;
                let version = json_of(&answer)["version"].as_str().unwrap_or_default().to_owned();
                self.is_acknowledged(&answer, function, "deploy", &version);
            }
        }
        Some(())
    }

    /// Notes what became of a change.
    fn is_acknowledged(&self, answer: &Answer, function: &str, action: &str, version: &str) -> bool {
        let said = json_of(answer);
        let mut made = self.made();
        if answer.status == 200 {
            made.revision = made.revision.max(said["revision"].as_u64().expect("a number"));
            made.acknowledged.insert((function.to_owned(), action.to_owned(), version.to_owned()));
            return true;
        }
        let code = said["code"].as_str().unwrap_or_default();
        *made.refused.entry(format!("{action}: {} {code}", answer.status.as_u16())).or_default() += 1;
        if !answer.status.is_client_error() && answer.status != 503 {
            self.seen.note_wrong(format!("{action} of {function}: {}", answer.text()));
        }
        false
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.made().acknowledged.len()
    }

    /// What was acknowledged that `site` does not have.
    pub(super) async fn lost(&self, site: &Site) -> Vec<(String, String, String)> {
        let (mut lost, newest) = {
            let made = self.made();
            (made.acknowledged.clone(), made.revision)
        };
        let (mut done, mut before, mut revision) = (Vec::new(), None, 0);
        loop {
            let path =
                before.map_or("/v1/audit".to_owned(), |before: u64| format!("/v1/audit?before={before}"));
            let page = json_of(&site.ask(Method::GET, &path, None).await.expect("it answers").ok());
            for entry in page["entries"].as_array().expect("entries") {
                revision = revision.max(entry["revision"].as_u64().expect("a number"));
                let function = entry["function"].as_str().unwrap_or_default();
                for change in entry["history"].as_array().into_iter().flatten() {
                    let text = |key: &str| change[key].as_str().unwrap_or_default().to_owned();
                    done.push((function.to_owned(), text("action"), text("version")));
                }
            }
            before = page["before"].as_u64();
            if before.is_none() {
                break;
            }
        }
        let mut deployed = BTreeMap::new();
        for (function, action, version) in done.into_iter().rev() {
            match &*action {
                "deploy" => {
                    deployed.insert(function.clone(), version.clone());
                    lost.remove(&(function, action, version));
                }
                // A rollback, as which a version is aborted that everybody has already, names the one before.
                "abort" | "rollback" => {
                    if let Some(version) = deployed.remove(&function) {
                        lost.remove(&(function, "abort".to_owned(), version));
                    }
                }
                _ => {}
            }
        }
        assert!(revision >= newest, "revision {newest} was acknowledged, {} has {revision}", site.name);
        lost.into_iter().collect()
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let made = self.made();
        let (acknowledged, revision) = (made.acknowledged.len(), made.revision);
        write!(
            f,
            "{acknowledged} changes acknowledged, up to revision {revision}; refused: {:?}",
            made.refused
        )
    }
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).expect("the API answers JSON")
}
