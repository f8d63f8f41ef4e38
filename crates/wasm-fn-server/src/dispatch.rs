//! One request: match, choose, invoke, answer.

use std::{net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use wasm_fn_core::Outcome;
use wasm_fn_router::{RouteTable, Traits, VersionEntry};

use crate::{
    Call, Cause, Failure, InvocationBody, Invoke, Options, OverrideAccess, RequestBody, RequestId, Usage,
    answer::{Answer, Guest},
    asked::asked,
    clock,
    head::{self, Send},
    problem::{Code, Problem},
    tallying::Tallying,
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
    let mut response = match session.plane.choose(&request, session.client) {
        Ok(version) => {
            let tally = Arc::clone(&version.tally);
            let tallying = Tallying::new(tally, started, request.body().fate(), in_flight);
            let mut response = session.invoke(&version, request, id, tallying).await;
            head::sign(&mut response, id, &version.label);
            response
        }
        Err(problem) => {
            tracing::debug!(request_id = %id, code = problem.code.as_str(), "request refused");
            problem.into_response(id)
        }
    };
    if method == Method::HEAD && matches!(response.body(), Either::Right(_)) {
        *response.body_mut() = nothing();
    }
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
    ) -> Result<Arc<VersionEntry<V>>, Problem> {
        head::check(request, self.options.headers_max)?;
        let host = head::host(request)?;
        let table = self.tables.load();
        let stage = table.find(host, request.uri().path()).ok_or(Code::NoSuchFunction)?;
        let asked = asked(request.headers(), stage.function(), &*self.access)?;
        let traits = Traits { headers: request.headers(), query: request.uri().query(), client: client.ip() };
        let chosen = stage
            .choose(&traits, asked, self.options.draw)
            .map_err(|none| Problem { detail: none.to_string().into(), ..Code::NoSuchVersion.into() })?;
        Ok(Arc::clone(chosen.version))
    }
}

impl<V: Invoke> Session<V> {
    /// Has `version` answer `request`, and has the end counted.
    async fn invoke(
        &self,
        version: &VersionEntry<V>,
        mut request: Request<RequestBody>,
        id: RequestId,
        mut tallying: Tallying,
    ) -> Response<Answer<V::Body>> {
        let limit = self.plane.options.body_bytes_max;
        if request.body().size_hint().lower() > limit {
            tallying.finish(Outcome::Shed, Usage::default());
            return Problem::body_too_large(limit).into_response(id);
        }
        head::strip(request.headers_mut());
        let method = request.method().clone();
        let expects = request.headers().contains_key(header::EXPECT) && !request.body().is_end_stream();
        let call = Call { request, request_id: id, client: self.client, version: version.no };
        let result = Arc::clone(&version.target).invoke(call).await;
        if expects {
            // hyper writes `100 Continue` between two polls, and only before a head: a guest that gives
            // its head and asks for the body in one poll would leave the client waiting.
            tokio::task::yield_now().await;
        }
        if tallying.body_is_too_large() {
            let usage = result.map_or_else(|failure| failure.usage, |response| response.body().usage());
            tallying.finish(Outcome::Shed, usage);
            return Problem::body_too_large(limit).into_response(id);
        }
        match result.and_then(|response| sendable(response, &method)) {
            Ok((response, send)) => counted(response, send, tallying),
            Err(failure) => {
                tracing::debug!(request_id = %id, version = %version.no, error = %failure, "invocation failed");
                tallying.finish(failure.cause.outcome(), failure.usage);
                Problem::from(failure).into_response(id)
            }
        }
    }
}

/// Checks the head that a guest gave.
fn sendable<B: InvocationBody>(
    mut response: Response<B>,
    method: &Method,
) -> Result<(Response<B>, Send), Failure> {
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
