//! The project's own chores: building the example guests, simulating, measuring, and running continuous
//! integration.
//!
//! A library beside the binary, so that the workspace's tests call the same checks.

pub mod bench;
pub mod ci;
pub mod guests;
pub mod instructions;
pub mod pgo;
pub mod sim;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The root folder of the workspace that the current folder belongs to.
///
/// Asked at run time: checkouts that share a target folder also share this program.
///
/// # Errors
/// The current folder is in no workspace.
pub fn root() -> Result<PathBuf> {
    let manifest = output(cargo().args(["locate-project", "--workspace", "--message-format", "plain"]))?;
    let root = Path::new(&manifest).parent().context("cargo located a manifest without a folder")?;
    Ok(root.into())
}

/// The cargo that runs this, so that nested builds use the same toolchain.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs `command` with its output on ours; an error says what ran and how it ended.
fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("`{shown}` did not start"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}, expected success");
    }
    Ok(())
}

/// Runs `command` and gives its stdout without the last newline.
fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    let output = command.output().with_context(|| format!("`{shown}` did not start"))?;
    if !output.status.success() {
        bail!("`{shown}` ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote no UTF-8"))?;
    Ok(text.trim_end().into())
}

/// The command line as a reader would type it.
fn shown(command: &Command) -> String {
    let program = command.get_program();
    let name = Path::new(program).file_name().unwrap_or(program);
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
