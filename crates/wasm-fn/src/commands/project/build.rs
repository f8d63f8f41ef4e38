//! `wasm-fn build`: runs the command that builds a function.

use std::{
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use serde::Serialize;
use wasm_fn_core::StageName;
use wasm_fn_project::{BuildCommand, BuildError};

use crate::{
    args::{self, Format},
    commands::DONE,
    config::Buildable,
    fault::Fault,
    output::{Output, time, visible},
};

/// What was built.
#[derive(Serialize)]
struct Built {
    function: String,
    component: String,
    bytes: u64,
}

pub(crate) fn run(of: &args::ProjectFunction) -> Result<u8, Fault> {
    let output = Output::new(Format::Table);
    let of = Buildable::read(of, &StageName::live(), "nothing was built")?;
    require_command(&of, "nothing was built")?;
    let (bytes, took) = build(&of, false)?;
    let component = of.component.display().to_string();
    let built = Built { function: of.function.to_string(), component, bytes };
    output.data(&built, |built| {
        let (component, bytes) = (visible(&built.component), time::bytes(built.bytes));
        format!("{} is built after {took:.1?}: {component} ({bytes})", built.function)
    })?;
    Ok(DONE)
}

/// Checks that `of` has a command that builds it. `failed` says what does not happen without.
///
/// # Errors
/// It has none.
pub(crate) fn require_command(of: &Buildable, failed: &str) -> Result<(), Fault> {
    let Buildable { function, build, .. } = of;
    build.as_ref().map(drop).ok_or_else(|| {
        Fault::new("no-build", failed, format!("{function} has no `build`, expected a command"))
            .help(format!("write `build = \"…\"` into [function.{function}]"))
    })
}

/// Builds `of`, with the command's output on standard error. Gives the component's size in bytes, and how
/// long it took. Blocks.
///
/// # Errors
/// A tool is missing, the command fails, or it makes no component.
#[expect(clippy::disallowed_methods, reason = "people want to know how long their builds take")]
pub(crate) fn build(of: &Buildable, development: bool) -> Result<(u64, Duration), Fault> {
    let began = Instant::now();
    let failed = || format!("`{}` was not built", of.function);
    if let Some(line) = &of.build {
        let command = BuildCommand { line: line.clone(), folder: of.folder.clone(), development };
        let shown = |piece: &[u8]| {
            // A closed stream has no reader.
            let _ = std::io::stderr().lock().write_all(piece);
        };
        command.run(shown).map_err(|error| match error {
            BuildError::Missing(tool) => Fault::new("no-tool", failed(), &tool).help(tool.install),
            BuildError::Failed { .. } => Fault::new("build-failed", failed(), error),
            BuildError::NotRun { .. } => Fault::new("build-not-run", failed(), error),
        })?;
    }
    let bytes = size(&of.component).map_err(|error| {
        let cause = format!("{}: {error}", of.component.display());
        Fault::new("no-component", failed(), cause).help("`component` has to be the file that `build` makes")
    })?;
    Ok((bytes, began.elapsed()))
}

fn size(path: &Path) -> std::io::Result<u64> {
    std::fs::metadata(path).map(|file| file.len())
}
