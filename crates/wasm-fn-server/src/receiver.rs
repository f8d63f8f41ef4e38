//! The interface through which requests become events of somebody else's.

use std::{fmt, pin::Pin, sync::Arc};

use bytes::Bytes;
use http::{Response, request::Parts};
use wasm_fn_core::{FunctionName, StageName};

use crate::request::RequestId;

/// What the paths of webhooks begin with. No function has them.
pub const HOOKS_PATH: &str = "/_hooks/";

/// Answers requests below [`HOOKS_PATH`], and those that functions handle later.
pub trait EventReceiver: fmt::Debug + Send + Sync + 'static {
    /// The most bytes that a body to the webhook `hook` may have; `None` if there is no such webhook. `hook`
    /// is what follows [`HOOKS_PATH`].
    fn body_bytes_max(&self, hook: &str) -> Option<u64>;

    /// Answers the request `id` to the webhook `hook`.
    fn receive(self: Arc<Self>, hook: String, head: Parts, body: Bytes, id: RequestId) -> Received;

    /// The most bytes that the body of a request may have that the `stage` of `function` handles later;
    /// `None` if it takes no such requests.
    fn deferred_bytes_max(&self, function: &FunctionName, stage: &StageName) -> Option<u64>;

    /// Answers the request `id`, which the `stage` of `function` is to handle later.
    fn defer(
        self: Arc<Self>,
        function: FunctionName,
        stage: StageName,
        head: Parts,
        body: Bytes,
        id: RequestId,
    ) -> Received;
}

/// The answer of an [`EventReceiver`].
pub type Received = Pin<Box<dyn Future<Output = Response<Bytes>> + Send>>;
