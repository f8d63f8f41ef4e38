//! Where a function and its versions are reachable, and networks.

mod network;
mod preview;
mod route;
mod url_path;

pub use network::{Network, NetworkError};
pub use preview::{HostLabelError, PreviewAccess, PreviewAccessError, PreviewDomain, PreviewDomainError};
pub use route::{Route, RouteError};
pub use url_path::normal_path;
