//! Runs functions: compiles their components, caches the native code, and gives every invocation an
//! instance of its own under memory, time and egress limits.
//!
//! The only crate that runs anything with wasmtime. It knows neither routes nor traffic splits nor where a
//! version's number comes from: it is told a version and a request, and answers.
//!
//! Invariants: an instance that served a request serves another only when its version's `reuse` says
//! so; native code runs only from sealed memory, made by this process or verified by its keyed hash; no
//! guest input reaches a panic.

mod artifacts;
mod capture;
mod cgi;
mod code;
mod compiler;
mod component;
mod cpu;
mod ebb;
mod egress;
mod engine;
mod fault;
mod handler;
mod in_place;
mod instance;
mod invocation;
mod kind;
mod logs;
mod pace;
mod retired;
mod runtime;
mod sealed;
mod size;
mod state;
mod trapped;
mod version;
mod wasi;

pub use code::ForVersion;
pub use component::{PrepareError, Prepared, Progress, Step};
pub use egress::Effects;
pub use engine::{EngineError, InstanceMemoryReset, slot_cost};
pub use fault::{Failed, Fault, Usage};
pub use invocation::{Invocation, RequestBodyError, ResponseBody};
pub use kind::{Kind, KindError};
pub use logs::{LogLine, LogPage, LogStream};
pub use runtime::{Runtime, RuntimeError, RuntimeOptions};
pub use version::{Version, VersionSpec};
