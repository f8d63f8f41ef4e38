//! Streams of changes, as server-sent events.
//!
//! A stream holds what its client was told, and reads on only when the client has taken that: a slow client
//! gets fewer events, not older ones. It ends with the token, and with the node.

mod overview;
mod status;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderValue, header};
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::Instant,
};

use wasm_fn_api as api;
use wasm_fn_control::{Control, host::Host};
use wasm_fn_store::Store;

use self::{overview::FunctionsReader, status::StatusReader};
use super::functions::seen;
use crate::{
    ApiError,
    admin::{Admin, Shared},
    authorize::Caller,
    elsewhere::Elsewhere,
    extract::{Function, Parameters},
    nodes::{Others, read_json},
};

/// How often a stream without news shows that it is alive.
const BEAT: Duration = Duration::from_secs(15);

/// Streams what changes about the functions that the caller sees.
pub(crate) async fn functions<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    caller: Caller,
    others: Others,
    Parameters(query): Parameters<api::WatchQuery>,
) -> Result<Response, ApiError> {
    let watcher = Watcher::new(&admin, caller, query.once)?;
    let elsewhere = others.cluster().and_then(|cluster| admin.overview.elsewhere(cluster));
    let reader = FunctionsReader::new(admin, watcher, elsewhere);
    Ok(events(stream::unfold(reader, FunctionsReader::next)))
}

/// Streams the status of a function.
pub(crate) async fn function<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Function(name): Function,
    caller: Caller,
    others: Others,
    Parameters(query): Parameters<api::WatchQuery>,
) -> Result<Response, ApiError> {
    admin.control.state().function(&name)?;
    let watcher = Watcher::new(&admin, caller, query.once)?;
    let elsewhere = Elsewhere::follow(others.about(format!("/v1/functions/{name}")), read_json);
    let reader = StatusReader::new(&admin, watcher, name, elsewhere);
    Ok(events(stream::unfold(reader, StatusReader::next)))
}

/// Whoever reads a stream, and what ends it.
struct Watcher {
    caller: Caller,
    once: bool,
    stopping: watch::Receiver<bool>,
    /// When the client was last sent something.
    sent: Instant,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    fn new<H: Host, S: Store>(admin: &Admin<H, S>, caller: Caller, once: bool) -> Result<Self, ApiError> {
        let place = Arc::clone(&admin.streams).try_acquire_owned().map_err(|_| {
            ApiError::busy("every place for a stream of changes is taken, expected one to be free")
        })?;
        let stopping = admin.stopping.subscribe();
        Ok(Self { caller, once, stopping, sent: Instant::now(), _place: place })
    }

    /// Waits for `news`. Returns `None` if the stream is over, and else whether they came before the client
    /// has to be shown that the stream is alive.
    async fn wait<H: Host, S: Store>(
        &mut self,
        control: &Control<H, S>,
        news: impl Future<Output = ()>,
    ) -> Option<bool> {
        // Whoever takes event after event waits for nothing below.
        if *self.stopping.borrow() || !control.still_knows(self.caller.actor()) {
            return None;
        }
        tokio::select! {
            () = news => Some(true),
            () = tokio::time::sleep_until(self.sent + BEAT) => Some(false),
            _ = self.stopping.wait_for(|&stopping| stopping) => None,
            // A token that was revoked or has expired reads no more.
            () = control.until_unknown(self.caller.actor()) => None,
        }
    }

    /// `event`, noted as sent.
    fn send(&mut self, event: impl serde::Serialize) -> Bytes {
        self.sent = Instant::now();
        let mut text = b"data: ".to_vec();
        // JSON on one line, of types that have no map with keys that are not texts.
        if serde_json::to_writer(&mut text, &event).is_err() {
            return self.beat();
        }
        text.extend_from_slice(b"\n\n");
        text.into()
    }

    /// A comment, which clients skip.
    fn beat(&mut self) -> Bytes {
        self.sent = Instant::now();
        Bytes::from_static(b":\n\n")
    }
}

fn events(events: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(api::EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
