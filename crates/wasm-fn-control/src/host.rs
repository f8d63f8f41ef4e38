//! What the control plane needs from whatever runs functions.

use std::{path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::watch;
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, VersionNo};

/// Takes progress; may be called from any thread and must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// Checks components, makes handles on versions, keeps their logs.
pub trait Host: Send + Sync + 'static {
    /// Handle by which the data plane runs one version; all clones are of the same.
    type Version: Clone + Send + Sync + 'static;

    /// Checks the component at `component` (kind, imports, limits of `config`) and compiles it into
    /// the artefact cache, so that a handle on it loads fast.
    ///
    /// # Errors
    /// Why no version may be made of it; nothing is changed then.
    fn prepare(
        &self,
        digest: Digest,
        component: PathBuf,
        config: FunctionConfig,
        progress: ProgressSink,
    ) -> impl Future<Output = Result<Prepared, Rejection>> + Send;

    /// A handle on a version that was prepared, now or before a restart. Cheap: it loads when it is
    /// first used.
    fn version(
        &self,
        function: &FunctionName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
    ) -> Self::Version;

    /// Another handle on the same, which shares nothing with the first: its code is loaded anew, and its
    /// instances are its own. So it is as warm as a version that was deployed now. Begins to load it.
    fn fresh_version(
        &self,
        function: &FunctionName,
        no: VersionNo,
        digest: Digest,
        config: &FunctionConfig,
    ) -> Self::Version;

    /// Ends when `version` is loaded, so that its first requests need not wait for that, or when it cannot
    /// be.
    fn load(&self, version: &Self::Version) -> impl Future<Output = ()> + Send {
        let _ = version;
        std::future::ready(())
    }

    /// Ends when `version` can be called, or when it is known that it cannot be made so. What is not prepared
    /// here, as after an upgrade, takes as long as preparing it.
    fn ready(&self, version: &Self::Version) -> impl Future<Output = ()> + Send {
        let _ = version;
        std::future::ready(())
    }

    /// Has `version` answer `request`, apart from any stage; the body of the answer is bounded.
    ///
    /// # Errors
    /// Why there is no answer.
    fn call(
        &self,
        version: Self::Version,
        request: http::Request<Bytes>,
    ) -> impl Future<Output = Result<http::Response<Bytes>, String>> + Send;

    /// Keeps `version` loaded, with an instance ready, for `time`.
    fn keep_ready(&self, version: &Self::Version, time: Duration);

    /// Log lines of `function` with a `seq` above `after`, oldest first, a bounded number of them.
    fn logs(&self, function: &FunctionName, after: u64) -> LogPage;

    /// Changes whenever a line was written to any log.
    fn log_changes(&self) -> watch::Receiver<u64>;
}

/// Where a preparation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// `checking`, `compiling`, `loading`.
    pub stage: &'static str,
    /// Done so far.
    pub done: u64,
    /// Of so many; 0 when unknown.
    pub total: u64,
}

/// A component that is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// What it is: `wasi:http 0.2`, `wasi:http 0.3`, `cgi`.
    pub kind: String,
}

/// Why a component is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Stable word, such as `component-invalid`.
    pub code: &'static str,
    /// What was found, what was expected.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Some lines of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPage {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// Lines above `after` that were forgotten before the first of them.
    pub lost: u64,
    /// The highest `seq` so far, whether in this page or not; 0 when nothing was written.
    pub newest: u64,
}

/// Where a log line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// The guest's standard output.
    Stdout,
    /// The guest's standard error.
    Stderr,
    /// The host, about the guest: a trap and its backtrace.
    Host,
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number; grows by one a line of this function.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The request it belongs to.
    pub request_id: String,
    /// The version that wrote it.
    pub version: VersionNo,
    /// Where it came from.
    pub stream: LogStream,
    /// Whether the invocation is known to have failed.
    pub failed: bool,
    /// The line, without its end.
    pub text: String,
}
