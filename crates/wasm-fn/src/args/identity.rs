//! `login`, `logout` and `whoami`, as typed.

use clap::Args;

use super::Connection;

/// `login`.
#[derive(Debug, Args)]
pub(crate) struct Login {
    /// Where to log in, if the node offers several issuers
    #[arg(long, value_name = "URL")]
    pub(crate) issuer: Option<String>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `logout`.
#[derive(Debug, Args)]
pub(crate) struct Logout {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `whoami`.
#[derive(Debug, Args)]
pub(crate) struct Whoami {
    #[command(flatten)]
    pub(crate) connection: Connection,
}
