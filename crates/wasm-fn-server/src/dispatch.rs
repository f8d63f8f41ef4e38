//! One request: match, choose, invoke, answer.

use std::{
    future::{Ready, poll_fn, ready},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures_util::{FutureExt, future};
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use wasm_fn_core::Outcome;
use wasm_fn_router::{RouteTable, Traits, VersionEntry};

use crate::{
    Call, Cause, Effects, Failure, InvocationBody, Invoke, Options, OverrideAccess, RequestBody, RequestId,
    Usage,
    answer::{Answer, Guest},
    asked::asked,
    head::{self, Send},
    problem::{Code, Problem},
    shield::{self, Shield},
    tallying::{OwnPart, Tallying},
    watch::{Order, Watch},
};

/// What every connection shares.
pub(crate) struct Plane<V> {
    pub(crate) tables: Arc<ArcSwap<RouteTable<V>>>,
    pub(crate) access: Arc<dyn OverrideAccess>,
    pub(crate) options: Options,
}

/// One connection.
pub(crate) struct Session<V> {
    pub(crate) plane: Arc<Plane<V>>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) client: SocketAddr,
}

/// What of a request stays the same in every run.
#[derive(Clone, Copy)]
struct Arrival {
    id: RequestId,
    /// When its connection began to work on it: in the poll that completed its head.
    at: Instant,
}

/// The version that answers a request, and the request's part in a trial.
struct Selected<V> {
    version: Arc<VersionEntry<V>>,
    part: Option<OwnPart>,
    /// Who answers if it fails, and from when on it has.
    shield: Option<(Arc<VersionEntry<V>>, Duration)>,
}

/// The answer to a request: there already, or `F`, or what is rare.
type Answering<V, F> = future::Either<Ready<Response<Answer<<V as Invoke>::Body>>>, Running<V, F>>;

/// A version's answer to a request: `F`, or what is rare.
type Running<V, F> = future::Either<
    F,
    Pin<Box<dyn Future<Output = Response<Answer<<V as Invoke>::Body>>> + std::marker::Send>>,
>;

/// A head that may be sent, with what of its body may follow, or why there is none.
type Checked<B> = Result<(Response<B>, Send), Failure>;

/// Answers `request`, always.
///
/// All that can be done without waiting is done at once: the future is what waits, and no larger, for it is moved with
/// each request.
pub(crate) fn answer<V: Invoke>(
    session: Arc<Session<V>>,
    request: Request<Incoming>,
) -> impl Future<Output = Response<Answer<V::Body>>> + std::marker::Send {
    let started = session.watch.moment();
    let in_flight = session.watch.begin();
    let id = RequestId::random();
    let is_head = request.method() == Method::HEAD;
    let limit = session.plane.options.body_bytes_max;
    let request = request.map(|body| RequestBody::new(body, limit, Arc::clone(&session.watch)));
    let answering = match session.plane.choose(&request, session.client, id) {
        Ok(selected) => {
            let (tally, part) = (Arc::clone(&selected.version.tally), selected.part);
            let tallying = Tallying::new(tally, started, request.body().fate(), in_flight, part);
            let arrival = Arrival { id, at: started };
            session.clone().invoke(selected.version, selected.shield, request, arrival, tallying)
        }
        Err(problem) => {
            tracing::debug!(request_id = %id, code = problem.code.as_str(), "request refused");
            future::Either::Left(ready(problem.into_response(id)))
        }
    };
    answering.map(move |response| session.finish(response, is_head))
}

fn nothing<B: InvocationBody>() -> Answer<B> {
    Either::Right(Full::default())
}

impl<V: Invoke> Plane<V> {
    /// The version that answers `request`, by the table of this moment.
    fn choose(
        &self,
        request: &Request<RequestBody>,
        client: SocketAddr,
        id: RequestId,
    ) -> Result<Selected<V>, Problem> {
        head::check(request, self.options.headers_max)?;
        let host = head::host(request)?;
        let table = self.tables.load();
        let stage = table.find(host, request.uri().path()).ok_or(Code::NoSuchFunction)?;
        let asked = asked(request.headers(), stage.function(), &*self.access)?;
        let traits = Traits { headers: request.headers(), query: request.uri().query(), client: client.ip() };
        let chosen = stage
            .choose(&traits, asked, self.options.draw)
            .map_err(|none| Problem { detail: none.to_string().into(), ..Code::NoSuchVersion.into() })?;
        let shield = chosen.part.as_ref().and_then(|part| part.shield);
        Ok(Selected {
            version: Arc::clone(chosen.version),
            part: chosen.part.as_ref().map(|part| OwnPart::new(part, id)),
            shield: shield.map(|(fallback, after)| (Arc::clone(fallback), after)),
        })
    }
}

impl<V: Invoke> Session<V> {
    /// Has `version` answer `request`, or whoever shields it, and has the end counted.
    fn invoke(
        self: Arc<Self>,
        version: Arc<VersionEntry<V>>,
        shield: Option<(Arc<VersionEntry<V>>, Duration)>,
        mut request: Request<RequestBody>,
        arrival: Arrival,
        mut tallying: Tallying,
    ) -> Answering<V, impl Future<Output = Response<Answer<V::Body>>> + std::marker::Send + use<V>> {
        let limit = self.plane.options.body_bytes_max;
        let waited = self.watch.turn_wait();
        let refusal = if request.body().size_hint().lower() > limit {
            Some((Problem::body_too_large(limit), Usage::default()))
        } else if waited > self.plane.options.turn_wait_max {
            // Serving it too late would make those behind it late too; refusing costs far less.
            Some((Problem::out_of_turn(), Usage { queue_wait: waited, ..Usage::default() }))
        } else {
            None
        };
        if let Some((problem, usage)) = refusal {
            tallying.finish(Outcome::Shed, usage);
            let mut response = problem.into_response(arrival.id);
            head::sign(&mut response, arrival.id, &version.label);
            return future::Either::Left(ready(response));
        }
        head::strip(request.headers_mut());
        if tallying.is_on_canary() {
            // Boxed, for few requests are a canary's and every connection would have room for one.
            let answering = self.invoke_canary(version, shield, request, arrival, tallying);
            future::Either::Right(future::Either::Right(Box::pin(answering)))
        } else {
            future::Either::Right(self.invoke_only(version, request, arrival, tallying))
        }
    }

    /// Has `version` answer, whatever comes of it.
    fn invoke_only(
        self: Arc<Self>,
        version: Arc<VersionEntry<V>>,
        request: Request<RequestBody>,
        arrival: Arrival,
        tallying: Tallying,
    ) -> Running<V, impl Future<Output = Response<Answer<V::Body>>> + std::marker::Send + use<V>> {
        let (method, expects) = (request.method().clone(), expects(&request));
        let run = version.target.invoke(self.call(&version, request, arrival, tallying.started(), None));
        let settle = move |result: Result<Response<V::Body>, Failure>| {
            let checked = result.and_then(|response| sendable(response, &method));
            self.settle(&version, checked, arrival.id, tallying)
        };
        if expects {
            future::Either::Right(Box::pin(async move {
                let result = run.await;
                let_continue().await;
                settle(result)
            }))
        } else {
            future::Either::Left(run.map(settle))
        }
    }

    /// Has `version`, which is under test, answer; when it fails, `shield` as far as its rule allows.
    async fn invoke_canary(
        self: Arc<Self>,
        version: Arc<VersionEntry<V>>,
        shield: Option<(Arc<VersionEntry<V>>, Duration)>,
        request: Request<RequestBody>,
        arrival: Arrival,
        mut tallying: Tallying,
    ) -> Response<Answer<V::Body>> {
        let (method, expects) = (request.method().clone(), expects(&request));
        let (mut shield, request) = match shield {
            Some((fallback, after)) => {
                let (due, kept) = (shield::due(arrival.at, after), self.plane.options.shield_body_bytes_max);
                let (shield, request) = Shield::over(request, fallback, due, kept);
                (Some(shield), request)
            }
            None => (None, request),
        };
        let effects = shield.as_ref().map(Shield::effects);
        let call = self.call(&version, request, arrival, tallying.started(), effects);
        let result = {
            let mut run = pin!(version.target.invoke(call));
            poll_fn(|cx| match run.as_mut().poll(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending if tallying.poll_recalled(cx).is_ready() => {
                    Poll::Ready(Err(Failure::new(Cause::Recalled, "before it answered")))
                }
                Poll::Pending => {
                    let shield = shield.as_mut().filter(|_| !tallying.body_has_failed());
                    let late = shield.is_some_and(|shield| shield.poll_late(cx).is_ready());
                    let failure =
                        || Failure::new(Cause::Timeout, "no answer while there was time for another");
                    if late { Poll::Ready(Err(failure())) } else { Poll::Pending }
                }
            })
            .await
            // The run ends here: a canary that was recalled or late is dropped.
        };
        if expects {
            let_continue().await;
        }
        let checked = result.and_then(|response| sendable(response, &method));
        let failed = match &checked {
            Ok((response, _)) => response.status().is_server_error(),
            Err(_) => true,
        };
        let shield = shield.filter(|_| failed && !tallying.body_has_failed());
        let Some(second) = shield.and_then(Shield::take_over) else {
            return self.settle(&version, checked, arrival.id, tallying);
        };
        let (outcome, usage, trap) = match checked {
            Ok((response, _)) => (Outcome::ServerError, response.body().usage(), None),
            Err(failure) => (failure.cause.outcome(), failure.usage, failure.trap),
        };
        tracing::debug!(request_id = %arrival.id, version = %version.no, %outcome, "request runs again");
        let tallying = tallying.pass_on(outcome, usage, trap.as_ref(), Arc::clone(&second.version.tally));
        let shows = self.plane.options.show_shielded;
        let mut response = self.invoke_only(second.version, second.request, arrival, tallying).await;
        if shows {
            response.headers_mut().insert(head::SHIELDED, HeaderValue::from_static("1"));
        }
        response
    }

    /// What `response` becomes on this connection.
    fn finish(&self, mut response: Response<Answer<V::Body>>, is_head: bool) -> Response<Answer<V::Body>> {
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

    fn call(
        &self,
        version: &VersionEntry<V>,
        request: Request<RequestBody>,
        arrival: Arrival,
        began: Instant,
        effects: Option<Effects>,
    ) -> Call {
        let Arrival { id, at } = arrival;
        Call {
            request,
            request_id: id,
            client: self.client,
            version: version.no,
            arrived: at,
            began,
            effects,
        }
    }

    /// The response to a request that `version` answered, or failed to.
    fn settle(
        &self,
        version: &VersionEntry<V>,
        checked: Checked<V::Body>,
        id: RequestId,
        mut tallying: Tallying,
    ) -> Response<Answer<V::Body>> {
        let mut response = if tallying.body_is_too_large() {
            let usage = checked.map_or_else(|failure| failure.usage, |(response, _)| response.body().usage());
            tallying.finish(Outcome::Shed, usage);
            Problem::body_too_large(self.plane.options.body_bytes_max).into_response(id)
        } else {
            match checked {
                Ok((response, send)) => counted(response, send, tallying),
                Err(failure) => {
                    tracing::debug!(request_id = %id, version = %version.no, error = %failure, "invocation failed");
                    tallying.fail(&failure);
                    Problem::from(failure).into_response(id)
                }
            }
        };
        head::sign(&mut response, id, &version.label);
        response
    }
}

/// Whether the client waits for `100 Continue` before it sends its body.
fn expects(request: &Request<RequestBody>) -> bool {
    request.headers().contains_key(header::EXPECT) && !request.body().is_end_stream()
}

/// hyper writes `100 Continue` between two polls, and only before a head: a guest that gives its head and asks
/// for the body in one poll would leave the client waiting.
async fn let_continue() {
    tokio::task::yield_now().await;
}

/// Checks the head that a guest gave.
fn sendable<B: InvocationBody>(mut response: Response<B>, method: &Method) -> Checked<B> {
    let body = response.body();
    let exact = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    match head::sanitize(&mut response, method, exact) {
        Ok(send) => Ok((response, send)),
        Err(fault) => {
            let usage = response.body().usage();
            Err(Failure { usage, ..Failure::new(Cause::InvalidResponse, fault) })
        }
    }
}

/// Sends what may be sent of a guest's answer, and has its end counted.
fn counted<B: InvocationBody>(
    response: Response<B>,
    send: Send,
    mut tallying: Tallying,
) -> Response<Answer<B>> {
    let failed = response.status().as_u16() >= 500;
    let complete = if failed { Outcome::ServerError } else { Outcome::Success };
    let (head, body) = response.into_parts();
    let promised = match send {
        Send::Nothing => {
            tallying.finish(complete, body.usage());
            return Response::from_parts(head, nothing());
        }
        Send::Exactly(bytes) => Some(bytes),
        Send::All => None,
    };
    Response::from_parts(head, Either::Left(Guest::new(body, tallying, complete, promised)))
}
