//! One request: match, choose, invoke, answer.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
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
    clock,
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
    /// When its head was complete.
    at: Instant,
}

/// The version that answers a request, and the request's part in a trial.
struct Selected<V> {
    version: Arc<VersionEntry<V>>,
    part: Option<OwnPart>,
    /// Who answers if it fails, and from when on it has.
    shield: Option<(Arc<VersionEntry<V>>, Duration)>,
}

/// A head that may be sent, with what of its body may follow, or why there is none.
type Checked<B> = Result<(Response<B>, Send), Failure>;

/// Answers `request`, always.
pub(crate) async fn answer<V: Invoke>(
    session: Arc<Session<V>>,
    request: Request<Incoming>,
) -> Response<Answer<V::Body>> {
    let started = clock::now();
    let in_flight = session.watch.begin();
    let id = RequestId::random();
    let method = request.method().clone();
    let limit = session.plane.options.body_bytes_max;
    let request = request.map(|body| RequestBody::new(body, limit, Arc::clone(&session.watch)));
    let mut response = match session.plane.choose(&request, session.client, id) {
        Ok(Selected { version, part, shield }) => {
            let tally = Arc::clone(&version.tally);
            let tallying = Tallying::new(tally, started, request.body().fate(), in_flight, part);
            session.invoke(&version, shield, request, Arrival { id, at: started }, tallying).await
        }
        Err(problem) => {
            tracing::debug!(request_id = %id, code = problem.code.as_str(), "request refused");
            problem.into_response(id)
        }
    };
    if method == Method::HEAD && matches!(response.body(), Either::Right(_)) {
        *response.body_mut() = nothing();
    }
    let whole = match response.body() {
        Either::Left(guest) => guest.is_whole(),
        Either::Right(_) => true,
    };
    session.watch.answer(whole && !session.watch.is_http2());
    if session.watch.order() >= Order::Drain && !session.watch.is_http2() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
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
    async fn invoke(
        &self,
        version: &VersionEntry<V>,
        shield: Option<(Arc<VersionEntry<V>>, Duration)>,
        mut request: Request<RequestBody>,
        arrival: Arrival,
        mut tallying: Tallying,
    ) -> Response<Answer<V::Body>> {
        let limit = self.plane.options.body_bytes_max;
        if request.body().size_hint().lower() > limit {
            tallying.finish(Outcome::Shed, Usage::default());
            let mut response = Problem::body_too_large(limit).into_response(arrival.id);
            head::sign(&mut response, arrival.id, &version.label);
            return response;
        }
        let waited = self.watch.turn_wait();
        if waited > self.plane.options.turn_wait_max {
            // Serving it too late would make those behind it late too; refusing costs far less.
            tallying.finish(Outcome::Shed, Usage { queue_wait: waited, ..Usage::default() });
            let mut response = Problem::out_of_turn().into_response(arrival.id);
            head::sign(&mut response, arrival.id, &version.label);
            return response;
        }
        head::strip(request.headers_mut());
        if tallying.is_on_canary() {
            // Boxed, for few requests are a canary's and every connection would have room for one.
            Box::pin(self.invoke_canary(version, shield, request, arrival, tallying)).await
        } else {
            self.invoke_only(version, request, arrival, tallying).await
        }
    }

    /// Has `version` answer, whatever comes of it.
    async fn invoke_only(
        &self,
        version: &VersionEntry<V>,
        request: Request<RequestBody>,
        arrival: Arrival,
        tallying: Tallying,
    ) -> Response<Answer<V::Body>> {
        let (method, expects) = (request.method().clone(), expects(&request));
        let run = Arc::clone(&version.target).invoke(self.call(version, request, arrival, None));
        let result = run.await;
        after_continue(expects).await;
        let checked = result.and_then(|response| sendable(response, &method));
        self.settle(version, checked, arrival.id, tallying)
    }

    /// Has `version`, which is under test, answer; when it fails, `shield` as far as its rule allows.
    async fn invoke_canary(
        &self,
        version: &VersionEntry<V>,
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
        let call = self.call(version, request, arrival, shield.as_ref().map(Shield::effects));
        let result = {
            let mut run = pin!(Arc::clone(&version.target).invoke(call));
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
        after_continue(expects).await;
        let checked = result.and_then(|response| sendable(response, &method));
        let failed = match &checked {
            Ok((response, _)) => response.status().is_server_error(),
            Err(_) => true,
        };
        let shield = shield.filter(|_| failed && !tallying.body_has_failed());
        let Some(second) = shield.and_then(Shield::take_over) else {
            return self.settle(version, checked, arrival.id, tallying);
        };
        let (outcome, usage, trap) = match checked {
            Ok((response, _)) => (Outcome::ServerError, response.body().usage(), None),
            Err(failure) => (failure.cause.outcome(), failure.usage, failure.trap),
        };
        tracing::debug!(request_id = %arrival.id, version = %version.no, %outcome, "request runs again");
        let tallying = tallying.pass_on(outcome, usage, trap.as_ref(), Arc::clone(&second.version.tally));
        let mut response = self.invoke_only(&second.version, second.request, arrival, tallying).await;
        if self.plane.options.show_shielded {
            response.headers_mut().insert(head::SHIELDED, HeaderValue::from_static("1"));
        }
        response
    }

    fn call(
        &self,
        version: &VersionEntry<V>,
        request: Request<RequestBody>,
        arrival: Arrival,
        effects: Option<Effects>,
    ) -> Call {
        let Arrival { id, at } = arrival;
        Call { request, request_id: id, client: self.client, version: version.no, arrived: at, effects }
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
async fn after_continue(expected: bool) {
    if expected {
        tokio::task::yield_now().await;
    }
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
