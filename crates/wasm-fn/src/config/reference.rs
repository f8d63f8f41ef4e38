//! The reference of `wasm-fn.toml` as a page. docs/reference/config.md contains this text, and a test
//! compares the two.
//!
//! Types and bounds are what the parser answers to values that it refuses, and defaults are computed from
//! the code that applies them. So the page cannot say anything else than the program does.

mod keys;

use std::{fmt::Write as _, path::Path};

use super::{ConfigFile, Serve};
use crate::args;

/// A table of the file.
struct Table {
    /// As it begins in the file: `[serve]`, `[[function.hello.cohorts]]`.
    header: &'static str,
    about: &'static str,
    /// Lines that have to be above it.
    above: &'static str,
    keys: Vec<Key>,
}

/// A key of a table.
struct Key {
    name: &'static str,
    meaning: &'static str,
    /// What applies if the key is absent.
    default: String,
    /// A value, as it is written in the file.
    example: &'static str,
    /// A value of a wrong type.
    mistyped: &'static str,
    /// Values of the right type that are refused.
    refused: &'static [&'static str],
    /// Lines of the same table without which the key cannot be there.
    beside: &'static str,
}

/// The page.
fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for table in keys::tables() {
        let Table { header, about, .. } = &table;
        let _ = write!(page, "\n## `{header}`\n\n{about}\n\n");
        page +=
            "| key | type | values | default | example | meaning |\n| --- | --- | --- | --- | --- | --- |\n";
        for key in &table.keys {
            let Key { name, meaning, default, example, .. } = key;
            let (kind, values) = (table.kind(key), table.values(key));
            let cells = [format!("`{name}`"), kind, values, default.clone(), format!("`{example}`")];
            let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _ = writeln!(page, "| {} | {meaning} |", cells.join(" | "));
        }
    }
    page
}

/// What comes before the tables.
const INTRODUCTION: &str = "\
# wasm-fn.toml

This page is generated from the program; `UPDATE_EXPECT=1 cargo test -p wasm-fn` updates it.

`wasm-fn deploy` reads the file `wasm-fn.toml` in the working directory if there is one, or the file in
`--config`. `wasm-fn serve` reads only the file in `--config`. Both can be the same file: `deploy` uses the
tables of functions, `serve` the table `[serve]`. Paths are relative to the file's folder.

A flag overrides the environment, the environment overrides the file, and the file overrides the default.
An unknown key is an error. `wasm-fn config check` reads a file as both commands do, and needs no node.

- A size is a number with a unit: `64MiB`, `1GiB`, `500kB`.
- A time is a number with a unit, or several of them: `500ms`, `10s`, `1m 30s`, `1h`.
- A share is a percentage with at most two decimals: `10%`, `0.05%`.
";

impl Table {
    /// A file with `key = value` in this table.
    fn file(&self, key: &Key, value: &str) -> String {
        let Self { header, above, .. } = self;
        format!("{above}\n{header}\n{}\n{} = {value}\n", key.beside, key.name)
    }

    /// What the file allows where it has a value of a wrong type.
    fn kind(&self, key: &Key) -> String {
        expected(&self.file(key, key.mistyped))
    }

    /// What the file allows where it has a value that is refused.
    fn values(&self, key: &Key) -> String {
        let mut values: Vec<String> = Vec::new();
        for value in key.refused {
            let expected = expected(&self.file(key, value));
            if !values.contains(&expected) {
                values.push(expected);
            }
        }
        values.join("; ")
    }
}

/// Reads a file as `deploy` and `serve` do.
fn read(text: &str) -> Result<(), String> {
    let file = ConfigFile::parse(Path::new("wasm-fn.toml"), text).map_err(|error| error.to_string())?;
    for found in file.functions.values() {
        wasm_fn_admin::check_release(&found.rollout.strategy, &found.rollout.options, &found.gate)?;
    }
    Serve::merge(&args::Serve::default(), file.serve)?.check()
}

/// What was expected, by the error that `text` causes.
fn expected(text: &str) -> String {
    let Err(error) = read(text) else { panic!("this is not refused:\n{text}") };
    let (_, expected) = error.rsplit_once("expected ").unwrap_or_else(|| panic!("{error}\n{text}"));
    expected.to_owned()
}

#[cfg(test)]
mod tests;
