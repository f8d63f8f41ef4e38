//! Links the core modules of a component into two: one for what must exist before anything is imported, and
//! one for all the code. So an instance of the component consists of two core instances.
//!
//! Tools that make components keep the modules that they started from, and join them when an instance is
//! made: the program, an adapter, libraries, and a shim of indirect calls, because imports need a memory that
//! does not exist yet. Every request would make a core instance of each. But what they import from each other
//! is known beforehand, so this crate links it once.
//!
//! A fused component consists of
//!
//! - a module with the memory, its data, and trampolines to the `realloc`s that the host's functions use;
//! - a module with everything else. It imports these and the host's functions, calls the known contents of a
//!   small table directly, and leaves out functions that are never called;
//! - the rest of the original component: its types, imports and exports are not inspected.
//!
//! Invariants: a fused component does what the original did, or nothing is fused; the output is valid; no
//! input causes a panic, or takes more memory and time than in proportion to its size.

mod constant;
mod data;
mod emit;
mod error;
mod fuse;
mod plan;
mod read;
mod trap;

pub use data::{ExtractedData, extract_data};
pub use error::NotFused;
pub use fuse::{VERSION, fuse};
pub use trap::TableTrap;
