//! Tests of the data plane over real sockets, with a fake [`Invoke`](crate::Invoke).

mod abandoning;
mod blaming;
mod cancelling;
mod compared;
mod draining;
mod errors;
pub(crate) mod harness;
mod limits;
mod previewing;
mod proxied;
mod routing;
mod sending;
mod shield_counts;
mod shielding;
mod streaming;
