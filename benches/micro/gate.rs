//! What does a request pay for a rollout's gate, from the choice of its version to the news of its end?
//!
//! Budget: 1 % of a hello request's CPU, so about 500 ns, for a good response. A bad one may cost a few
//! microseconds: it is looked at by every signal it belongs to.

use std::{hint::black_box, path::PathBuf, sync::Arc, time::Duration};

use criterion::{Criterion, criterion_group, criterion_main};
use http::HeaderMap;
use tokio::sync::watch;
use wasm_fn_control::{
    Access, Clock, Control, ControlOptions, Deploy, Note,
    host::{Host, LogPage, Prepared, ProgressSink, Rejection, Wanted},
    salt_at_random,
    state::{ReleaseStrategy, RolloutSpec},
};
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Outcome, Point, StageName, VersionNo, Weight};
use wasm_fn_rollout::{GateSpec, OnFail, PlanSpec};
use wasm_fn_router::{InvocationRecord, Observation, RequestAttributes, Stage};
use wasm_fn_secrets::{NodeKey, SecretSet};
use wasm_fn_store::{Blobs, MemoryStore};

/// Takes every component, and runs none.
struct Nothing(watch::Sender<u64>);

impl Host for Nothing {
    type Version = ();

    async fn prepare(
        &self,
        _: Digest,
        _: PathBuf,
        _: FunctionConfig,
        _: Arc<SecretSet>,
        _: Wanted,
        _: ProgressSink,
    ) -> Result<Prepared, Rejection> {
        Ok(Prepared { kind: "cgi".to_owned(), is_optimising: false })
    }

    async fn imports(&self, _: Digest, _: PathBuf) -> Result<Vec<String>, Rejection> {
        Ok(Vec::new())
    }

    fn version(
        &self,
        _: &FunctionName,
        _: &StageName,
        _: VersionNo,
        _: Digest,
        _: &FunctionConfig,
        _: Arc<SecretSet>,
    ) {
    }

    fn fresh_version(
        &self,
        _: &FunctionName,
        _: &StageName,
        _: VersionNo,
        _: Digest,
        _: &FunctionConfig,
        _: Arc<SecretSet>,
    ) {
    }

    fn in_stage(&self, _: &(), _: &StageName) {}

    async fn call(
        &self,
        _: (),
        _: http::Request<bytes::Bytes>,
    ) -> Result<http::Response<bytes::Bytes>, String> {
        Err("nothing runs here".to_owned())
    }

    fn keep_ready(&self, _: &(), _: Duration) {}

    fn logs(&self, _: &FunctionName, _: u64) -> LogPage {
        LogPage::default()
    }

    fn log_changes(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }
}

/// A stage with two versions, one of them a canary at 10 % if asked.
async fn stage(canary: bool) -> (Arc<Control<Nothing, MemoryStore>>, Arc<Stage<()>>) {
    let folder = tempfile::tempdir().expect("the system has a temporary directory");
    let options = ControlOptions {
        host: Arc::new(Nothing(watch::Sender::new(0))),
        store: MemoryStore::new(),
        blobs: Arc::new(Blobs::open(folder.path(), 1 << 20).expect("the directory is writable")),
        access: Access::only("wfn_bench".to_owned()),
        secrets_key: NodeKey::parse(&format!("wfk_{}", "0".repeat(64))).expect("it is a key"),
        clock: Clock::system(),
        stage_rules: wasm_fn_control::state::StageRules::new(),
        salt: Box::new(salt_at_random),
        peers: None,
    };
    let control = Control::open(options).await.expect("an empty store opens");
    // SHA-256 of nothing.
    let component = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    std::fs::write(folder.path().join("blobs").join(component), []).expect("the directory is writable");
    let component: Digest = component.parse().expect("it is a digest");
    let function: FunctionName = "hello".parse().expect("it is a name");
    for (second, strategy) in [(false, ReleaseStrategy::AllAtOnce), (true, by_canary())] {
        if second && !canary {
            continue;
        }
        let env = [("SECOND".to_owned(), second.to_string())].into();
        let deploy = Deploy {
            function: function.clone(),
            stage: StageName::live(),
            component,
            config: Arc::new(FunctionConfig { env, ..FunctionConfig::default() }),
            stage_config: None,
            strategy,
            replace: false,
            may_move_traffic: true,
            allow_new: true,
            prepared: Weight::FULL,
            provenance: None,
        };
        let (actor, origin) = ("bench".to_owned(), String::new());
        let note = Note { actor, token: None, origin, message: None, expected_revision: None };
        control.deploy(deploy, note, Arc::new(|_| {})).await.expect("it can be deployed");
    }
    let table = control.tables().load_full();
    let stage = Arc::clone(table.find(None, "/hello").expect("it is deployed"));
    (control, stage)
}

fn by_canary() -> ReleaseStrategy {
    let steps = vec!["10%".parse().expect("it is a weight")];
    let mut plan = PlanSpec::usual(wasm_fn_rollout::Strategy::Canary { steps });
    // What fails goes on being looked at.
    plan.on_fail = OnFail::Freeze;
    let spec = RolloutSpec::new(plan, GateSpec::default(), true, Duration::ZERO, Vec::new());
    ReleaseStrategy::Rollout(Arc::new(spec.expect("the plan and the gate are sound")))
}

/// One request at `point`, from its choice to its end.
fn request(stage: &Arc<Stage<()>>, headers: &HeaderMap, point: u16, outcome: Outcome) {
    let traits = RequestAttributes { headers, query: None, client: [127, 0, 0, 1].into() };
    let point = Point::new(point).expect("there are 10,000 points");
    let chosen = stage.choose(&traits, None, || point).expect("nothing was asked for");
    let record = InvocationRecord {
        outcome,
        latency: Duration::from_micros(100),
        queue_wait: Duration::ZERO,
        memory_peak_bytes: 1 << 20,
    };
    let version = chosen.version.hold();
    let at = tokio::time::Instant::now().into_std();
    let ticket = chosen
        .assignment
        .as_ref()
        .zip(version.observer())
        .map(|(part, observer)| observer.request_began(part, at));
    version.tally.record(record);
    if let (Some(part), Some(observer), Some(ticket)) = (chosen.assignment, version.observer(), ticket) {
        let (side, placement, user) = (part.side, part.placement, part.user);
        let (abandoned, request_id) = (false, 1);
        observer.request_ended(&Observation {
            ticket,
            side,
            placement,
            record,
            abandoned,
            at,
            user,
            request_id,
            trap: None,
        });
    }
}

fn benches(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime can be built");
    let (_plain_control, plain) = runtime.block_on(stage(false));
    let (_control, gated) = runtime.block_on(stage(true));
    let headers = HeaderMap::new();
    let mut at = 0;
    let mut next = move || {
        at = (at + 7919) % 10_000;
        at
    };
    criterion.bench_function("without a gate", |bencher| {
        bencher.iter(|| request(black_box(&plain), &headers, next(), Outcome::Success));
    });
    criterion.bench_function("under a gate, good", |bencher| {
        bencher.iter(|| request(black_box(&gated), &headers, next(), Outcome::Success));
    });
    criterion.bench_function("under a gate, bad", |bencher| {
        bencher.iter(|| request(black_box(&gated), &headers, next(), Outcome::ServerError));
    });
}

criterion_group! {
    name = gate;
    config = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(gate);
