//! What the host keeps for each guest: its store data, limits, output, buckets and outgoing
//! requests.

mod capture;
pub(crate) mod config_store;
pub(crate) mod effect;
pub(crate) mod egress;
pub(crate) mod hop_by_hop;
pub(crate) mod instance;
pub(crate) mod keyvalue;
pub(crate) mod logs;
pub(crate) mod meter;
pub(crate) mod state;
pub(crate) mod template;
pub(crate) mod wasi;
