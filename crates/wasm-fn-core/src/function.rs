//! How a function is configured.

mod bucket;
mod config;
pub mod defaults;
mod egress;
mod secret;
mod stage_config;

pub use bucket::{BucketConfig, Consistency, Durability};
pub use config::{ConfigError, EgressLimits, FunctionConfig, Limits};
pub use egress::{EgressError, EgressRule, Scheme};
pub use secret::{SecretName, SecretNameError};
pub use stage_config::StageConfig;
