//! The node's key, under which secrets are sealed: from a file, the environment or a command.
//!
//! This part knows where the key comes from, and neither what is sealed with it nor where that is kept.

mod command;

use std::{
    ffi::OsString,
    fmt,
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

/// A key that was made since there was none, and that is to be written if nothing is sealed under another.
#[must_use]
pub(crate) struct NewKeyFile {
    data_dir: PathBuf,
    text: Zeroizing<String>,
}

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

/// The node's key: that in the environment, else what `command` writes, else that in the data directory. If
/// there is none, it is a new one, which is still to be written. Blocks.
///
/// # Errors
/// There is no key where one should be, or in two places.
pub(crate) fn find(
    data_dir: &Path,
    command: Option<&KeyCommand>,
) -> Result<(NodeKey, Option<NewKeyFile>), SecretsKeyError> {
    match (std::env::var_os(VARIABLE), command) {
        (Some(_), Some(_)) => Err(SecretsKeyError::Two),
        (Some(text), None) => Ok((of_variable(text)?, None)),
        (None, Some(command)) => Ok((of_command(command)?, None)),
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

fn of_file(data_dir: &Path) -> Result<(NodeKey, Option<NewKeyFile>), SecretsKeyError> {
    let path = data_dir.join(FILE);
    let failed = |source| SecretsKeyError::File { path: path.clone(), source };
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = NodeKey::new(Zeroizing::new(rand::random()));
            let file = NewKeyFile { data_dir: data_dir.to_owned(), text: key.expose() };
            return Ok((key, Some(file)));
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
    let key = parse(&text).map_err(|source| SecretsKeyError::NoKey { path, source })?;
    Ok((key, None))
}

fn parse(text: &[u8]) -> Result<NodeKey, NodeKeyError> {
    match str::from_utf8(text) {
        Ok(text) => NodeKey::parse(text.trim()),
        Err(_) => Err(NodeKeyError::Prefix { bytes: text.len() }),
    }
}

/// Makes the file with a random key in `data_dir`, if there is none. Blocks.
///
/// # Errors
/// The file cannot be made.
pub(super) fn make_file(data_dir: &Path) -> Result<(), SecretsKeyError> {
    match of_file(data_dir)? {
        (_, Some(new)) => new.write(),
        (_, None) => Ok(()),
    }
}

impl fmt::Debug for NewKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKeyFile").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl NewKeyFile {
    /// Writes the file, as a whole or not at all. Blocks.
    ///
    /// # Errors
    /// It cannot be written, or somebody has put one there meanwhile.
    pub(crate) fn write(self) -> Result<(), SecretsKeyError> {
        let path = self.path();
        self.place(&path).map_err(|source| SecretsKeyError::File { path, source })
    }

    /// Says that the file was expected: something is sealed under a key that is not there.
    pub(crate) fn missing(&self) -> String {
        format!(
            "key file {} is missing, and neither {VARIABLE} nor `secrets_key_command` is set; a new key would \
             open nothing, so none was made",
            self.path().display()
        )
    }

    fn path(&self) -> PathBuf {
        self.data_dir.join(FILE)
    }

    fn place(&self, path: &Path) -> io::Result<()> {
        let draft = self.data_dir.join(format!("{FILE}.{:016x}", rand::random::<u64>()));
        let mut open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        let written = writeln!(open, "{}", *self.text).and_then(|()| open.sync_all());
        // Unlike a rename, a link never replaces a key.
        let placed = written.and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        placed?;
        File::open(&self.data_dir)?.sync_all()
    }
}

#[cfg(test)]
mod tests;
