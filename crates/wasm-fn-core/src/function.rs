//! How a function is configured.

mod config;
pub mod defaults;
mod egress;

pub use config::{ConfigError, FunctionConfig, Limits};
pub use egress::{EgressError, EgressRule, Scheme};
