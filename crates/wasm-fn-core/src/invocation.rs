//! How an invocation ended, and what it used.

mod outcome;
mod trap;
mod usage;

pub use outcome::{Blame, Outcome};
pub use trap::Trap;
pub use usage::Usage;
