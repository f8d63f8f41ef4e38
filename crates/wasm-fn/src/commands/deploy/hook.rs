//! `wasm-fn hook`: a hook with which a plain git server deploys what is pushed.

use wasm_fn_core::StageName;

use super::again::quoted;
use crate::{
    args::{self, Command, Format},
    commands::DONE,
    fault::Fault,
    output::Output,
};

/// The hook, with `@NAME@` where something is to be filled in.
const TEMPLATE: &str = include_str!("hook/post-receive.sh");

/// Options of `deploy` that the hook sets itself, or that belong into no script.
const OWN: [&str; 4] = ["--message", "--token", "--function", "--stage"];

pub(crate) fn run(args: &args::Hook) -> Result<u8, Fault> {
    check(args).map_err(|cause| Fault::new("invalid-options", "no hook was printed", cause))?;
    Output::new(Format::Table).bytes(script(args).as_bytes())?;
    Ok(DONE)
}

/// Checks that `deploy` takes the options. Otherwise the first push would tell.
fn check(args: &args::Hook) -> Result<(), String> {
    for own in OWN {
        let is_own = |option: &&String| option.split('=').next() == Some(own);
        if let Some(option) = args.options.iter().find(is_own) {
            let option = option.split('=').next().unwrap_or_default();
            return Err(format!(
                "{option} is among the options of `deploy`, expected none that the hook sets"
            ));
        }
    }
    let words = ["wasm-fn", "deploy"].map(str::to_owned).into_iter().chain(args.options.iter().cloned());
    let parsed = args::parse(words.map(Into::into)).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        format!("`wasm-fn deploy` does not take the options: {}", line.trim_start_matches("error: "))
    })?;
    match parsed.command {
        Command::Deploy(deploy) => {
            let is_free = deploy.file.is_none()
                && deploy.function.is_none()
                && deploy.release.message.is_none()
                && deploy.stage == StageName::live();
            is_free.then_some(()).ok_or_else(|| {
                "the options of `deploy` have a file, a function, a stage or a message, expected them before \
                 the `--`"
                    .to_owned()
            })
        }
        _ => unreachable!("the command is `deploy`"),
    }
}

/// The hook.
fn script(args: &args::Hook) -> String {
    let args::Hook { function, stage, branch, build, file, timeout, options } = args;
    let options: Vec<_> = options.iter().map(|option| quoted(option)).collect();
    let values = [
        ("@FUNCTION@", quoted(function.as_str())),
        ("@STAGE@", quoted(&stage.to_string())),
        ("@BRANCH@", quoted(branch)),
        ("@BUILD@", quoted(build.as_deref().unwrap_or_default())),
        ("@FILE@", quoted(file.as_deref().unwrap_or_default())),
        ("@SECONDS@", timeout.as_secs().max(1).to_string()),
        ("@OPTIONS@", options.join(" ")),
    ];
    // Each is in one place, and none is looked for in the values of others.
    let (mut script, mut rest) = (String::new(), TEMPLATE);
    for (name, value) in values {
        let (before, after) = rest.split_once(name).expect("the template has every name, in this order");
        script += before;
        script += &value;
        rest = after;
    }
    script + rest
}

#[cfg(test)]
mod tests;
