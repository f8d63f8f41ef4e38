//! Where a function and its versions are reachable.

mod preview;
mod route;
mod url_path;

pub use preview::{HostLabelError, PreviewAccess, PreviewAccessError, PreviewDomain, PreviewDomainError};
pub use route::{Route, RouteError};
pub use url_path::normal_path;
