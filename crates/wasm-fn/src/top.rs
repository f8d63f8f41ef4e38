//! The state of `wasm-fn top`, and the picture of it. Nothing here reads a clock, a terminal or a node.

mod draw;
mod state;

pub(crate) use draw::draw;
pub(crate) use state::{Do, Key, Listed, Top, Wanted};

#[cfg(test)]
mod tests;
