//! Continuous integration: the same steps, in the same order, on every machine.
#![expect(clippy::print_stdout, reason = "the steps and their durations are this command's output")]
#![expect(clippy::disallowed_methods, reason = "a step's duration is only shown and decides nothing")]

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};

use crate::{cargo, guests, output, run as run_command};

/// Names the file to which each skipped test writes a line with its reason.
const SKIPPED: &str = "CI_SKIPPED_TESTS";

/// One cargo command of continuous integration.
struct Step {
    name: &'static str,
    args: &'static [&'static str],
    env: &'static [(&'static str, &'static str)],
}

const STEPS: [Step; 5] = [
    Step { name: "fmt", args: &["fmt", "--all", "--check"], env: &[] },
    Step {
        name: "clippy",
        args: &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        env: &[],
    },
    Step { name: "test", args: &["test", "--workspace"], env: &[] },
    Step {
        name: "model",
        // Its own target directory: what is built there is built with other features.
        args: &[
            "test",
            "--locked",
            "--lib",
            "--manifest-path",
            "tests/model/Cargo.toml",
            "--target-dir",
            "target/model",
        ],
        env: &[],
    },
    Step { name: "doc", args: &["doc", "--workspace", "--no-deps"], env: &[("RUSTDOCFLAGS", "-D warnings")] },
];

/// Runs every step in the workspace at `root`.
///
/// # Errors
/// The first step that fails; later steps are not run.
pub fn run(root: &Path) -> Result<()> {
    let skipped = tempfile::NamedTempFile::new().context("the list of skipped tests cannot be created")?;
    for step in STEPS {
        timed(step.name, || {
            let mut command = cargo();
            command.args(step.args).envs(step.env.iter().copied()).env(SKIPPED, skipped.path());
            run_command(command.current_dir(root))
        })?;
    }
    if output(cargo().args(["deny", "--version"])).is_ok() {
        timed("deny", || run_command(cargo().args(["deny", "check", "licenses", "bans"]).current_dir(root)))?;
    } else {
        println!("== deny: skipped, because cargo-deny is not installed");
    }
    timed("guests", || guests::check(root))?;
    print!("{}", fs::read_to_string(skipped.path()).context("the list of skipped tests cannot be read")?);
    println!("== all steps passed");
    Ok(())
}

fn timed(name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let start = Instant::now();
    let result = step();
    let verdict = if result.is_ok() { "passed" } else { "failed" };
    println!("== {name}: {verdict} after {:.1} s", start.elapsed().as_secs_f64());
    result.with_context(|| format!("step `{name}` stopped the run"))
}
