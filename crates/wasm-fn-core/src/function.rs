//! How a function is configured.

mod config;
pub mod defaults;
mod egress;
mod secret;

pub use config::{ConfigError, EgressLimits, FunctionConfig, Limits};
pub use egress::{EgressError, EgressRule, Scheme};
pub use secret::{SecretName, SecretNameError};
