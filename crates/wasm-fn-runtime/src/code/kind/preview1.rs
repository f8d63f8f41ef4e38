//! Changes a preview-1 module and the published adapter, before they are joined to a component.
//!
//! The adapter has its stack and its state in the module's memory. Where a module has no `cabi_realloc` to
//! ask for them, they are pages behind the module's own, and the module does not see them. Allocators that
//! take all of the memory for theirs, such as that of AssemblyScript, would write over them.

mod adapter;
mod module;

pub(super) use adapter::with_number_and_move as adapter;
pub(super) use module::with_hidden_pages as module;

/// Changes when a module becomes another component than before.
pub(in crate::code) const VERSION: u32 = 1;

/// The module name of preview-1 imports.
const PREVIEW1: &str = "wasi_snapshot_preview1";

/// A function of the changed adapter: its pages were moved up by this many bytes.
const MOVED: &str = "wasm-fn-moved";

#[cfg(test)]
mod tests;
