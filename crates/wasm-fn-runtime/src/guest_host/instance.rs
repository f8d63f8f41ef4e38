//! Live guests: a store, an export to call, and how often it may be called.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
};

use futures_util::FutureExt as _;
use wasm_fn_memory::{EXHAUSTED, NoStack};
use wasm_fn_pool::StartPermit;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;

use super::{meter::Meter, state::GuestState, template::InstanceTemplate};
use crate::{
    clock,
    code::{handler::Export, loader::LoadedComponent},
    cpu::account::metered,
    fault::{Fault, trap},
    invocation::deadline::Deadline,
};

/// Bytes that a guest may hand to the host in one call; streams take at most one MiB at once.
const HOSTCALL_BYTES_MAX: usize = 16 << 20;

/// A live guest.
pub(crate) struct Instance {
    pub(crate) store: Store<GuestState>,
    pub(crate) export: Export,
    pub(crate) meter: Arc<Meter>,
    /// Requests that it may still serve.
    pub(crate) uses_left: u32,
    /// Whether it runs code of one pass.
    pub(crate) is_baseline: bool,
    /// Whether its core modules were linked.
    pub(crate) is_linked: bool,
    /// Its slot on the node, which is free again when this is dropped.
    slot: StartPermit,
}

impl Instance {
    /// Takes the instance down. Returns its slot, for another one.
    pub(crate) fn take_down(self) -> StartPermit {
        let Self { store, slot, .. } = self;
        drop(store);
        slot
    }
}

impl InstanceTemplate {
    /// Makes an instance that has seen no request.
    ///
    /// # Errors
    /// The guest does not start, or the node has no memory or stack for it.
    pub(crate) async fn instantiate(
        self: &Arc<Self>,
        loaded: &LoadedComponent,
        slot: StartPermit,
    ) -> Result<Instance, Fault> {
        let LoadedComponent { pre, handler, image, prepared, is_fused: is_linked, .. } = loaded;
        let is_linked = *is_linked;
        let meter = Arc::new(Meter::new(self.ticker.clone()));
        let mut store = Store::new(pre.engine(), GuestState::new(self.clone(), meter.clone()));
        store.limiter(|state| state);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| store.data().meter.interrupted());
        let export = {
            let mut start = pin!(async {
                let instance = pre.instantiate_async(&mut store).await?;
                handler.of(&mut store, instance)
            });
            let start = pin!(poll_fn(|cx| image.during(|| start.as_mut().poll(cx))));
            metered(&meter.cpu, start).await
        };
        let export = export.map_err(|error| self.start_fault(&meter, &error, is_linked))?;
        // A command's program ends with its run.
        let uses_left = if matches!(export, Export::Command(_)) { 1 } else { self.limits.reuse };
        Ok(Instance { store, export, meter, uses_left, is_baseline: prepared.is_baseline, is_linked, slot })
    }

    /// [`instantiate`](Self::instantiate) without waiting. Returns `None`, and gives up the start, if it
    /// would have to wait.
    // Not inlined, so that all callers find the same code in the caches.
    #[inline(never)]
    pub(crate) fn instantiate_at_once(
        self: &Arc<Self>,
        loaded: &LoadedComponent,
        slot: StartPermit,
    ) -> Option<Result<Instance, Fault>> {
        pin!(self.instantiate(loaded, slot)).now_or_never()
    }

    /// [`instantiate`](Self::instantiate) for no particular request, within the version's timeout: a guest
    /// may compute without end before it is called.
    pub(crate) async fn instantiate_in_time(
        self: &Arc<Self>,
        loaded: &LoadedComponent,
        slot: StartPermit,
    ) -> Result<Instance, Fault> {
        let limit = self.limits.timeout;
        let start = pin!(self.instantiate(loaded, slot));
        let started = Deadline::new(clock::now() + limit).limit(start).await;
        started.unwrap_or(Err(Fault::Timeout { limit }))
    }

    fn start_fault(&self, meter: &Meter, error: &wasmtime::Error, is_linked: bool) -> Fault {
        if let Some(fault) = meter.refusal(self.limits.memory_bytes) {
            fault
        } else if is_shortage(error) {
            Fault::node_overloaded()
        } else if error.is::<wasmtime::Trap>() || error.is::<I32Exit>() {
            let reason = trap::reason(error, is_linked);
            let trap = trap::trap(error, is_linked, &reason);
            Fault::Trap { reason, trap }
        } else {
            Fault::Internal { reason: format!("instance did not start: {error:#}") }
        }
    }
}

/// Whether a guest failed because the node had no memory or stack left for it.
pub(crate) fn is_shortage(error: &wasmtime::Error) -> bool {
    error.is::<NoStack>() || error.chain().any(|cause| cause.to_string() == EXHAUSTED)
}
