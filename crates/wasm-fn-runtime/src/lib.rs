//! Runs functions: compiles their components, caches the native code, and gives every invocation an instance
//! of its own, with limits on memory, time and outgoing requests.
//!
//! No other crate runs guests with wasmtime. This crate knows neither routes nor traffic splits, nor where
//! the number of a version comes from, nor where buckets are kept: it gets a version and a request, and
//! answers.
//!
//! Invariants: an instance that served a request serves another only if its version's `reuse` says so; native
//! code runs only from sealed memory, made by this process or verified by its keyed hash; no guest input
//! reaches a panic.

mod clock;
mod fault;
mod in_place;
mod waiter;

mod cpu;
mod guest_host;

mod code;
mod invocation;

mod node;
mod version;

pub use code::{
    artifacts::NativeCode,
    cache::ForVersion,
    engine::{EngineError, IsolationOptions, slot_cost},
    kind::{Kind, KindError},
    prepare::{PrepareError, PrepareProgress, PrepareStep, PreparedComponent},
};
pub use fault::{Fault, InvocationError, Refusal};
pub use guest_host::{
    effect::EffectCheck,
    egress::{
        Listeners, Lookup, Resolve, SystemResolver,
        own::{NotFetchable, check_fetchable},
        policy::EgressOptions,
        trust::{RootsError, TrustedRoots},
    },
    keyvalue::{BucketFailure, BucketFuture, BucketKeys, BucketStore, BucketSwap, BucketValue, GuestBucket},
    logs::{GuestLogLine, GuestLogPage, GuestLogSink, GuestLogStream, LogStage, LoggedRequest},
};
pub use invocation::{
    body::ResponseBody,
    request::{BodyError, Invocation},
};
pub use node::{ISOLATION_FAULT, Runtime, RuntimeError, RuntimeOptions};
pub use version::{Version, VersionSpec};
pub use wasm_fn_memory::{Isolation, MemoryReset, fastest_reset};

#[cfg(test)]
#[path = "../../../tests/fuzzing.rs"]
mod fuzzing;
