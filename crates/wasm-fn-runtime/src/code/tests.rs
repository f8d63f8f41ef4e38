//! Components in three forms: as they are, with their data taken out, and linked. They do the same.
//!
//! `forms.rs` compiles a component in each form as the node does, runs it, and compares. It knows nothing of
//! where components come from: `shape.rs` composes them as tools do, of core modules that `program.rs` and
//! `smith.rs` make by chance; in `tools.rs` a tool does; `spec.rs` makes them of the core specification's
//! tests.

mod forms;
mod found;
mod fuzzing;
mod interface;
mod program;
mod shape;
#[cfg(feature = "wasm-smith")]
mod smith;
mod spec;
mod tools;
