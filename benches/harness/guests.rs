//! The guests that are too large to keep, which are built on demand, and how a component is told from itself.

#[cfg(test)]
mod tests;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// SpiderMonkey in a 0.2 component that answers `hello from JavaScript`.
pub const JAVASCRIPT: Recipe =
    Recipe { folder: "benches/load/javascript", script: "build.sh", beside: &["guest-examples/python/wit"] };

/// QuickJS in a 0.3 component that answers `hello from JavaScript`.
pub const QUICKJS: Recipe = Recipe { folder: "guest-examples/js", script: "build.sh", beside: &[] };

/// CPython in a 0.2 component that answers `hello from Python`.
pub const PYTHON: Recipe = Recipe { folder: "guest-examples/python", script: "build.sh", beside: &[] };

/// The source of a guest, and the program that builds it.
#[derive(Debug, Clone, Copy)]
pub struct Recipe {
    /// Its folder in the repository; the component becomes `dist/hello.wasm` in a copy of it.
    folder: &'static str,
    /// What is run in the copy.
    script: &'static str,
    /// Other folders that the build reads, put beside the copy's files under their own name.
    beside: &'static [&'static str],
}

impl Recipe {
    /// The file of the guest whose source is in the repository `root`. Builds it below `target` unless that
    /// was done from the same source before.
    ///
    /// # Errors
    ///
    /// It cannot be built, as when its compiler cannot be had; says why.
    pub fn build(&self, root: &Path, target: &Path) -> Result<PathBuf> {
        build(self, root, &target.join("bench-guests"))
    }
}

/// `component` with a custom section more, which nobody reads (WebAssembly component binary format: id 0,
/// size, name): another component by its digest, whose code does the same.
#[must_use]
pub fn marked(component: &[u8], mark: u32) -> Vec<u8> {
    [component, &[0, 6, 1, b'm'], &mark.to_le_bytes()].concat()
}

/// As [`Recipe::build`], in a folder of its own under `cache`.
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
