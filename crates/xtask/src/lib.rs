//! The project's own tasks: building the example guests, simulating, measuring, and running continuous
//! integration.
//!
//! They are a library, so that the workspace's tests can call the same checks as the binary.

pub mod bench;
pub mod ci;
pub mod cluster;
pub mod fuzz_linking;
pub mod guests;
pub mod instructions;
pub mod isolation;
pub mod pgo;
pub mod sim;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root folder of the workspace that contains the current folder.
///
/// It is found at run time, because checkouts that share a target folder also share this program.
///
/// # Errors
/// The current folder is not in a workspace.
pub fn root() -> Result<PathBuf> {
    let manifest = output(cargo().args(["locate-project", "--workspace", "--message-format", "plain"]))?;
    let root = Path::new(&manifest).parent().context("cargo located a manifest without a folder")?;
    Ok(root.into())
}

/// The cargo that runs this program, so that nested builds use the same toolchain.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `command` with our own output streams. An error says what ran and how it ended.
fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("`{shown}` did not start"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}, expected success");
    }
    Ok(())
}

/// Runs `command` and returns its stdout without trailing whitespace.
fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("`{shown}` did not start"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text =
        String::from_utf8(output.stdout).with_context(|| format!("the output of `{shown}` is not UTF-8"))?;
    Ok(text.trim_end().into())
}

/// The command line as a user would type it.
fn shown(command: &Command) -> String {
    let program = command.get_program();
    let name = Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
