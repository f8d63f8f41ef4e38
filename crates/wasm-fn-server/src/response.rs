//! Responses: a guest's, checked and passed on, or a problem of our own.

pub(crate) mod body;
pub(crate) mod charges;
pub(crate) mod head;
pub(crate) mod headers;
pub(crate) mod problem;
