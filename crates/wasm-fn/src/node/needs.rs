//! The components of versions with traffic. They are compiled before a node is ready, and before a new
//! process takes over.
//!
//! A new process cannot read the state before it takes over, so the old one leaves a list in the data
//! directory, with its own process id. A program that does not know the list ignores it, and a program that
//! finds no list works without one.

use std::{
    collections::HashSet,
    fs,
    os::unix::process::parent_id,
    path::{Path, PathBuf},
};

use wasm_fn_core::{Digest, FunctionName, VersionNo};
use wasm_fn_router::RouteTable;

use super::hosted::Hosted;

/// Name of the list in the data directory.
const FILE: &str = "hand-over";

/// A component, and a version with traffic that uses it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) component: Digest,
    pub(super) function: FunctionName,
    pub(super) version: VersionNo,
}

/// The list in its file. Dropping it removes the file.
pub(super) struct List(PathBuf);

impl Drop for List {
    fn drop(&mut self) {
        // The new process removes it too, once it has read it.
        let _ = fs::remove_file(&self.0);
    }
}

/// The needs of `table`, each component once. Stable versions come first: they have most of the traffic.
pub(super) fn of(table: &RouteTable<Hosted>) -> Vec<Need> {
    let mut seen = HashSet::new();
    let stables = table.stages().map(|stage| (stage, stage.stable().no));
    let shares = table
        .stages()
        .flat_map(|stage| stage.split().shares().iter().map(move |&(version, _)| (stage, version)));
    let needs = stables.chain(shares).filter_map(|(stage, version)| {
        let component = stage.version(version)?.target.0.component();
        let function = stage.function().clone();
        seen.insert(component).then_some(Need { component, function, version })
    });
    needs.collect()
}

/// Leaves a list of `needs` in `data_dir` for a process that this one starts; `None` if it cannot be
/// written.
pub(super) fn leave(data_dir: &Path, needs: &[Need]) -> Option<List> {
    let path = data_dir.join(FILE);
    let lines = needs
        .iter()
        .map(|Need { component, function, version }| format!("{component} {function} {version}\n"));
    let text: String = std::iter::once(format!("{}\n", std::process::id())).chain(lines).collect();
    match fs::write(&path, text) {
        Ok(()) => Some(List(path)),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "list of components to compile was not written");
            None
        }
    }
}

/// Takes the list that the parent process left in `data_dir`; `None` if there is none.
pub(super) fn take(data_dir: &Path) -> Option<Vec<Need>> {
    let path = data_dir.join(FILE);
    let text = fs::read_to_string(&path).ok()?;
    let needs = parse(&text, parent_id());
    // The process that wrote it removes it too.
    let _ = fs::remove_file(&path);
    needs
}

/// Parses the list in `text`, if it is complete and the process `writer` wrote it.
fn parse(text: &str, writer: u32) -> Option<Vec<Need>> {
    let (number, lines) = text.split_once('\n')?;
    if number.parse() != Ok(writer) {
        return None;
    }
    let need = |line: &str| {
        let mut words = line.split(' ');
        let (component, function, version) = (words.next()?, words.next()?, words.next()?);
        Some(Need {
            component: component.parse().ok()?,
            function: function.parse().ok()?,
            version: version.parse().ok()?,
        })
    };
    lines.lines().map(need).collect()
}

#[cfg(test)]
mod tests;
