//! The calls of guests, one for each kind: what a guest gets, and where its response head will be.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use http::{Request, Response, header, uri};
use http_body::Body as _;
use http_body_util::BodyExt;
use wasm_fn_core::{FunctionName, Scheme};
use wasm_fn_memory::GuestRun;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::{
    WasiBody, WasiHttpHooks, WasiHttpView,
    p2::bindings::http::types::{self, ErrorCode},
    p3,
};

use super::cgi::{CgiInput, CgiOutput, CgiRequest, HeadReader, Origin, variables};
use crate::{
    code::handler::{CommandFunc, Http02Func, Http03Func},
    fault::Refusal,
    guest_host::{instance::Instance, state::GuestState},
    in_place::in_place,
};

/// The response head that a guest gives, or why it gives none.
pub(super) type Head = Result<Response<WasiBody>, String>;

/// The place for a guest's response head. It is read after each poll of the guest, so no waker is needed.
pub(super) type HeadSlot = Arc<Mutex<Option<Head>>>;

/// A guest that has returned.
pub(super) struct Returned {
    pub(super) instance: Instance,
    pub(super) result: wasmtime::Result<()>,
}

/// A running guest. Each kind has its own box, so that none is as large as the largest.
pub(super) type Run = GuestRun<Pin<Box<dyn Future<Output = Returned> + Send>>>;

/// Where the response head of a guest will be.
pub(super) enum HeadSource {
    Slot(HeadSlot),
    Command(Box<CommandOutput>),
    /// Nowhere: the request cannot be given to the guest.
    Refused(Box<Refusal>),
}

/// The output of a command, with its head first.
pub(super) struct CommandOutput {
    output: CgiOutput,
    reader: HeadReader,
}

impl CommandOutput {
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Head> {
        let head = ready!(self.reader.poll_head(&self.output, cx));
        let boxed = |response: Response<_>| {
            response.map(|body| BodyExt::map_err(body, |never| match never {}).boxed_unsync())
        };
        Poll::Ready(head.map(boxed))
    }
}

/// Takes the response head, if it is there.
pub(super) fn take(slot: &HeadSlot) -> Option<Head> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put(slot: &HeadSlot, head: Head) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
}

/// Calls the handler of a `wasi:http` 0.2 guest.
pub(super) fn call_02(
    instance: Instance,
    handle: Http02Func,
    scheme: Scheme,
    request: Request<WasiBody>,
) -> (Option<Run>, HeadSource) {
    let slot = HeadSlot::default();
    let run = in_place(|| run_02(instance, handle, scheme, request, slot.clone()));
    (Some(Run::new(run)), HeadSource::Slot(slot))
}

/// Calls the handler of a `wasi:http` 0.3 guest.
pub(super) fn call_03(
    instance: Instance,
    handle: Http03Func,
    scheme: Scheme,
    request: Request<WasiBody>,
) -> (Option<Run>, HeadSource) {
    let slot = HeadSlot::default();
    let run = in_place(|| run_03(instance, handle, scheme, request, slot.clone()));
    (Some(Run::new(run)), HeadSource::Slot(slot))
}

async fn run_02(
    mut instance: Instance,
    handle: Http02Func,
    scheme: Scheme,
    request: Request<WasiBody>,
    slot: HeadSlot,
) -> Returned {
    let result = handle_02(&mut instance.store, handle, scheme, request, slot).await;
    Returned { instance, result }
}

async fn run_03(
    mut instance: Instance,
    handle: Http03Func,
    scheme: Scheme,
    request: Request<WasiBody>,
    slot: HeadSlot,
) -> Returned {
    let result = handle_03(&mut instance.store, handle, scheme, request, slot).await;
    Returned { instance, result }
}

async fn handle_02(
    store: &mut Store<GuestState>,
    handle: Http02Func,
    scheme: Scheme,
    request: Request<WasiBody>,
    slot: HeadSlot,
) -> wasmtime::Result<()> {
    let mut http = store.data_mut().http();
    let scheme = match scheme {
        Scheme::Http => types::Scheme::Http,
        Scheme::Https => types::Scheme::Https,
    };
    let request = http.new_incoming_request(scheme, request)?;
    let out = http.new_response_outparam_from_callback(move |response| {
        put(&slot, response.map_err(|code: ErrorCode| format!("it answered with the error {code:?}")));
    })?;
    handle.call_async(store, (request, out)).await
}

/// `request` as a 0.3 guest gets it, and what becomes of its body.
fn request_03(
    hooks: &mut dyn WasiHttpHooks,
    scheme: Scheme,
    request: Request<WasiBody>,
) -> (p3::Request, impl Future<Output = Result<(), wasmtime_wasi_http::Error>> + Send + 'static) {
    // Only a target in absolute form names it, as all do in HTTP/2.
    let host = match request.uri().authority() {
        Some(_) => None,
        None => request.headers().get(header::HOST).and_then(|host| host.as_bytes().try_into().ok()),
    };
    let (mut request, request_io) = p3::Request::from_http(hooks, request);
    // What the client writes in a target is no more than its word.
    request.scheme = Some(match scheme {
        Scheme::Http => uri::Scheme::HTTP,
        Scheme::Https => uri::Scheme::HTTPS,
    });
    request.authority = request.authority.or(host);
    (request, request_io)
}

async fn handle_03(
    store: &mut Store<GuestState>,
    handle: Http03Func,
    scheme: Scheme,
    request: Request<WasiBody>,
    slot: HeadSlot,
) -> wasmtime::Result<()> {
    let (request, request_io) = request_03(store.data_mut().http().hooks, scheme, request);
    let request = store.data_mut().table.push(request)?;
    store
        .run_concurrent(async move |accessor| {
            let head = match handle.call_concurrent(accessor, (request,)).await?.0 {
                Ok(response) => Ok(accessor.with(|mut store| -> wasmtime::Result<Response<WasiBody>> {
                    let mut response = store.data_mut().table.delete(response)?;
                    // The engine holds the guest to the length that it declares, unless it does not see it.
                    let declared = store
                        .data_mut()
                        .is_bodiless(response.status)
                        .then(|| mem::take(&mut response.headers));
                    let mut response = response.into_http(store, request_io)?;
                    if let Some(declared) = declared {
                        *response.headers_mut() = declared.into();
                    }
                    Ok(response)
                })?),
                Err(code) => Err(format!("it answered with the error {code:?}")),
            };
            put(&slot, head);
            // The guest's tasks write the body after its response.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await
        .flatten()
}

/// A request in the form in which a command gets it.
pub(super) struct CommandRequest {
    program: String,
    variables: Vec<(String, String)>,
    body: WasiBody,
    /// Whether it has a body, possibly an empty one.
    has_body: bool,
}

impl CommandRequest {
    /// `request`, which came from `origin`, for the program of `function`.
    ///
    /// # Errors
    /// The request does not fit into variables.
    pub(super) fn new(
        request: Request<WasiBody>,
        origin: Origin,
        function: &FunctionName,
    ) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let variables = variables(&CgiRequest { parts: &parts, origin })?;
        let has_body = parts.headers.contains_key(header::CONTENT_LENGTH) || !body.is_end_stream();
        Ok(Self { program: function.to_string(), variables, body, has_body })
    }
}

/// Runs the program of a command.
pub(super) fn run_command(
    mut instance: Instance,
    run: CommandFunc,
    request: CommandRequest,
) -> (Option<Run>, HeadSource) {
    let CommandRequest { program, mut variables, body, has_body } = request;
    let output = CgiOutput::default();
    let reader = HeadReader::new(instance.store.data().secrets().clone());
    let head = CommandOutput { output: output.clone(), reader };
    let run = async move {
        // There is a length if and only if there is a body (section 4.1.2), however it is sent.
        let announced = body.size_hint().exact();
        let input = CgiInput::new(body);
        let length = match announced {
            _ if !has_body => None,
            None => input.measure().await,
            announced => announced,
        };
        variables.extend(length.map(|length| ("CONTENT_LENGTH".to_owned(), length.to_string())));
        instance.store.data_mut().make_for_command(&program, &variables, input, output.clone());
        let result = run.call_async(&mut instance.store, ()).await;
        output.close();
        Returned { instance, result: result.and_then(|(returned,)| exit_status(returned)) }
    };
    (Some(Run::new(Box::pin(run))), HeadSource::Command(Box::new(head)))
}

fn exit_status(returned: Result<(), ()>) -> wasmtime::Result<()> {
    returned.map_err(|()| wasmtime::Error::from(I32Exit(1)))
}

#[cfg(test)]
mod tests;
