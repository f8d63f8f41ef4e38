//! What guests may import.

use std::mem;

use futures_util::FutureExt as _;
use wasmtime::{
    Engine, StoreContextMut,
    component::{Linker, Resource, ResourceType},
};
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::http::types::HostOutgoingResponse as _, body::HostOutgoingBody, types::HostOutgoingResponse,
    },
};
use wasmtime_wasi_io::streams::DynOutputStream;

use super::engine::Calls;
use crate::guest_host::{config_store, keyvalue, state::GuestState};

/// The interface of streams, as the host's functions are linked.
const STREAMS: &str = "wasi:io/streams@0.2.12";

/// The same for the interface of requests and responses.
const TYPES: &str = "wasi:http/types@0.2.12";

/// Links everything that guests of an engine may import.
pub(super) fn linker(engine: &Engine, calls: Calls) -> wasmtime::Result<Linker<GuestState>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    config_store::add_to_linker(&mut linker)?;
    keyvalue::add_to_linker(&mut linker)?;
    // Links streams again so that they need only the table of resources. As linked above they ask for the
    // whole WASI context, which is made only when a guest needs it.
    linker.allow_shadowing(true);
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    linker.instance(STREAMS)?.resource(
        "output-stream",
        ResourceType::host::<DynOutputStream>(),
        drop_stream,
    )?;
    linker.instance(TYPES)?.func_wrap("[method]outgoing-response.body", open_body)?;
    linker.allow_shadowing(false);
    if calls == Calls::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

/// Gives a guest the body of its response.
///
/// The engine holds a guest to the `content-length` that it declares. A response that has no body declares
/// the length of another one, so that is not looked at here.
fn open_body(
    mut store: StoreContextMut<'_, GuestState>,
    (response,): (Resource<HostOutgoingResponse>,),
) -> wasmtime::Result<(Result<Resource<HostOutgoingBody>, ()>,)> {
    let state = store.data_mut();
    let status = state.table.get(&response)?.status;
    if !state.is_bodiless(status) {
        return Ok((state.http().body(response)?,));
    }
    let same = Resource::new_borrow(response.rep());
    let declared = mem::take(&mut state.table.get_mut(&response)?.headers);
    let body = state.http().body(response)?;
    state.table.get_mut::<HostOutgoingResponse>(&same)?.headers = declared;
    Ok((body,))
}

/// Drops an output stream of a guest. The guest does not wait until the stream has ended: every guest drops
/// one, and the stream of a response has nothing to end.
fn drop_stream(mut store: StoreContextMut<'_, GuestState>, stream: u32) -> wasmtime::Result<()> {
    end(store.data_mut().table.delete(Resource::new_own(stream))?);
    Ok(())
}

/// Ends `stream`, in a task of its own if that takes time.
pub(super) fn end(mut stream: DynOutputStream) {
    let mut ended = Box::pin(async move { stream.cancel().await });
    if ended.as_mut().now_or_never().is_none() {
        tokio::spawn(ended);
    }
}
