//! The vocabulary of wasm-fn: functions, versions, weights, splits, limits and so on.
//!
//! Everything here is a value. A value proves that it is well formed, so code that receives one never checks
//! it again.
//!
//! Invariants: no clock, no randomness, no environment, no input or output, no wire format. A word belongs
//! here only if three crates use it.

mod bytes;
mod cohort;
mod config;
pub mod defaults;
mod digest;
mod egress;
mod name;
mod outcome;
mod preview;
mod revision;
mod route;
mod side;
mod split;
mod trap;
mod url_path;
mod usage;
mod version;
mod weight;

pub use bytes::format_bytes;
pub use cohort::{CohortError, CohortRule, Condition, Role, Source, Sticky, StickyError};
pub use config::{ConfigError, FunctionConfig, Limits};
pub use digest::{Digest, DigestError};
pub use egress::{EgressError, EgressRule, Scheme};
pub use name::{CohortName, FunctionName, NameError, StageName};
pub use outcome::{Blame, Outcome};
pub use preview::{HostLabelError, PreviewAccess, PreviewAccessError, PreviewDomain, PreviewDomainError};
pub use revision::Revision;
pub use route::{Route, RouteError};
pub use side::Side;
pub use split::{SplitError, TrafficSplit};
pub use trap::Trap;
pub use url_path::normal_path;
pub use usage::Usage;
pub use version::{VersionNo, VersionNoError, VersionRef, VersionRefError};
pub use weight::{Point, Weight, WeightError, percent};
