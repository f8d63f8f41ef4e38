//! Runs a component in each of its forms, and compares what they do: results, traps, the calls of the host
//! with their arguments, and the memory at the end.

use std::{
    borrow::Cow,
    collections::HashMap,
    slice,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use futures_util::FutureExt as _;
use wasm_fn_memory::{Image, Isolation, Memories, MemoriesOptions, MemoryReset, Stacks};
use wasmtime::{
    CacheStore, Engine, LinearMemory, MemoryCreator, MemoryType, ResourceLimiter, Store, StoreContextMut,
    component::{Component, Linker, LinkerInstance, Val},
};

use crate::{
    code::{
        artifacts::Compiled,
        engine::{Calls, Codegen, engine},
        size,
    },
    fault::trap,
};

/// Instances at a time: one, and some for a component with several memories.
const SLOTS: usize = 8;

/// Address space of a slot, its guard, and the stack of a guest, as a node has them.
const SLOT_BYTES: usize = 4 << 30;
const GUARD_BYTES: usize = 32 << 20;
const STACK_BYTES: usize = 2 << 20;

/// One reset in this many is compared with its image.
const AUDITS: u32 = 16;

/// How much of a memory is compared.
const COMPARED_BYTES_MAX: usize = 16 << 20;

/// Compiled functions that are kept: those of a few components, and what all have.
const FUNCTIONS_MAX: usize = 4096;

/// Largest table of a guest.
const TABLE_ELEMENTS_MAX: usize = 10_000;

/// Calls of the host in one run; the next one fails.
const HEARD_MAX: usize = 2000;

/// What components of these tests import.
pub(super) const HOST: &str = r#"
  (import "host" (instance $host
    (export "mark" (func (param "a" u32) (param "b" u64)))
    (export "text" (func (param "bytes" (list u8)) (result u32)))
    (export "fetch" (func (param "n" u32) (result (list u8))))
    (export "fail" (func (param "n" u32)))))
"#;

/// A call of an exported function.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) name: String,
    pub(super) arguments: Vec<Val>,
}

impl Call {
    pub(super) fn new(name: &str, arguments: impl Into<Vec<Val>>) -> Self {
        Self { name: name.to_owned(), arguments: arguments.into() }
    }
}

/// A call of the host.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Mark(u32, u64),
    Text(Vec<u8>),
    Fetch(u32),
    Fail(u32),
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Outcome {
    /// What the start and each call returned, up to the first that trapped.
    pub(super) results: Vec<Result<String, String>>,
    heard: Vec<Heard>,
    /// Size and hash of each memory.
    memories: Vec<(usize, String)>,
}

impl Outcome {
    /// Whether a guest met a limit whose place depends on how its code was compiled.
    fn met_a_limit(&self) -> bool {
        self.results.iter().any(|result| result.as_ref().is_err_and(|trap| trap.contains("stack exhausted")))
    }

    /// Why it did not start or end; `None` if all went well.
    pub(super) fn trapped(&self) -> Option<&str> {
        self.results.last()?.as_ref().err().map(String::as_str)
    }
}

impl CompiledForms {
    /// Whether one of them is linked.
    pub(super) fn is_linked(&self) -> bool {
        self.linked.is_ok()
    }
}

/// A component that ran in each of its forms.
#[derive(Debug)]
pub(super) struct Ran {
    /// What it does in each.
    pub(super) outcome: Outcome,
    pub(super) data_is_out: bool,
    /// Why it was not linked, if it was not.
    pub(super) not_linked: Option<String>,
}

/// Why a component did not run, or ran differently.
#[derive(Debug)]
pub(super) enum Problem {
    /// The engine does not take it as it is.
    Refused(String),
    /// Two forms differ.
    Differs(String),
}

/// Runs components.
pub(super) struct Forms {
    engine: Engine,
    memories: Arc<Memories>,
    watched: Arc<Watched>,
    linker: Linker<Host>,
    memory_bytes_max: usize,
}

/// A component in one form, compiled.
struct Form {
    component: Component,
    image: Arc<Image>,
    is_linked: bool,
}

/// A component in each form that it has, compiled.
pub(super) struct CompiledForms {
    as_it_is: Form,
    without_data: Option<Form>,
    /// Or why it is not linked.
    linked: Result<Form, String>,
}

struct Host {
    heard: Vec<Heard>,
    memory_bytes_max: usize,
}

impl Host {
    fn hear(&mut self, heard: Heard) -> wasmtime::Result<()> {
        if self.heard.len() >= HEARD_MAX {
            return Err(wasmtime::Error::msg("the host has heard enough"));
        }
        self.heard.push(heard);
        Ok(())
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.memory_bytes_max)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

impl Forms {
    /// For guests whose memories grow to `memory_bytes_max`. Growing further is refused, which they see.
    pub(super) fn new(memory_bytes_max: usize) -> Self {
        let memories = Memories::new(MemoriesOptions {
            slots: SLOTS,
            slot_bytes: SLOT_BYTES,
            guard_bytes: GUARD_BYTES,
            keep_bytes: 1 << 20,
            reset: MemoryReset::Counted,
            audit_one_in: AUDITS,
        })
        .expect("there are addresses");
        let stacks = Stacks::new(SLOTS, STACK_BYTES).expect("there are addresses");
        let watched = Arc::new(Watched { inner: memories.clone(), made: Mutex::default() });
        let functions = Codegen::Incremental(Arc::new(Functions::default()));
        let engine =
            engine(watched.clone(), &stacks, Calls::Sequential, functions).expect("the engine of a node");
        let linker = linker(&engine).expect("the host's functions have types");
        Self { engine, memories, watched, linker, memory_bytes_max }
    }

    /// What resets of memories were found to be.
    pub(super) fn isolation(&self) -> Isolation {
        self.memories.isolation()
    }

    /// Runs `component` in each form that it has: `calls` one after the other, up to one that traps.
    pub(super) fn run(&self, component: &[u8], calls: &[Call]) -> Result<Ran, Problem> {
        let compiled = self.compile(component)?;
        let outcome = self.run_compiled(&compiled, calls)?;
        Ok(Ran { outcome, data_is_out: compiled.without_data.is_some(), not_linked: compiled.linked.err() })
    }

    /// Compiles `component` in each form that it has.
    pub(super) fn compile(&self, component: &[u8]) -> Result<CompiledForms, Problem> {
        let as_it_is = Component::from_binary(&self.engine, component)
            .map_err(|error| Problem::Refused(format!("{error:#}")))?;
        let has_data = wasm_fn_fuse::extract_data(component, wasm_fn_memory::page_bytes()).is_some();
        let without_data = has_data.then(|| self.compile_form(component, false)).transpose()?;
        let linked = match wasm_fn_fuse::fuse(component) {
            Ok(linked) => Ok(self.compile_form(&linked, true)?),
            Err(reason @ wasm_fn_fuse::NotFused::Wrong { .. }) => {
                return Err(Problem::Differs(reason.to_string()));
            }
            Err(reason) => Err(reason.to_string()),
        };
        let as_it_is = Form { component: as_it_is, image: Image::blank(&self.memories), is_linked: false };
        Ok(CompiledForms { as_it_is, without_data, linked })
    }

    /// Compiles `component` as the node would.
    fn compile_form(&self, component: &[u8], is_linked: bool) -> Result<Form, Problem> {
        let refused = |error: String| Problem::Differs(format!("is_linked {is_linked}: refused: {error}"));
        size::check(component).map_err(refused)?;
        let compiled = Compiled::new(&self.engine, component, is_linked);
        let compiled = compiled.map_err(|error| refused(format!("{error:#}")))?;
        let artifact = compiled.artifact("test").expect("there is memory");
        let component = artifact.component(&self.engine).expect("it was just compiled");
        let image = artifact.image(&self.memories).expect("there is memory");
        Ok(Form { component, image, is_linked })
    }

    /// Runs `calls` in each form. The linked one runs twice: the second instance has the memory of the first.
    pub(super) fn run_compiled(&self, forms: &CompiledForms, calls: &[Call]) -> Result<Outcome, Problem> {
        let outcome = self.outcome(&forms.as_it_is, calls);
        if let Some(form) = &forms.without_data {
            agree("with its data taken out", &outcome, &self.outcome(form, calls))?;
        }
        if let Ok(form) = &forms.linked {
            agree("linked", &outcome, &self.outcome(form, calls))?;
            agree("linked, once more", &outcome, &self.outcome(form, calls))?;
        }
        Ok(outcome)
    }

    fn outcome(&self, form: &Form, calls: &[Call]) -> Outcome {
        let Form { component, image, is_linked } = form;
        let is_linked = *is_linked;
        self.watched.forget();
        let host = Host { heard: Vec::new(), memory_bytes_max: self.memory_bytes_max };
        let mut store = Store::new(&self.engine, host);
        store.limiter(|host| host);
        store.set_epoch_deadline(u64::MAX / 2);
        let failed = |error: wasmtime::Error| trap::reason(&error, is_linked);
        let made = image.during(|| self.linker.instantiate_async(&mut store, component).now_or_never());
        let made = made.expect("nothing waits");
        let mut results =
            vec![made.as_ref().map(|_| "started".to_owned()).map_err(|error| trap::reason(error, is_linked))];
        if let Ok(instance) = made {
            for call in calls {
                let Some(function) = instance.get_func(&mut store, call.name.as_str()) else {
                    results.push(Err(format!("no function {}", call.name)));
                    break;
                };
                let mut returned = vec![Val::Bool(false); function.ty(&store).results().len()];
                let result = function.call_async(&mut store, &call.arguments, &mut returned).now_or_never();
                let result = result.expect("nothing waits").map(|()| format!("{returned:?}"));
                results.push(result.map_err(failed));
                if results.last().is_some_and(Result::is_err) {
                    break;
                }
            }
        }
        // Of an instance that did not start, nobody sees the memory.
        let started = results.first().is_some_and(Result::is_ok);
        let memories = if started { self.watched.contents() } else { Vec::new() };
        Outcome { results, heard: store.into_data().heard, memories }
    }
}

fn agree(form: &str, expected: &Outcome, found: &Outcome) -> Result<(), Problem> {
    if expected == found || expected.met_a_limit() || found.met_a_limit() {
        return Ok(());
    }
    Err(Problem::Differs(format!("{form}:\n{found:?}\nexpected:\n{expected:?}")))
}

fn linker(engine: &Engine) -> wasmtime::Result<Linker<Host>> {
    let mut linker = Linker::new(engine);
    for name in ["host", "t:t/host"] {
        link_host(&mut linker.instance(name)?)?;
    }
    Ok(linker)
}

fn link_host(host: &mut LinkerInstance<'_, Host>) -> wasmtime::Result<()> {
    type Caller<'a> = StoreContextMut<'a, Host>;
    host.func_wrap("mark", |mut caller: Caller<'_>, (a, b): (u32, u64)| {
        caller.data_mut().hear(Heard::Mark(a, b))
    })?;
    host.func_wrap("text", |mut caller: Caller<'_>, (bytes,): (Vec<u8>,)| {
        let sum = bytes.iter().fold(0_u32, |sum, &byte| sum.rotate_left(5) ^ u32::from(byte));
        caller.data_mut().hear(Heard::Text(bytes))?;
        Ok((sum,))
    })?;
    host.func_wrap("fetch", |mut caller: Caller<'_>, (n,): (u32,)| {
        caller.data_mut().hear(Heard::Fetch(n))?;
        Ok((n.to_le_bytes().repeat(n as usize % 9),))
    })?;
    host.func_wrap("fail", |mut caller: Caller<'_>, (n,): (u32,)| {
        caller.data_mut().hear(Heard::Fail(n))?;
        if n % 4 == 3 { Err(wasmtime::Error::msg(format!("the host failed with {n}"))) } else { Ok(()) }
    })
}

/// Compiled functions, which forms have in common.
#[derive(Debug, Default)]
struct Functions(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        self.0.lock().expect("nothing panics").get(key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let mut functions = self.0.lock().expect("nothing panics");
        if functions.len() >= FUNCTIONS_MAX {
            functions.clear();
        }
        functions.insert(key.to_vec(), value);
        true
    }
}

/// Memories that can be read from outside: after a trap, no guest can tell what its memory is.
struct Watched {
    inner: Arc<Memories>,
    made: Mutex<Vec<Arc<Extent>>>,
}

/// Where a memory is.
struct Extent {
    start: usize,
    bytes: AtomicUsize,
}

struct WatchedMemory {
    memory: Box<dyn LinearMemory>,
    extent: Arc<Extent>,
}

impl Watched {
    fn forget(&self) {
        self.made.lock().expect("nothing panics").clear();
    }

    /// Size and hash of each memory since [`forget`](Self::forget), in an order that forms share. The
    /// instance that has them is still there.
    #[expect(unsafe_code, reason = "only so a memory is seen after a trap")]
    fn contents(&self) -> Vec<(usize, String)> {
        let made = self.made.lock().expect("nothing panics");
        let mut contents: Vec<_> = made
            .iter()
            .map(|extent| {
                let bytes = extent.bytes.load(Relaxed);
                // SAFETY: the store with this memory lives, and nothing of it runs.
                let memory = unsafe {
                    let start = std::ptr::with_exposed_provenance(extent.start);
                    slice::from_raw_parts(start, bytes.min(COMPARED_BYTES_MAX))
                };
                (bytes, blake3::hash(memory).to_hex().to_string())
            })
            .collect();
        contents.sort_unstable();
        contents
    }
}

// SAFETY: whatever the node's own memories do.
#[expect(unsafe_code, reason = "the engine trusts its memory creator")]
unsafe impl MemoryCreator for Watched {
    fn new_memory(
        &self,
        ty: MemoryType,
        minimum: usize,
        maximum: Option<usize>,
        reserved_bytes: Option<usize>,
        guard_bytes: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        let memory = self.inner.new_memory(ty, minimum, maximum, reserved_bytes, guard_bytes)?;
        let start = memory.as_ptr().expose_provenance();
        let extent = Arc::new(Extent { start, bytes: AtomicUsize::new(memory.byte_size()) });
        self.made.lock().expect("nothing panics").push(extent.clone());
        Ok(Box::new(WatchedMemory { memory, extent }))
    }
}

// SAFETY: as above.
#[expect(unsafe_code, reason = "the engine trusts its memory creator")]
unsafe impl LinearMemory for WatchedMemory {
    fn byte_size(&self) -> usize {
        self.memory.byte_size()
    }

    fn byte_capacity(&self) -> usize {
        self.memory.byte_capacity()
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        self.memory.grow_to(bytes)?;
        self.extent.bytes.store(self.memory.byte_size(), Relaxed);
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.memory.as_ptr()
    }
}
