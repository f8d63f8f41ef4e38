//! A function's project: made from a template, built, and watched for changes.
//!
//! **Invariant:** nothing here knows a node or its admin API. What is built is a file; who deploys it, and
//! how its answers are judged, is the caller's.

mod build;
mod create;
mod template;
mod tool;
mod watch;

pub use build::{BuildCommand, BuildError, DEV_VARIABLE};
pub use create::{CreateError, TemplateSource, create};
pub use template::{Language, Template, UnknownTemplate};
pub use tool::MissingTool;
pub use watch::{NotWatched, Watch};
