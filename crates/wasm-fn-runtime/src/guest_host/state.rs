//! The store data of an instance: its WASI context, limits and meter.

use std::{mem, sync::Arc};

use http::StatusCode;
use wasm_fn_core::RunRecord;
use wasm_fn_memory::NotGrown;
use wasm_fn_secrets::SecretSet;
use wasmtime::{ResourceLimiter, component::ResourceTable};
use wasmtime_wasi::{
    WasiCtxView, WasiView,
    cli::{StdinStream, StdoutStream},
};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};
use wasmtime_wasi_io::IoView;

use super::{
    effect::EffectCheck,
    egress::Egress,
    keyvalue::NamedBuckets,
    logs::{GuestLogStream, Served},
    meter::Meter,
    template::InstanceTemplate,
    wasi::Wasi,
};

/// Most host resources (streams, bodies, headers) that one instance holds at once.
const RESOURCES_MAX: usize = 4096;

/// Most core instances in one instance of a component. A handful is usual: the program and its adapters.
const INSTANCES_MAX: usize = 200;

/// Most tables of all of them together, and most elements of each.
const TABLES_MAX: usize = 64;
const TABLE_ELEMENTS_MAX: usize = 100_000;

/// Most linear memories of all of them together.
const MEMORIES_MAX: usize = 8;

/// The data of a store.
pub(crate) struct GuestState {
    pub(crate) wasi: Wasi,
    pub(crate) http: WasiHttpCtx,
    pub(crate) table: ResourceTable,
    pub(crate) egress: Egress,
    pub(crate) meter: Arc<Meter>,
    /// Whether the request that the guest answers is HEAD.
    pub(crate) is_head: bool,
    /// The node's memory that the instance holds. It is released when this is dropped.
    held_bytes: u64,
    /// What it was allowed last.
    allowed: Allowed,
    // The only thing that an instance shares with its version, apart from its egress policy. All instances
    // of a version write to the reference counts, which are in no near cache where many versions serve.
    template: Arc<InstanceTemplate>,
}

/// Memory that an instance may take, and may not get from the system.
#[derive(Default)]
struct Allowed {
    bytes: u64,
    /// The most that it held before.
    peak_before_bytes: u64,
}

impl GuestState {
    /// The state of a new instance.
    pub(crate) fn new(template: Arc<InstanceTemplate>, meter: Arc<Meter>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES_MAX);
        Self {
            wasi: Wasi::new(),
            http: WasiHttpCtx::new(),
            table,
            egress: Egress::new(template.egress.clone()),
            meter,
            is_head: false,
            held_bytes: 0,
            allowed: Allowed::default(),
            template,
        }
    }

    /// Begins the request `served`, whose effects `check` decides about.
    pub(crate) fn serve(
        &mut self,
        served: Served,
        check: Option<EffectCheck>,
        record: Option<&Arc<RunRecord>>,
        is_head: bool,
    ) {
        self.wasi.serve(served);
        self.egress.serve(served, check);
        self.egress.record(record);
        self.is_head = is_head;
    }

    /// The request being served.
    pub(crate) fn served(&self) -> Served {
        self.egress.served()
    }

    /// Whether an effect may begin. The shield then knows of it.
    pub(crate) fn may_have_effect(&self) -> bool {
        self.egress.may_have_effect()
    }

    /// The buckets that the guest may open.
    pub(crate) fn buckets(&self) -> &NamedBuckets {
        &self.template.buckets
    }

    /// Writes a line to the function's log.
    pub(crate) fn log(&self, stream: GuestLogStream, text: String) {
        let environment = &self.template.environment;
        environment.log.push(environment.version, self.served(), stream, text);
    }

    /// The secrets that the guest sees.
    pub(crate) fn secrets(&self) -> &Arc<SecretSet> {
        &self.template.environment.secrets
    }

    /// Whether a response with `status` has no body, so that its `content-length` is that of another one (RFC
    /// 9110, section 8.6).
    pub(crate) fn is_bodiless(&self, status: StatusCode) -> bool {
        use StatusCode as Status;
        self.is_head || matches!(status, Status::NO_CONTENT | Status::RESET_CONTENT | Status::NOT_MODIFIED)
    }

    /// Makes the WASI context for the single run of a command, which it knows as `program`: the request
    /// becomes its environment, input and output.
    pub(crate) fn make_for_command(
        &mut self,
        program: &str,
        variables: &[(String, String)],
        stdin: impl StdinStream + 'static,
        stdout: impl StdoutStream + 'static,
    ) {
        self.wasi.make_for_command(&self.template.environment, program, variables, stdin, stdout);
    }
}

impl Drop for GuestState {
    fn drop(&mut self) {
        self.template.memory.release(self.held_bytes);
    }
}

/// Limits the linear memories of an instance together, to its own limit and to what the node has left.
impl ResourceLimiter for GuestState {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        // What the memory's own type rules out is not counted.
        if maximum.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let held = self.held_bytes.saturating_sub(current as u64).saturating_add(desired as u64);
        if held > self.template.limits.memory_bytes {
            self.meter.refuse_memory();
            return Ok(false);
        }
        let bytes = held.saturating_sub(self.held_bytes);
        if !self.template.memory.try_reserve(bytes) {
            self.meter.starve();
            return Ok(false);
        }
        self.held_bytes = held;
        self.allowed = Allowed { bytes, peak_before_bytes: self.meter.record_memory(held) };
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        // The engine also tells of what it never asked for.
        let Some(not_grown) = error.downcast_ref::<NotGrown>() else { return Ok(()) };
        let Allowed { bytes, peak_before_bytes } = mem::take(&mut self.allowed);
        self.held_bytes -= bytes;
        self.template.memory.release(bytes);
        self.meter.forget_memory(peak_before_bytes);
        if matches!(not_grown, NotGrown::Refused(_)) {
            self.meter.starve();
        }
        Ok(())
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

impl WasiView for GuestState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: self.wasi.context(&self.template.environment), table: &mut self.table }
    }
}

impl IoView for GuestState {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.table
    }
}

impl WasiHttpView for GuestState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.egress, table: &mut self.table, ctx: &mut self.http }
    }
}
