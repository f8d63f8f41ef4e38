//! CPU time of guests: measured, limited, and shared out in turns.

pub(crate) mod account;
pub(crate) mod ticker;
