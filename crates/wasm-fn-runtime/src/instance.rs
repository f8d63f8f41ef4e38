//! Live guests: a store, an export to call, and how often it may be called.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    sync::Arc,
    time::Instant,
};

use futures_util::FutureExt as _;
use wasm_fn_core::{EgressRule, Limits};
use wasm_fn_memory::{EXHAUSTED, NoStack};
use wasm_fn_pool::{MemoryShare, StartPermit};
use wasmtime::Store;

use crate::{
    component::Mapped,
    cpu,
    fault::Fault,
    handler::Export,
    invocation::Deadline,
    pace::Pace,
    state::{Meter, State},
    trapped,
    wasi::Surroundings,
};

/// Bytes that a guest may hand to the host in one call; streams take at most one MiB at once.
const HOSTCALL_BYTES_MAX: usize = 16 << 20;

/// What every instance of a version is made from.
pub(crate) struct Mould {
    pub(crate) pace: Arc<Pace>,
    pub(crate) limits: Limits,
    pub(crate) surroundings: Surroundings,
    /// `None` when nothing may be sent.
    pub(crate) egress: Option<Arc<[EgressRule]>>,
    /// What the version's instances hold of the node's memory.
    pub(crate) memory: MemoryShare,
}

/// One live guest.
pub(crate) struct Instance {
    pub(crate) store: Store<State>,
    pub(crate) export: Export,
    pub(crate) meter: Arc<Meter>,
    /// Requests it may serve yet.
    pub(crate) uses_left: u32,
    /// Its place among the node's instances; given back when it is dropped.
    slot: StartPermit,
}

impl Instance {
    /// Takes it down; its place is free for another.
    pub(crate) fn take_down(self) -> StartPermit {
        let Self { store, slot, .. } = self;
        drop(store);
        slot
    }
}

impl Mould {
    /// Makes an instance that has seen no request.
    ///
    /// # Errors
    /// When the guest does not start, or the engine's pool has no room.
    pub(crate) async fn instantiate(
        self: &Arc<Self>,
        mapped: &Mapped,
        slot: StartPermit,
    ) -> Result<Instance, Fault> {
        let Mapped { pre, handler, image, .. } = mapped;
        let meter = Arc::new(Meter::new(self.pace.clone()));
        let mut store = Store::new(pre.engine(), State::new(self.clone(), meter.clone()));
        store.limiter(|state| state);
        store.set_hostcall_fuel(HOSTCALL_BYTES_MAX);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|store| cpu::interrupted(&store.data().meter));
        let export = {
            let mut start = pin!(async {
                let instance = pre.instantiate_async(&mut store).await?;
                handler.of(&mut store, instance)
            });
            let start = pin!(poll_fn(|cx| image.during(|| start.as_mut().poll(cx))));
            cpu::metered(&meter.cpu, start).await
        };
        let export = export.map_err(|error| self.start_fault(&meter, &error))?;
        // A command's program ends with its run.
        let uses_left = if matches!(export, Export::Command(_)) { 1 } else { self.limits.reuse };
        Ok(Instance { store, export, meter, uses_left, slot })
    }

    /// [`instantiate`](Self::instantiate) without a wait; `None` when one would be needed, and the start is given up.
    // Not inlined: all who call it have to find it in the caches.
    #[inline(never)]
    pub(crate) fn instantiate_at_once(
        self: &Arc<Self>,
        mapped: &Mapped,
        slot: StartPermit,
    ) -> Option<Result<Instance, Fault>> {
        pin!(self.instantiate(mapped, slot)).now_or_never()
    }

    /// [`instantiate`](Self::instantiate) for no request in particular, within the version's timeout:
    /// a guest may compute for ever before it was called.
    #[expect(clippy::disallowed_methods, reason = "the timeout is wall-clock time")]
    pub(crate) async fn instantiate_in_time(
        self: &Arc<Self>,
        mapped: &Mapped,
        slot: StartPermit,
    ) -> Result<Instance, Fault> {
        let limit = self.limits.timeout;
        let start = pin!(self.instantiate(mapped, slot));
        let started = Deadline::new(Instant::now() + limit).limit(start).await;
        started.unwrap_or(Err(Fault::Timeout { limit }))
    }

    fn start_fault(&self, meter: &Meter, error: &wasmtime::Error) -> Fault {
        if let Some(fault) = meter.refusal(self.limits.memory_bytes) {
            fault
        } else if is_shortage(error) {
            Fault::node_overloaded()
        } else if error.is::<wasmtime::Trap>() {
            let reason = trapped::reason(error);
            let trap = trapped::trap(error, &reason);
            Fault::Trap { reason, trap }
        } else {
            Fault::Internal { reason: format!("instance did not start: {error:#}") }
        }
    }
}

/// Whether a guest failed because the node had no memory or no stack left for it.
pub(crate) fn is_shortage(error: &wasmtime::Error) -> bool {
    error.is::<NoStack>() || error.chain().any(|cause| cause.to_string() == EXHAUSTED)
}
