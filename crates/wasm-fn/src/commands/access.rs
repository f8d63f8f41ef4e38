//! Commands about who may do what, and who did it.

pub(super) mod approvals;
pub(super) mod audit;
pub(super) mod tokens;
