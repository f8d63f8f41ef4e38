//! Links the core modules of a component into one, so that an instance of it is made of two core instances:
//! one for what must be there before anything is imported, and one for all the code.
//!
//! Tools that make components leave the modules they started from as they are, and join them where an
//! instance is made: the program, an adapter, libraries, and a shim of indirect calls because imports need
//! a memory that is not there yet. Each is a core instance that every request would make again. All that
//! they import of each other is known beforehand, so it is linked here, once.
//!
//! A fused component is
//!
//! - a module with the memory, its data, and a way to the `realloc`s that the host's functions use;
//! - a module with everything else, which imports these and the host's functions, and calls directly what a small
//!   table is known to hold, without what is never called;
//! - around them what it was before: types, imports and exports of the component are not looked into.
//!
//! Invariants: what is fused does what the component did, or nothing is fused; what comes out is valid; no
//! input reaches a panic, or more memory and time than in proportion to its size.

mod alike;
mod constant;
mod data;
mod dispatch;
mod emit;
mod error;
mod fuse;
mod link;
mod memory;
mod merge;
mod outer;
mod plan;
mod program;
mod reach;
mod shim;
mod trap;

pub use data::{Apart, take_data};
pub use error::NotFused;
pub use fuse::{VERSION, fuse};
pub use trap::TableTrap;
