//! A function of a project: how it is built, and what is deployed then.

use std::path::{Path, PathBuf};

use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, StageName};

use super::{ConfigFile, ModuleSource, Release, checks};
use crate::{args, fault::Fault};

/// The file of checks beside the configuration file.
const CHECKS: &str = "checks.toml";

/// A function in a configuration file, with what its project needs of it.
#[derive(Debug)]
pub(crate) struct Buildable {
    /// The function.
    pub(crate) function: FunctionName,
    /// The folder of the file, in which the command runs.
    pub(crate) folder: PathBuf,
    /// The command that builds it.
    pub(crate) build: Option<String>,
    /// The file that the command makes.
    pub(crate) component: PathBuf,
    /// The function's configuration.
    pub(crate) config: api::ConfigSpec,
    /// What the file lays over it in the stage that was asked for; `None` if it has no table for that.
    pub(crate) stage_config: Option<api::StageConfigSpec>,
    /// The checks of its rollouts.
    pub(crate) checks: Vec<api::CheckSpec>,
}

impl Buildable {
    /// Reads the function that `of` names, as it is in `stage`. Blocks. `failed` says what does not happen if
    /// that is impossible.
    ///
    /// # Errors
    /// The file cannot be read, or does not determine the function or its component.
    pub(crate) fn read(of: &args::ProjectFunction, stage: &StageName, failed: &str) -> Result<Self, Fault> {
        let path = &*of.config;
        let mut file = ConfigFile::read(path).map_err(|cause| {
            let fault = Fault::new("invalid-config", failed, cause);
            if path.exists() {
                fault
            } else {
                fault.help("make a project with `wasm-fn new NAME --lang LANGUAGE`")
            }
        })?;
        let which = |cause: String, help: &str| Fault::new("which-function", failed, cause).help(help);
        let shown = path.display();
        let function = match (&of.function, file.functions.len()) {
            (Some(function), _) => function.clone(),
            (None, 1) => file.functions.keys().next().expect("there is one").clone(),
            (None, 0) => {
                return Err(which(format!("{shown} has no function"), "write a table [function.NAME]"));
            }
            (None, _) => {
                let names: Vec<_> = file.functions.keys().map(FunctionName::as_str).collect();
                return Err(which(
                    format!("{shown} has several functions: {}", names.join(", ")),
                    "name one of them",
                ));
            }
        };
        let Some(mut found) = file.functions.remove(&function) else {
            let names: Vec<_> = file.functions.keys().map(FunctionName::as_str).collect();
            let cause = format!("{shown} has no [function.{function}], it has {}", names.join(", "));
            return Err(Fault::new("no-such-function", failed, cause));
        };
        let Some(ModuleSource::File(component)) = found.component.take() else {
            let cause = format!("{shown} has no file as `component` of {function}");
            return Err(Fault::new("no-component", failed, cause).help("name the file that the build makes"));
        };
        let stage_config = found.stages.remove(stage).and_then(|Release { stage_config, .. }| stage_config);
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self {
            function,
            folder: folder.to_owned(),
            build: found.build,
            component,
            config: found.config,
            stage_config,
            checks: found.rollout.options.checks,
        })
    }

    /// The checks in `files`, or else those beside the configuration and in it. Blocks.
    ///
    /// # Errors
    /// A file of checks is invalid, or there is no check.
    pub(crate) fn checks(&self, files: &[PathBuf], failed: &str) -> Result<Vec<api::CheckSpec>, Fault> {
        let beside = self.folder.join(CHECKS);
        let (mut found, files) = match files {
            [] if beside.exists() => (self.checks.clone(), vec![beside]),
            [] => (self.checks.clone(), Vec::new()),
            files => (Vec::new(), files.to_vec()),
        };
        for file in &files {
            let read = checks::read(file).map_err(|error| Fault::new("invalid-checks", failed, error))?;
            found.extend(read);
        }
        if found.is_empty() {
            let cause =
                format!("there is no {CHECKS}, and no check in the configuration of {}", self.function);
            return Err(Fault::new("no-checks", failed, cause)
                .help(format!("write requests and expected answers into {CHECKS}, as [[check]] tables")));
        }
        Ok(found)
    }
}
