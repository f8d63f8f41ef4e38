//! Which hooks are printed.

use super::{check, script};
use crate::args::{Cli, Command, Hook};

fn hook(words: &[&str]) -> Hook {
    let words = ["wasm-fn", "hook"].iter().chain(words);
    match <Cli as clap::Parser>::try_parse_from(words).map(|cli| cli.command) {
        Ok(Command::Hook(hook)) => hook,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hook_has_what_it_was_asked_for() {
    let build = "make 'all' && echo $HOME";
    let words = [
        "hello",
        "-s",
        "staging",
        "-b",
        "release/1",
        "--build",
        build,
        "--file",
        "a b.wasm",
        "--timeout",
        "90s",
    ];
    let printed = script(&hook(&[&words[..], &["--", "--canary=10% of beta,beta", "--wait"]].concat()));
    for line in [
        "function=hello\n",
        "stage=staging\n",
        "branch=release/1\n",
        "build='make '\\''all'\\'' && echo $HOME'\n",
        "file='a b.wasm'\n",
        "seconds_max=90\n",
        "--message=\"$message\" '--canary=10% of beta,beta' --wait\n",
    ] {
        assert!(printed.contains(line), "{line}: {printed}");
    }
    assert!(printed.starts_with("#!/bin/sh\n"));
}

#[test]
fn a_hook_without_options_deploys_main_to_the_live_stage() {
    let printed = script(&hook(&["hello"]));
    assert!(!printed.contains("@OPTIONS@") && !printed.contains("=@"), "{printed}");
    assert!(printed.contains("stage=live\nbranch=main\nbuild=''\nfile=''\nseconds_max=1800\n"), "{printed}");
    // What stands in a value is not filled in.
    let printed = script(&hook(&["hello", "--build", "echo @FILE@"]));
    assert!(printed.contains("build='echo @FILE@'\nfile=''\n"), "{printed}");
}

#[test]
fn options_that_deploy_does_not_take_are_refused_at_once() {
    for (options, cause) in [
        (
            &["--canray"][..],
            "`wasm-fn deploy` does not take the options: unexpected argument '--canray' found",
        ),
        (&["--canary=200%"], "`wasm-fn deploy` does not take the options: invalid value"),
        (&["--canary", "--blue-green"], "cannot be used with"),
        (&["--message", "x"], "--message is among the options of `deploy`"),
        (&["--token=hunter2"], "--token is among the options of `deploy`"),
        (&["-f", "hello"], "expected them before the `--`"),
        (&["-s", "staging"], "expected them before the `--`"),
        (&["hello.wasm"], "expected them before the `--`"),
    ] {
        let error = check(&hook(&[&["hello", "--"], options].concat())).unwrap_err();
        assert!(error.contains(cause), "{options:?}: {error}");
        assert!(!error.contains("hunter2") && !error.contains('\n'), "{error}");
    }
    for options in [&[][..], &["--canary", "10%,50%"], &["--wait", "--timeout", "5m", "--replace"]] {
        check(&hook(&[&["hello", "--"], options].concat())).unwrap();
    }
}

#[test]
fn branches_and_parts_of_scripts_are_checked() {
    for words in [
        &["hello", "-b", ""][..],
        &["hello", "-b", "a b"],
        &["hello", "-b", "a..b"],
        &["hello", "-b", "main\nrm"],
        &["hello", "-b=-x"],
        &["hello", "--build", "a\nb"],
        &["hello", "--file", "a\nb"],
        &["Hello"],
    ] {
        let words = ["wasm-fn", "hook"].iter().chain(words);
        let refused = <Cli as clap::Parser>::try_parse_from(words).map(|_| ()).map_err(|error| error.kind());
        assert_eq!(refused, Err(clap::error::ErrorKind::ValueValidation));
    }
}
