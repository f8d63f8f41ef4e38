//! Guards the cost of the hot path: counts the instructions of its parts under valgrind, and compares them
//! with the committed counts.
#![expect(clippy::print_stdout, reason = "the table is this command's output")]

mod baseline;
mod cachegrind;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

use crate::{bench::target, cargo, output, run as run_command};
use baseline::{Baseline, Toolchain, advice, compare, judge, table};
use cachegrind::instructions;

/// Path of the committed counts, relative to the root.
const BASELINE: &str = "benches/instructions/baseline.json";

/// A part of the hot path, by its name in `benches/instructions`.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Number of operations in the first run. The second run does twice as many.
    pub(crate) count: u32,
    /// Whether it needs native code that an earlier run compiled.
    pub(crate) cached: bool,
    /// Further arguments.
    pub(crate) args: Vec<OsString>,
}

/// Counts are multiples of the cycle of a workload, such as the 10,000 functions of `route`, so that both
/// runs do the same mix.
const WORKLOADS: [Workload; 5] = [
    Workload { name: "route", count: 10_000, cached: false, args: Vec::new() },
    Workload { name: "tally", count: 10_000, cached: false, args: Vec::new() },
    Workload { name: "admit", count: 10_000, cached: false, args: Vec::new() },
    Workload { name: "evidence", count: 10_000, cached: false, args: Vec::new() },
    Workload { name: "invoke", count: 500, cached: true, args: Vec::new() },
];

/// Counts every workload, and compares the counts with the baseline of the workspace at `root`, or writes a
/// new baseline if `update` is set.
///
/// # Errors
/// Valgrind is missing, something does not build or run, the baseline is missing or is of another toolchain,
/// or an operation takes over 5 % more than its baseline.
pub fn run(root: &Path, update: bool) -> Result<()> {
    output(Command::new("valgrind").arg("--version")).context(
        "valgrind counts the instructions; install it, for example with `apt-get install valgrind`",
    )?;
    let toolchain = Toolchain {
        rustc: output(Command::new("rustc").arg("--version").current_dir(root))?,
        arch: std::env::consts::ARCH.to_owned(),
    };
    let path = root.join(BASELINE);
    let baseline = if update { None } else { Some(read(&path, &toolchain)?) };

    let counted = Counter::build(root)?.count_all()?;
    match baseline {
        Some(baseline) => {
            let rows = compare(&baseline.instructions, &counted);
            println!("{}", table(&rows));
            if let Some(advice) = advice(&rows) {
                println!("{advice}");
            }
            judge(&rows)
        }
        None => {
            let now = Baseline { toolchain, instructions: counted };
            let before = fs::read_to_string(&path).ok().and_then(|text| Baseline::parse(&text).ok());
            let before = before.map(|before| before.instructions).unwrap_or_default();
            println!("{}", table(&compare(&before, &now.instructions)));
            fs::write(&path, now.text()?).with_context(|| format!("{} cannot be written", path.display()))?;
            println!("wrote {BASELINE}");
            Ok(())
        }
    }
}

/// Reads the baseline at `path`, and checks that it is for `toolchain`. This comes before the build, which
/// takes minutes.
fn read(path: &Path, toolchain: &Toolchain) -> Result<Baseline> {
    let text = fs::read_to_string(path).with_context(|| format!("{BASELINE} cannot be read"))?;
    let baseline = Baseline::parse(&text).with_context(|| format!("{BASELINE} is not a baseline"))?;
    if baseline.toolchain != *toolchain {
        bail!(
            "{BASELINE} was counted with {}, expected {toolchain}: counts of two compilers cannot be \
             compared; run `cargo xtask instructions --update` and commit the new baseline together \
             with the change of toolchain",
            baseline.toolchain
        );
    }
    Ok(baseline)
}

/// Runs the built program under valgrind.
pub(crate) struct Counter {
    pub(crate) program: PathBuf,
    /// Holds valgrind's output files and the cache of native code.
    pub(crate) folder: PathBuf,
}

impl Counter {
    /// Builds the program, and empties its folder.
    pub(crate) fn build(root: &Path) -> Result<Self> {
        let mut build = cargo();
        build.args(["build", "--profile", "quick"]);
        // Build the binary's package too, so that dependencies get the same features as there and one build
        // serves both.
        build.args(["--package", "wasm-fn", "--package", "wasm-fn-instructions", "--bin", "instructions"]);
        run_command(build.current_dir(root))?;
        let target = target(root)?;
        let folder = target.join("instructions");
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("{} cannot be emptied", folder.display()))?;
        }
        fs::create_dir_all(&folder).with_context(|| format!("{} cannot be created", folder.display()))?;
        Ok(Self { program: target.join("quick/instructions"), folder })
    }

    /// Counts the instructions of one operation of each workload.
    fn count_all(&self) -> Result<BTreeMap<String, f64>> {
        let mut counted = BTreeMap::new();
        for workload in WORKLOADS {
            println!("counting {}", workload.name);
            let each =
                self.count(&workload).with_context(|| format!("`{}` was not counted", workload.name))?;
            counted.insert(workload.name.to_owned(), each);
        }
        Ok(counted)
    }

    /// Counts the instructions of one operation. The set-up is the same in both runs, so the difference comes
    /// only from the operations.
    pub(crate) fn count(&self, workload: &Workload) -> Result<f64> {
        if workload.cached {
            // Under valgrind too, because the native code is for the processor that valgrind emulates, not
            // for the machine's.
            self.valgrind(workload, 0, &["--tool=none".into()])?;
        }
        let few = self.total(workload, workload.count)?;
        let many = self.total(workload, workload.count * 2)?;
        per_operation(few, many, workload.count)
    }

    /// Counts the instructions of a whole run of `count` operations.
    fn total(&self, workload: &Workload, count: u32) -> Result<u64> {
        let out = self.folder.join(format!("{}-{count}.cachegrind", workload.name));
        let mut out_file = OsString::from("--cachegrind-out-file=");
        out_file.push(&out);
        // Not callgrind: it follows calls and signals on one stack, and fails on guests, which have their own
        // stacks.
        let tool = ["--tool=cachegrind".into(), "--cache-sim=no".into(), out_file];
        self.valgrind(workload, count, &tool)?;
        let text = fs::read_to_string(&out).with_context(|| format!("{} cannot be read", out.display()))?;
        instructions(&text).with_context(|| format!("{} is not a cachegrind output file", out.display()))
    }

    /// Runs `count` operations of `workload` under valgrind with the arguments `tool`.
    fn valgrind(&self, workload: &Workload, count: u32, tool: &[OsString]) -> Result<()> {
        let mut command = Command::new("valgrind");
        command.args(tool).arg(&self.program).args([workload.name, &count.to_string()]);
        if workload.cached {
            command.arg("--cache").arg(self.folder.join("cache"));
        }
        command.args(&workload.args);
        output(&mut command).map(drop)
    }
}

/// Instructions of one operation, if a run of `count` operations took `few` instructions and a run of twice
/// as many took `many`.
///
/// # Errors
/// The longer run took no more than the shorter one.
fn per_operation(few: u64, many: u64, count: u32) -> Result<f64> {
    let Some(more) = many.checked_sub(few).filter(|&more| more > 0) else {
        bail!("{count} operations took {few} instructions, and twice as many took {many}");
    };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52 instructions")]
    let each = more as f64 / f64::from(count);
    // More digits would make every update a change.
    Ok((each * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests;
