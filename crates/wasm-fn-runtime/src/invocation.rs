//! One invocation: a guest that runs while its connection polls it, and the response that it gives.
//!
//! No task stands between the connection and the guest. The future that the server gets polls the guest until
//! the response head is there; from then on the response body does. Dropping either drops the instance: a
//! client that leaves cancels its guest.

mod asked;
pub(crate) mod body;
mod call;
mod cgi;
pub(crate) mod deadline;
mod deferred_waker;
pub(crate) mod guest;
pub(crate) mod request;
