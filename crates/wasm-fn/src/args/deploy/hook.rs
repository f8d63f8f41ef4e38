//! `wasm-fn hook` as typed.

use std::time::Duration;

use clap::Args;
use wasm_fn_core::{FunctionName, StageName};

use super::time;

/// `hook`.
#[derive(Debug, Args)]
pub(crate) struct Hook {
    /// The function
    pub(crate) function: FunctionName,
    /// The stage
    #[arg(short, long, default_value = "live")]
    pub(crate) stage: StageName,
    /// Branch whose commits are deployed; pushes to others are left alone
    #[arg(short, long, default_value = "main", value_parser = branch)]
    pub(crate) branch: String,
    /// Command for a shell that builds the function, in a new checkout of the commit
    #[arg(long, value_name = "COMMAND", value_parser = one_line)]
    pub(crate) build: Option<String>,
    /// The component or command module in the checkout [default: the function's `component` in its
    /// wasm-fn.toml]
    #[arg(long, value_name = "FILE", value_parser = one_line)]
    pub(crate) file: Option<String>,
    /// How long a build may take, and a push waits for the one before it
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Options of `wasm-fn deploy`, such as `--canary=10% --wait`
    #[arg(last = true, value_name = "DEPLOY_OPTIONS")]
    pub(crate) options: Vec<String>,
}

/// Reads the name of a branch (git-check-ref-format(1)).
fn branch(text: &str) -> Result<String, &'static str> {
    let is_bad = |c: char| c.is_control() || " ~^:?*[\\".contains(c);
    let is_name = !text.is_empty()
        && !text.contains(is_bad)
        && !text.contains("..")
        && !text.contains("@{")
        && !text.starts_with(['-', '/'])
        && !text.ends_with(['.', '/']);
    if is_name { Ok(text.to_owned()) } else { Err("expected the name of a branch, such as main") }
}

/// Reads a text that is a part of a script.
fn one_line(text: &str) -> Result<String, &'static str> {
    if text.contains(char::is_control) {
        Err("expected one line without control characters")
    } else {
        Ok(text.to_owned())
    }
}
