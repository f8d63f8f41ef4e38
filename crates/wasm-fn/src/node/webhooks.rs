//! Receives requests that become events: webhooks, whose senders are verified, and requests that functions
//! handle later.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode, header, request::Parts};
use tokio::sync::watch;
use wasm_fn_control::SecretId;
use wasm_fn_core::{FunctionName, InvocationTrigger, StageName};
use wasm_fn_delivery::{EventOperations as _, EventRequest, Events, EventsError, Triggers};
use wasm_fn_events::{CloudEvent, Timestamp, Trigger, TriggerId, TriggerKind, WebhookMode, WebhookSource};
use wasm_fn_secrets::SecretValue;
use wasm_fn_server::{DeliveryOptions, DeliveryTarget, EventReceiver, Received, Redelivery, RequestId};
use wasm_fn_store::{InboxError, Put, StoreError};

use super::{
    cluster::NodeInbox,
    events::{DataPlane, now},
    host::NodeControl,
};

/// Bytes of a body.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a function's answer to a service.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Events that are remembered as answered by functions, of all webhooks.
const ANSWERED_MAX: usize = 100_000;

/// For how long they are.
const ANSWERED_FOR: Duration = Duration::from_secs(24 * 3600);

/// The webhooks of a node.
pub(super) struct Webhooks {
    events: Arc<Events<NodeInbox>>,
    deliver: Arc<DataPlane>,
    control: Arc<NodeControl>,
    triggers: watch::Receiver<Arc<Triggers>>,
    routes: Mutex<Routes>,
    answered: Mutex<Answered>,
}

/// Where each webhook leads.
#[derive(Default)]
struct Routes {
    of: Option<Arc<Triggers>>,
    hooks: HashMap<String, TriggerId>,
}

/// Events that functions have answered, or are answering, so that none is answered twice.
#[derive(Default)]
struct Answered {
    ids: HashMap<String, Answer>,
    order: VecDeque<(Timestamp, String)>,
}

/// What is known of the answer to an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Answer {
    began: Timestamp,
    is_given: bool,
}

/// An event that a function is answering. Unless it has answered when this is dropped, the event may come
/// again.
struct Answering<'a> {
    answered: &'a Mutex<Answered>,
    key: String,
}

/// Why a webhook is not answered with success.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhooks").finish_non_exhaustive()
    }
}

/// Locks what no code panics with.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Webhooks {
    pub(super) fn new(
        events: Arc<Events<NodeInbox>>,
        deliver: Arc<DataPlane>,
        control: Arc<NodeControl>,
        triggers: watch::Receiver<Arc<Triggers>>,
    ) -> Arc<Self> {
        let (routes, answered) = (Mutex::default(), Mutex::default());
        Arc::new(Self { events, deliver, control, triggers, routes, answered })
    }

    /// The trigger of the webhook `hook`.
    fn find(&self, hook: &str) -> Option<(TriggerId, Arc<Trigger>)> {
        let current = Arc::clone(&self.triggers.borrow());
        let mut routes = lock(&self.routes);
        if routes.of.as_ref().is_none_or(|of| !Arc::ptr_eq(of, &current)) {
            let hooks = current.triggers.iter();
            let hooks = hooks.filter_map(|(id, active)| Some((active.hook.clone()?, id.clone())));
            *routes = Routes { hooks: hooks.collect(), of: Some(Arc::clone(&current)) };
        }
        let id = routes.hooks.get(hook)?;
        let active = current.triggers.get(id)?;
        Some((id.clone(), Arc::clone(&active.trigger)))
    }

    async fn answer(
        &self,
        id: &TriggerId,
        trigger: &Trigger,
        head: &Parts,
        body: Bytes,
    ) -> Result<Response<Bytes>, Refusal> {
        let TriggerKind::Webhook(source) = &trigger.kind else {
            return Err(refusal(StatusCode::NOT_FOUND, "no-such-function", "there is no webhook here"));
        };
        if head.method != http::Method::POST {
            let detail = format!("the method is {}, expected POST", head.method);
            return Err(refusal(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail));
        }
        let values = self.secrets(id, source)?;
        let secrets: Vec<_> = values.iter().map(|value| value.expose().as_bytes()).collect();
        let provider = source.provider();
        let verified = provider.verify(&head.headers, &body, &secrets, now()).map_err(|error| {
            if error.is_ours() {
                tracing::warn!(trigger = %id, %error, "webhook cannot be verified");
                let detail = "the node cannot verify requests to this webhook";
                return refusal(StatusCode::SERVICE_UNAVAILABLE, "webhook-not-ready", detail);
            }
            refusal(StatusCode::UNAUTHORIZED, "webhook-denied", error)
        })?;
        if let Some(challenge) = provider.handshake(&verified, &body) {
            return Ok(plain(StatusCode::OK, challenge));
        }
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()?.parse().ok());
        let own = format!("{:032x}", rand::random::<u128>()).parse().expect("it is short text");
        let event = CloudEvent::webhook(id, provider, &verified, &own, content_type, body);
        match source.mode() {
            WebhookMode::Async => {
                let event_id = event.id.as_str().to_owned();
                let put = self.events.receive_with(id, trigger, event, &head.headers).await;
                let put = put.map_err(|error| {
                    tracing::warn!(trigger = %id, %error, "webhook was not received");
                    not_kept(&error, "event")
                })?;
                let said = if put == Put::Duplicate { "received before" } else { "received" };
                Ok(plain(StatusCode::ACCEPTED, format!("{said} as {event_id}\n")))
            }
            WebhookMode::Sync => self.answer_by_function(id, trigger, event).await,
        }
    }

    /// The newest values of the webhook's secrets.
    fn secrets(&self, id: &TriggerId, source: &WebhookSource) -> Result<Vec<SecretValue>, Refusal> {
        let TriggerId { function, stage, .. } = id;
        let mut values = Vec::new();
        for name in source.secrets() {
            let secret = SecretId { function: function.clone(), stage: stage.clone(), name: name.clone() };
            match self.control.newest_secret(&secret) {
                Ok(value) => values.extend(value),
                Err(error) => {
                    tracing::warn!(trigger = %id, secret = %name, %error, "secret cannot be opened")
                }
            }
        }
        if values.is_empty() {
            tracing::warn!(trigger = %id, "webhook has no secret that is set");
            let detail = "the node cannot verify requests to this webhook";
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "webhook-not-ready", detail));
        }
        Ok(values)
    }

    /// Has the function answer, unless it has answered the event already.
    async fn answer_by_function(
        &self,
        id: &TriggerId,
        trigger: &Trigger,
        event: CloudEvent,
    ) -> Result<Response<Bytes>, Refusal> {
        if trigger.paused.is_some() {
            let detail = "the webhook is paused";
            return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "webhook-not-ready", detail));
        }
        let key = format!("{id}/{}", event.id.as_str());
        let earlier = lock(&self.answered).begin(&key, now());
        match earlier {
            None => {}
            Some(Answer { is_given: true, .. }) => {
                return Ok(plain(StatusCode::OK, "received before\n".to_owned()));
            }
            Some(Answer { is_given: false, .. }) => {
                let detail = "the function is answering this event";
                return Err(refusal(StatusCode::SERVICE_UNAVAILABLE, "webhook-not-ready", detail));
            }
        }
        let answering = Answering { answered: &self.answered, key };
        let request = EventRequest::of_event(&id.name, &trigger.path, event).attempt(Some(id), 1, None);
        let options = DeliveryOptions {
            function: id.function.clone(),
            stage: id.stage.clone(),
            target: DeliveryTarget::Drawn,
            redelivery: Redelivery::EffectFree,
            trigger: InvocationTrigger::Http,
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let delivered = self.deliver.dispatcher().deliver(request, options).await;
        if matches!(&delivered, Ok(delivered) if delivered.status.is_success()) {
            answering.succeed();
        }
        let delivered =
            delivered.map_err(|error| refusal(StatusCode::BAD_GATEWAY, "guest-invalid-response", error))?;
        let mut response = Response::new(delivered.body);
        *response.status_mut() = delivered.status;
        *response.headers_mut() = delivered.headers;
        // The length is that of what was kept.
        response.headers_mut().remove(header::CONTENT_LENGTH);
        Ok(response)
    }
}

impl EventReceiver for Webhooks {
    fn body_bytes_max(&self, hook: &str) -> Option<u64> {
        self.find(hook).map(|_| BODY_BYTES_MAX)
    }

    fn receive(self: Arc<Self>, hook: String, head: Parts, body: Bytes, request: RequestId) -> Received {
        Box::pin(async move {
            // It may have been removed while the body came.
            let Some((id, trigger)) = self.find(&hook) else {
                let gone = refusal(StatusCode::NOT_FOUND, "no-such-function", "there is no webhook here");
                return gone.into_response(request);
            };
            self.answer(&id, &trigger, &head, body).await.unwrap_or_else(|refusal| {
                let detail = &refusal.detail;
                tracing::debug!(request_id = %request, trigger = %id, detail, "webhook refused");
                refusal.into_response(request)
            })
        })
    }

    fn deferred_bytes_max(&self, function: &FunctionName, stage: &StageName) -> Option<u64> {
        let triggers = self.triggers.borrow();
        triggers.asynchronous.contains_key(&(function.clone(), stage.clone())).then_some(BODY_BYTES_MAX)
    }

    fn defer(
        self: Arc<Self>,
        function: FunctionName,
        stage: StageName,
        head: Parts,
        body: Bytes,
        id: RequestId,
    ) -> Received {
        Box::pin(async move {
            let deferred =
                EventRequest { method: head.method, target: head.uri, headers: head.headers, body };
            match self.events.accept(&function, &stage, deferred).await {
                Ok(event) => {
                    let answer = serde_json::json!({ "event": event });
                    let response = Response::builder().status(StatusCode::ACCEPTED);
                    let response = response.header(header::CONTENT_TYPE, "application/json");
                    response.body(answer.to_string().into()).expect("its parts are valid")
                }
                Err(error) => {
                    tracing::warn!(%function, %stage, %error, "asynchronous request was not received");
                    not_kept(&error, "request").into_response(id)
                }
            }
        })
    }
}

impl Answered {
    /// Notes that the event `key` is being answered from `now` on, unless it is or was already.
    fn begin(&mut self, key: &str, now: Timestamp) -> Option<Answer> {
        let horizon = now.saturating_sub(ANSWERED_FOR);
        while let Some((at, oldest)) = self.order.front()
            && (*at < horizon || self.order.len() >= ANSWERED_MAX)
        {
            if self.ids.get(oldest).is_some_and(|answer| answer.began == *at) {
                self.ids.remove(oldest);
            }
            self.order.pop_front();
        }
        let earlier = self.ids.get(key).copied();
        if earlier.is_none() {
            self.ids.insert(key.to_owned(), Answer { began: now, is_given: false });
            self.order.push_back((now, key.to_owned()));
        }
        earlier
    }
}

impl Answering<'_> {
    /// Notes that the function has answered with success.
    fn succeed(self) {
        if let Some(answer) = lock(self.answered).ids.get_mut(&self.key) {
            answer.is_given = true;
        }
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        let mut answered = lock(self.answered);
        if answered.ids.get(&self.key).is_some_and(|answer| !answer.is_given) {
            answered.ids.remove(&self.key);
        }
    }
}

impl Refusal {
    fn into_response(self, id: RequestId) -> Response<Bytes> {
        let Self { status, code, detail } = self;
        let problem = serde_json::json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("error"),
            "status": status.as_u16(),
            "detail": detail,
            "code": code,
            "request_id": id.to_string(),
        });
        let response = Response::builder().status(status);
        let response = response.header(header::CONTENT_TYPE, "application/problem+json");
        let response = if status == StatusCode::SERVICE_UNAVAILABLE {
            response.header(header::RETRY_AFTER, "10")
        } else {
            response
        };
        response.body(problem.to_string().into()).expect("its parts are valid")
    }
}

/// That the `what` was not kept, or may not have been.
fn not_kept(error: &EventsError, what: &str) -> Refusal {
    match error {
        EventsError::Inbox(InboxError::Store(StoreError::OutOfTouch { .. })) => {
            let detail = format!("the {what} was not kept: the node is out of touch with its cluster");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "out-of-touch", detail)
        }
        EventsError::Inbox(InboxError::Store(StoreError::Unknown { .. })) => {
            let detail = format!("it is not known whether the {what} was kept");
            refusal(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", detail)
        }
        _ => refusal(StatusCode::SERVICE_UNAVAILABLE, "inbox-full", format!("the {what} was not kept")),
    }
}

fn refusal(status: StatusCode, code: &'static str, detail: impl fmt::Display) -> Refusal {
    Refusal { status, code, detail: detail.to_string() }
}

fn plain(status: StatusCode, text: String) -> Response<Bytes> {
    let response = Response::builder().status(status);
    let response = response.header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    response.body(text.into()).expect("its parts are valid")
}

#[cfg(test)]
mod tests;
