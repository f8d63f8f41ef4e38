//! Reads components and core modules, and resolves what they import from each other.

mod dedup;
pub(crate) mod link;
pub(crate) mod outer;
pub(crate) mod program;
