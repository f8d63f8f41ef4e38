//! `secrets`, as typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand, ValueHint};
use wasm_fn_core::{FunctionName, SecretName, StageName};

use super::{ChangeConnection, Connection, deploy::time};

/// `secrets`.
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    #[command(subcommand)]
    pub(crate) command: SecretsCommand,
}

/// The commands of `secrets`.
#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Sets a secret of a stage, from standard input or a prompt; versions keep the value that they have
    Set(SecretsSet),
    /// Sets the secrets of a stage that a file has: dotenv, plain or encrypted by age, or SOPS with age
    Import(SecretsImport),
    /// Lists the secrets of a stage, without their values: revision, who set it, when, and who uses it
    List(SecretsList),
    /// Deletes a secret of a stage
    Delete(SecretsDelete),
    /// Seals all secrets of the node under a new key
    RotateKey(SecretsRotateKey),
}

/// The stage whose secrets are meant.
#[derive(Debug, Args)]
pub(crate) struct SecretsPlace {
    /// The function; it need not be deployed yet
    #[arg(short, long)]
    pub(crate) function: FunctionName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Reason, for the history
    #[arg(short, long)]
    pub(crate) message: Option<String>,
}

/// Whether a version with the new values is deployed.
#[derive(Debug, Args)]
pub(crate) struct SecretsDeploy {
    /// Then deploy the stable version again, with the new values, by the stage's strategy in wasm-fn.toml
    #[arg(long)]
    pub(crate) deploy: bool,
    /// With --deploy: abort a rollout that is in progress
    #[arg(long, requires = "deploy")]
    pub(crate) replace: bool,
    /// With --deploy: show the rollout until it ends; its outcome sets the exit code
    #[arg(long, requires = "deploy")]
    pub(crate) wait: bool,
    /// With --wait: maximum time to wait
    #[arg(long, value_name = "TIME", requires = "wait", default_value = "30m", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Configuration of functions [default: ./wasm-fn.toml if it exists]
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
}

/// `secrets set`.
#[derive(Debug, Args)]
pub(crate) struct SecretsSet {
    /// The secret, as the function names it in `secrets`
    #[arg(value_parser = name)]
    pub(crate) name: SecretName,
    #[command(flatten)]
    pub(crate) place: SecretsPlace,
    #[command(flatten)]
    pub(crate) deploy: SecretsDeploy,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `secrets import`.
#[derive(Debug, Args)]
pub(crate) struct SecretsImport {
    /// The file with lines such as `NAME=value`, or `-` for standard input; what age or SOPS encrypted is
    /// recognized
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// The file with age identities to decrypt it with [default: that of SOPS, in `SOPS_AGE_KEY_FILE` or else
    /// sops/age/keys.txt in the folder for configuration]
    #[arg(long, env = "WASM_FN_AGE_IDENTITY", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) identity: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: SecretsPlace,
    #[command(flatten)]
    pub(crate) deploy: SecretsDeploy,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `secrets list`.
#[derive(Debug, Args)]
pub(crate) struct SecretsList {
    /// The function
    #[arg(short, long)]
    pub(crate) function: FunctionName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    #[command(flatten)]
    pub(crate) connection: Connection,
}

/// `secrets delete`.
#[derive(Debug, Args)]
pub(crate) struct SecretsDelete {
    /// The secret
    #[arg(value_parser = name)]
    pub(crate) name: SecretName,
    #[command(flatten)]
    pub(crate) place: SecretsPlace,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// `secrets rotate-key`.
#[derive(Debug, Args)]
pub(crate) struct SecretsRotateKey {
    /// Reason, for the audit log
    #[arg(short, long)]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) connection: ChangeConnection,
}

/// Reads a name. Whoever types `NAME=value` gets no error that shows the value.
fn name(text: &str) -> Result<SecretName, String> {
    if text.contains('=') {
        return Err("found `=`, expected a name only: the value is read from standard input".to_owned());
    }
    text.parse().map_err(|error: wasm_fn_core::SecretNameError| error.to_string())
}
