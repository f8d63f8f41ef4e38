//! The rollout of a deployment, from the file and from flags.

use std::{fs, path::Path};

use clap::Parser as _;
use expect_test::{Expect, expect};
use wasm_fn_api::{self as api, GateOptions, OnFailSpec, RolloutOptions, StrategySpec, Tolerance};

use super::Rollout;
use crate::{
    args::{Cli, Command},
    config::{ConfigFile, function::Function},
};

fn function(text: &str) -> Function {
    let file = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap();
    file.functions.into_values().next().unwrap_or_default()
}

fn refused(text: &str, expected: &Expect) {
    let error = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap_err();
    expected.assert_eq(&error.to_string());
}

/// The rollout of `deploy` with `flags` and the file `text`.
fn merged(text: &str, flags: &str) -> Result<(Rollout, GateOptions), String> {
    let words = ["wasm-fn", "deploy"].into_iter().chain(flags.split_whitespace());
    let Command::Deploy(args) = Cli::try_parse_from(words).unwrap().command else {
        panic!("expected a deployment");
    };
    let Function { rollout, mut gate, .. } = function(text);
    let rollout = rollout.merge(&args.release.strategy, &args.release.rollout, &mut gate)?;
    Ok((rollout, gate))
}

fn canary(steps: &[&str]) -> StrategySpec {
    StrategySpec::Canary { steps: steps.iter().map(|&step| step.to_owned()).collect() }
}

fn linear(by: &str, every_ms: u64) -> StrategySpec {
    StrategySpec::Linear { by: by.to_owned(), every_ms }
}

const CANARY: &str = r#"
[function.hello.rollout]
strategy = "canary"
steps = ["2%", "20%"]
step_min = "90s"
min_requests = 50
manual = true
on_fail = "pause"
watch = "10m"
shield = false
"#;

const GREEN: &str = r#"
[function.hello.rollout]
strategy = "blue-green"
keep = "2h"
manual = true
watch = "0s"

[[function.hello.rollout.checks]]
path = "/hello"
expect = { status = 204 }
"#;

#[test]
fn every_key_of_a_canary_reaches_the_wire() {
    let hello = function(CANARY);
    assert_eq!(hello.rollout.strategy, canary(&["2%", "20%"]));
    let options = RolloutOptions {
        manual: true,
        on_fail: Some(OnFailSpec::Pause),
        step_min_ms: Some(90_000),
        watch_ms: Some(600_000),
        keep_ms: None,
        shield: Some(false),
        checks: vec![],
    };
    assert_eq!(hello.rollout.options, options);
    assert_eq!(hello.gate, GateOptions { min_requests: Some(50), ..GateOptions::default() });
}

#[test]
fn the_other_strategies_have_their_own_keys() {
    let strategy = |text: &str| function(&format!("[function.hello.rollout]\n{text}")).rollout.strategy;
    assert_eq!(strategy(""), StrategySpec::AllAtOnce);
    assert_eq!(strategy("strategy = \"all-at-once\""), StrategySpec::AllAtOnce);
    assert_eq!(strategy("strategy = \"canary\""), canary(&["1%", "10%", "50%"]));
    assert_eq!(strategy("strategy = \"linear\""), linear("10%", 60_000));
    assert_eq!(strategy("strategy = \"linear\"\nby = \"5%\"\nevery = \"30s\""), linear("5%", 30_000));
    let green = function(GREEN).rollout;
    assert_eq!(green.strategy, StrategySpec::BlueGreen);
    assert_eq!((green.options.keep_ms, green.options.watch_ms), (Some(7_200_000), Some(0)));
    assert_eq!(green.options.checks[0].expect.status, Some(204));
}

#[test]
fn every_key_of_a_gate_reaches_the_wire() {
    let hello = function(
        r#"
[function.hello.gate]
errors = { tolerate = 1.5, alpha = 0.01 }
latency_p99 = false
memory_p99 = true
max_error_rate = "5%"
max_latency_p99 = "500ms"
floor = { error_rate = "90%", requests = 50 }
on_no_data = "pass"
"#,
    );
    let gate = GateOptions {
        alpha: Some(0.01),
        errors: Some(Tolerance { tolerate: Some(1.5), off: false }),
        latency_p99: Some(Tolerance { tolerate: None, off: true }),
        memory_p99: Some(Tolerance { tolerate: None, off: false }),
        max_error_rate: Some(0.05),
        max_latency_p99_ms: Some(500),
        min_requests: None,
        floor: Some(api::FloorSpec { error_rate: 0.9, requests: 50 }),
        on_no_data: Some(api::OnNoDataSpec::Pass),
    };
    assert_eq!(hello.gate, gate);
    let rate =
        |rate: &str| function(&format!("[function.a.gate]\nmax_error_rate = {rate}")).gate.max_error_rate;
    assert_eq!((rate("0.02"), rate("\"0.5 %\"")), (Some(0.02), Some(0.005)));
    let same = "[function.a.gate]\nalpha = 0.01\nerrors = { alpha = 0.01 }\nmemory_p99 = { alpha = 1e-2 }";
    assert_eq!(function(same).gate.alpha, Some(0.01));
}

#[test]
fn steps_by_cohort_are_those_of_the_file_or_of_the_command_line() {
    let file = "[function.a.rollout]\nstrategy = \"canary\"\nsteps = [\"10%  of beta\", \"beta\", \"10%\"]\n";
    assert_eq!(function(file).rollout.strategy, canary(&["10% of beta", "beta", "10%"]));
    assert_eq!(
        merged("[function.a]", "--canary=beta,10%,50%").unwrap().0.strategy,
        canary(&["beta", "10%", "50%"])
    );
}

#[test]
fn steps_that_lead_nowhere_are_refused() {
    let steps = |steps: &str| format!("[function.a.rollout]\nstrategy = \"canary\"\nsteps = {steps}\n");
    refused(
        &steps("[]"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.steps: a canary has no steps below 100%, expected at least one such as 10%"
        ],
    );
    refused(
        &steps("[\"10%\", \"5%\"]"),
        &expect!["wasm-fn.toml:3: function.a.rollout.steps: step 2 is 5% after 10%, expected more"],
    );
    refused(
        &steps("[\"10%\", \"10%\"]"),
        &expect!["wasm-fn.toml:3: function.a.rollout.steps: step 2 is 10% after 10%, expected more"],
    );
    refused(
        &steps("[\"0%\"]"),
        &expect!["wasm-fn.toml:3: function.a.rollout.steps: step 1 is 0%, expected at least 0.01%"],
    );
    refused(
        &steps("[\"100%\"]"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.steps: found only 100%, expected a step below 100%; for no steps, use all-at-once"
        ],
    );
    refused(
        &steps("[\"10%\", \"120%\"]"),
        &expect!["wasm-fn.toml:3: function.a.rollout.steps: weight 120% is over 100%"],
    );
    refused(
        &steps("[\"beta\", \"10% of beta\"]"),
        &expect!["wasm-fn.toml:3: function.a.rollout.steps: step 2 is 10% of beta after beta, expected more"],
    );
    refused(
        &steps("[\"10%\", \"beta\"]"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.steps: step 2 is beta after 10%, expected cohorts before shares of everybody"
        ],
    );
    refused(
        &steps("[\"10% of\"]"),
        &expect![[
            r#"wasm-fn.toml:3: function.a.rollout.steps: "10% of" is not a step, expected a share such as 10%, the name of a cohort, or 10% of NAME"#
        ]],
    );
    refused(
        &steps("[10]"),
        &expect!["wasm-fn.toml:3: function.a.rollout.steps: found integer `10`, expected a string"],
    );
    refused(
        &steps("\"10%\""),
        &expect![[r#"wasm-fn.toml:3: function.a.rollout.steps: found string "10%", expected an array"#]],
    );
    let linear = |rest: &str| format!("[function.a.rollout]\nstrategy = \"linear\"\n{rest}\n");
    refused(
        &linear("by = \"0%\""),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.by: a linear rollout grows by 0%, expected at least 0.01%"
        ],
    );
    refused(
        &linear("every = \"0s\""),
        &expect!["wasm-fn.toml:3: function.a.rollout.every: a linear rollout grows every 0s, expected more"],
    );
    refused(
        &linear("every = \"31d\""),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.every: a step's time is 2678400s, expected at most 30 days"
        ],
    );
}

#[test]
fn times_that_are_none_are_refused() {
    let canary = |rest: &str| format!("[function.a.rollout]\nstrategy = \"canary\"\n{rest}\n");
    refused(
        &canary("step_min = \"soon\""),
        &expect![[
            r#"wasm-fn.toml:3: function.a.rollout.step_min: found "soon", expected a time such as 10s or 500ms"#
        ]],
    );
    refused(
        &canary("step_min = \"31d\""),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.step_min: a step's time is 2678400s, expected at most 30 days"
        ],
    );
    refused(
        &canary("watch = \"31d\""),
        &expect!["wasm-fn.toml:3: function.a.rollout.watch: the watch is 2678400s, expected at most 30 days"],
    );
    refused(
        &canary("watch = 300"),
        &expect!["wasm-fn.toml:3: function.a.rollout.watch: found integer `300`, expected a string"],
    );
    refused(
        &canary("min_requests = 0"),
        &expect!["wasm-fn.toml:3: function.a.rollout.min_requests: min_requests is 0, expected at least 1"],
    );
    refused(
        &canary("min_requests = -1"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.min_requests: found integer `-1`, expected a whole number of at least 0"
        ],
    );
}

#[test]
fn keys_that_do_not_fit_the_strategy_are_refused() {
    let rollout = |rest: &str| format!("[function.a.rollout]\n{rest}\n");
    refused(
        &rollout("steps = [\"10%\"]"),
        &expect![
            "wasm-fn.toml:2: function.a.rollout.steps: found no strategy, which means all-at-once, expected canary with this key"
        ],
    );
    refused(
        &rollout("strategy = \"linear\"\nsteps = [\"10%\"]"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.steps: found strategy linear, expected canary with this key"
        ],
    );
    refused(
        &rollout("strategy = \"canary\"\nby = \"10%\""),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.by: found strategy canary, expected linear with this key"
        ],
    );
    refused(
        &rollout("strategy = \"linear\"\nstep_min = \"1m\""),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.step_min: found strategy linear, expected canary with this key"
        ],
    );
    refused(
        &rollout("strategy = \"all-at-once\"\nmanual = true"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.manual: found strategy all-at-once, expected canary, linear or blue-green with this key"
        ],
    );
    refused(
        &rollout("strategy = \"canary\"\nkeep = \"1h\""),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.keep: found strategy canary, expected blue-green with this key"
        ],
    );
    refused(
        &rollout("strategy = \"canary\"\nchecks = [{ path = \"/\" }]"),
        &expect![
            "wasm-fn.toml:3: function.a.rollout.checks: found strategy canary, expected blue-green with this key"
        ],
    );
}

#[test]
fn words_that_are_none_are_refused_with_those_there_are() {
    refused(
        "[function.a.rollout]\nstrategy = \"rolling\"\n",
        &expect![
            "wasm-fn.toml:2: function.a.rollout.strategy: unknown variant `rolling`, expected one of `all-at-once`, `blue-green`, `canary`, `linear`"
        ],
    );
    refused(
        "[function.a.rollout]\nstrategy = \"no-traffic\"\n",
        &expect![
            "wasm-fn.toml:2: function.a.rollout.strategy: unknown variant `no-traffic`, expected one of `all-at-once`, `blue-green`, `canary`, `linear`"
        ],
    );
    refused(
        "[function.a.rollout]\non_fail = \"stop\"\n",
        &expect![
            "wasm-fn.toml:2: function.a.rollout.on_fail: unknown variant `stop`, expected one of `rollback`, `pause`, `freeze`"
        ],
    );
    refused(
        "[function.a.rollout]\nweight = \"10%\"\n",
        &expect![
            "wasm-fn.toml:2: function.a.rollout.weight: unknown field `weight`, expected one of `strategy`, `steps`, `by`, `every`, `step_min`, `min_requests`, `manual`, `on_fail`, `watch`, `keep`, `shield`, `checks`"
        ],
    );
    refused(
        "[function.a.gate]\non_no_data = \"fail\"\n",
        &expect![
            "wasm-fn.toml:2: function.a.gate.on_no_data: unknown variant `fail`, expected `wait` or `pass`"
        ],
    );
    refused(
        "[function.a.gate]\nlatency_p95 = { tolerate = 1.2 }\n",
        &expect![
            "wasm-fn.toml:2: function.a.gate.latency_p95: unknown field `latency_p95`, expected one of `alpha`, `errors`, `latency_p99`, `memory_p99`, `max_error_rate`, `max_latency_p99`, `floor`, `on_no_data`"
        ],
    );
    refused(
        "[function.a.gate]\nerrors = { tolerates = 1.2 }\n",
        &expect![
            "wasm-fn.toml:2: function.a.gate.errors.tolerates: unknown field `tolerates`, expected `tolerate` or `alpha`"
        ],
    );
}

#[test]
fn gates_out_of_bounds_are_refused() {
    let gate = |rest: &str| format!("[function.a.gate]\n{rest}\n");
    refused(
        &gate("alpha = 0"),
        &expect!["wasm-fn.toml:2: function.a.gate.alpha: alpha is 0, expected more than 0 and less than 0.5"],
    );
    refused(
        &gate("floor = { error_rate = 0.5, requests = 2 }"),
        &expect![
            "wasm-fn.toml:2: function.a.gate.floor: the floor is 0.5 of 2 requests, expected a share above 0 and at most 1 of at least 3"
        ],
    );
    refused(
        &gate("alpha = 0.5"),
        &expect![
            "wasm-fn.toml:2: function.a.gate.alpha: alpha is 0.5, expected more than 0 and less than 0.5"
        ],
    );
    refused(
        &gate("alpha = \"0.1\""),
        &expect![[r#"wasm-fn.toml:2: function.a.gate.alpha: found string "0.1", expected a number"#]],
    );
    refused(
        &gate("alpha = 0.01\nlatency_p99 = { alpha = 0.02 }"),
        &expect![
            "wasm-fn.toml:3: function.a.gate.latency_p99.alpha: found 0.02, and 0.01 in alpha: all signals share one alpha, expected one value"
        ],
    );
    refused(
        &gate("errors = { alpha = 0.01 }\nmemory_p99 = { alpha = 0.02 }"),
        &expect![
            "wasm-fn.toml:3: function.a.gate.memory_p99.alpha: found 0.02, and 0.01 in errors: all signals share one alpha, expected one value"
        ],
    );
    refused(
        &gate("errors = { tolerate = 0.9 }"),
        &expect![
            "wasm-fn.toml:2: function.a.gate.errors: errors tolerates 0.9 times stable, expected 1 to 100"
        ],
    );
    refused(
        &gate("errors = { tolerate = \"x\" }"),
        &expect![[r#"wasm-fn.toml:2: function.a.gate.errors.tolerate: found string "x", expected a number"#]],
    );
    refused(
        &gate("errors = 1.1"),
        &expect![
            "wasm-fn.toml:2: function.a.gate.errors: found floating point `1.1`, expected a table such as { tolerate = 1.1 } or false"
        ],
    );
    refused(
        &gate("max_error_rate = 5"),
        &expect![
            "wasm-fn.toml:2: function.a.gate.max_error_rate: max_error_rate is 5, expected more than 0 and less than 1"
        ],
    );
    refused(
        &gate("max_error_rate = \"5\""),
        &expect![[
            r#"wasm-fn.toml:2: function.a.gate.max_error_rate: found string "5", expected a share such as 0.05 or "5%""#
        ]],
    );
    refused(
        &gate("max_latency_p99 = \"0s\""),
        &expect!["wasm-fn.toml:2: function.a.gate.max_latency_p99: max_latency_p99 is 0, expected more"],
    );
    refused(
        &gate("errors = false\nlatency_p99 = false\nmemory_p99 = false"),
        &expect![
            "wasm-fn.toml:1: function.a.gate: the gate has no signal, expected at least one of errors, latency_p99, memory_p99, max_error_rate and max_latency_p99"
        ],
    );
}

#[test]
fn checks_in_the_file_are_refused_by_their_line() {
    let checks = |second: &str| {
        format!(
            "[function.a.rollout]\nstrategy = \"blue-green\"\n[[function.a.rollout.checks]]\npath = \"/\"\n\n\
             [[function.a.rollout.checks]]\n{second}\n"
        )
    };
    refused(
        &checks("path = \"hello\""),
        &expect![[
            r#"wasm-fn.toml:7: function.a.rollout.checks[1].path: found "hello", expected a path and query such as /hello?x=1"#
        ]],
    );
    refused(
        &checks("method = \"GET\""),
        &expect!["wasm-fn.toml:6: function.a.rollout.checks: missing field `path`"],
    );
    refused(
        &checks("path = \"/\"\nexpect = { status = 99 }"),
        &expect!["wasm-fn.toml:8: function.a.rollout.checks[1].expect.status: found 99, expected 100 to 599"],
    );
    refused(
        &checks("path = \"/\"\nexpect = { stat = 200 }"),
        &expect![
            "wasm-fn.toml:8: function.a.rollout.checks.expect.stat: unknown field `stat`, expected one of `status`, `headers`, `body`, `json`"
        ],
    );
}

#[test]
fn the_file_decides_when_no_strategy_is_chosen() {
    let (rollout, gate) = merged(CANARY, "").unwrap();
    assert_eq!((rollout, gate), (function(CANARY).rollout, function(CANARY).gate));
    assert_eq!(merged("", "").unwrap(), (Rollout::default(), GateOptions::default()));
}

#[test]
fn a_flag_wins_and_takes_from_the_file_what_it_has_of_the_same_strategy() {
    let strategy = |text: &str, flags: &str| merged(text, flags).unwrap().0.strategy;
    assert_eq!(strategy(CANARY, "--canary"), canary(&["2%", "20%"]));
    assert_eq!(strategy(CANARY, "--canary=5%"), canary(&["5%"]));
    assert_eq!(strategy("", "--canary"), canary(&["1%", "10%", "50%"]));
    assert_eq!(strategy(CANARY, "--linear"), linear("10%", 60_000));
    assert_eq!(strategy(CANARY, "--linear=20%/5s"), linear("20%", 5_000));
    let own = "[function.hello.rollout]\nstrategy = \"linear\"\nby = \"3%\"\n";
    assert_eq!(strategy(own, "--linear"), linear("3%", 60_000));
    assert_eq!(strategy(CANARY, "--blue-green"), StrategySpec::BlueGreen);
    assert_eq!(strategy(CANARY, "--all-at-once"), StrategySpec::AllAtOnce);
    assert_eq!(strategy(CANARY, "--no-traffic"), StrategySpec::NoTraffic);
}

#[test]
fn options_of_the_file_go_on_where_they_fit() {
    let options = |text: &str, flags: &str| merged(text, flags).unwrap().0.options;
    let all_at_once = options(CANARY, "--all-at-once");
    assert_eq!((all_at_once.manual, all_at_once.step_min_ms), (false, None));
    assert_eq!((all_at_once.watch_ms, all_at_once.on_fail), (Some(600_000), Some(OnFailSpec::Pause)));
    let linear = options(CANARY, "--linear");
    assert_eq!((linear.manual, linear.step_min_ms, linear.shield), (true, None, Some(false)));
    let canary = options(GREEN, "--canary");
    assert_eq!((canary.keep_ms, canary.checks, canary.manual), (None, vec![], true));
    let (none, gate) = merged(CANARY, "--no-traffic").unwrap();
    assert_eq!((none.options, gate), (RolloutOptions::default(), GateOptions::default()));
}

#[test]
fn options_on_the_command_line_win() {
    let flags =
        "--canary --on-fail freeze --step-min 30s --min-requests 7 --watch-for 1m --no-shield --manual";
    let (rollout, gate) = merged("", flags).unwrap();
    let options = RolloutOptions {
        manual: true,
        on_fail: Some(OnFailSpec::Freeze),
        step_min_ms: Some(30_000),
        watch_ms: Some(60_000),
        keep_ms: None,
        shield: Some(false),
        checks: vec![],
    };
    assert_eq!(rollout.options, options);
    assert_eq!(gate.min_requests, Some(7));
    let (rollout, gate) = merged(CANARY, "--step-min 1s --min-requests 8 --on-fail rollback").unwrap();
    assert_eq!(rollout.options.step_min_ms, Some(1000));
    assert_eq!((rollout.options.on_fail, gate.min_requests), (Some(OnFailSpec::Rollback), Some(8)));
}

#[test]
fn checks_of_files_come_after_those_of_the_project() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checks.toml");
    fs::write(&path, "[[check]]\npath = \"/ready\"\n").unwrap();
    let flags = format!("--check {}", path.display());
    let (rollout, _) = merged(GREEN, &flags).unwrap();
    let paths: Vec<_> = rollout.options.checks.iter().map(|check| check.path.as_str()).collect();
    assert_eq!(paths, ["/hello", "/ready"]);
    let missing = folder.path().join("missing.toml");
    let error = merged(GREEN, &format!("--check {}", missing.display())).unwrap_err();
    assert!(error.starts_with(&missing.display().to_string()), "{error}");
}

#[test]
fn flags_that_do_not_fit_the_strategy_are_refused() {
    let refused = |flags: &str, expected: &Expect| expected.assert_eq(&merged("", flags).unwrap_err());
    refused(
        "--manual",
        &expect![
            "--manual does not apply to the strategy all-at-once, expected canary, linear or blue-green"
        ],
    );
    refused(
        "--linear --step-min 1m",
        &expect!["--step-min does not apply to the strategy linear, expected canary"],
    );
    refused(
        "--canary --check x.toml",
        &expect!["--check does not apply to the strategy canary, expected blue-green"],
    );
    refused(
        "--no-traffic --on-fail pause",
        &expect![
            "--on-fail does not apply to the strategy no-traffic, expected all-at-once, canary, linear or blue-green"
        ],
    );
    refused("--canary --watch-for 31d", &expect!["the watch is 2678400s, expected at most 30 days"]);
    refused("--canary --step-min 31d", &expect!["a step's time is 2678400s, expected at most 30 days"]);
}
