//! Requests: matched to a version, run on it, and counted.

pub(crate) mod access;
mod attempt;
pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod delivery;
pub(crate) mod dispatch;
pub(crate) mod effects;
mod framing;
mod head;
pub(crate) mod id;
pub(crate) mod key_skew;
mod preview;
pub(crate) mod reception;
pub(crate) mod recording;
pub(crate) mod redelivery;
pub(crate) mod run;
mod shield;
mod version_override;

pub use body::{RequestBody, RequestBodyError};
pub use id::RequestId;
