//! The node: its resources, and the runtime that hosts versions on them.

mod burst_detector;
pub(crate) mod error;
mod isolation_fault;
mod preparation;
pub(crate) mod resources;
mod runtime;
pub(crate) mod teardown_limit;

pub use error::RuntimeError;
pub use isolation_fault::ISOLATION_FAULT;
pub use runtime::{Runtime, RuntimeOptions};
