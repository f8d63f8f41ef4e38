//! Which files of a crate import from each other, and that no more than a few do so in a circle.
//!
//! A file imports from the file that defines what it names: what another file only passes on is followed to
//! its origin.

use std::collections::{BTreeMap, BTreeSet};

use crate::sources::{Source, none, of_crate};

/// Files in a circle at most: a type and what is always read with it.
const CIRCLE_MAX: usize = 3;

/// A path of names below the crate's root.
type Path = Vec<String>;

/// The modules of a crate, by their paths.
struct Modules {
    files: BTreeMap<Path, File>,
}

/// What is known of one file.
struct File {
    path: String,
    /// What it names of its own crate: the path, and the name under which it passes it on, if it does.
    named: Vec<(Path, Option<String>)>,
}

impl Modules {
    fn of(sources: &[Source]) -> Self {
        let sources = sources.iter().filter(|source| !source.is_test());
        let files = sources.filter_map(|source| {
            let module = module(&source.path)?;
            let named = named(&source.text, &module);
            Some((module, File { path: source.path.clone(), named }))
        });
        Self { files: files.collect() }
    }

    /// The module that defines what `path` names.
    fn origin(&self, path: &[String], depth: usize) -> Option<&Path> {
        let (module, file) = (0..=path.len()).rev().find_map(|end| self.files.get_key_value(&path[..end]))?;
        let Some(item) = path.get(module.len()).filter(|_| depth > 0) else { return Some(module) };
        let passed_on = file.named.iter().find(|(_, name)| name.as_ref() == Some(item));
        match passed_on {
            Some((from, _)) if from.as_slice() != path => self.origin(from, depth - 1),
            _ => Some(module),
        }
    }

    /// The modules that `module` imports from.
    fn imports(&self, module: &Path) -> BTreeSet<&Path> {
        let named = self.files[module].named.iter().filter(|(_, passed_on)| passed_on.is_none());
        let origins = named.filter_map(|(path, _)| self.origin(path, 8));
        // The root of a crate passes on what others define, and says what is where.
        origins.filter(|origin| !origin.is_empty() && *origin != module).collect()
    }

    /// Modules that reach each other, by more than one.
    fn circles(&self) -> Vec<BTreeSet<&Path>> {
        let direct: BTreeMap<&Path, BTreeSet<&Path>> =
            self.files.keys().map(|module| (module, self.imports(module))).collect();
        let reached = |from: &Path| {
            let (mut seen, mut left) = (BTreeSet::new(), Vec::from_iter(direct[from].iter().copied()));
            while let Some(next) = left.pop() {
                if seen.insert(next) {
                    left.extend(direct[next].iter().copied());
                }
            }
            seen
        };
        let reached: BTreeMap<&Path, BTreeSet<&Path>> =
            self.files.keys().map(|module| (module, reached(module))).collect();
        let circle = |module: &&Path| -> BTreeSet<&Path> {
            reached[module].iter().copied().filter(|other| reached[other].contains(*module)).collect()
        };
        let circles: BTreeSet<_> = self.files.keys().map(|module| circle(&module)).collect();
        circles.into_iter().filter(|circle| circle.len() > 1).collect()
    }
}

/// The module that the file at `path` is: `crates/x/src/a/b.rs` is `a::b`, and `lib.rs` is the root.
fn module(path: &str) -> Option<Path> {
    let (_, within) = path.split_once("/src/")?;
    let within = within.strip_suffix(".rs")?;
    if ["lib", "main"].contains(&within) {
        return Some(Vec::new());
    }
    Some(within.split('/').map(str::to_owned).collect())
}

/// What `text`, the file of `module`, names of its own crate.
fn named(text: &str, module: &Path) -> Vec<(Path, Option<String>)> {
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut named = Vec::new();
    let mut rest = code.as_str();
    while let Some(at) = rest.find("use ") {
        let before = rest[..at].rsplit('\n').next().unwrap_or_default();
        rest = &rest[at + "use ".len()..];
        let is_statement = before.trim().is_empty() || before.trim_start().starts_with("pub");
        let Some(end) = rest.find(';').filter(|_| is_statement) else { continue };
        let passes_on = before.trim_start().starts_with("pub");
        for path in tree(&rest[..end]) {
            // What begins with neither is a module of this one, or another crate, which no file here is.
            let within = || module.iter().cloned().chain(path.iter().cloned()).collect();
            let is_rooted =
                path.first().is_some_and(|name| ["crate", "self", "super"].contains(&name.as_str()));
            let path = if is_rooted { absolute(&path, module) } else { Some(within()) };
            let Some(path) = path else { continue };
            let name = path.last().cloned().filter(|_| passes_on);
            named.push((path, name));
        }
        rest = &rest[end..];
    }
    // Paths that are named where they are used.
    for root in ["crate::", "super::"] {
        for (at, _) in code.match_indices(root) {
            let is_within = code[..at].ends_with([':', '_']) || code[..at].ends_with(char::is_alphanumeric);
            // A group of imports was read above.
            let is_within = is_within || code[at + root.len()..].starts_with(['{', '*']);
            let path: String =
                code[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            let path: Path = path.split("::").map(str::to_owned).filter(|name| !name.is_empty()).collect();
            if let Some(path) = absolute(&path, module).filter(|_| !is_within) {
                named.push((path, None));
            }
        }
    }
    named
}

/// The paths of a tree of imports: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn tree(text: &str) -> Vec<Path> {
    let text = text.trim();
    let Some((stem, branches)) = text.split_once('{') else {
        let path = text.split(" as ").next().unwrap_or_default();
        let names = path.split("::").map(|name| name.trim().to_owned());
        return vec![names.filter(|name| !name.is_empty() && name != "self" && name != "*").collect()];
    };
    let stem: Path =
        stem.split("::").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
    let branches = branches.trim_end().strip_suffix('}').unwrap_or(branches);
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in branches.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&branches[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&branches[start..]);
    let parts = parts.into_iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(tree).map(|path| stem.iter().cloned().chain(path).collect()).collect()
}

/// `path`, as it is written in `module`, from the crate's root; `None` if it leads out of the crate.
fn absolute(path: &[String], module: &[String]) -> Option<Path> {
    let (first, rest) = path.split_first()?;
    let base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => {
            let ups = 1 + rest.iter().take_while(|name| *name == "super").count();
            let base = module[..module.len().checked_sub(ups)?].to_vec();
            return Some(base.into_iter().chain(rest[ups - 1..].iter().cloned()).collect());
        }
        _ => return None,
    };
    Some(base.into_iter().chain(rest.iter().cloned()).collect())
}

/// The crates, by folder.
fn crates() -> Vec<String> {
    let folders = std::fs::read_dir(crate::sources::root().join("crates")).expect("there are crates");
    let names = folders.map(|folder| folder.expect("a folder can be read").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

#[test]
fn few_files_import_from_each_other_in_a_circle() {
    let mut faults = Vec::new();
    for name in crates() {
        let modules = Modules::of(&of_crate(&name));
        for circle in modules.circles().into_iter().filter(|circle| circle.len() > CIRCLE_MAX) {
            let paths: Vec<_> = circle.iter().map(|module| modules.files[*module].path.as_str()).collect();
            faults.push(format!("a circle of {}: {}", paths.len(), paths.join(", ")));
        }
    }
    none(&faults);
}

#[test]
fn circles_are_found_and_what_is_passed_on_is_followed() {
    let source =
        |path: &str, text: &str| Source { path: format!("crates/x/src/{path}"), text: text.to_owned() };
    let sources = [
        source("lib.rs", "mod a;\nmod b;\nmod c;\npub use b::B;\npub use self::c::C;\n"),
        source("a.rs", "use crate::{B, c::{D, E}};\n"),
        source("b.rs", "fn f() -> super::C { todo }\n"),
        source("c.rs", "// use crate::nothing;\npub(crate) use d::D;\nmod d;\n"),
        source("c/d.rs", "use crate::a;\n"),
    ];
    let modules = Modules::of(&sources);
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Path>();
    assert_eq!(modules.imports(&path("a")), BTreeSet::from([&path("b"), &path("c"), &path("c::d")]));
    assert_eq!(modules.imports(&path("b")), BTreeSet::from([&path("c")]));
    assert_eq!(modules.circles(), [BTreeSet::from([&path("a"), &path("c::d")])]);
}
