//! The interface through which the control plane uses whatever runs functions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Revision, StageName, VersionNo, Weight};
use wasm_fn_secrets::SecretSet;

/// Receives progress. Any thread may call it, and it must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Checks components, creates handles on versions, and keeps their logs.
pub trait Host: Send + Sync + 'static {
    /// A handle with which the data plane runs one version. All clones are the same handle.
    type Version: Clone + Send + Sync + 'static;

    /// The interfaces that the component at `component` imports, without their versions, such as
    /// `wasi:http/outgoing-handler`. This is much cheaper than [`prepare`](Self::prepare).
    ///
    /// # Errors
    /// Why it cannot become a version.
    fn imports(
        &self,
        digest: Digest,
        component: PathBuf,
    ) -> impl Future<Output = Result<Vec<String>, Rejection>> + Send;

    /// Checks the component at `component` (its kind, imports, and the limits of `config`) and compiles it
    /// into the artefact cache, so that a handle on it loads fast. It is started once, with `secrets`. If the
    /// code wanted is [`CodeWanted::Soon`], the optimised code may follow when it is served. In a cluster, it
    /// ends when enough nodes have prepared it.
    ///
    /// # Errors
    /// Why the component cannot become a version. Nothing is changed.
    fn prepare(
        &self,
        digest: Digest,
        component: PathBuf,
        config: FunctionConfig,
        secrets: Arc<SecretSet>,
        wanted: Wanted,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<Prepared, Rejection>> + Send;

    /// Gets a component that another node has to where this one looks for it, if there is one. The default is
    /// that of a node that is alone.
    fn obtain(&self, component: Digest) -> impl Future<Output = ()> + Send {
        let _ = component;
        std::future::ready(())
    }

    /// Lets other nodes [obtain](Self::obtain) a component that was just stored on this one, if that is
    /// possible now.
    fn share(&self, component: Digest) -> impl Future<Output = ()> + Send {
        let _ = component;
        std::future::ready(())
    }

    /// Whether a component that other nodes may have prepared can be called on this one. If not, the requests
    /// of a canary are answered by the version before until it can. The default is that of a node that is
    /// alone.
    fn is_prepared(&self, component: Digest) -> bool {
        let _ = component;
        true
    }

    /// A handle on a version that has been prepared, now or before a restart, with the secrets and the
    /// buckets that it has in a stage. This is cheap, because the version loads when it is first used.
    fn version(
        &self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Self::Version;

    /// Another handle on the same version, which shares nothing with the first: its code is loaded again, and
    /// it has its own instances. It is therefore as warm as a version that was just deployed. Begins to load
    /// it.
    fn fresh_version(
        &self,
        function: &FunctionName,
        stage: &StageName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
        secrets: Arc<SecretSet>,
    ) -> Self::Version;

    /// The same handle for the requests of `stage`: what they log is of that stage.
    fn in_stage(&self, version: &Self::Version, stage: &StageName) -> Self::Version;

    /// Deletes what versions of `function` kept in `stage`, or in all stages. They are deleted since the
    /// revision `gone`, and no handle on them will be asked for before this has ended. Every node of a
    /// cluster does it.
    fn forget(
        &self,
        function: &FunctionName,
        stage: Option<&StageName>,
        gone: Revision,
    ) -> impl Future<Output = ()> + Send {
        let _ = (function, stage, gone);
        std::future::ready(())
    }

    /// Ends when `version` is loaded, so that its first requests need not wait, or when it cannot be loaded.
    fn load(&self, version: &Self::Version) -> impl Future<Output = ()> + Send {
        let _ = version;
        std::future::ready(())
    }

    /// Ends when `version` can be called, or when it is known that it cannot be. If it is not prepared on
    /// this node, for example after an upgrade, this takes as long as preparing it.
    fn ready(&self, version: &Self::Version) -> impl Future<Output = ()> + Send {
        let _ = version;
        std::future::ready(())
    }

    /// Lets `version` answer `request` of nobody in particular. The body of the answer is bounded.
    ///
    /// # Errors
    /// Why there is no answer.
    fn call(
        &self,
        version: Self::Version,
        request: http::Request<Bytes>,
    ) -> impl Future<Output = Result<http::Response<Bytes>, String>> + Send;

    /// Live instances of `version`: those that run a request, and those that wait ready.
    fn instances(&self, version: &Self::Version) -> u64 {
        let _ = version;
        0
    }

    /// Keeps `version` loaded, with an instance ready, for `time`.
    fn keep_ready(&self, version: &Self::Version, time: Duration);

    /// Log lines of `function` with a `seq` above `after`, oldest first, and a bounded number of them.
    fn logs(&self, function: &FunctionName, after: u64) -> LogPage;

    /// Changes whenever a line is written to any log.
    fn log_changes(&self) -> watch::Receiver<u64>;
}

/// What is wanted of a preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// With which code the component may serve.
    pub code: CodeWanted,
    /// The share of the nodes that must have prepared it. On the others it gets no requests before they have.
    pub nodes: Weight,
}

/// With which code a component may serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeWanted {
    /// Only with its optimised code. A change of code in a rollout would look like one of latency.
    Optimised,
    /// With any. What takes its place as soon as it is there is optimised.
    Soon,
}

/// The progress of a preparation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `checking`, `compiling`, `loading`.
    pub stage: &'static str,
    /// How much is done.
    pub done: u64,
    /// How much there is to do; 0 if unknown.
    pub total: u64,
}

/// A component that has been prepared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The kind of the component: `wasi:http 0.2`, `wasi:http 0.3`, `cgi`.
    pub kind: String,
    /// Whether it serves with slower code until its optimised code is there.
    pub is_optimising: bool,
}

/// Why a component is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code, such as `component-invalid`.
    pub code: &'static str,
    /// What was found and what was expected.
    pub message: String,
    /// How to solve the problem.
    pub help: Option<String>,
}

/// A page of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// How many lines above `after` were dropped before the first of them.
    pub lost: u64,
    /// The highest `seq` so far, whether in this page or not; 0 if nothing was written.
    pub newest: u64,
}

/// The source of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, which reports on the guest: a trap and its backtrace.
    Host,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The line's number; it grows by one for each line of this function.
    pub seq: u64,
    /// When the line was written, Unix milliseconds.
    pub at_ms: u64,
    /// The request that the line belongs to.
    pub request_id: String,
    /// The stage that the request came to; `None` if the line was written before any request.
    pub stage: Option<StageName>,
    /// The version that wrote the line.
    pub version: VersionNo,
    /// The source of the line.
    pub stream: LogStream,
    /// Whether the request is known to have failed.
    pub failed: bool,
    /// The status that the request failed with.
    pub status: Option<u16>,
    /// The request, in the first of the lines that say how it failed.
    pub request: Option<LogRequest>,
    /// The line, without its line ending.
    pub text: String,
}

/// The request that a log line is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// Its method.
    pub method: String,
    /// The beginning of its path, without the query.
    pub path: String,
    /// How long the guest had it.
    pub took: Duration,
}
