//! Finds the function, the file and the configuration for `deploy` and `promote-stage`.

mod source;

use std::path::{Path, PathBuf};

use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, NameError, StageName};

use super::{ConfigFile, FILE, Release};
use crate::{args, fault::Fault};

pub(crate) use source::ModuleSource;

/// What `deploy` sends.
#[derive(Debug, PartialEq)]
pub(crate) struct Deployment {
    /// The function.
    pub(crate) function: FunctionName,
    /// Where the component comes from.
    pub(crate) component: ModuleSource,
    /// The function's configuration.
    pub(crate) config: api::ConfigSpec,
    /// How it is released to the stage.
    pub(crate) release: Release,
    /// Whether the name was made from the file's or the repository's name, so that the command can say so.
    pub(crate) name_derived: bool,
    /// The configuration file, if it has no table for the function. A misspelt name would otherwise pass.
    pub(crate) not_in: Option<PathBuf>,
}

impl Deployment {
    /// Resolves `args` with the file that they name or the one in the working directory. Blocks.
    ///
    /// # Errors
    /// The file is invalid, or does not determine the function or the component.
    pub(crate) fn resolve(args: &args::Deploy) -> Result<Self, Fault> {
        let error = "nothing was deployed";
        let (file, path) = read(args.release.config.as_deref(), error)?;
        let asked = args.file.as_deref().map(ModuleSource::parse).transpose();
        let asked = asked.map_err(|cause| Fault::new("invalid-reference", error, cause))?;
        let chosen = Self::choose(asked.as_ref(), args.function.as_ref(), &args.stage, file, path);
        let mut chosen =
            chosen.map_err(|(cause, help)| Fault::new("which-function", error, cause).help(help))?;
        let release = chosen.release.merge(&args.release);
        chosen.release = release.map_err(|cause| Fault::new("invalid-rollout", error, cause))?;
        Ok(chosen)
    }

    /// The function is the one in the arguments, else the only one with this component, else one named after
    /// the component's file. The component is the one in the arguments, else the function's. `file` was read
    /// from `path`, if there is one.
    fn choose(
        component: Option<&ModuleSource>,
        function: Option<&FunctionName>,
        stage: &StageName,
        mut file: ConfigFile,
        path: Option<&Path>,
    ) -> Result<Self, (String, &'static str)> {
        let fits = |found: &super::function::Function| match (&found.component, component) {
            (Some(found), Some(asked)) => found.is_same(asked),
            (Some(_), None) => true,
            (None, _) => false,
        };
        let fitting: Vec<_> =
            file.functions.iter().filter(|(_, found)| fits(found)).map(|(name, _)| name.clone()).collect();
        let (function, name_derived) = match (function, fitting.as_slice(), component) {
            (Some(function), ..) => (function.clone(), false),
            (None, [function], _) => (function.clone(), false),
            (None, [], Some(component)) => {
                let name = name_of(component).map_err(|error| (error.to_string(), "name one with -f"))?;
                (name, true)
            }
            (None, [], None) => {
                let cause = "no FILE is given, and wasm-fn.toml has no function with a `component`";
                return Err((cause.to_owned(), "give a file: `wasm-fn deploy FILE`"));
            }
            (None, several, asked) => {
                let names: Vec<_> = several.iter().map(FunctionName::as_str).collect();
                let names = names.join(", ");
                let cause = match asked {
                    Some(_) => format!("wasm-fn.toml has several functions with this file: {names}"),
                    None => format!(
                        "no FILE is given, and wasm-fn.toml has several functions with a `component`: {names}"
                    ),
                };
                return Err((cause, "name one with -f"));
            }
        };
        let mut found = file.functions.remove(&function);
        let not_in = path.filter(|_| found.is_none()).map(Path::to_owned);
        let release = found.as_mut().map(|found| found.release(stage)).unwrap_or_default();
        let (own, config) = found.map(|found| (found.component, found.config)).unwrap_or_default();
        let Some(component) = component.cloned().or(own) else {
            let cause = format!("no FILE is given, and wasm-fn.toml has no `component` for {function}");
            return Err((cause, "give a file: `wasm-fn deploy FILE`"));
        };
        Ok(Self { function, component, config, release, name_derived, not_in })
    }
}

impl Release {
    /// Combines the options of a command with the file's release.
    ///
    /// # Errors
    /// An option does not apply to the strategy, or a file of checks is invalid.
    fn merge(self, typed: &args::Release) -> Result<Self, String> {
        let Self { stage_config, rollout, mut gate } = self;
        let rollout = rollout.merge(&typed.strategy, &typed.rollout, &mut gate)?;
        Ok(Self { stage_config, rollout, gate })
    }
}

/// How `args` releases a version to its target stage, with the file that they name or the one in the working
/// directory. Blocks.
///
/// # Errors
/// The file is invalid, or the options do not fit the strategy.
pub(crate) fn release(args: &args::PromoteStage) -> Result<Release, Fault> {
    let error = format!("nothing was promoted to stage `{}`", args.to);
    let (mut file, _) = read(args.release.config.as_deref(), &error)?;
    let found = file.functions.remove(&args.function);
    let release = found.map(|mut found| found.release(&args.to)).unwrap_or_default();
    release.merge(&args.release).map_err(|cause| Fault::new("invalid-rollout", error, cause))
}

/// How a trigger of `function` releases what it deploys to `stage`: as a deployment from here would now, with
/// `typed`. Blocks.
///
/// # Errors
/// The file is invalid, or the options do not fit the strategy.
pub(crate) fn trigger_release(
    function: &FunctionName,
    stage: &StageName,
    typed: &args::TriggerRelease,
) -> Result<Release, Fault> {
    let error = format!("no trigger of `{function}` was added");
    let (mut file, _) = read(typed.config.as_deref(), &error)?;
    let found = file.functions.remove(function);
    let Release { stage_config, rollout, mut gate } =
        found.map(|mut found| found.release(stage)).unwrap_or_default();
    let rollout = rollout.merge(&typed.strategy, &typed.rollout, &mut gate);
    let rollout = rollout.map_err(|cause| Fault::new("invalid-rollout", error, cause))?;
    Ok(Release { stage_config, rollout, gate })
}

/// The file at `path`, or the one in the working directory if there is one, and where it is. Blocks.
fn read<'a>(path: Option<&'a Path>, error: &str) -> Result<(ConfigFile, Option<&'a Path>), Fault> {
    let path = path.or_else(|| Some(Path::new(FILE)).filter(|path| path.exists()));
    let Some(path) = path else { return Ok((ConfigFile::default(), None)) };
    let file = ConfigFile::read(path).map_err(|cause| Fault::new("invalid-config", error, cause))?;
    Ok((file, Some(path)))
}

/// Makes a name from the stem: in lower case, with `-` for any character that a name cannot have.
fn name_of(component: &ModuleSource) -> Result<FunctionName, NameError> {
    let stem = component.stem().to_ascii_lowercase();
    let letter = |c: char| if matches!(c, 'a'..='z' | '0'..='9' | '-' | '_') { c } else { '-' };
    let name: String = stem.chars().map(letter).collect();
    let name = name.trim_matches(['-', '_']);
    // Every character is now one byte.
    name[..name.len().min(63)].parse()
}

#[cfg(test)]
mod tests;
