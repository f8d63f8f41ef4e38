//! What the host keeps beside one instance: its WASI context, its limits, its meter.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{
    WasiCtxView, WasiView,
    cli::{StdinStream, StdoutStream},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use crate::{cpu::Cpu, egress::Egress, fault::Fault, instance::Mould, pace::Pace, wasi::Wasi};

/// Most host resources (streams, bodies, headers) that one instance holds at once.
const RESOURCES_MAX: usize = 4096;

/// Most core instances that one instance of a component is made of: a handful is usual, the program and its adapters.
const INSTANCES_MAX: usize = 200;

/// Most tables that they have together, and elements that each has.
const TABLES_MAX: usize = 64;
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Most linear memories that they have together.
const MEMORIES_MAX: usize = 8;

/// What is measured of an instance; outlives it, so that a guest that was cut off is accounted for.
pub(crate) struct Meter {
    pub(crate) cpu: Cpu,
    memory_peak_bytes: AtomicU64,
    /// Whether the guest asked for more memory than it may have.
    memory_refused: AtomicBool,
    /// Whether it asked for more than the node has left.
    memory_short: AtomicBool,
}

impl Meter {
    pub(crate) fn new(pace: Arc<Pace>) -> Self {
        Self {
            cpu: Cpu::new(pace),
            memory_peak_bytes: AtomicU64::new(0),
            memory_refused: AtomicBool::new(false),
            memory_short: AtomicBool::new(false),
        }
    }

    pub(crate) fn memory_peak_bytes(&self) -> u64 {
        self.memory_peak_bytes.load(Ordering::Relaxed)
    }

    /// Why a guest that was refused memory failed; `None` when it never was. `limit_bytes` is its own limit.
    pub(crate) fn refusal(&self, limit_bytes: u64) -> Option<Fault> {
        if self.is_starved() {
            Some(Fault::node_overloaded())
        } else if self.memory_refused.load(Ordering::Relaxed) {
            Some(Fault::OutOfMemory { limit_bytes })
        } else {
            None
        }
    }

    /// Whether the node had no memory left that the guest asked for.
    pub(crate) fn is_starved(&self) -> bool {
        self.memory_short.load(Ordering::Relaxed)
    }

    /// Whatever was refused to the guest was so in another request.
    pub(crate) fn forget_refusals(&self) {
        self.memory_refused.store(false, Ordering::Relaxed);
        self.memory_short.store(false, Ordering::Relaxed);
    }
}

/// The store's data.
pub(crate) struct State {
    pub(crate) wasi: Wasi,
    pub(crate) http: WasiHttpCtx,
    pub(crate) table: ResourceTable,
    pub(crate) egress: Egress,
    pub(crate) meter: Arc<Meter>,
    /// What the instance holds of the node's memory; given back when it is dropped.
    held_bytes: u64,
    // All of its version that an instance shares, but for egress rules if it has any: owners are counted in memory
    // that all instances of the version write to, which is in no near cache where many versions serve.
    mould: Arc<Mould>,
}

impl State {
    /// That of an instance which has begun nothing yet.
    pub(crate) fn new(mould: Arc<Mould>, meter: Arc<Meter>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            wasi: Wasi::new(),
            http: WasiHttpCtx::new(),
            table,
            egress: Egress::new(mould.egress.clone()),
            meter,
            held_bytes: 0,
            mould,
        }
    }

    /// Makes the WASI context of a command's single run: its request is its environment, input and output.
    pub(crate) fn make_for_command(
        &mut self,
        variables: &[(String, String)],
        stdin: impl StdinStream + 'static,
        stdout: impl StdoutStream + 'static,
    ) {
        self.wasi.make_for_command(&self.mould.surroundings, variables, stdin, stdout);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.mould.memory.release(self.held_bytes);
    }
}

/// Holds an instance to its memory limit, all of its linear memories together, and to what the node has left.
impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let held = self.held_bytes.saturating_sub(current as u64).saturating_add(desired as u64);
        if held > self.mould.limits.memory_bytes {
            self.meter.memory_refused.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        if !self.mould.memory.try_reserve(held.saturating_sub(self.held_bytes)) {
            self.meter.memory_short.store(true, Ordering::Relaxed);
            return Ok(false);
        }
        self.held_bytes = held;
        self.meter.memory_peak_bytes.fetch_max(held, Ordering::Relaxed);
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.context(&self.mould.surroundings), table: &mut self.table }
    }
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.egress, table: &mut self.table, ctx: &mut self.http }
    }
}
