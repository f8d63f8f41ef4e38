//! Events: listed, shown, redriven and discarded.

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, header, request::Parts};
use wasm_fn_access::Target;
use wasm_fn_api as api;
use wasm_fn_control::{
    OperatedEvents,
    host::Host,
    state::{ChangeError, EventsOperation, State as ControlState},
};
use wasm_fn_core::{FunctionName, StageName, TriggerName};
use wasm_fn_delivery::{ASYNC, EventList, EventRequest, EventsError};
use wasm_fn_events::TriggerId;
use wasm_fn_store::{DeadLetters, EventKey, EventPage, EventState, InboxLimits, Store, StoredEvent};

use super::{
    functions::limit,
    triggers::{counts, counts_view, inbox},
};
use crate::{
    ApiError,
    admin::Shared,
    authorize::Caller,
    extract::{JsonBody, Parameters},
};

/// Number of events if the client sets no limit.
const LIMIT_DEFAULT: u32 = 100;

/// Characters of ids that the journal has for one request.
const WHICH_CHARS_MAX: usize = 1000;

/// Most ids in one request.
const IDS_MAX: usize = 1000;

/// Headers that are credentials of whoever sent a request. They are not shown.
const CREDENTIALS: [HeaderName; 3] = [header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE];

/// Whose events are meant, by the path: those of a trigger, or of the clients of a stage if it names none.
pub(crate) struct EventsOf {
    function: FunctionName,
    stage: StageName,
    trigger: Option<TriggerName>,
}

/// Which event is meant, by the path.
pub(crate) struct Named {
    of: EventsOf,
    id: String,
}

impl<T: Send + Sync> FromRequestParts<T> for EventsOf {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let path = Path::<(String, String, String)>::from_request_parts(parts, state).await;
        let Path((function, stage, trigger)) =
            path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        Self::parse(&function, &stage, &trigger)
    }
}

impl<T: Send + Sync> FromRequestParts<T> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &T) -> Result<Self, ApiError> {
        let path = Path::<(String, String, String, String)>::from_request_parts(parts, state).await;
        let Path((function, stage, trigger, id)) =
            path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        Ok(Self { of: EventsOf::parse(&function, &stage, &trigger)?, id })
    }
}

impl EventsOf {
    fn parse(function: &str, stage: &str, trigger: &str) -> Result<Self, ApiError> {
        let trigger = if trigger == ASYNC { None } else { Some(trigger.parse()?) };
        Ok(Self { function: function.parse()?, stage: stage.parse()?, trigger })
    }

    /// The key of the events, if `state` has the trigger or the stage.
    fn key(&self, state: &ControlState) -> Result<String, ApiError> {
        let Self { function, stage, trigger } = self;
        match trigger {
            Some(name) => {
                let (function, stage, name) = (function.clone(), stage.clone(), name.clone());
                state.trigger(&TriggerId { function, stage, name })?;
            }
            None if state.function(function)?.stages.contains_key(stage) => {}
            None => {
                return Err(
                    ChangeError::NoSuchStage { function: function.clone(), stage: stage.clone() }.into()
                );
            }
        }
        Ok(format!("{function}/{stage}/{}", self.trigger()))
    }

    fn operated(&self, operation: EventsOperation, count: u64, which: String) -> OperatedEvents {
        let (function, stage, trigger) =
            (self.function.clone(), self.stage.clone(), self.trigger().to_owned());
        OperatedEvents { function, stage, trigger, operation, count, which }
    }

    fn trigger(&self) -> &str {
        self.trigger.as_ref().map_or(ASYNC, TriggerName::as_str)
    }
}

/// Lists events of a trigger.
pub(crate) async fn list<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    of: EventsOf,
    Parameters(query): Parameters<api::EventsQuery>,
) -> Result<Json<api::EventsPage>, ApiError> {
    let limit = limit(query.limit, LIMIT_DEFAULT)?;
    let key = of.key(&admin.control.state())?;
    let list = match query.state {
        api::EventsState::Waiting => EventList::Waiting,
        api::EventsState::Dead => EventList::Dead,
    };
    // Reading one more than asked for tells whether there are more.
    let page = EventPage { after: query.after, limit: limit + 1 };
    let mut events = admin.events.list(&key, list, page).await?;
    let more = events.len() > limit;
    events.truncate(limit);
    let counts = counts(&*admin.events).await?;
    Ok(Json(api::EventsPage {
        function: of.function.to_string(),
        stage: of.stage.to_string(),
        trigger: of.trigger().to_owned(),
        events: events.into_iter().map(view).collect(),
        more,
        inbox: inbox(counts.get(&*key)),
        counts: counts_view(&admin.events.stats(&key), false),
    }))
}

/// Shows what became of an event, and its request while there is one.
pub(crate) async fn show<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    Named { of, id }: Named,
) -> Result<Json<api::EventStatus>, ApiError> {
    let key = EventKey { trigger: of.key(&admin.control.state())?, id };
    if key.id.len() > InboxLimits::NAME_BYTES_MAX {
        return Err(EventsError::NoSuchEvent(key).into());
    }
    let found = match admin.events.show(key.clone()).await {
        Ok(shown) => Some(shown),
        Err(EventsError::NoSuchEvent(_)) => None,
        Err(error) => return Err(error.into()),
    };
    let state = match &found {
        Some(shown) => shown.event.state.clone(),
        None => admin.events.state(key.clone()).await?,
    };
    let (event, request) = found.map(|shown| (shown.event, shown.request)).unzip();
    Ok(Json(api::EventStatus {
        function: of.function.to_string(),
        stage: of.stage.to_string(),
        trigger: of.trigger().to_owned(),
        id: key.id,
        state: state_view(state),
        arrived_ms: event.as_ref().map(|event| event.arrived_ms),
        ordering_key: event.and_then(|event| event.ordering_key),
        request: request.map(request_view),
    }))
}

/// Has dead letters delivered again.
pub(crate) async fn redrive<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    of: EventsOf,
    caller: Caller,
    JsonBody(request): JsonBody<api::DeadLettersRequest>,
) -> Result<Json<api::DeadLettersChanged>, ApiError> {
    let key = of.key(&admin.control.state())?;
    let note = caller.on(Target::Stage(&of.function, &of.stage))?.note(None, None)?;
    let letters = letters(request)?;
    let which = which(&letters);
    let events = admin.events.redrive(&key, letters).await?;
    if events > 0 {
        admin.control.record_events(of.operated(EventsOperation::Redrive, events, which), note).await?;
    }
    Ok(changed(&of, events))
}

/// Removes dead letters for good.
pub(crate) async fn discard<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    of: EventsOf,
    caller: Caller,
    JsonBody(request): JsonBody<api::DeadLettersRequest>,
) -> Result<Json<api::DeadLettersChanged>, ApiError> {
    let key = of.key(&admin.control.state())?;
    let note = caller.on(Target::Stage(&of.function, &of.stage))?.note(None, None)?;
    let letters = letters(request)?;
    let which = which(&letters);
    let events = admin.events.discard(&key, letters).await?;
    if events > 0 {
        admin.control.record_events(of.operated(EventsOperation::Discard, events, which), note).await?;
    }
    Ok(changed(&of, events))
}

fn letters(request: api::DeadLettersRequest) -> Result<DeadLetters, ApiError> {
    match (request.ids.len(), request.all) {
        (0, true) => Ok(DeadLetters::All),
        (1..=IDS_MAX, false) => Ok(DeadLetters::Ids(request.ids)),
        (0, false) => Err(ApiError::invalid_request("found neither ids nor all, expected one of them")),
        (_, true) => Err(ApiError::invalid_request("found both ids and all, expected one of them")),
        (found, false) => {
            Err(ApiError::invalid_request(format!("found {found} ids, expected at most {IDS_MAX}")))
        }
    }
}

/// `letters` in words, for the journal. Ids of many letters are cut.
fn which(letters: &DeadLetters) -> String {
    match letters {
        DeadLetters::All => "all dead letters".to_owned(),
        DeadLetters::Ids(ids) => {
            let text = ids.join(", ");
            let cut: String = text.chars().take(WHICH_CHARS_MAX).collect();
            if cut.len() < text.len() { format!("{cut}…") } else { cut }
        }
    }
}

fn changed(of: &EventsOf, events: u64) -> Json<api::DeadLettersChanged> {
    let (function, stage) = (of.function.to_string(), of.stage.to_string());
    Json(api::DeadLettersChanged { function, stage, trigger: of.trigger().to_owned(), events })
}

fn view(event: StoredEvent) -> api::EventView {
    let StoredEvent { position, id, arrived_ms, ordering_key, bytes, state } = event;
    api::EventView { id, position, arrived_ms, ordering_key, bytes, state: state_view(state) }
}

fn state_view(state: EventState) -> api::EventStateView {
    match state {
        EventState::Waiting { due_ms, attempts, reason } => {
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            api::EventStateView::Waiting { due_ms, attempts, reason }
        }
        EventState::Running { attempts } => api::EventStateView::Running { attempts },
        EventState::Acknowledged { at_ms, text } => api::EventStateView::Acknowledged { at_ms, text },
        EventState::Dead { at_ms, attempts, reason } => api::EventStateView::Dead { at_ms, attempts, reason },
        EventState::Discarded { at_ms } => api::EventStateView::Discarded { at_ms },
    }
}

fn request_view(request: EventRequest) -> api::EventRequestView {
    let EventRequest { method, target, headers, body } = request;
    let (body, body_base64) = body_view(&body);
    let (method, path, headers) = (method.to_string(), target.to_string(), headers_view(&headers));
    api::EventRequestView { method, path, headers, body, body_base64 }
}

fn body_view(body: &Bytes) -> (Option<String>, Option<String>) {
    match str::from_utf8(body) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(body))),
    }
}

fn headers_view(headers: &HeaderMap) -> Vec<api::EventHeaderView> {
    let views = headers.iter().map(|(name, value)| {
        let shown = !CREDENTIALS.contains(name);
        let value = shown.then(|| String::from_utf8_lossy(value.as_bytes()).into_owned());
        api::EventHeaderView { name: name.to_string(), value }
    });
    views.collect()
}
