//! The node's key, under which secrets are sealed: from a file, the environment or a command.
//!
//! This part knows where the key comes from, and neither what is sealed with it nor where that is kept.

mod command;

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use wasm_fn_secrets::{NodeKey, NodeKeyError};
use zeroize::Zeroizing;

use command::CommandError;
pub(crate) use command::KeyCommand;

/// The variable that may hold the key.
pub(crate) const VARIABLE: &str = "WASM_FN_SECRETS_KEY";

/// The file that holds the key otherwise, in the data directory.
const FILE: &str = "secrets.key";

/// Most bytes of a text with a key, and of what a command writes.
const BYTES_MAX: usize = 4096;

/// Why a node has no key. No text shows any of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretsKeyError {
    /// Two places have a key.
    #[error("{VARIABLE} and `secrets_key_command` are both set, expected one of them")]
    Two,
    /// The variable holds no key.
    #[error("{VARIABLE} holds no key")]
    Variable { source: NodeKeyError },
    /// The file cannot be read or created.
    #[error("key file {} cannot be used", .path.display())]
    File { path: PathBuf, source: io::Error },
    /// Others may read the file.
    #[error("key file {} has mode {found:04o}, expected 0600: others may have read the key", .path.display())]
    Mode { path: PathBuf, found: u32 },
    /// The file holds no key.
    #[error("key file {} holds no key", .path.display())]
    NoKey { path: PathBuf, source: NodeKeyError },
    /// The command gave no output.
    #[error("`secrets_key_command` failed")]
    Command { source: CommandError },
    /// The command gave no key.
    #[error("`secrets_key_command` wrote no key to its standard output")]
    Output { source: NodeKeyError },
}

/// The node's key: that in the environment, else what `command` writes, else that in the data directory,
/// where one is made if there is none. Blocks.
///
/// # Errors
/// There is no key where one should be, or in two places.
pub(crate) fn find(data_dir: &Path, command: Option<&KeyCommand>) -> Result<NodeKey, SecretsKeyError> {
    match (std::env::var_os(VARIABLE), command) {
        (Some(_), Some(_)) => Err(SecretsKeyError::Two),
        (Some(text), None) => of_variable(text),
        (None, Some(command)) => of_command(command),
        (None, None) => of_file(data_dir),
    }
}

fn of_variable(text: OsString) -> Result<NodeKey, SecretsKeyError> {
    // What is not text becomes text that is no key.
    let text = Zeroizing::new(text.to_string_lossy().into_owned());
    NodeKey::parse(text.trim()).map_err(|source| SecretsKeyError::Variable { source })
}

fn of_command(command: &KeyCommand) -> Result<NodeKey, SecretsKeyError> {
    let output = command.output(BYTES_MAX).map_err(|source| SecretsKeyError::Command { source })?;
    parse(&output).map_err(|source| SecretsKeyError::Output { source })
}

fn of_file(data_dir: &Path) -> Result<NodeKey, SecretsKeyError> {
    let path = data_dir.join(FILE);
    let failed = |source| SecretsKeyError::File { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(data_dir, &path).map_err(failed)?;
            File::open(&path).map_err(failed)?
        }
        Err(error) => return Err(failed(error)),
    };
    let found = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if found & 0o077 != 0 {
        return Err(SecretsKeyError::Mode { path, found });
    }
    // Allocated at once, so that no copy is left behind.
    let mut text = Zeroizing::new(Vec::with_capacity(BYTES_MAX));
    file.take(BYTES_MAX as u64).read_to_end(&mut text).map_err(failed)?;
    parse(&text).map_err(|source| SecretsKeyError::NoKey { path, source })
}

fn parse(text: &[u8]) -> Result<NodeKey, NodeKeyError> {
    match str::from_utf8(text) {
        Ok(text) => NodeKey::parse(text.trim()),
        Err(_) => Err(NodeKeyError::Prefix { bytes: text.len() }),
    }
}

/// Makes the file at `path` with a random key, as a whole or not at all. Another process may be faster.
fn make(data_dir: &Path, path: &Path) -> io::Result<()> {
    let key = NodeKey::new(Zeroizing::new(rand::random()));
    let draft = data_dir.join(format!("{FILE}.{:016x}", rand::random::<u64>()));
    let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let mut text = key.expose();
    text.push('\n');
    let written = open.write_all(text.as_bytes()).and_then(|()| open.sync_all());
    // Unlike a rename, a link never replaces a key.
    let placed = match written.and_then(|()| fs::hard_link(&draft, path)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        placed => placed,
    };
    fs::remove_file(&draft)?;
    placed?;
    File::open(data_dir)?.sync_all()
}

#[cfg(test)]
mod tests;
