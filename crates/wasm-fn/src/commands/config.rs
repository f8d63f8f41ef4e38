//! `wasm-fn config check`: reads a configuration file as `deploy` and `serve` do, without a node.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::DONE;
use crate::{
    args::{self, ConfigCommand},
    config::{ConfigFile, FILE, ModuleSource, Serve},
    fault::Fault,
    output::{Output, visible},
};

/// What a valid file contains.
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    functions: Vec<CheckedFunction>,
}

/// A function in the file.
#[derive(Debug, Serialize)]
struct CheckedFunction {
    function: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    component: Option<String>,
    /// Whether there is a file at the component's path. A build may be about to make it.
    /// Not known of an artifact in a registry, which is not asked.
    component_exists: Option<bool>,
}

pub(super) fn run(args: args::Config) -> Result<u8, Fault> {
    let ConfigCommand::Check(args) = args.command;
    let output = Output::new(args.output);
    let path = args.file.unwrap_or_else(|| PathBuf::from(FILE));
    let checked = check(&path)?;
    output.data(&checked, Checked::line)?;
    for CheckedFunction { function, component, .. } in
        checked.functions.iter().filter(|function| function.component_exists == Some(false))
    {
        if let Some(component) = component {
            output
                .talk(&format!("note: the component of {function} is not there yet: {}", visible(component)));
        }
    }
    Ok(DONE)
}

fn check(path: &Path) -> Result<Checked, Fault> {
    let invalid = |cause: String| Fault::new("invalid-config", "the configuration is invalid", cause);
    let file = ConfigFile::read(path).map_err(|error| invalid(error.to_string()))?;
    let in_file = |what: String| invalid(format!("{}: {what}", path.display()));
    let ConfigFile { functions, serve, stages: _ } = file;
    let checked = Serve::merge(&args::Serve::default(), serve).and_then(|serve| serve.check());
    checked.map_err(|what| in_file(format!("serve.{what}")))?;
    let functions = functions.into_iter().map(|(function, found)| -> Result<_, Fault> {
        // Some bounds are the node's: the patterns of checks, and how many there may be.
        wasm_fn_admin::check_release(&found.rollout.strategy, &found.rollout.options, &found.gate)
            .map_err(|what| in_file(format!("function.{function}: {what}")))?;
        let component_exists = match &found.component {
            Some(ModuleSource::File(path)) => Some(path.is_file()),
            Some(ModuleSource::Registry(_)) => None,
            None => Some(false),
        };
        let component = found.component.map(|component| component.to_string());
        Ok(CheckedFunction { function: function.to_string(), component, component_exists })
    });
    Ok(Checked { file: path.display().to_string(), functions: functions.collect::<Result<_, Fault>>()? })
}

impl Checked {
    /// `wasm-fn.toml is valid and has 2 functions: api, hello`.
    fn line(&self) -> String {
        let names: Vec<_> = self.functions.iter().map(|function| function.function.as_str()).collect();
        let has = match names.as_slice() {
            [] => "no function".to_owned(),
            [name] => format!("one function: {name}"),
            names => format!("{} functions: {}", names.len(), names.join(", ")),
        };
        format!("{} is valid and has {has}", visible(&self.file))
    }
}
