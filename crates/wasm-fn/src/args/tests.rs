//! What the command line accepts and refuses.

use std::time::{Duration, SystemTime};

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};
use expect_test::expect_file;

use super::{Cli, Command, LogTime, markdown::markdown};

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
    expect_file!["../../../../docs/reference/cli.md"].assert_eq(&markdown());
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
fn trusted_proxies_are_networks_that_may_be_repeated_or_listed() {
    let proxies = |line: &str| match parse(line) {
        Ok(Command::Serve(serve)) => {
            Ok(serve.trusted_proxy.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        }
        Ok(other) => panic!("{line}: {other:?}"),
        Err(kind) => Err(kind),
    };
    assert_eq!(proxies("serve"), Ok(String::new()));
    assert_eq!(proxies("serve --trusted-proxy 10.0.0.1"), Ok("10.0.0.1/32".to_owned()));
    let repeated = "serve --trusted-proxy 10.0.0.0/8 --trusted-proxy ::1,fd00::/8";
    assert_eq!(proxies(repeated), Ok("10.0.0.0/8 ::1/128 fd00::/8".to_owned()));
    for found in ["nginx", "10.0.0.0/33", "10.0.0.1,", "10.0.0.1:80"] {
        let line = format!("serve --trusted-proxy {found}");
        assert_eq!(proxies(&line), Err(ErrorKind::ValueValidation), "{found}");
    }
}

#[test]
fn a_canary_has_steps_or_leaves_them_to_the_file() {
    let steps = |line: &str| {
        deploy(line).release.strategy.canary.map(|steps| {
            let steps = steps.map(|steps| steps.steps().iter().map(ToString::to_string).collect::<Vec<_>>());
            steps.map(|steps| steps.join(" "))
        })
    };
    assert_eq!(steps("deploy a.wasm"), None);
    assert_eq!(steps("deploy a.wasm --canary"), Some(None));
    assert_eq!(steps("deploy --canary a.wasm"), Some(None));
    assert_eq!(steps("deploy a.wasm --canary=0.5%"), Some(Some("0.5%".to_owned())));
    assert_eq!(steps("deploy a.wasm --canary=0.01%,5%,100%"), Some(Some("0.01% 5% 100%".to_owned())));
    assert_eq!(steps("deploy a.wasm --canary=beta,10%"), Some(Some("beta 10%".to_owned())));
    let spaced = ["wasm-fn", "deploy", "--canary=10% of beta, beta,10%"];
    assert_eq!(Cli::try_parse_from(spaced).map(drop).ok(), Some(()));
}

#[test]
fn shares_of_a_canary_grow_from_above_0_to_below_100() {
    for shares in
        ["", "0%", "100%", "101%", "Ten", "0.001%", "-1%", "5%,5%", "10%,5%", "0%,5%", "1%,101%", "1%,"]
    {
        let parsed = parse(&format!("deploy a.wasm --canary={shares}"));
        assert!(
            matches!(parsed, Err(ErrorKind::ValueValidation | ErrorKind::InvalidValue)),
            "{shares}: {parsed:?}"
        );
    }
}

#[test]
fn why_a_strategy_is_refused() {
    let why = |line: &str| {
        let words = std::iter::once("wasm-fn").chain(line.split_whitespace());
        let error = Cli::try_parse_from(words).unwrap_err().to_string();
        error.lines().next().unwrap_or_default().to_owned()
    };
    assert_eq!(
        why("deploy --canary=10%,5%"),
        "error: invalid value '10%,5%' for '--canary[=<STEPS>]': step 2 is 5% after 10%, expected more"
    );
    assert_eq!(
        why("deploy --canary=100%"),
        "error: invalid value '100%' for '--canary[=<STEPS>]': weight of a canary is 100%, expected more than 0% and less than 100%"
    );
    for (steps, found) in [
        ("0%_of_beta", "step 1 is 0% of beta, expected at least 0.01%"),
        ("110%_of_beta", "weight 110% is over 100%"),
        (
            "beta,10%_of",
            "\"10% of\" is not a step, expected a share such as 10%, the name of a cohort, or 10% of NAME",
        ),
        ("Beta,10%", "cohort name \"Beta\" has 'B' at byte 0, expected a-z, 0-9, - or _"),
        ("10%,beta", "step 2 is beta after 10%, expected cohorts before shares of everybody"),
    ] {
        let steps = steps.replace('_', " ");
        let error = Cli::try_parse_from(["wasm-fn", "deploy", &format!("--canary={steps}")]).unwrap_err();
        let expected = format!("error: invalid value '{steps}' for '--canary[=<STEPS>]': {found}");
        assert_eq!(error.to_string().lines().next(), Some(expected.as_str()));
    }
    assert_eq!(
        why("deploy --linear=10%"),
        "error: invalid value '10%' for '--linear[=<SHARE/TIME>]': found no `/`, expected SHARE/TIME such as 10%/1m"
    );
    assert_eq!(
        why("deploy --linear=10%/0s"),
        "error: invalid value '10%/0s' for '--linear[=<SHARE/TIME>]': a linear rollout grows every 0s, expected more"
    );
    assert_eq!(
        why("deploy --linear=0%/1m"),
        "error: invalid value '0%/1m' for '--linear[=<SHARE/TIME>]': a linear rollout grows by 0%, expected at least 0.01%"
    );
    assert_eq!(
        why("deploy --step-min=10us"),
        "error: invalid value '10us' for '--step-min <TIME>': expected whole milliseconds"
    );
}

#[test]
fn a_linear_rollout_has_a_share_and_a_time() {
    let growth = |line: &str| {
        let growth = deploy(line).release.strategy.linear;
        growth.map(|growth| growth.map(|growth| (growth.by.to_string(), growth.every.as_secs())))
    };
    assert_eq!(growth("deploy a.wasm"), None);
    assert_eq!(growth("deploy a.wasm --linear"), Some(None));
    assert_eq!(growth("deploy a.wasm --linear=5%/2m"), Some(Some(("5%".to_owned(), 120))));
}

#[test]
fn only_who_waits_has_a_timeout() {
    let parsed = parse("deploy a.wasm --timeout 5m");
    assert_eq!(parsed.err(), Some(ErrorKind::MissingRequiredArgument));
    assert_eq!(deploy("deploy a.wasm --wait --timeout 5m").release.waiting.timeout.as_secs(), 300);
    let usual = deploy("deploy a.wasm --wait").release.waiting;
    assert_eq!((usual.wait, usual.timeout.as_secs()), (true, 1800));
}

#[test]
fn no_step_passes_without_requests() {
    let parsed = parse("deploy a.wasm --canary --min-requests 0");
    assert_eq!(parsed.err(), Some(ErrorKind::ValueValidation));
}

#[test]
fn strategies_exclude_each_other() {
    for second in ["--blue-green", "--linear", "--all-at-once", "--no-traffic"] {
        let parsed = parse(&format!("deploy a.wasm --canary {second}"));
        assert_eq!(parsed.err(), Some(ErrorKind::ArgumentConflict), "{second}");
    }
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
fn a_preview_is_of_a_function_unless_the_key_is_rotated() {
    assert_eq!(parse("preview").err(), Some(ErrorKind::MissingRequiredArgument));
    assert!(
        matches!(parse("preview --rotate-key"), Ok(Command::Preview(preview)) if preview.function.is_none())
    );
    for line in ["preview hello", "preview hello --version canary -s staging", "preview hello --rotate-key"] {
        assert!(parse(line).is_ok(), "{line}");
    }
    for line in ["preview hello --version 2", "preview hello@v2", "serve --preview-domain *.example.com"] {
        assert_eq!(parse(line).err(), Some(ErrorKind::ValueValidation), "{line}");
    }
}

#[test]
fn times_of_logs_are_ages_or_instants() {
    let since = |text: &str| super::log_time(text);
    assert_eq!(since("10m"), Ok(LogTime::Ago(Duration::from_secs(600))));
    let instant = Ok(LogTime::At(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_341_600)));
    for text in ["2026-11-22T10:00:00Z", "2026-11-22 10:00:00", "2026-11-22T10:00:00.000Z"] {
        assert_eq!(since(text), instant, "{text}");
    }
    for text in ["", "yesterday", "10", "2026-13-01T00:00:00Z"] {
        assert!(since(text).is_err(), "{text}");
    }
    assert!(parse("logs hello --since 10m --until 5m --status 503 --request 00ab").is_ok());
    assert_eq!(parse("logs hello -f --until 5m").err(), Some(ErrorKind::ArgumentConflict));
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

#[test]
fn a_schedule_has_times_of_one_kind_or_the_other() {
    let ok = |line: &str| parse(line).map(drop);
    let add = "triggers add schedule hello";
    assert_eq!(parse(add).err(), Some(ErrorKind::MissingRequiredArgument));
    for more in [
        "--cron @daily",
        "--every 90s",
        "--every 90s --cron @hourly --timezone Europe/Berlin --start 2026-12-01T00:00:00Z",
    ] {
        assert_eq!(ok(&format!("{add} {more}")), Ok(()), "{more}");
    }
    for (more, kind) in [
        ("--every 90s --time-zone Europe/Berlin", ErrorKind::MissingRequiredArgument),
        ("--every soon", ErrorKind::ValueValidation),
        ("--every 90s --pause-on-failure 0", ErrorKind::ValueValidation),
        ("--every 90s --name @async", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(&format!("{add} {more}")).err(), Some(kind), "{more}");
    }
    let webhook = "triggers add webhook hello --provider github";
    assert_eq!(parse(webhook).err(), Some(ErrorKind::MissingRequiredArgument));
    assert_eq!(ok(&format!("{webhook} --secret A --secret B -s staging")), Ok(()));
    let queue = "triggers add queue hello --stream ORDERS --subject orders.>";
    assert_eq!(parse(queue).err(), Some(ErrorKind::MissingRequiredArgument));
    assert_eq!(ok(&format!("{queue} --nats nats://a --nats nats://b --credentials NATS")), Ok(()));
}

#[test]
fn dead_letters_are_named_or_all() {
    for line in [
        "events redrive hello nightly --all",
        "events discard hello @async a b",
        "events list hello nightly --dead",
    ] {
        assert_eq!(parse(line).map(drop), Ok(()), "{line}");
    }
    for (line, kind) in [
        ("events redrive hello nightly", ErrorKind::MissingRequiredArgument),
        ("events redrive hello nightly a --all", ErrorKind::ArgumentConflict),
        ("events list hello @other", ErrorKind::ValueValidation),
    ] {
        assert_eq!(parse(line).err(), Some(kind), "{line}");
    }
}
