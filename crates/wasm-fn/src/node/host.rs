//! Implements the control plane's [`Host`] with the runtime.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::sync::watch;
use wasm_fn_admin::Admin;
use wasm_fn_control::{
    Control,
    host::{
        CodeWanted, Host, LogLine, LogPage, LogRequest, LogStream, Prepared, Progress, ProgressSink,
        Rejection, Wanted,
    },
};
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Revision, Scheme, StageName, VersionNo};
use wasm_fn_runtime::{
    BodyError, Fault, Invocation, KindError, LogStage, PrepareError, PrepareStep, Runtime, VersionSpec,
};

use wasm_fn_secrets::SecretSet;
use wasm_fn_server::RequestId;

use super::{
    buckets::NodeBuckets,
    cluster::{NodeStore, Sharing},
    hosted::Hosted,
};

/// Maximum size of an answer to a [`call`](Host::call), bytes.
const CALL_BYTES_MAX: usize = 1 << 20;

/// Maximum number of retries of a [`call`](Host::call) that the node refuses.
const REFUSALS_MAX: u32 = 20;

/// The control plane of a node.
pub(super) type NodeControl = Control<RuntimeHost, NodeStore>;

/// The admin API of a node.
pub(super) type NodeAdmin = Admin<RuntimeHost, NodeStore>;

/// Prepares components and creates handles with the runtime.
pub(crate) struct RuntimeHost {
    runtime: Arc<Runtime>,
    buckets: NodeBuckets,
    /// The other nodes, if the node is in a cluster.
    sharing: Option<Arc<Sharing>>,
}

impl RuntimeHost {
    pub(super) fn new(runtime: Arc<Runtime>, buckets: NodeBuckets, sharing: Option<Arc<Sharing>>) -> Self {
        Self { runtime, buckets, sharing }
    }
}

impl Host for RuntimeHost {
    type Version = Hosted;

    async fn imports(&self, digest: Digest, component: PathBuf) -> Result<Vec<String>, Rejection> {
        self.runtime.imports(digest, component).await.map_err(|error| rejection(&error))
    }

    /// The runtime finds the component by its digest: both use the same directory.
    async fn prepare(
        &self,
        digest: Digest,
        _component: PathBuf,
        config: FunctionConfig,
        secrets: Arc<SecretSet>,
        wanted: Wanted,
        progress: ProgressSink,
    ) -> Result<Prepared, Rejection> {
        let sink = Arc::new(move |at: wasm_fn_runtime::PrepareProgress| {
            let stage = match at.step {
                PrepareStep::Checking => "checking",
                PrepareStep::Compiling => "compiling",
                PrepareStep::Loading => "loading",
            };
            progress(Progress { stage, done: 0, total: at.functions });
        });
        let code = match (&self.sharing, wanted.code) {
            (Some(sharing), _) if sharing.has_others().await => {
                // They take its code once that is complete, and the version waits for them.
                sharing.announce(digest);
                CodeWanted::Optimised
            }
            (_, code) => code,
        };
        let prepared = match code {
            CodeWanted::Optimised => self.runtime.prepare(digest, &config, secrets, sink).await,
            CodeWanted::Soon => self.runtime.prepare_quick(digest, &config, secrets, sink).await,
        };
        let prepared = prepared.map_err(|error| rejection(&error))?;
        if let Some(sharing) = &self.sharing {
            sharing.prepare_everywhere(digest, wanted.nodes).await?;
        }
        Ok(Prepared { kind: prepared.kind.to_string(), is_optimising: prepared.is_baseline })
    }

    fn is_prepared(&self, component: Digest) -> bool {
        self.sharing.is_none() || self.runtime.is_at_hand(component)
    }

    async fn obtain(&self, component: Digest) {
        if let Some(sharing) = &self.sharing {
            sharing.obtain(component).await;
        }
    }

    async fn share(&self, component: Digest) {
        if let Some(sharing) = &self.sharing {
            let _ = sharing.offer(component).await;
        }
    }

    fn version(
        &self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Hosted {
        let version = self.runtime.version(spec((function, stage, no), digest, config, secrets));
        Hosted(version, LogStage::NONE)
    }

    fn fresh_version(
        &self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Hosted {
        let version = self.runtime.fresh_version(spec((function, stage, no), digest, config, secrets));
        let version = Hosted(version, LogStage::NONE);
        tokio::spawn(load(version.clone(), self.sharing.clone()));
        version
    }

    fn in_stage(&self, version: &Hosted, stage: &StageName) -> Hosted {
        Hosted(version.0.clone(), version.0.log_stage(stage))
    }

    async fn forget(&self, function: &FunctionName, stage: Option<&StageName>, gone: Revision) {
        if let Err(error) = self.buckets.delete(function, stage, gone).await {
            // The next start of the node tries again.
            tracing::error!(%function, %error, "what the function kept was not deleted");
        }
    }

    async fn load(&self, version: &Hosted) {
        load(version.clone(), self.sharing.clone()).await;
    }

    async fn ready(&self, version: &Hosted) {
        self.obtain(version.0.component()).await;
        // If it fails, the next call reports why.
        let _ = version.0.compile().await;
    }

    async fn call(&self, version: Hosted, request: Request<Bytes>) -> Result<Response<Bytes>, String> {
        let mut refusals = 0;
        loop {
            match call_once(&version, request.clone()).await {
                // A refusal by the node says nothing about the version.
                Err(Refused::ByNode(retry_after)) if refusals < REFUSALS_MAX => {
                    refusals += 1;
                    tokio::time::sleep(retry_after).await;
                }
                Err(Refused::ByNode(_)) => return Err("the node is at its limits".to_owned()),
                Err(Refused::Failed(reason)) => return Err(reason),
                Ok(response) => return Ok(response),
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "instances are kept for wall-clock time")]
    fn keep_ready(&self, version: &Hosted, time: Duration) {
        version.0.keep_warm(Instant::now() + time);
    }

    fn instances(&self, version: &Hosted) -> u64 {
        u64::try_from(version.0.live()).unwrap_or(u64::MAX)
    }

    fn logs(&self, function: &FunctionName, after: u64) -> LogPage {
        let page = self.runtime.logs(function, after);
        LogPage {
            lines: page.lines.into_iter().map(log_line).collect(),
            lost: page.lost,
            newest: page.newest,
        }
    }

    fn log_changes(&self) -> watch::Receiver<u64> {
        self.runtime.log_changes()
    }
}

fn spec(
    (function, stage, version): (&FunctionName, &StageName, VersionNo),
    digest: Digest,
    config: &FunctionConfig,
    secrets: Arc<SecretSet>,
) -> VersionSpec {
    let (function, stage, config) = (function.clone(), stage.clone(), config.clone());
    VersionSpec { function, stage, version, digest, config, secrets }
}

/// Loads `version`, whose component another node may have. If that fails, its next request reports why.
async fn load(version: Hosted, sharing: Option<Arc<Sharing>>) {
    if let Some(sharing) = sharing {
        sharing.obtain(version.0.component()).await;
    }
    if let Err(error) = version.0.load().await {
        tracing::warn!(version = %version.0.component(), %error, "version was not loaded in advance");
    }
}

/// Why a [`call`](Host::call) was not answered.
enum Refused {
    /// The node has no place or no code for it now, but may have after this time.
    ByNode(Duration),
    /// The call failed for this reason.
    Failed(String),
}

#[expect(clippy::disallowed_methods, reason = "an invocation's time is wall-clock time")]
async fn call_once(version: &Hosted, request: Request<Bytes>) -> Result<Response<Bytes>, Refused> {
    let now = Instant::now();
    let invocation = Invocation {
        request: request.map(|body| Full::new(body).map_err(unbroken)),
        request_id: RequestId::random().bits(),
        stage: version.1,
        client: None,
        scheme: Scheme::Http,
        port: Scheme::Http.port(),
        arrived: now,
        began: now,
        effect_check: None,
        record: None,
    };
    let refused = |fault: Fault| match fault {
        Fault::NotReady { retry_after }
        | Fault::FunctionOverloaded { retry_after }
        | Fault::NodeOverloaded { retry_after } => Refused::ByNode(retry_after),
        fault => Refused::Failed(fault.to_string()),
    };
    let answered = version.0.clone().invoke(invocation).await;
    let (head, body) = answered.map_err(|failed| refused(failed.fault))?.into_parts();
    let body = Limited::new(body, CALL_BYTES_MAX).collect().await;
    let body = body.map_err(|error| Refused::Failed(error.to_string()))?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// A body that is complete in memory cannot fail.
fn unbroken(never: Infallible) -> BodyError {
    match never {}
}

fn log_line(line: wasm_fn_runtime::GuestLogLine) -> LogLine {
    LogLine {
        seq: line.seq,
        at_ms: line.at_ms,
        request_id: format!("{:032x}", line.request_id),
        stage: line.stage,
        version: line.version,
        stream: match line.stream {
            wasm_fn_runtime::GuestLogStream::Stdout => LogStream::Stdout,
            wasm_fn_runtime::GuestLogStream::Stderr => LogStream::Stderr,
            wasm_fn_runtime::GuestLogStream::Host => LogStream::Host,
        },
        failed: line.failed,
        status: line.status.map(|status| status.as_u16()),
        request: line.request.map(|request| {
            let wasm_fn_runtime::LoggedRequest { method, path, took } = *request;
            LogRequest { method: method.to_string(), path, took }
        }),
        text: line.text,
    }
}

fn rejection(error: &PrepareError) -> Rejection {
    let (code, help) = match error {
        PrepareError::Kind(error) => {
            let code = match error {
                KindError::NotWasm { .. } => "not-wasm",
                KindError::Malformed { .. } | KindError::NotCommand { .. } => "component-invalid",
                KindError::NoHandler { .. }
                | KindError::NotComponent { .. }
                | KindError::Command03 { .. } => "no-handler",
                KindError::Imports { .. } => "imports-not-offered",
            };
            (code, Some(error.help()))
        }
        PrepareError::Invalid { .. } => {
            ("component-invalid", Some("build the component again; the file may be truncated"))
        }
        PrepareError::Unsupported { .. } => {
            ("component-invalid", Some("build it without the feature or the size that is named"))
        }
        PrepareError::TooCostly { .. } => {
            ("compile-limit", Some("split the function or the component that is named into smaller ones"))
        }
        PrepareError::Link { .. } => (
            "imports-not-offered",
            Some("build it with released WIT 0.2.x or 0.3.0, without functions that are marked as unstable"),
        ),
        PrepareError::Start { .. } => ("component-does-not-start", None),
        PrepareError::Memory { .. } => {
            ("memory-limit", Some("raise `memory` in the function's configuration"))
        }
        PrepareError::Busy { .. } => ("busy", Some("deploy again later")),
        PrepareError::Changed { .. } => (
            "component-unreadable",
            Some("somebody has changed the file in `blobs` of the data directory: put it back from a backup"),
        ),
        PrepareError::Io { .. } => ("component-unreadable", None),
    };
    Rejection { code, message: error.to_string(), help: help.map(str::to_owned) }
}
