//! A version's attempt at a request, and what becomes of the request when a canary's attempt fails.
//!
//! A canary takes the same way as all others, and what only it needs lies in a box beside: its requests are few, so that
//! code and futures of their own would seldom be in the caches.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, future};
use http::{HeaderValue, Method, Request, Response, header};
use http_body::Body as _;
use http_body_util::Either;
use pin_project_lite::pin_project;
use wasm_fn_core::Outcome;
use wasm_fn_router::{HeldVersion, Shielding};

use crate::{
    Call, Cause, Failure, InvocationBody, Invoke, RequestBody, RequestId,
    answer::{Answer, Guest, nothing},
    head::{self, Send},
    problem::Problem,
    session::{Arrival, Session},
    shield::{self, SecondRun, Shield},
    tallying::Tallying,
};

/// A head that may be sent, with what of its body may follow, or why there is none.
type Checked<B> = Result<(Response<B>, Send), Failure>;

/// A whole answer, from its head on.
pub(crate) type Answered<V> = Response<Answer<V>>;

/// What is rare enough to be boxed.
type Boxed<T> = Pin<Box<dyn Future<Output = T> + std::marker::Send>>;

pin_project! {
    /// The answer to a request by the run `R`, or by a second one where the shield allows that.
    #[project = Step]
    #[project_replace = Ended]
    pub(crate) enum Attempt<V, R>
    where
        V: Invoke,
    {
        /// The version works on it.
        First { #[pin] run: R, settling: Settling<V> },
        /// The version that a canary was to replace does.
        Second { answer: Boxed<Answered<V>> },
        /// The answer was given.
        Over,
    }
}

/// What makes an answer of that which a run came to.
pub(crate) struct Settling<V> {
    session: Arc<Session<V>>,
    method: Method,
    arrival: Arrival,
    tallying: Tallying<V>,
    stake: Stake,
}

/// What hangs on a run besides its answer.
enum Stake {
    /// Nothing.
    None,
    /// Whether the request runs again.
    First(Box<Shield>),
    /// What the shield came to.
    Second(SecondRun),
}

/// Has the version that `tallying` counts on answer `request`; in its place the stage's fallback if the version fails,
/// which it has once it did not answer `late` after the request came.
///
/// The guest is started in this call, so that what is returned is small.
pub(crate) fn attempt<V: Invoke>(
    session: Arc<Session<V>>,
    late: Option<Duration>,
    request: Request<RequestBody>,
    arrival: Arrival,
    tallying: Tallying<V>,
) -> Attempt<V, impl Future<Output = Result<Response<V::Body>, Failure>> + std::marker::Send + use<V>> {
    let (stake, request) = match late {
        Some(late) => {
            let kept = session.plane.options.shield_body_bytes_max;
            let (shield, request) = Shield::over(request, shield::due(arrival.at, late), kept);
            (Stake::First(shield), request)
        }
        None => (Stake::None, request),
    };
    run(session, stake, request, arrival, tallying)
}

/// The run of `request` on the version that `tallying` counts on.
fn run<V: Invoke>(
    session: Arc<Session<V>>,
    stake: Stake,
    request: Request<RequestBody>,
    arrival: Arrival,
    tallying: Tallying<V>,
) -> Attempt<V, impl Future<Output = Result<Response<V::Body>, Failure>> + std::marker::Send + use<V>> {
    let (method, expects) = (request.method().clone(), expects(&request));
    let effects = match &stake {
        Stake::First(shield) => Some(shield.effects()),
        Stake::None | Stake::Second(_) => None,
    };
    let version = tallying.version();
    let run = version.target.invoke(Call {
        request,
        request_id: arrival.id,
        client: arrival.client,
        version: version.no,
        arrived: arrival.at,
        began: tallying.started(),
        effects,
    });
    let run =
        if expects { future::Either::Right(let_continue(run).boxed()) } else { future::Either::Left(run) };
    Attempt::First { run, settling: Settling { session, method, arrival, tallying, stake } }
}

impl<V, R> Future for Attempt<V, R>
where
    V: Invoke,
    R: Future<Output = Result<Response<V::Body>, Failure>>,
{
    type Output = Answered<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.as_mut().project() {
            Step::First { run, settling } => match run.poll(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(ready!(settling.poll_given_up(cx))),
            },
            Step::Second { answer } => return answer.as_mut().poll(cx),
            Step::Over => unreachable!("an answer is given once"),
        };
        // The run ends here: a canary that was recalled or is late is dropped.
        let Ended::First { settling, .. } = self.as_mut().project_replace(Self::Over) else {
            unreachable!("the first run has just ended");
        };
        match settling.settle(result) {
            Either::Left(response) => Poll::Ready(response),
            Either::Right(mut answer) => {
                let polled = answer.as_mut().poll(cx);
                self.set(Self::Second { answer });
                polled
            }
        }
    }
}

impl<V: Invoke> Settling<V> {
    /// Ready when the run, which waits, is to be given up: its version was recalled, or there is just time for another.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if self.tallying.poll_recalled(cx).is_ready() {
            return Poll::Ready(Failure::new(Cause::Recalled, "before it answered"));
        }
        let Stake::First(shield) = &mut self.stake else { return Poll::Pending };
        if self.tallying.body_has_failed() {
            return Poll::Pending;
        }
        let tallying = &self.tallying;
        ready!(shield.poll_late(cx, || tallying.waits_for_client()));
        Poll::Ready(Failure::new(Cause::Timeout, "no answer while there was time for another"))
    }

    /// The answer, or the one that a second run will give.
    fn settle(self, result: Result<Response<V::Body>, Failure>) -> Either<Answered<V>, Boxed<Answered<V>>> {
        let Self { session, method, arrival, tallying, stake } = self;
        let result = result.map_err(|failure| tallying.excuse(failure));
        let checked = result.and_then(|response| sendable(response, &method));
        let second = match stake {
            Stake::None => None,
            Stake::First(shield) => again(*shield, &checked, &tallying),
            Stake::Second(second) => {
                let late = matches!(&checked, Err(failure) if failure.cause == Cause::Timeout);
                second.end(if late { Shielding::NoTime } else { Shielding::Again });
                None
            }
        };
        let Some((request, fallback)) = second else {
            return Either::Left(respond(&session, checked, arrival.id, tallying));
        };
        let second = SecondRun::begin(Arc::clone(&tallying.version().tally));
        let (outcome, usage, trap) = match checked {
            Ok((response, _)) => (Outcome::ServerError, response.body().usage(), None),
            Err(failure) => (failure.cause.outcome(), failure.usage, failure.trap),
        };
        let version = tallying.version().no;
        tracing::debug!(request_id = %arrival.id, client = %arrival.client, %version, %outcome, "request runs again");
        let tallying = tallying.pass_on(outcome, usage, trap.as_ref(), fallback);
        let shows = session.plane.options.show_shielded;
        let again = run(session, Stake::Second(second), request, arrival, tallying);
        Either::Right(Box::pin(again.map(move |mut response| {
            if shows {
                response.headers_mut().insert(head::SHIELDED, HeaderValue::from_static("1"));
            }
            response
        })))
    }
}

/// The request for a second run, and the version for it, when the first came to a failure that allows it. One that does
/// not is counted.
fn again<V: Invoke>(
    shield: Shield,
    checked: &Checked<V::Body>,
    tallying: &Tallying<V>,
) -> Option<(Request<RequestBody>, HeldVersion<V>)> {
    let failed = match checked {
        Ok((response, _)) => response.status().is_server_error(),
        // Another version would have to wait for the client as well.
        Err(failure) => failure.cause != Cause::ClientTooSlow,
    };
    // A client that sends more than it may has nobody to blame.
    if !failed || tallying.body_is_too_large() {
        return None;
    }
    let taken = if tallying.body_has_failed() { Err(Shielding::ClientGone) } else { shield.take_over() };
    match taken {
        Ok(request) => Some((request, tallying.version().fallback()?)),
        Err(refused) => {
            tallying.version().tally.shielded(refused);
            None
        }
    }
}

/// Whether the client waits for `100 Continue` before it sends its body.
fn expects(request: &Request<RequestBody>) -> bool {
    request.headers().contains_key(header::EXPECT) && !request.body().is_end_stream()
}

/// What `run` gives, one poll later.
///
/// hyper writes `100 Continue` between two polls, and only before a head: a guest that gives its head and asks
/// for the body in one poll would leave the client waiting.
async fn let_continue<R: Future>(run: R) -> R::Output {
    let result = run.await;
    tokio::task::yield_now().await;
    result
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

/// The response to a request that a version answered, or failed to.
fn respond<V: Invoke>(
    session: &Session<V>,
    checked: Checked<V::Body>,
    id: RequestId,
    mut tallying: Tallying<V>,
) -> Answered<V> {
    let label = tallying.version().label.clone();
    let mut response = if tallying.body_is_too_large() {
        let usage = checked.map_or_else(|failure| failure.usage, |(response, _)| response.body().usage());
        tallying.finish(Cause::BodyTooLarge.outcome(), usage);
        Problem::body_too_large(session.plane.options.body_bytes_max).into_response(id)
    } else {
        match checked {
            Ok((response, send)) => counted(response, send, tallying),
            Err(failure) => {
                let version = tallying.version().no;
                tracing::debug!(request_id = %id, %version, error = %failure, "invocation failed");
                tallying.fail(&failure);
                let slow_http1 = failure.cause == Cause::ClientTooSlow && !session.watch.is_http2();
                let mut response = Problem::from(failure).into_response(id);
                if slow_http1 {
                    // What is left of the body would be taken for the next request (RFC 9110, section 15.5.9).
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                response
            }
        }
    };
    head::sign(&mut response, id, label);
    response
}

/// Sends what may be sent of a guest's answer, and has its end counted.
fn counted<V: Invoke>(response: Response<V::Body>, send: Send, mut tallying: Tallying<V>) -> Answered<V> {
    let failed = response.status().as_u16() >= 500;
    let complete = if failed { Outcome::ServerError } else { Outcome::Success };
    tallying.answers();
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
