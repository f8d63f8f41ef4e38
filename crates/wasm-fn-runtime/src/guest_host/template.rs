//! What all instances of a version have in common.

use std::sync::Arc;

use wasm_fn_core::Limits;
use wasm_fn_pool::MemoryShare;

use super::{egress::policy::EgressPolicy, keyvalue::NamedBuckets, wasi::GuestEnvironment};
use crate::cpu::ticker::EpochTicker;

/// What every instance of a version is made from.
pub(crate) struct InstanceTemplate {
    pub(crate) ticker: Arc<EpochTicker>,
    pub(crate) limits: Limits,
    pub(crate) environment: GuestEnvironment,
    /// Allowed outgoing requests.
    pub(crate) egress: Arc<EgressPolicy>,
    /// Buckets that it may open.
    pub(crate) buckets: NamedBuckets,
    /// The memory that the version's instances hold.
    pub(crate) memory: MemoryShare,
}
