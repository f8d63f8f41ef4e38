//! The guided tour: a node, an example function, a good canary that is promoted, a bad one that is aborted, a
//! rollback, and a schedule, in one terminal.
//!
//! The admin API and the functions are both called over HTTP, as from another machine.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, Uri};
use http_body_util::BodyExt as _;
use wasm_fn_api::{
    ConfigSpec, DeployEvent, DeployRequest, DeployResult, EndedRolloutView, FunctionStatus, ReleaseRequest,
    RetrySpec, RollbackRequest, RolloutOptions, RolloutOutcomeView, ScheduleSpec, SourceSpec, StageChanged,
    StrategySpec, TriggerRequest, TriggerView,
};
use wasm_fn_pool::PlanOptions;

use crate::{
    args,
    client::{self, Client, ClientError, Upload},
    config::Connection,
    fault::Fault,
    machine,
    node::{Node, NodeOptions, Signals},
    output::Output,
};

/// The example, built from `guest-examples/hello`. It is part of the program, so the tour needs no files.
const HELLO_V1: &[u8] = include_bytes!("../../../guest-examples/prebuilt/hello-v1.wasm");
const HELLO_V2: &[u8] = include_bytes!("../../../guest-examples/prebuilt/hello-v2.wasm");

/// Built from `guest-examples/broken`: traps on every request.
const BROKEN: &[u8] = include_bytes!("../../../guest-examples/prebuilt/broken.wasm");

/// Requests between two polls of a rollout.
const REQUESTS: usize = 200;

/// Duration of each step, and of the watch after the last step, milliseconds. The defaults, one minute and
/// five, would be too long for a tour.
const STEP_MS: u64 = 1500;

/// Maximum duration of a rollout in the tour.
const ROLLOUT_TIMEOUT: Duration = Duration::from_secs(120);

/// Ticks of the schedule that the tour waits for.
const TICKS: u64 = 3;

/// Maximum time for them.
const TICKS_TIMEOUT: Duration = Duration::from_secs(30);

/// Requests in flight at once.
const AT_ONCE: usize = 8;

/// How long requests may take to finish when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the tour. Without `--exit`, the node then keeps running for the user's own requests.
pub(crate) async fn demo(args: args::Demo, output: Output) -> Result<(), Fault> {
    let failed = |what: &'static str| move |error: std::io::Error| Fault::new("demo", what, error);
    let mut signals = Signals::listen().map_err(failed("signals cannot be received"))?;
    let data_dir = tempfile::Builder::new().prefix("wasm-fn-demo-").tempdir();
    let data_dir = data_dir.map_err(failed("the directory for the demo's data was not created"))?;
    let node = start(&args, data_dir.path()).await?;
    let tour = Tour::new(&node, data_dir.path(), output)?;
    let toured = tokio::select! {
        toured = tour.run() => toured.map(|()| true),
        // The user may leave early.
        () = signals.next() => Ok(false),
    };
    if matches!(toured, Ok(true)) && !args.exit {
        tour.invite(data_dir.path())?;
        signals.next().await;
    }
    drop(tour);
    signals.drain(node, DRAIN_TIMEOUT).await;
    toured.map(drop)
}

async fn start(args: &args::Demo, data_dir: &Path) -> Result<Node, Fault> {
    let pool = machine::plan(PlanOptions::default())?;
    let options = NodeOptions::inside_command(args.listen, args.admin, data_dir.to_owned(), pool);
    let node = Node::start(options).await;
    node.map_err(|error| Fault::caused("start", "the node did not start", &error))
}

struct Tour {
    admin: Client,
    hello: Uri,
    node: String,
    /// The file of the example, before it is deployed.
    example: PathBuf,
    output: Output,
}

/// How often each version answered, and the last answer.
#[derive(Default)]
struct Answers {
    by_version: BTreeMap<String, usize>,
    failed: usize,
    last: String,
}

impl Tour {
    fn new(node: &Node, data_dir: &Path, output: Output) -> Result<Self, Fault> {
        let connection = Connection::of_data_dir(&args::Connection {
            server: format!("http://{}", node.admin()),
            token: None,
            data_dir: data_dir.to_owned(),
            ca: None,
            cert: None,
            key: None,
            at_least_revision: None,
            output: args::Format::Table,
        })?;
        let hello = format!("http://{}/hello", node.listen());
        let hello =
            hello.parse().map_err(|error| Fault::new("demo", "the node has no usable address", error))?;
        let node_text = format!(
            "A node is up. Functions are at http://{}, its admin API at http://{}.",
            node.listen(),
            node.admin()
        );
        Ok(Self {
            admin: Client::new(connection),
            hello,
            node: node_text,
            example: data_dir.join("hello.wasm"),
            output,
        })
    }

    async fn run(&self) -> Result<(), Fault> {
        self.say(&self.node)?;
        let (deployed, took) = self.deploy(HELLO_V1, StrategySpec::AllAtOnce).await?;
        self.say(&format!(
            "\nwasm-fn deploy hello.wasm\n  {} is live after {took:.0?}, compilation included",
            deployed.version
        ))?;
        let answers = self.ask(1).await?;
        self.say(&format!("  curl {}  ->  {}", self.hello, answers.last.trim_end()))?;

        self.say("\nA good canary, under load:")?;
        self.roll_out(HELLO_V2, RolloutOutcomeView::Promoted).await?;
        self.say("\nA canary that traps at every request, under the same load:")?;
        self.roll_out(BROKEN, RolloutOutcomeView::Aborted).await?;

        let request =
            RollbackRequest { stage: "live".to_owned(), to: None, message: None, expected_revision: None };
        self.change("rollback", &request).await?;
        let answers = self.ask(REQUESTS).await?;
        self.say(&answers.told())?;
        answers.all_well()?;

        self.say("\nA schedule, which calls the function without a client:")?;
        self.schedule().await
    }

    /// Adds a schedule to the example, and waits until the example has handled some of its ticks.
    async fn schedule(&self) -> Result<(), Fault> {
        let every_ms = vec![1000];
        let request = TriggerRequest {
            source: SourceSpec::Schedule(ScheduleSpec { every_ms, ..ScheduleSpec::default() }),
            path: None,
            retry: RetrySpec::default(),
            concurrency_max: None,
            rate: None,
            ordered_by: None,
            redeliver: None,
            release: None,
            message: Some("demo".to_owned()),
            expected_revision: None,
        };
        let path = "/v1/functions/hello/stages/live/triggers/heartbeat";
        let added: Result<TriggerView, _> = self.admin.call(Method::PUT, path, Some(&request)).await;
        added.map_err(|error| error.fault("the schedule was not added"))?;
        self.say("wasm-fn triggers add schedule hello --name heartbeat --every 1s")?;
        let handled = async {
            let mut polls = tokio::time::interval(Duration::from_millis(100));
            loop {
                polls.tick().await;
                let shown: Result<TriggerView, _> = self.admin.get(path).await;
                let counts = shown.map_err(|error| error.fault("the schedule was not read"))?.counts;
                let by: Vec<_> = counts.versions.iter().filter(|by| by.acknowledged > 0).collect();
                if by.iter().map(|by| by.acknowledged).sum::<u64>() >= TICKS {
                    let by = by.iter().map(|by| format!("{} by {}", by.acknowledged, by.version));
                    return Ok::<_, Fault>(by.collect::<Vec<_>>().join(", "));
                }
            }
        };
        match tokio::time::timeout(TICKS_TIMEOUT, handled).await {
            Ok(by) => self.say(&format!("  ticks were handled: {}", by?)),
            Err(_) => {
                let cause = format!("fewer than {TICKS} were handled after {TICKS_TIMEOUT:?}");
                Err(Fault::new("demo", "the schedule did not tick", cause))
            }
        }
    }

    /// Deploys `component` as a canary and sends requests until its rollout has ended with the outcome
    /// `expected`.
    #[expect(clippy::disallowed_methods, reason = "the tour shows how long a rollout takes")]
    async fn roll_out(&self, component: &'static [u8], expected: RolloutOutcomeView) -> Result<(), Fault> {
        let steps = vec!["10%".to_owned(), "50%".to_owned()];
        let (deployed, took) = self.deploy(component, StrategySpec::Canary { steps }).await?;
        let version = deployed.version;
        // The bad version imports more than the good one.
        let allowed = if deployed.growth.is_empty() { "" } else { " --allow-new" };
        self.say(&format!(
            "wasm-fn deploy hello.wasm --canary=10%,50% --step-min 1500ms{allowed}\n  {version} is the canary after {took:.0?}"
        ))?;
        let began = Instant::now();
        let (mut answers, mut shown) = (Answers::default(), String::new());
        while began.elapsed() < ROLLOUT_TIMEOUT {
            answers.add(self.ask(REQUESTS).await?);
            let (now, ended) = self.standing(&version).await?;
            if now != shown {
                answers.all_well()?;
                if !shown.is_empty() {
                    self.say(&format!("  {shown}:{}", std::mem::take(&mut answers).told()))?;
                }
                shown = now;
            }
            let Some(ended) = ended else { continue };
            answers.all_well()?;
            if answers.total() > 0 {
                self.say(&format!("  meanwhile:{}", answers.told()))?;
            }
            let word = match ended.outcome {
                RolloutOutcomeView::Promoted => "promoted",
                RolloutOutcomeView::Aborted => "aborted",
                RolloutOutcomeView::RolledBack => "rolled back",
            };
            self.say(&format!("  {version} was {word} after {:.1?}: {}", began.elapsed(), ended.reason))?;
            if ended.outcome != expected {
                return Err(Fault::new("demo", "a rollout did not end as expected", ended.reason));
            }
            return Ok(());
        }
        Err(Fault::new(
            "demo",
            "a rollout did not end",
            format!("{version} was still rolling out after {ROLLOUT_TIMEOUT:?}"),
        ))
    }

    /// The state of the rollout of `version` in words, and its end if it has ended.
    async fn standing(&self, version: &str) -> Result<(String, Option<EndedRolloutView>), Fault> {
        let status: Result<FunctionStatus, _> = self.admin.get("/v1/functions/hello").await;
        let status = status.map_err(|error| error.fault("the status of the example was not read"))?;
        let Some(live) = status.stages.into_iter().next() else { return Ok((String::new(), None)) };
        let stands = match &live.rollout {
            Some(rollout) if rollout.step.is_some() => format!("{} on {version}", rollout.weight),
            Some(rollout) => format!("{} {version}", rollout.phase),
            None => "over".to_owned(),
        };
        let ended = live.last_rollout.filter(|ended| live.rollout.is_none() && ended.canary == version);
        Ok((stands, ended))
    }

    fn say(&self, text: &str) -> Result<(), Fault> {
        self.output.record(&text, |text| (*text).to_owned())
    }

    #[expect(clippy::disallowed_methods, reason = "the tour shows how long a deployment takes")]
    async fn deploy(
        &self,
        component: &'static [u8],
        strategy: StrategySpec,
    ) -> Result<(DeployResult, Duration), Fault> {
        let began = Instant::now();
        let refused = |error: ClientError| error.fault("the example was not deployed");
        std::fs::write(&self.example, component).map_err(|error| refused(ClientError::File(error)))?;
        let (digest, bytes) =
            Upload::digest(&self.example).map_err(|error| refused(ClientError::File(error)))?;
        let upload = Upload { path: self.example.clone(), component: digest, bytes, sent: Box::new(|_| {}) };
        self.admin.upload(upload).await.map_err(refused)?;
        let request = DeployRequest {
            component: digest.to_string(),
            config: ConfigSpec::default(),
            stage: "live".to_owned(),
            release: ReleaseRequest {
                strategy,
                rollout: RolloutOptions {
                    step_min_ms: Some(STEP_MS),
                    watch_ms: Some(STEP_MS),
                    ..RolloutOptions::default()
                },
                message: Some("demo".to_owned()),
                allow_new: true,
                ..ReleaseRequest::default()
            },
        };
        let path = "/v1/functions/hello/deployments";
        let mut events = self.admin.lines(Method::POST, path, Some(&request)).await.map_err(refused)?;
        while let Some(event) = events.next().await.map_err(refused)? {
            match event {
                DeployEvent::Progress { .. } => {}
                DeployEvent::Done { result } => return Ok((result, began.elapsed())),
                DeployEvent::Error { problem } => {
                    return Err(Fault::refused("the example was not deployed", problem));
                }
            }
        }
        Err(Fault::new("demo", "the example was not deployed", "the node's answer ended early"))
    }

    #[expect(clippy::disallowed_methods, reason = "the tour shows how long a change takes")]
    async fn change<B: serde::Serialize>(&self, action: &str, request: &B) -> Result<(), Fault> {
        let began = Instant::now();
        let path = format!("/v1/functions/hello/{action}");
        let changed: Result<StageChanged, _> = self.admin.call(Method::POST, &path, Some(request)).await;
        let changed = changed.map_err(|error| error.fault(format!("{action} failed")))?;
        let took = began.elapsed();
        self.say(&format!("\nwasm-fn {action} hello\n  {} has everything after {took:.1?}", changed.stable))
    }

    async fn ask(&self, requests: usize) -> Result<Answers, Fault> {
        let http = self.admin.http();
        let one = |_| {
            let request = Request::get(self.hello.clone()).body(client::full(""));
            let http = http.clone();
            async move {
                let request = request.map_err(|error| error.to_string())?;
                let response = http.request(request).await.map_err(|error| error.to_string())?;
                let version = response.headers().get("wasm-fn-version");
                let version = version.and_then(|value| value.to_str().ok()).unwrap_or("none").to_owned();
                let fine = response.status().is_success();
                let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
                Ok::<_, String>((version, fine, body.to_bytes()))
            }
        };
        let answers = stream::iter(0..requests).map(one).buffer_unordered(AT_ONCE);
        let answers = answers.try_fold(Answers::default(), async |mut answers, (version, fine, body)| {
            *answers.by_version.entry(version).or_default() += 1;
            answers.failed += usize::from(!fine);
            answers.last = String::from_utf8_lossy(&body).into_owned();
            Ok(answers)
        });
        answers.await.map_err(|cause| Fault::new("demo", "a request broke off", cause))
    }

    /// Says what the user can do now.
    fn invite(&self, data_dir: &Path) -> Result<(), Fault> {
        let admin = &self.admin.address().authority;
        let data_dir = data_dir.display();
        self.say(&format!(
            "\nThe node stays up. From another terminal:\n  \
             curl {}\n  \
             wasm-fn status hello --server http://{admin} --data-dir {data_dir}\n\
             Ctrl-C ends it and removes its data.",
            self.hello
        ))
    }
}

impl Answers {
    fn total(&self) -> usize {
        self.by_version.values().sum()
    }

    fn add(&mut self, more: Self) {
        for (version, count) in more.by_version {
            *self.by_version.entry(version).or_default() += count;
        }
        self.failed += more.failed;
    }

    /// `  600 requests:  v1 541 (90.2%)  v2 59 (9.8%)  failed 0`.
    fn told(&self) -> String {
        let total = self.total();
        let mut text = format!("  {total} requests:");
        for (version, count) in &self.by_version {
            let tenths = (count * 1000 + total / 2) / total.max(1);
            let _ = write!(text, "  {version} {count} ({}.{}%)", tenths / 10, tenths % 10);
        }
        let _ = write!(text, "  failed {}", self.failed);
        text
    }

    fn all_well(&self) -> Result<(), Fault> {
        match self.failed {
            0 => Ok(()),
            failed => Err(Fault::new("demo", "requests failed", format!("{failed} of {}", self.total()))),
        }
    }
}
