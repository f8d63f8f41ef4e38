//! `tokens` and `audit`, as typed.

use std::{num::NonZeroU64, time::Duration};

use clap::{Args, Subcommand};
use wasm_fn_access::{AccessRole, FunctionPattern};
use wasm_fn_core::{FunctionName, NodeName, StageName, TokenName};

use super::{ChangeConnection, Connection, LogTime, log_time};

/// `tokens`.
#[derive(Debug, Args)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    pub(crate) command: TokensCommand,
}

/// The commands of `tokens`.
#[derive(Debug, Subcommand)]
pub(crate) enum TokensCommand {
    /// Creates a token and prints it; the node keeps only a hash, so it is not shown again
    Create(TokensCreate),
    /// Lists the tokens: who has which role for what, until when, and when each was used last
    List(TokensList),
    /// Shows the token that this command uses, and what it may do
    Show(TokensList),
    /// Gives a token a new secret and prints it; the old one is refused at once
    Rotate(TokensRotate),
    /// Revokes a token; it is refused at once
    Revoke(TokensRevoke),
}

/// `tokens create`.
#[derive(Debug, Args)]
pub(crate) struct TokensCreate {
    /// Name of the token, which the history and the audit log show
    pub(crate) name: TokenName,
    /// What its holder may do: viewer, deployer, releaser or admin; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true, value_delimiter = ',')]
    pub(crate) roles: Vec<AccessRole>,
    /// Functions that it is for: a name, or the beginning of names such as `shop-*`; may be repeated
    /// [default: all functions]
    #[arg(short, long = "function", value_name = "PATTERN", value_delimiter = ',')]
    pub(crate) functions: Vec<FunctionPattern>,
    /// Stages that it is for; may be repeated [default: all stages]
    #[arg(short, long = "stage", value_name = "STAGE", value_delimiter = ',')]
    pub(crate) stages: Vec<StageName>,
    /// For how long it is accepted, such as `30d` [default: until it is revoked]
    #[arg(long, value_parser = humantime::parse_duration)]
    pub(crate) ttl: Option<Duration>,
    /// Reason, for the audit log
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `tokens list` and `tokens show`.
#[derive(Debug, Args)]
pub(crate) struct TokensList {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `tokens rotate`.
#[derive(Debug, Args)]
pub(crate) struct TokensRotate {
    /// The token [default: the one in the node's data directory]
    pub(crate) name: Option<TokenName>,
    /// Reason, for the audit log
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `tokens revoke`.
#[derive(Debug, Args)]
pub(crate) struct TokensRevoke {
    /// The token
    pub(crate) name: TokenName,
    /// Reason, for the audit log
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `audit`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    pub(crate) command: Option<AuditCommand>,
    /// Only entries from this time on: how long ago, such as `7d`, or a time such as `2026-11-22T10:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = log_time)]
    pub(crate) since: Option<LogTime>,
    /// Only entries about this function
    #[arg(short, long)]
    pub(crate) function: Option<FunctionName>,
    /// Only entries by the token of this name; the node itself is `node` and `rollout`
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// Only entries that this node of the cluster made
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<NodeName>,
    /// Maximum number of entries, newest first [default: all]
    #[arg(short = 'n', long)]
    pub(crate) limit: Option<NonZeroU64>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// The commands of `audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verifies the chain of hashes, and names the first entry that was changed or removed
    Verify(AuditVerify),
    /// Prints the end of the log; note it elsewhere, for `verify --head`
    Head(AuditHead),
}

/// `audit verify`.
#[derive(Debug, Args)]
pub(crate) struct AuditVerify {
    /// What `audit head` printed earlier: the log must still contain it
    #[arg(long, value_name = "REVISION:HASH", value_parser = head)]
    pub(crate) head: Option<(u64, String)>,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `audit head`.
#[derive(Debug, Args)]
pub(crate) struct AuditHead {
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// Reads `12:ab…`.
fn head(text: &str) -> Result<(u64, String), &'static str> {
    const EXPECTED: &str = "expected a revision, a colon and 64 hexadecimal digits, as `audit head` prints";
    let (revision, hash) = text.split_once(':').ok_or(EXPECTED)?;
    let digits = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    let revision = revision.parse().map_err(|_| EXPECTED)?;
    if digits { Ok((revision, hash.to_ascii_lowercase())) } else { Err(EXPECTED) }
}
