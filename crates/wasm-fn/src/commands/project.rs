//! Commands for the project of a function: `new`, `build`, `dev` and `test`.

pub(super) mod build;
pub(super) mod dev;
pub(super) mod new;
mod serving;
pub(super) mod test;
