//! The load bench gets every argument, and the pages show a command that works on other machines.

use super::Bench;

#[test]
fn command_is_shown_without_paths() {
    let bench = Bench {
        compare: true,
        rounds: Some(7),
        seconds: Some(5),
        workerd: Some("/somewhere/workerd".into()),
        ..Bench::default()
    };
    assert_eq!(bench.shown(), "cargo xtask bench --compare --rounds=7 --seconds=5");
    assert_eq!(Bench::default().shown(), "cargo xtask bench");
}

#[test]
fn load_bench_is_told_what_was_typed() {
    let bench = Bench {
        compare: true,
        only: vec!["workerd".into(), "node".into()],
        connections: Some(8),
        workerd: Some("/somewhere/workerd".into()),
        json: Some("out.json".into()),
        ..Bench::default()
    };
    let args: Vec<_> = bench.args().into_iter().map(|arg| arg.into_string().unwrap()).collect();
    let told =
        "--compare --only workerd --only node --connections=8 --workerd /somewhere/workerd --json out.json";
    assert_eq!(args[..2], ["--command", "cargo xtask bench --compare --connections=8"]);
    assert_eq!(args[2..].join(" "), told);
}
