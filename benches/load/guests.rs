//! What answers: the prebuilt example guests, and those too large to keep, which are built on demand.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use crate::requests::Requests;

/// Bytes that are sent to the echo and back.
const ECHO_LEN: usize = 64 * 1024;

/// What runs on a system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub(crate) enum Guest {
    /// Nothing: the system answers by itself.
    Native,
    Hello02,
    Hello03,
    Cgi,
    Echo,
    /// SpiderMonkey in a 0.2 component.
    JavaScript,
    /// QuickJS in a 0.3 component.
    QuickJs,
    Python,
}

impl fmt::Display for Guest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Native => "native",
            Self::Hello02 => "hello 0.2",
            Self::Hello03 => "hello 0.3",
            Self::Cgi => "hello CGI",
            Self::Echo => "echo of 64 KiB",
            Self::JavaScript => "hello JavaScript",
            Self::QuickJs => "hello QuickJS",
            Self::Python => "hello Python",
        })
    }
}

impl From<Guest> for String {
    fn from(guest: Guest) -> Self {
        guest.to_string()
    }
}

/// The source of a guest that is built on demand, and the program that builds it.
struct Recipe {
    /// Its folder in the repository; the component becomes `dist/hello.wasm` in a copy of it.
    folder: &'static str,
    /// What is run in the copy.
    script: &'static str,
    /// Other folders that the build reads, put beside the copy's files under their own name.
    beside: &'static [&'static str],
}

impl Guest {
    fn recipe(self) -> Option<Recipe> {
        match self {
            Self::JavaScript => Some(Recipe {
                folder: "benches/load/javascript",
                script: "build.sh",
                beside: &["guest-examples/python/wit"],
            }),
            Self::QuickJs => Some(Recipe { folder: "guest-examples/js", script: "build.sh", beside: &[] }),
            Self::Python => Some(Recipe { folder: "guest-examples/python", script: "build.sh", beside: &[] }),
            Self::Native | Self::Hello02 | Self::Hello03 | Self::Cgi | Self::Echo => None,
        }
    }

    /// What it is asked at `path`, and what it answers.
    pub(crate) fn requests(self, path: &str) -> Requests {
        match self {
            Self::Native | Self::Hello02 | Self::Hello03 => Requests::same(path, None, "hello from v1\n"),
            Self::Cgi => Requests::same(path, None, "hello from C\n"),
            Self::Echo => {
                let body: String = ('a'..='z').cycle().take(ECHO_LEN).collect();
                Requests::same(path, Some(&body), &body)
            }
            Self::JavaScript | Self::QuickJs => Requests::same(path, None, "hello from JavaScript\n"),
            Self::Python => Requests::same(path, None, "hello from Python\n"),
        }
    }

    /// The file of the guest; builds it when it is none of the prebuilt ones and was not built before from
    /// the same source.
    ///
    /// # Errors
    ///
    /// It cannot be built, as when its compiler cannot be had; says why.
    pub(crate) fn file(self, root: &Path, target: &Path) -> Result<PathBuf> {
        let name = match self {
            Self::Hello02 => "hello-v1.wasm",
            Self::Hello03 => "hello-p3.wasm",
            Self::Cgi => "c-hello.wasm",
            Self::Echo => "echo.wasm",
            Self::Native | Self::JavaScript | Self::QuickJs | Self::Python => {
                let recipe = self.recipe().with_context(|| format!("{self} is no file"))?;
                return build(&recipe, root, &target.join("bench-guests"));
            }
        };
        Ok(root.join("guest-examples/prebuilt").join(name))
    }
}

/// Builds a guest in a copy of its source under `cache`, unless that holds what the same source gave.
fn build(recipe: &Recipe, root: &Path, cache: &Path) -> Result<PathBuf> {
    let copy = cache.join(recipe.folder.replace('/', "-"));
    let (built, mark) = (copy.join("dist/hello.wasm"), copy.join("built"));
    let mut changed = update(&root.join(recipe.folder), &copy)?;
    for folder in recipe.beside {
        let name = Path::new(folder).file_name().context("a folder beside a guest has a name")?;
        changed |= update(&root.join(folder), &copy.join(name))?;
    }
    if mark.exists() && !changed {
        return Ok(built);
    }
    // Were it left, what a failed build leaves behind would look built next time.
    if mark.exists() {
        fs::remove_file(&mark).with_context(|| format!("{} cannot be removed", mark.display()))?;
    }
    let done = Command::new("sh")
        .arg(recipe.script)
        .current_dir(&copy)
        .output()
        .context("`sh` cannot be started")?;
    if !done.status.success() || !built.exists() {
        let said = String::from_utf8_lossy(&done.stderr);
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        bail!("`{}/{}` ended with {}: {last}", recipe.folder, recipe.script, done.status);
    }
    fs::write(&mark, "").with_context(|| format!("{} cannot be written", mark.display()))?;
    Ok(built)
}

/// Makes the files of the folder `to` those of `from`; whether any had to change. What builds leave behind
/// is not copied, and not removed.
fn update(from: &Path, to: &Path) -> Result<bool> {
    const LEFT_BEHIND: [&str; 4] = ["dist", "node_modules", ".venv", "__pycache__"];
    fs::create_dir_all(to).with_context(|| format!("{} cannot be made", to.display()))?;
    let mut changed = false;
    for entry in fs::read_dir(from).with_context(|| format!("{} cannot be read", from.display()))? {
        let (entry, name) = entry.map(|entry| (entry.path(), entry.file_name()))?;
        if LEFT_BEHIND.iter().any(|left| name == *left) {
            continue;
        }
        let copy = to.join(&name);
        if entry.is_dir() {
            changed |= update(&entry, &copy)?;
        } else {
            let source = fs::read(&entry).with_context(|| format!("{} cannot be read", entry.display()))?;
            if fs::read(&copy).ok().as_ref() != Some(&source) {
                fs::write(&copy, source).with_context(|| format!("{} cannot be written", copy.display()))?;
                changed = true;
            }
        }
    }
    Ok(changed)
}

#[cfg(test)]
mod tests;
