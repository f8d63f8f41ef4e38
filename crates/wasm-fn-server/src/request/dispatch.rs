//! Answers one request: matches it, chooses a version, and invokes that.

use std::{
    borrow::Cow,
    future::{Ready, ready},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future};
use http::{HeaderValue, Method, Request, Response, Version, header};
use http_body::Body as _;
use http_body_util::Either;
use hyper::body::Incoming;
use wasm_fn_core::{InvocationTrigger, RequestRecord, Usage, VersionNo, VersionRef, normal_path};
use wasm_fn_router::{HeldVersion, Reason, RequestAttributes, RouteTable, Stage};

use super::{
    attempt::{Attempt, Boxed, FullResponse, attempt},
    body::RequestBody,
    head,
    id::RequestId,
    preview::{self, EarlyResponse},
    reception::{Reception, receive},
    recording::Subject,
    run::{ObservedRequest, RequestRun, RunEnd},
    version_override::requested_version,
};
use crate::{
    clock,
    connection::state::{InFlight, Order},
    failure::{FailureCause, InvokeFailure},
    invoke::Invoke,
    response::{
        self,
        body::empty,
        problem::{Code, Problem},
    },
    session::{Arrival, Plane, Session},
};

/// The paths of events. Only deliveries have them, so a function knows that nobody else sent such a request.
const EVENTS_PATH: &str = "/_events/";

/// The version that answers a request, and how.
pub(super) struct Selected<V> {
    version: HeldVersion<V>,
    observed: Option<ObservedRequest>,
    /// The time after which the stage's fallback answers; `None` if it never does.
    pub(super) fallback_after: Option<Duration>,
    /// Whether the request asked for the version.
    asked_for: bool,
}

/// Why no version answers a request.
enum Unanswered {
    Early(EarlyResponse),
    /// Somebody else answers.
    Received(Box<Reception>),
}

impl<T: Into<EarlyResponse>> From<T> for Unanswered {
    fn from(early: T) -> Self {
        Self::Early(early.into())
    }
}

/// The response to a request: one without an invocation, or the result of the invocation `R`.
type PendingResponse<V, R> = future::Either<Early<FullResponse<V>>, Attempt<V, R>>;

/// A response without an invocation: available, or somebody else's.
type Early<T> = future::Either<Ready<T>, Boxed<T>>;

/// Answers `request`. There always is a response.
///
/// Everything that does not wait is done at once. The future holds only the rest, and stays small, since it
/// is moved with each request.
pub(crate) fn answer<V: Invoke>(
    session: Arc<Session<V>>,
    request: Request<Incoming>,
) -> impl Future<Output = FullResponse<V>> + std::marker::Send {
    let started = session.connection.moment();
    let in_flight = session.connection.begin();
    let id = RequestId::random();
    let is_head = request.method() == Method::HEAD;
    if request.version() <= Version::HTTP_11 {
        session.connection.flags.set_http10(request.version() == Version::HTTP_10);
    }
    let limit = session.plane.options.body_bytes_max;
    let (head, incoming) = request.into_parts();
    let body = RequestBody::new(incoming, &head, limit, Arc::clone(&session.connection));
    let mut request = Request::from_parts(head, body);
    let trusted = &session.plane.options.trusted_proxies;
    let client = session.peer.client(request.headers_mut(), trusted);
    let scheme = session.peer.scheme(request.headers(), trusted).unwrap_or(session.scheme);
    let own = head::has_own(request.headers());
    let record;
    let pending = match session.plane.choose(&mut request, own, client, id, started) {
        Ok(selected) => {
            if own {
                head::strip(request.headers_mut());
            }
            let arrival = Arrival { id, client, scheme, at: started };
            let fallback_after = selected.fallback_after;
            record = session.plane.record(&selected, &request, &arrival, InvocationTrigger::Http);
            let run = selected.run(&request, in_flight, &arrival, record.as_ref());
            session.clone().invoke(fallback_after, request, arrival, run)
        }
        Err(Unanswered::Early(early)) => {
            if let EarlyResponse::Refused(problem) = &early {
                tracing::debug!(request_id = %id, %client, code = problem.code.as_str(), "request refused");
            }
            record = session.plane.record_unanswered(&request, &Arrival { id, client, scheme, at: started });
            future::Either::Left(future::Either::Left(ready(early.into_response(id))))
        }
        Err(Unanswered::Received(reception)) => {
            if own {
                head::strip(request.headers_mut());
            }
            record = session.plane.record_unanswered(&request, &Arrival { id, client, scheme, at: started });
            let plane = Arc::clone(&session.plane);
            let received: Boxed<_> =
                Box::pin(receive(plane, *reception, request, (id, client.ip()), in_flight));
            future::Either::Left(future::Either::Right(received))
        }
    };
    pending.map(move |response| {
        if let Some(record) = record {
            record.answered(response.status().as_u16(), clock::now());
        }
        session.finish(response, is_head)
    })
}

impl<V: Invoke> Plane<V> {
    /// Chooses the version that answers `request`, with the current table.
    fn choose(
        &self,
        request: &mut Request<RequestBody>,
        own: bool,
        client: SocketAddr,
        id: RequestId,
        started: Instant,
    ) -> Result<Selected<V>, Unanswered> {
        head::check(request, &self.options)?;
        if !request.body().is_end_stream() {
            head::check_coding(request)?;
        }
        let host = head::host(request);
        let table = self.tables.load();
        let path = normal_path(request.uri().path());
        if path.starts_with("/_") {
            refuse_events(&path)?;
            if let Some(reception) = self.webhook(&path) {
                return Err(Unanswered::Received(Box::new(reception)));
            }
        }
        let (stage, asked) = match table.preview(self.options.preview_domain.as_ref(), host, &path) {
            None => {
                let stage = table.find(host, &path).ok_or_else(|| unanswered(&table, &path))?;
                (
                    stage,
                    requested_version(request.headers(), (stage.function(), stage.name()), &*self.access)?,
                )
            }
            Some(mut preview) => {
                if let Cow::Owned(path) = path {
                    preview.path_bytes = preview::address_bytes(request, &path, preview.path_bytes)?;
                }
                let asked = preview::admit(request, &preview, &*self.access)?;
                refuse_events(&normal_path(request.uri().path()))?;
                (preview.stage, Some(asked))
            }
        };
        if own && head::is_asynchronous(request.headers())? {
            let reception = self.deferral(stage, asked)?;
            return Err(Unanswered::Received(Box::new(reception)));
        }
        Ok(self.choose_in(stage, request, asked, client, id, started)?)
    }

    /// The record of `request`, if it is to have one, which `selected` answers.
    pub(super) fn record(
        &self,
        selected: &Selected<V>,
        request: &Request<RequestBody>,
        arrival: &Arrival,
        trigger: InvocationTrigger,
    ) -> Option<Arc<RequestRecord>> {
        let recording = self.options.recording.as_ref()?;
        let stage = selected.version.stage();
        let target = Some((stage.function(), stage.name()));
        let is_canary = selected.canary().is_some();
        recording.begin(request, arrival, Subject { target, routes: stage.routes(), trigger, is_canary })
    }

    /// The record of `request`, if it is to have one, which no version answers.
    fn record_unanswered(
        &self,
        request: &Request<RequestBody>,
        arrival: &Arrival,
    ) -> Option<Arc<RequestRecord>> {
        let trigger = InvocationTrigger::Http;
        let subject = Subject { target: None, routes: &[], trigger, is_canary: false };
        self.options.recording.as_ref()?.begin(request, arrival, subject)
    }

    /// Chooses the version of `stage` that answers `request`.
    pub(super) fn choose_in(
        &self,
        stage: &Arc<Stage<V>>,
        request: &Request<RequestBody>,
        asked: Option<VersionRef>,
        client: SocketAddr,
        id: RequestId,
        started: Instant,
    ) -> Result<Selected<V>, Problem> {
        let attributes = RequestAttributes {
            headers: request.headers(),
            query: request.uri().query(),
            client: client.ip(),
        };
        let chosen = stage
            .choose(&attributes, asked, self.options.draw)
            .map_err(|none| Problem { detail: none.to_string().into(), ..Code::NoSuchVersion.into() })?;
        if let Some(key) = chosen.key {
            self.key_skew.observe(stage, key, id, client.ip(), request.headers());
        }
        let version = chosen.version.hold();
        let begin = |assignment| ObservedRequest::begin(assignment, id, &version, started);
        let observed = chosen.assignment.as_ref().and_then(begin);
        let asked_for = chosen.reason == Reason::Override;
        let fallback_after = chosen.assignment.and_then(|assignment| assignment.fallback_after);
        Ok(Selected { version, observed, fallback_after, asked_for })
    }
}

impl<V> Selected<V> {
    /// Begins the first run of `request`, which is `in_flight` since it came.
    pub(super) fn run(
        self,
        request: &Request<RequestBody>,
        in_flight: InFlight,
        arrival: &Arrival,
        record: Option<&Arc<RequestRecord>>,
    ) -> RequestRun<V> {
        let Self { version, observed, asked_for, .. } = self;
        let record = record.map(|record| record.first_run(version.no));
        let progress = request.body().progress();
        RequestRun::new(version, arrival.at, progress, in_flight, observed, asked_for, record)
    }

    /// The version, if it is the canary of a comparison.
    pub(super) fn canary(&self) -> Option<VersionNo> {
        self.observed.as_ref().filter(|observed| observed.is_canary()).map(|_| self.version.no)
    }

    /// The same, counted with requests that asked for their version, or with all others.
    pub(super) fn counted_apart(self, apart: bool) -> Self {
        Self { asked_for: apart, ..self }
    }
}

/// Refuses `path`, in its normal form, if it is one of events.
fn refuse_events(path: &str) -> Result<(), Problem> {
    if path.starts_with(EVENTS_PATH) {
        let detail = "paths below /_events/ are those of events, which no client can send";
        return Err(Problem { detail: detail.into(), ..Code::NoSuchFunction.into() });
    }
    Ok(())
}

/// The problem when nothing in `table` answers `path`.
#[cold]
fn unanswered<V>(table: &RouteTable<V>, path: &str) -> Problem {
    let mut problem = Problem::from(Code::NoSuchFunction);
    if let Some(detail) = table.misaddressed(path) {
        problem.detail = detail.into();
    }
    problem
}

impl<V: Invoke> Session<V> {
    /// Lets the version of `run` answer `request`, or the stage's fallback if that fails (see [`attempt`]).
    pub(super) fn invoke(
        self: Arc<Self>,
        fallback_after: Option<Duration>,
        request: Request<RequestBody>,
        arrival: Arrival,
        mut run: RequestRun<V>,
    ) -> PendingResponse<
        V,
        impl Future<Output = Result<Response<V::Body>, InvokeFailure>> + std::marker::Send + use<V>,
    > {
        let limit = self.plane.options.body_bytes_max;
        let waited = self.connection.timing.schedule_delay();
        let refusal = if request.body().size_hint().lower() > limit {
            Some((Problem::body_too_large(limit), FailureCause::BodyTooLarge, Usage::default()))
        } else if waited > self.plane.options.schedule_delay_max {
            // Serving it late would make the requests behind it late, too. Refusing costs far less.
            let usage = Usage { queue_wait: waited, ..Usage::default() };
            Some((Problem::waited_too_long(), FailureCause::NodeOverloaded, usage))
        } else {
            None
        };
        if let Some((problem, cause, usage)) = refusal {
            run.end(RunEnd::Refused(cause, usage));
            let mut response = problem.into_response(arrival.id);
            response::head::sign(&mut response, arrival.id, run.version().label.clone());
            return future::Either::Left(future::Either::Left(ready(response)));
        }
        future::Either::Right(attempt(self, fallback_after, request, arrival, run))
    }

    /// Adapts `response` to this connection.
    fn finish(&self, mut response: FullResponse<V>, is_head: bool) -> FullResponse<V> {
        if is_head && matches!(response.body(), Either::Right(_)) {
            *response.body_mut() = empty();
        }
        let whole = match response.body() {
            Either::Left(guest) => guest.is_whole(),
            Either::Right(_) => true,
        };
        let connection = &*self.connection;
        if connection.flags.is_http2() {
            return response;
        }
        connection.flags.set_whole(whole);
        connection.flags.set_answering(true);
        let http10 = connection.flags.is_http10();
        // HTTP/1.0 has no chunks, so a body of unknown length ends with its connection.
        let ends_it = http10 && response.body().size_hint().exact().is_none();
        if connection.upload.answer(ends_it || connection.orders.current() >= Order::Drain) {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            if http10 {
                // hyper would announce to keep the connection if the client asked for that.
                *response.version_mut() = Version::HTTP_10;
            }
        }
        response
    }
}
