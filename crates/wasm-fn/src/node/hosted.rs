//! Implements the data plane's [`Invoke`] for a version of the runtime.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use wasm_fn_core::Usage;
use wasm_fn_runtime::{
    BodyError, EffectCheck, Fault, Invocation, InvocationError, LogStage, Refusal, Version,
};
use wasm_fn_server::{
    Call, FailureCause, InvocationBody, Invoke, InvokeFailure, RequestBody, RequestBodyError,
};

/// A version in the route table, and the stage that its requests come to.
#[derive(Clone)]
pub(crate) struct Hosted(pub(crate) Arc<Version>, pub(crate) LogStage);

impl Invoke for Hosted {
    type Body = ResponseBody;

    fn invoke(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<http::Response<ResponseBody>, InvokeFailure>> + Send + use<> {
        let invocation = Invocation {
            request: call.request.map(GuestBound),
            request_id: call.request_id.bits(),
            stage: self.1,
            client: Some(call.client.ip()),
            scheme: call.scheme,
            port: call.port,
            arrived: call.arrived,
            began: call.began,
            effect_check: call.effects.map(|effects| EffectCheck::new(move || effects.begin())),
            record: call.record,
        };
        let run = self.0.clone().invoke(invocation);
        run.map(|result| result.map(|response| response.map(ResponseBody)).map_err(failure))
    }
}

/// A request's body on its way from the server to the runtime.
struct GuestBound(RequestBody);

impl Body for GuestBound {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map_err(|error| match error {
            RequestBodyError::TooLarge { .. } => BodyError::TooLarge,
            error @ (RequestBodyError::Broken(_) | RequestBodyError::TakenOver) => {
                BodyError::Broken(error.to_string())
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// A guest's response on its way from the runtime to the server.
pub(crate) struct ResponseBody(wasm_fn_runtime::ResponseBody);

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = InvokeFailure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, InvokeFailure>>> {
        Pin::new(&mut self.0).poll_frame(cx).map_err(failure)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl InvocationBody for ResponseBody {
    fn usage(&self) -> Usage {
        self.0.usage()
    }

    fn complete(mut self: Pin<&mut Self>) {
        self.0.complete();
    }
}

fn failure(failed: InvocationError) -> InvokeFailure {
    let (cause, retry_after) = match failed.fault {
        Fault::Trap { .. } => (FailureCause::Trap, None),
        Fault::Timeout { .. } => (FailureCause::Timeout, None),
        Fault::BeganLate { .. } => (FailureCause::BeganLate, None),
        Fault::CpuExceeded { .. } => (FailureCause::CpuExceeded, None),
        Fault::OutOfMemory { .. } => (FailureCause::OutOfMemory, None),
        Fault::InvalidResponse { .. } => (FailureCause::InvalidResponse, None),
        Fault::Refused(Refusal::UriTooLong { .. }) => (FailureCause::UriTooLong, None),
        Fault::Refused(Refusal::HeaderTooLong { .. }) => (FailureCause::HeaderTooLong, None),
        Fault::Refused(Refusal::Malformed { .. }) => (FailureCause::Malformed, None),
        Fault::NotReady { retry_after } => (FailureCause::NotReady, Some(retry_after)),
        Fault::FunctionOverloaded { retry_after } => (FailureCause::FunctionOverloaded, Some(retry_after)),
        Fault::NodeOverloaded { retry_after } => (FailureCause::NodeOverloaded, Some(retry_after)),
        Fault::Internal { .. } => (FailureCause::Internal, None),
    };
    let (detail, usage) = (failed.fault.to_string(), failed.usage);
    let trap = match failed.fault {
        Fault::Trap { trap, .. } => Some(trap),
        _ => None,
    };
    InvokeFailure { cause, detail, retry_after, usage, trap }
}

#[cfg(test)]
mod tests;
