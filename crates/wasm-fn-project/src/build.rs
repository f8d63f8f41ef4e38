//! Runs the command that builds a function.

use std::{
    io::{self, Read as _},
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
};

use crate::{MissingTool, tool};

/// Set to 1 for builds of `wasm-fn dev`, which may trade the speed of the code for that of the build.
pub const DEV_VARIABLE: &str = "WASM_FN_DEV";

/// The end of a build's output that is looked at if it fails, bytes.
const TAIL_BYTES: usize = 16 << 10;

/// A command that builds a function.
#[derive(Clone, Debug)]
pub struct BuildCommand {
    /// A line for `sh -c`.
    pub line: String,
    /// The folder in which it runs.
    pub folder: PathBuf,
    /// Whether it is for `wasm-fn dev`.
    pub development: bool,
}

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A tool is not there.
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// The command failed. Its output says why.
    #[error("`{line}` ended with {status}")]
    Failed {
        /// The command.
        line: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// The command was not run.
    #[error("`{line}` was not run: {error}")]
    NotRun {
        /// The command.
        line: String,
        /// Why.
        error: io::Error,
    },
}

impl BuildCommand {
    /// Runs the command, and gives its output, of both streams, to `output` as it comes. Blocks.
    ///
    /// # Errors
    /// A tool is missing, or the command fails.
    pub fn run(&self, mut output: impl FnMut(&[u8])) -> Result<(), BuildError> {
        let Self { line, folder, development } = self;
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(missing) = tool::first_missing(line, &path) {
            return Err(missing.into());
        }
        let not_run = |error| BuildError::NotRun { line: line.clone(), error };
        let (mut reader, writer) = io::pipe().map_err(not_run)?;
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(folder).stdin(Stdio::null());
        command.stdout(writer.try_clone().map_err(not_run)?).stderr(writer);
        if *development {
            command.env(DEV_VARIABLE, "1");
        } else {
            command.env_remove(DEV_VARIABLE);
        }
        let mut child = command.spawn().map_err(not_run)?;
        // Its ends of the pipe go with it, so that reading ends when the last process has closed its own.
        drop(command);
        let (mut tail, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match reader.read(&mut piece) {
                Ok(0) => break,
                Ok(read) => {
                    output(&piece[..read]);
                    tail.extend_from_slice(&piece[..read]);
                    let excess = tail.len().saturating_sub(TAIL_BYTES);
                    tail.drain(..excess);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(not_run(error)),
            }
        }
        let status = child.wait().map_err(not_run)?;
        if status.success() {
            return Ok(());
        }
        match tool::diagnose(status.code(), &String::from_utf8_lossy(&tail)) {
            Some(missing) => Err(missing.into()),
            None => Err(BuildError::Failed { line: line.clone(), status }),
        }
    }
}

#[cfg(test)]
mod tests;
