//! `wasm-fn completions`, and what its scripts ask: a shell runs the program with its line, and the program
//! completes the word at the cursor. Names of functions, versions and stages come from the node.

use std::{
    any::TypeId,
    ffi::{OsStr, OsString},
    process::ExitCode,
    time::Duration,
};

use clap::{ArgMatches, Command, FromArgMatches as _};
use clap_complete::{
    CompleteEnv,
    engine::{ArgValueCompleter, CompletionCandidate},
    env::Shells,
};
use http::Method;
use wasm_fn_api as api;
use wasm_fn_core::{FunctionName, StageName, VersionRef, Weight};

use super::{DONE, connect};
use crate::{
    args::{self, Format},
    client::{Client, ClientError},
    fault::{self, Fault},
    output::Output,
};

/// The variable by which scripts ask for completions; its value is the shell.
const VARIABLE: &str = "WASM_FN_COMPLETE";

/// The name by which scripts call the program, which they find as the shell does.
const PROGRAM: &str = "wasm-fn";

/// How long the node may take. Somebody who presses a key waits for it, and a node may be unreachable.
const WAIT: Duration = Duration::from_millis(800);

/// Names asked for at a time.
const PAGE: u32 = 1000;

/// Versions that are offered, newest first: nobody reads more.
const VERSIONS: u32 = 50;

/// What versions are called beside their numbers.
const NAMES: [&str; 4] = ["stable", "canary", "previous", "latest"];

/// Prints the script for a shell.
pub(super) fn run(args: &args::Completions) -> Result<u8, Fault> {
    let (shells, mut script) = (Shells::builtins(), Vec::new());
    let shell = shells.completer(&args.shell.to_string()).ok_or_else(|| {
        Fault::new("usage", "there is no script for this shell", format!("found {}", args.shell))
    })?;
    let written = shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script);
    written.map_err(|error| Fault::output(&error))?;
    Output::new(Format::Table).bytes(&script)?;
    Ok(DONE)
}

/// Completes a word if a script asks for it, and returns the exit code of that.
pub(crate) fn complete() -> Option<ExitCode> {
    let complete = CompleteEnv::with_factory(|| with_names(args::command())).var(VARIABLE).bin(PROGRAM);
    let folder = std::env::current_dir().ok();
    match complete.try_complete(std::env::args_os(), folder.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        // A message would end up in the line that is being typed.
        Err(_) => Some(ExitCode::from(fault::ERROR)),
    }
}

/// `command`, whose arguments that are names of functions, versions or stages are completed from the node.
fn with_names(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_value_parser().type_id();
        let is = |other: TypeId| value == other;
        if is(TypeId::of::<FunctionName>()) {
            arg.add(ArgValueCompleter::new(|current: &OsStr| ask(current, Wanted::Functions)))
        } else if is(TypeId::of::<StageName>()) {
            arg.add(ArgValueCompleter::new(|current: &OsStr| ask(current, Wanted::Stages)))
        } else if is(TypeId::of::<VersionRef>()) {
            arg.add(ArgValueCompleter::new(|current: &OsStr| ask(current, Wanted::Versions { end: "" })))
        } else if is(TypeId::of::<(VersionRef, Weight)>()) {
            arg.add(ArgValueCompleter::new(|current: &OsStr| ask(current, Wanted::Versions { end: "=" })))
        } else {
            arg
        }
    });
    command.mut_subcommands(with_names)
}

/// What is to be completed.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    Functions,
    Stages,
    /// Versions, followed by `end`.
    Versions {
        end: &'static str,
    },
}

/// What the rest of the line says.
#[derive(Debug)]
struct Line {
    /// The function, if one was typed.
    function: Option<FunctionName>,
    connection: args::Connection,
}

/// What begins with `current`; nothing if the node does not answer in time.
fn ask(current: &OsStr, wanted: Wanted) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let index = std::env::var("_CLAP_COMPLETE_INDEX").ok().and_then(|index| index.parse().ok());
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1).collect();
    let Some(line) = Line::read(words, index) else { return Vec::new() };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return Vec::new();
    };
    let answer = runtime.block_on(async {
        tokio::time::timeout(WAIT, async {
            let client = connect(&line.connection).ok()?;
            wanted.of(&client, &line, current).await.ok()
        })
        .await
    });
    // A name that is still being looked up would keep the shell waiting.
    runtime.shutdown_background();
    let mut found = answer.ok().flatten().unwrap_or_default();
    found.retain(|candidate| candidate.get_value().to_string_lossy().starts_with(current));
    found
}

impl Line {
    /// Reads `words`, which begin with the program's name, as far as they can be. The word at `index`, or
    /// the last one, is not finished.
    fn read(mut words: Vec<OsString>, index: Option<usize>) -> Option<Self> {
        let index = index.unwrap_or_else(|| words.len().saturating_sub(1));
        if index < words.len() {
            words.remove(index);
        }
        let read =
            |words: Vec<OsString>| args::command().ignore_errors(true).try_get_matches_from(words).ok();
        let matches = read(words)?;
        let matches = innermost(&matches);
        let function = matches.try_get_one::<FunctionName>("function").ok().flatten().cloned();
        let typed = matches.try_contains_id("server").ok();
        let connection = match typed.and_then(|_| args::Connection::from_arg_matches(matches).ok()) {
            Some(connection) => connection,
            // The command asks no node, or cannot be read so far: the node of the environment, else the one
            // on this machine.
            None => {
                let defaults = read(vec![PROGRAM.into(), "functions".into()])?;
                args::Connection::from_arg_matches(innermost(&defaults)).ok()?
            }
        };
        Some(Self { function, connection })
    }
}

fn innermost(matches: &ArgMatches) -> &ArgMatches {
    let mut matches = matches;
    while let Some((_, below)) = matches.subcommand() {
        matches = below;
    }
    matches
}

impl Wanted {
    async fn of(
        self,
        client: &Client,
        line: &Line,
        current: &str,
    ) -> Result<Vec<CompletionCandidate>, ClientError> {
        match (self, &line.function) {
            (Self::Functions, _) => functions(client, current).await,
            (Self::Stages, Some(function)) => {
                let status: api::FunctionStatus = client.get(&format!("/v1/functions/{function}")).await?;
                let stage = |stage: api::StageStatus| {
                    CompletionCandidate::new(stage.stage).help(Some(stage.stable.into()))
                };
                Ok(status.stages.into_iter().map(stage).collect())
            }
            (Self::Versions { end }, Some(function)) => versions(client, function, end).await,
            // Whose they are is not known yet.
            (Self::Stages | Self::Versions { .. }, None) => Ok(Vec::new()),
        }
    }
}

/// Functions whose names begin with `current`.
async fn functions(client: &Client, current: &str) -> Result<Vec<CompletionCandidate>, ClientError> {
    let mut found = Vec::new();
    // Lists are sorted: everything that is asked for comes after the text without its last letter.
    let before = current.char_indices().next_back().map_or("", |(last, _)| &current[..last]);
    let mut after = Some(before.to_owned()).filter(|before| before.parse::<FunctionName>().is_ok());
    loop {
        let query = api::FunctionsQuery { after, limit: Some(PAGE), node: None };
        let list: api::FunctionList = client.query(Method::GET, "/v1/functions", &query).await?;
        let last = list.functions.last().map(|last| last.function.clone());
        for function in list.functions.into_iter().filter(|one| one.function.starts_with(current)) {
            let latest = function.latest.into();
            found.push(CompletionCandidate::new(function.function).help(Some(latest)));
        }
        let is_past = |last: &String| last.as_str() > current && !last.starts_with(current);
        match last.filter(|last| list.more && !is_past(last)) {
            Some(last) => after = Some(last),
            None => return Ok(found),
        }
    }
}

/// The versions of `function` and what else they are called, each followed by `end`.
async fn versions(
    client: &Client,
    function: &FunctionName,
    end: &str,
) -> Result<Vec<CompletionCandidate>, ClientError> {
    let query = api::VersionsQuery { before: None, limit: Some(VERSIONS) };
    let path = format!("/v1/functions/{function}/versions");
    let list: api::VersionList = client.query(Method::GET, &path, &query).await?;
    let version = |version: api::VersionInfo| {
        let help = version.message.unwrap_or(version.kind);
        CompletionCandidate::new(format!("{}{end}", version.version)).help(Some(help.into()))
    };
    let names = NAMES.iter().map(|name| CompletionCandidate::new(format!("{name}{end}")));
    Ok(list.versions.into_iter().map(version).chain(names).collect())
}

#[cfg(test)]
mod tests;
