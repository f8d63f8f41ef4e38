//! What the command line takes and refuses.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use expect_test::expect_file;

use super::{Cli, Command, markdown::markdown};

fn parse(line: &str) -> Result<Command, ErrorKind> {
    let words = std::iter::once("wasm-fn").chain(line.split_whitespace());
    Cli::try_parse_from(words).map(|cli| cli.command).map_err(|error| error.kind())
}

fn deploy(line: &str) -> super::Deploy {
    match parse(line) {
        Ok(Command::Deploy(deploy)) => deploy,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn definitions_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_page_is_the_help() {
    expect_file!["../../../../docs/cli.md"].assert_eq(&markdown());
}

#[test]
fn environment_variables_have_one_prefix() {
    let cli = Cli::command();
    let arguments = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    for name in arguments.filter_map(clap::Arg::get_env) {
        assert!(name.to_string_lossy().starts_with("WASM_FN_"), "{name:?}");
    }
}

#[test]
fn canary_without_a_weight_is_a_tenth() {
    let weight = |line: &str| deploy(line).strategy.canary.map(|weight| weight.to_string());
    assert_eq!(weight("deploy a.wasm --canary"), Some("10%".to_owned()));
    assert_eq!(weight("deploy --canary a.wasm"), Some("10%".to_owned()));
    assert_eq!(weight("deploy a.wasm --canary=0.5%"), Some("0.5%".to_owned()));
    assert_eq!(weight("deploy a.wasm"), None);
}

#[test]
fn canary_leaves_something_for_both() {
    for weight in ["0%", "100%", "101%", "ten", "0.001%", "-1%"] {
        let parsed = parse(&format!("deploy a.wasm --canary={weight}"));
        assert_eq!(parsed.err(), Some(ErrorKind::ValueValidation), "{weight}");
    }
}

#[test]
fn strategies_exclude_each_other() {
    let parsed = parse("deploy a.wasm --canary --blue-green");
    assert_eq!(parsed.err(), Some(ErrorKind::ArgumentConflict));
}

#[test]
fn shares_are_version_and_weight() {
    let Ok(Command::Traffic(traffic)) = parse("traffic hello v42=10% stable=89.95% latest=0.05%") else {
        panic!("expected a traffic command");
    };
    let shares: Vec<_> =
        traffic.shares.iter().map(|(version, weight)| format!("{version} {weight}")).collect();
    assert_eq!(shares, ["v42 10%", "stable 89.95%", "latest 0.05%"]);
}

#[test]
fn malformed_shares_are_refused() {
    for share in ["v42", "v42=", "v42=10", "v0=10%", "42=10%", "=10%", "v1=10%%", "v1=1=2%"] {
        let parsed = parse(&format!("traffic hello {share}"));
        assert_eq!(parsed.err(), Some(ErrorKind::ValueValidation), "{share}");
    }
}

#[test]
fn headers_are_name_and_value() {
    assert_eq!(
        super::header("X-Group:  beta: 1 ").map(|(name, value)| format!("{name}={value:?}")),
        Ok("x-group=\"beta: 1\"".to_owned())
    );
    for header in ["x-group", "x group: 1", ": 1", "x: \u{1}"] {
        assert!(super::header(header).is_err(), "{header}");
    }
}

#[test]
fn names_are_checked_before_anything_is_sent() {
    for line in ["status ../etc", "delete Hello", "abort hello -s Live", "logs hello --version 42"] {
        assert_eq!(parse(line).err(), Some(ErrorKind::ValueValidation), "{line}");
    }
}

#[test]
fn overrides_are_a_flag_or_a_value() {
    let open = |line: &str| match parse(line) {
        Ok(Command::Serve(serve)) => serve.allow_overrides,
        other => panic!("{line}: {other:?}"),
    };
    assert_eq!(open("serve"), None);
    assert_eq!(open("serve --allow-overrides"), Some(true));
    assert_eq!(open("serve --allow-overrides=false"), Some(false));
}
