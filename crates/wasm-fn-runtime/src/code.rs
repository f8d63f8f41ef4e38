//! Code: components, compiled to native code, cached on disk, and loaded into memory.

pub(crate) mod artifacts;
pub(crate) mod cache;
mod compiler;
mod effort;
pub(crate) mod engine;
mod functions;
pub(crate) mod handler;
pub(crate) mod kind;
mod linker;
pub(crate) mod loader;
pub(crate) mod prepare;
mod sealed;
mod size;

#[cfg(test)]
mod tests;
