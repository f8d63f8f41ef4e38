//! A version's attempt at a request, and what becomes of the request when a canary's attempt fails.
//!
//! A canary takes the same code path as all other versions, with its extra state in a box. Requests of
//! canaries are few, so code and futures of their own would seldom be in the caches.

use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::{FutureExt, future};
use http::{HeaderValue, Method, Request, Response};
use http_body::Body as _;
use http_body_util::Either;
use pin_project_lite::pin_project;
use wasm_fn_core::Outcome;
use wasm_fn_router::{HeldVersion, Shielding};

use super::{
    body::RequestBody,
    framing,
    id::RequestId,
    recording,
    run::{RequestRun, RunEnd},
    shield::{self, SecondRun, Shield},
};
use crate::{
    failure::{FailureCause, InvokeFailure},
    invoke::{Call, InvocationBody, Invoke},
    response::{
        body::{GuestAnswer, OwnBody, ResponseBody, empty},
        head::{self, Send},
        headers,
        problem::Problem,
    },
    session::{Arrival, Session},
};

/// A head that may be sent and how much of its body may follow, or why there is none.
type Checked<B> = Result<(Response<B>, Send), InvokeFailure>;

/// A complete response, from its head on.
pub(super) type FullResponse<V> = Response<ResponseBody<V>>;

/// A future that is rare enough to be boxed.
pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + std::marker::Send>>;

pin_project! {
    /// The response to a request by the invocation `R`, or by a second run where the shield allows that.
    #[project = AttemptProjection]
    #[project_replace = OwnedAttempt]
    pub(super) enum Attempt<V, R>
    where
        V: Invoke,
    {
        /// The version works on the request.
        First { #[pin] invocation: R, completion: Completion<V> },
        /// The fallback does.
        Second { response: Boxed<FullResponse<V>> },
        /// The response was given.
        Over,
    }
}

/// Turns the result of an invocation into a response.
pub(super) struct Completion<V> {
    session: Arc<Session<V>>,
    method: Method,
    arrival: Arrival,
    run: RequestRun<V>,
    shielding: ShieldState,
}

/// The shield's part in a run.
enum ShieldState {
    /// The run has no shield.
    None,
    /// If the run fails, the request may run again.
    First(Box<Shield>),
    /// This is the second run.
    Second(SecondRun),
}

/// Lets the version of `run` answer `request`. If the version fails, or has not answered within
/// `fallback_after` since the request came, the stage's fallback answers.
///
/// This call starts the guest, so the returned future is small.
pub(super) fn attempt<V: Invoke>(
    session: Arc<Session<V>>,
    fallback_after: Option<Duration>,
    request: Request<RequestBody>,
    arrival: Arrival,
    run: RequestRun<V>,
) -> Attempt<V, impl Future<Output = Result<Response<V::Body>, InvokeFailure>> + std::marker::Send + use<V>> {
    let (shielding, request) = match fallback_after {
        Some(after) => {
            let kept = session.plane.options.shield_body_bytes_max;
            let due = shield::due(arrival.at, after);
            let (shield, request) = Shield::over(request, due, kept, session.repeats_effects());
            (ShieldState::First(shield), request)
        }
        None => (ShieldState::None, request),
    };
    start(session, shielding, request, arrival, run)
}

/// Starts the invocation of `run`.
fn start<V: Invoke>(
    session: Arc<Session<V>>,
    shielding: ShieldState,
    mut request: Request<RequestBody>,
    arrival: Arrival,
    run: RequestRun<V>,
) -> Attempt<V, impl Future<Output = Result<Response<V::Body>, InvokeFailure>> + std::marker::Send + use<V>> {
    if let Some(record) = run.record() {
        recording::inject(record, request.headers_mut());
    }
    let method = request.method().clone();
    let expects = !request.body().is_end_stream() && framing::expects_continue(request.headers());
    let effects = match &shielding {
        ShieldState::First(shield) => Some(shield.effects()),
        ShieldState::None | ShieldState::Second(_) => session.forbidding(),
    };
    let version = run.version();
    let invocation = version.target.invoke(Call {
        request,
        request_id: arrival.id,
        client: arrival.client,
        scheme: arrival.scheme,
        port: if arrival.scheme == session.scheme { session.port } else { arrival.scheme.port() },
        version: version.no,
        arrived: arrival.at,
        began: run.started(),
        effects,
        record: run.record().cloned(),
    });
    let invocation = if expects {
        future::Either::Right(let_continue(invocation).boxed())
    } else {
        future::Either::Left(invocation)
    };
    Attempt::First { invocation, completion: Completion { session, method, arrival, run, shielding } }
}

impl<V, R> Future for Attempt<V, R>
where
    V: Invoke,
    R: Future<Output = Result<Response<V::Body>, InvokeFailure>>,
{
    type Output = FullResponse<V>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let result = match self.as_mut().project() {
            AttemptProjection::First { invocation, completion } => match invocation.poll(cx) {
                Poll::Ready(result) => result,
                Poll::Pending => Err(ready!(completion.poll_given_up(cx))),
            },
            AttemptProjection::Second { response } => return response.as_mut().poll(cx),
            AttemptProjection::Over => unreachable!("a response is given once"),
        };
        // The invocation ends here: a canary that was recalled or is late is dropped.
        let OwnedAttempt::First { completion, .. } = self.as_mut().project_replace(Self::Over) else {
            unreachable!("the first run has just ended");
        };
        match completion.finish(result) {
            Either::Left(response) => Poll::Ready(response),
            Either::Right(mut response) => {
                let polled = response.as_mut().poll(cx);
                self.set(Self::Second { response });
                polled
            }
        }
    }
}

impl<V: Invoke> Completion<V> {
    /// Ready when an invocation that waits must be given up: its version was recalled, or a second run needs
    /// the time.
    fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<InvokeFailure> {
        if self.run.poll_recalled(cx).is_ready() {
            return Poll::Ready(InvokeFailure::new(FailureCause::Recalled, "before it answered"));
        }
        let ShieldState::First(shield) = &mut self.shielding else { return Poll::Pending };
        if self.run.body_has_failed() {
            return Poll::Pending;
        }
        let run = &self.run;
        ready!(shield.poll_late(cx, || run.waits_for_client()));
        Poll::Ready(InvokeFailure::new(FailureCause::Timeout, "no answer while there was time for another"))
    }

    /// The response, or the future response of a second run.
    fn finish(
        self,
        result: Result<Response<V::Body>, InvokeFailure>,
    ) -> Either<FullResponse<V>, Boxed<FullResponse<V>>> {
        let Self { session, method, arrival, run, shielding } = self;
        let result = result.map_err(|failure| run.excuse(failure));
        let checked = result.and_then(|response| check(response, &method));
        let second = match shielding {
            ShieldState::None => None,
            ShieldState::First(shield) => second_run(&session, *shield, &checked, &run),
            ShieldState::Second(second) => {
                let late = matches!(&checked, Err(failure) if failure.cause == FailureCause::Timeout);
                second.end(if late { Shielding::NoTime } else { Shielding::Again });
                None
            }
        };
        let Some((request, fallback)) = second else {
            return Either::Left(respond(&session, checked, arrival.id, run));
        };
        let second = SecondRun::begin(Arc::clone(&run.version().tally));
        let (outcome, usage, trap) = match checked {
            Ok((response, _)) => (Outcome::ServerError, response.body().usage(), None),
            Err(failure) => (failure.cause.outcome(), failure.usage, failure.trap),
        };
        let version = run.version().no;
        let Arrival { id, client, .. } = arrival;
        tracing::debug!(request_id = %id, %client, %version, %outcome, "request runs again");
        let run = run.continue_on(fallback, outcome, usage, trap.as_ref());
        let shows = session.plane.options.show_shielded;
        let again = start(session, ShieldState::Second(second), request, arrival, run);
        Either::Right(Box::pin(again.map(move |mut response| {
            if shows {
                response.headers_mut().insert(headers::SHIELDED, HeaderValue::from_static("1"));
            }
            response
        })))
    }
}

/// The request and the version for a second run, if the first failed in a way that allows it. Counts a
/// failure that does not.
fn second_run<V: Invoke>(
    session: &Session<V>,
    shield: Shield,
    checked: &Checked<V::Body>,
    run: &RequestRun<V>,
) -> Option<(Request<RequestBody>, HeldVersion<V>)> {
    let failed = match checked {
        Ok((response, _)) => session.is_failure(response.status()),
        // Another version would have the same trouble with the client.
        Err(failure) => failure.cause.outcome() != Outcome::Cancelled,
    };
    // A client that sends too much is at fault itself.
    if !failed || run.body_is_too_large() {
        return None;
    }
    let taken = if run.body_has_failed() { Err(Shielding::ClientGone) } else { shield.take_over() };
    match taken {
        Ok(request) => Some((request, run.version().fallback()?)),
        Err(refused) => {
            run.version().tally.shielded(refused);
            None
        }
    }
}

/// Returns the result of `invocation` one poll later.
///
/// hyper writes `100 Continue` between two polls, and only before a head. A guest that gives its head and
/// asks for the body in the same poll would leave the client waiting.
async fn let_continue<R: Future>(invocation: R) -> R::Output {
    let result = invocation.await;
    tokio::task::yield_now().await;
    result
}

/// Checks the head that a guest gave.
fn check<B: InvocationBody>(mut response: Response<B>, method: &Method) -> Checked<B> {
    let body = response.body();
    let exact = if body.is_end_stream() { Some(0) } else { body.size_hint().exact() };
    match head::sanitize(&mut response, method, exact) {
        Ok(send) => Ok((response, send)),
        Err(fault) => {
            let usage = response.body().usage();
            Err(InvokeFailure { usage, ..InvokeFailure::new(FailureCause::InvalidResponse, fault) })
        }
    }
}

/// The response to a request that a version answered, or failed to.
fn respond<V: Invoke>(
    session: &Session<V>,
    checked: Checked<V::Body>,
    id: RequestId,
    mut run: RequestRun<V>,
) -> FullResponse<V> {
    let label = run.version().label.clone();
    let mut response = if run.body_is_too_large() {
        let usage = checked.map_or_else(|failure| failure.usage, |(response, _)| response.body().usage());
        run.end(RunEnd::Refused(FailureCause::BodyTooLarge, usage));
        Problem::body_too_large(session.plane.options.body_bytes_max).into_response(id)
    } else {
        match checked {
            Ok((response, send)) => stream(session, response, send, run),
            Err(failure) => {
                let version = run.version().no;
                tracing::debug!(request_id = %id, %version, error = %failure, "invocation failed");
                run.end(RunEnd::Failed(&failure));
                if failure.cause == FailureCause::ClientTooSlow {
                    // There is no use in waiting for the rest (RFC 9110, section 15.5.9).
                    session.connection.upload.refuse();
                }
                Problem::from(failure).into_response(id)
            }
        }
    };
    head::sign(&mut response, id, label);
    response
}

/// Sends as much of a guest's response as `send` allows. Its end ends the run.
fn stream<V: Invoke>(
    session: &Session<V>,
    response: Response<V::Body>,
    send: Send,
    mut run: RequestRun<V>,
) -> FullResponse<V> {
    let complete =
        if session.is_failure(response.status()) { Outcome::ServerError } else { Outcome::Success };
    run.answers();
    let (head, body) = response.into_parts();
    let promised = match send {
        Send::Nothing | Send::NothingOf(_) => {
            run.end(RunEnd::Complete(complete, body.usage()));
            pin!(body).complete();
            let body = match send {
                // With HTTP/2 the head itself ends the stream.
                Send::NothingOf(length) if !session.connection.flags.is_http2() => {
                    Either::Right(OwnBody::NothingOf(length))
                }
                _ => empty(),
            };
            return Response::from_parts(head, body);
        }
        Send::Exactly(bytes) => Some(bytes),
        Send::All => None,
    };
    Response::from_parts(head, Either::Left(GuestAnswer::new(body, run, complete, promised)))
}
