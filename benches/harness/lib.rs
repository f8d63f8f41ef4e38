//! What the benches share: a node of their own to measure, guests that are built on demand, a connection to
//! ask over, what a node's memory is made of, a loop that asks at a fixed rate, and how times are summed up.
//!
//! Invariant: nothing here knows the runtime. A node is a process, and the benches that measure one compile
//! without WebAssembly.

pub mod guests;
pub mod http;
pub mod memory;
pub mod node;
pub mod open_loop;
pub mod times;
