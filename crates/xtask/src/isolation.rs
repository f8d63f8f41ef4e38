//! Measures what each way to hold guests apart costs: the CPU time of an invocation, and its instructions.
//!
//! An invocation runs in process, without a network, so that nothing but the guest and its instance is
//! compared. The ways take turns, round by round, and are compared within a round.
#![expect(clippy::print_stdout, reason = "the table is this command's output")]

use std::{ffi::OsString, path::Path, process::Command};

use anyhow::{Context as _, Result};

use crate::{
    instructions::{Counter, Workload},
    output,
};

/// A guest, and what it is asked.
struct Guest {
    name: &'static str,
    /// A prebuilt guest, or a file under the root.
    component: &'static str,
    target: &'static str,
    /// Invocations in a round.
    count: u32,
    /// Whether its instructions are counted. Large components would compile for an hour under valgrind.
    is_counted: bool,
}

const GUESTS: [Guest; 4] = [
    Guest { name: "hello 0.2", component: "hello-v1", target: "/", count: 20_000, is_counted: true },
    Guest { name: "64 pages", component: "hog", target: "/?pages=64", count: 10_000, is_counted: true },
    Guest {
        name: "hello QuickJS",
        component: "guest-examples/js/dist/hello.wasm",
        target: "/",
        count: 2000,
        is_counted: false,
    },
    Guest {
        name: "hello Python",
        component: "guest-examples/python/dist/hello.wasm",
        target: "/",
        count: 1000,
        is_counted: false,
    },
];

/// Invocations that valgrind counts.
const COUNTED: u32 = 500;

const RESETS: [&str; 3] = ["counted", "scan", "discard"];

/// A way to hold guests apart. The first of a group is what the others are compared with.
struct Way {
    reset: &'static str,
    is_linked: bool,
}

impl Way {
    fn args(&self) -> Vec<OsString> {
        let linked = (!self.is_linked).then_some("--unlinked");
        ["--memory-reset", self.reset].into_iter().chain(linked).map(OsString::from).collect()
    }
}

/// Builds what is measured, and prints a table.
///
/// # Errors
/// Something does not build or run, or valgrind is missing where instructions are to be counted.
pub fn run(root: &Path, rounds: u32, instructions: bool) -> Result<()> {
    let counter = Counter::build(root)?;
    println!("| guest | linked | reset | CPU µs | against counted | instructions |");
    println!("| --- | --- | --- | --- | --- | --- |");
    for guest in &GUESTS {
        let component = if guest.component.contains('/') {
            let file = root.join(guest.component);
            if !file.exists() {
                println!("| {} | | | it is not built: {} | | |", guest.name, guest.component);
                continue;
            }
            file.into_os_string()
        } else {
            guest.component.into()
        };
        let asked = [OsString::from("--guest"), component, "--target".into(), guest.target.into()];
        for is_linked in [true, false] {
            let ways = RESETS.map(|reset| Way { reset, is_linked });
            let args = ways.each_ref().map(|way| [&asked[..], &way.args()].concat());
            let cpu = Samples::take(&counter, guest.count, &args, rounds)?;
            for (at, way) in ways.iter().enumerate() {
                let linked = if is_linked { "yes" } else { "no" };
                let counted = if instructions && guest.is_counted {
                    let args = args[at].clone();
                    let workload = Workload { name: "invoke", count: COUNTED, cached: true, args };
                    format!("{:.0}", counter.count(&workload)?)
                } else {
                    String::new()
                };
                println!(
                    "| {} | {linked} | {} | {:.1} | {} | {counted} |",
                    guest.name,
                    way.reset,
                    cpu.median(at) / 1000.0,
                    cpu.against_first(at)
                );
            }
        }
    }
    Ok(())
}

/// The CPU time of an invocation, nanoseconds: a row for each round, with each way in it.
struct Samples(Vec<Vec<f64>>);

impl Samples {
    fn take(counter: &Counter, count: u32, ways: &[Vec<OsString>], rounds: u32) -> Result<Self> {
        let cache = counter.folder.join("native");
        let measure = |args: &Vec<OsString>, count: u32| -> Result<f64> {
            let mut command = Command::new(&counter.program);
            command.args(["invoke", &count.to_string()]).arg("--cache").arg(&cache).args(args);
            let printed = output(&mut command)?;
            printed.parse().with_context(|| format!("found {printed:?}, expected nanoseconds"))
        };
        // Compiles it.
        measure(&ways[0], 1)?;
        let rounds = (0..rounds.max(1)).map(|_| ways.iter().map(|way| measure(way, count)).collect());
        rounds.collect::<Result<_>>().map(Self)
    }

    fn median(&self, way: usize) -> f64 {
        median(self.0.iter().map(|round| round[way]).collect()).1
    }

    /// The median of the ratios to the first way, with quartiles.
    fn against_first(&self, way: usize) -> String {
        if way == 0 {
            return String::new();
        }
        let (low, ratio, high) = median(self.0.iter().map(|round| round[way] / round[0]).collect());
        format!("{ratio:.3} [{low:.3}–{high:.3}]")
    }
}

/// The quartiles of `samples`.
fn median(mut samples: Vec<f64>) -> (f64, f64, f64) {
    samples.sort_unstable_by(f64::total_cmp);
    let at = |part: usize| samples[(samples.len() - 1) * part / 4];
    (at(1), at(2), at(3))
}

#[cfg(test)]
mod tests;
