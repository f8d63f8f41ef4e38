//! Commands for a function's project, as typed.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueHint};
use wasm_fn_core::FunctionName;
use wasm_fn_project::{Template, TemplateSource};

use super::{Connection, Format, Log, listen_address};

/// `new`.
#[derive(Debug, Args)]
pub(crate) struct New {
    /// Name of the function, and of the folder unless `--into` names another
    #[arg(required_unless_present = "list")]
    pub(crate) name: Option<FunctionName>,
    /// Language: rust, js, ts, python, go or c
    #[arg(short, long, value_name = "LANGUAGE", value_parser = language, conflicts_with = "template", required_unless_present_any = ["template", "list"])]
    pub(crate) lang: Option<&'static Template>,
    /// Another template: the URL of a git repository, or a directory
    #[arg(short, long, value_name = "TEMPLATE", value_parser = source)]
    pub(crate) template: Option<TemplateSource>,
    /// List the templates
    #[arg(long, conflicts_with_all = ["lang", "template", "name"])]
    pub(crate) list: bool,
    /// Folder of the project [default: ./NAME]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) into: Option<PathBuf>,
}

/// A function of a project.
#[derive(Clone, Debug, Args)]
pub(crate) struct ProjectFunction {
    /// The function [default: the only one in wasm-fn.toml]
    pub(crate) function: Option<FunctionName>,
    /// The project's configuration file
    #[arg(long, env = "WASM_FN_CONFIG", value_name = "FILE", default_value = "wasm-fn.toml", value_hint = ValueHint::FilePath)]
    pub(crate) config: PathBuf,
}

/// `build`.
#[derive(Debug, Args)]
pub(crate) struct Build {
    #[command(flatten)]
    pub(crate) of: ProjectFunction,
}

/// `dev`.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    #[command(flatten)]
    pub(crate) of: ProjectFunction,
    /// Address that serves functions, if no node runs and this command starts one: HOST:PORT
    #[arg(long, env = "WASM_FN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080", value_parser = listen_address)]
    pub(crate) listen: SocketAddr,
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(flatten)]
    pub(crate) log: Log,
}

/// `test`.
#[derive(Debug, Args)]
pub(crate) struct Test {
    #[command(flatten)]
    pub(crate) of: ProjectFunction,
    /// File with requests and the answers expected, as `deploy --check` takes it; may be repeated [default:
    /// checks.toml beside the configuration file, if it exists, and the checks in that file]
    #[arg(long = "check", value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) checks: Vec<PathBuf>,
    /// Test the component that is there, without building it
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Format of the results
    #[arg(short, long, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Format,
    #[command(flatten)]
    pub(crate) log: Log,
}

fn language(text: &str) -> Result<&'static Template, String> {
    Template::find(text).map_err(|error| error.to_string())
}

fn source(text: &str) -> Result<TemplateSource, String> {
    TemplateSource::parse(text).map_err(|error| {
        format!("{error}; or the URL of a git repository, or a directory such as ./template")
    })
}
