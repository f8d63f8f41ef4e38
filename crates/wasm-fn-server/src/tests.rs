//! Tests of the data plane over real sockets, with a fake [`Invoke`](crate::Invoke).

mod addressing;
mod blaming;
mod cancelling;
mod delivering;
mod draining;
pub(crate) mod encrypted;
mod errors;
pub(crate) mod harness;
mod http10;
mod lengths;
mod limits;
mod previewing;
mod proxied;
mod receiving;
mod refusing;
mod routing;
mod sending;
mod shielding;
mod streaming;
mod unread;
