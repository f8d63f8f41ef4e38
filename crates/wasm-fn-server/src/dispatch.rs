//! One request: match, choose, invoke, answer.

use std::{
    future::{Ready, ready},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{FutureExt, future};
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::Either;
use hyper::body::Incoming;
use wasm_fn_router::{HeldVersion, Reason, RouteTable, RequestAttributes};

use crate::{
    Cause, Failure, Invoke, RequestBody, RequestId, Usage,
    answer::nothing,
    asked::asked,
    attempt::{Answered, Attempt, attempt},
    head,
    preview::{Instead, admit},
    problem::{Code, Problem},
    session::{Arrival, Plane, Session},
    tallying::{ObservedRequest, Tallying},
    watch::Order,
};

/// The version that answers a request, and the request's part in a trial.
struct Selected<V> {
    version: HeldVersion<V>,
    part: Option<ObservedRequest>,
    /// Whether the stage's fallback answers if it fails, which it has so long after the request came.
    late: Option<Duration>,
    /// Whether the request asked for the version.
    asked_for: bool,
}

/// The answer to a request: there already, or what the run `R` comes to.
type Answering<V, R> = future::Either<Ready<Answered<V>>, Attempt<V, R>>;

/// Answers `request`, always.
///
/// All that can be done without waiting is done at once: the future is what waits, and no larger, for it is moved with
/// each request.
pub(crate) fn answer<V: Invoke>(
    session: Arc<Session<V>>,
    request: Request<Incoming>,
) -> impl Future<Output = Answered<V>> + std::marker::Send {
    let started = session.watch.moment();
    let in_flight = session.watch.begin();
    let id = RequestId::random();
    let is_head = request.method() == Method::HEAD;
    let limit = session.plane.options.body_bytes_max;
    let mut request = request.map(|body| RequestBody::new(body, limit, Arc::clone(&session.watch)));
    let client = session.peer.client(request.headers_mut(), &session.plane.options.trusted_proxies);
    let answering = match session.plane.choose(&mut request, client, id, started) {
        Ok(selected) => {
            let Selected { version, part, late, asked_for } = selected;
            let tallying = Tallying::new(version, started, request.body().fate(), in_flight, part, asked_for);
            let arrival = Arrival { id, client, at: started };
            session.clone().invoke(late, request, arrival, tallying)
        }
        Err(instead) => {
            if let Instead::Refused(problem) = &instead {
                tracing::debug!(request_id = %id, %client, code = problem.code.as_str(), "request refused");
            }
            future::Either::Left(ready(instead.into_response(id)))
        }
    };
    answering.map(move |response| session.finish(response, is_head))
}

impl<V: Invoke> Plane<V> {
    /// The version that answers `request`, by the table of this moment.
    fn choose(
        &self,
        request: &mut Request<RequestBody>,
        client: SocketAddr,
        id: RequestId,
        started: Instant,
    ) -> Result<Selected<V>, Instead> {
        head::check(request, self.options.headers_max)?;
        let host = head::host(request)?;
        let table = self.tables.load();
        let preview = table.preview(self.options.preview_domain.as_ref(), host, request.uri().path());
        let (stage, asked) = match preview {
            None => {
                let path = request.uri().path();
                let stage = table.find(host, path).ok_or_else(|| unanswered(&table, path))?;
                (stage, asked(request.headers(), stage.function(), &*self.access)?)
            }
            Some(preview) => (preview.stage, Some(admit(request, &preview, &*self.access)?)),
        };
        let attributes = RequestAttributes { headers: request.headers(), query: request.uri().query(), client: client.ip() };
        let chosen = stage
            .choose(&attributes, asked, self.options.draw)
            .map_err(|none| Problem { detail: none.to_string().into(), ..Code::NoSuchVersion.into() })?;
        if let Some(key) = chosen.key {
            self.crowding.placed(stage, key, id, client.ip(), request.headers());
        }
        let version = chosen.version.hold();
        let part = chosen.assignment.as_ref().and_then(|part| ObservedRequest::begin(part, id, &version, started));
        let asked_for = chosen.reason == Reason::Override;
        Ok(Selected { version, part, late: chosen.assignment.and_then(|part| part.fallback_after), asked_for })
    }
}

/// Nothing of `table` answers `path`.
#[cold]
fn unanswered<V>(table: &RouteTable<V>, path: &str) -> Problem {
    let mut problem = Problem::from(Code::NoSuchFunction);
    if let Some(detail) = table.misaddressed(path) {
        problem.detail = detail.into();
    }
    problem
}

impl<V: Invoke> Session<V> {
    /// Has the version that `tallying` counts on answer `request`, or the stage's fallback if it fails (see [`attempt`]),
    /// and has the end counted.
    fn invoke(
        self: Arc<Self>,
        late: Option<Duration>,
        mut request: Request<RequestBody>,
        arrival: Arrival,
        mut tallying: Tallying<V>,
    ) -> Answering<V, impl Future<Output = Result<Response<V::Body>, Failure>> + std::marker::Send + use<V>>
    {
        let limit = self.plane.options.body_bytes_max;
        let waited = self.watch.turn_wait();
        let refusal = if request.body().size_hint().lower() > limit {
            Some((Problem::body_too_large(limit), Cause::BodyTooLarge, Usage::default()))
        } else if waited > self.plane.options.turn_wait_max {
            // Serving it too late would make those behind it late too; refusing costs far less.
            let usage = Usage { queue_wait: waited, ..Usage::default() };
            Some((Problem::out_of_turn(), Cause::NodeOverloaded, usage))
        } else {
            None
        };
        if let Some((problem, cause, usage)) = refusal {
            tallying.finish(cause.outcome(), usage);
            let mut response = problem.into_response(arrival.id);
            head::sign(&mut response, arrival.id, tallying.version().label.clone());
            return future::Either::Left(ready(response));
        }
        head::strip(request.headers_mut());
        future::Either::Right(attempt(self, late, request, arrival, tallying))
    }

    /// What `response` becomes on this connection.
    fn finish(&self, mut response: Answered<V>, is_head: bool) -> Answered<V> {
        if is_head && matches!(response.body(), Either::Right(_)) {
            *response.body_mut() = nothing();
        }
        let whole = match response.body() {
            Either::Left(guest) => guest.is_whole(),
            Either::Right(_) => true,
        };
        self.watch.answer(whole && !self.watch.is_http2());
        if self.watch.order() >= Order::Drain && !self.watch.is_http2() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}
