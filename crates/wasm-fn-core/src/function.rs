//! How a function is configured.

mod config;
pub mod defaults;
mod egress;

pub use config::{ConfigError, EgressLimits, FunctionConfig, Limits};
pub use egress::{EgressError, EgressRule, Scheme};
