//! `wasm-fn.toml`: read, checked, and refused with the line that is wrong.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use toml::de::{DeTable, DeValue};
use wasm_fn_control::wire;
use wasm_fn_core::FunctionName;

use super::function;

/// Largest file, bytes: far more than people write, far less than memory.
const BYTES_MAX: u64 = 4 << 20;

/// The file as meant.
#[derive(Debug, Default)]
pub(crate) struct ConfigFile {
    /// `[function.NAME]`.
    pub(crate) functions: BTreeMap<FunctionName, Function>,
    /// `[serve]`.
    pub(crate) serve: Serve,
}

/// `[function.NAME]` as meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Function {
    /// The component's path, taken from the file's folder.
    pub(crate) component: Option<PathBuf>,
    /// Every other key.
    pub(crate) config: wire::Config,
}

/// `[serve]` as meant; what is absent has a default elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serve {
    pub(crate) listen: Option<SocketAddr>,
    pub(crate) admin: Option<SocketAddr>,
    /// Taken from the file's folder.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) instances_max: Option<u32>,
    pub(crate) body_max_bytes: Option<u64>,
    pub(crate) component_max_bytes: Option<u64>,
    pub(crate) drain_timeout: Option<Duration>,
    pub(crate) allow_overrides: Option<bool>,
}

/// Why a configuration file is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is too large to be meant.
    #[error("{}: found {bytes} bytes, expected at most {BYTES_MAX}", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    /// A line is wrong; `reason` says what was found and what was expected.
    #[error("{}:{line}: {}{reason}", path.display(), key_prefix(key))]
    Line { path: PathBuf, line: usize, key: String, reason: String },
}

fn key_prefix(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}: ") }
}

/// A value that is refused, by its path in the file.
pub(super) struct BadValue {
    pub(super) key: String,
    pub(super) reason: String,
}

impl BadValue {
    pub(super) fn new(key: impl Into<String>, reason: impl ToString) -> Self {
        Self { key: key.into(), reason: reason.to_string() }
    }
}

/// The file as written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    function: BTreeMap<String, function::Raw>,
    #[serde(default)]
    serve: RawServe,
}

/// `[serve]` as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawServe {
    listen: Option<String>,
    admin: Option<String>,
    data_dir: Option<PathBuf>,
    instances_max: Option<u32>,
    body_max: Option<String>,
    component_max: Option<String>,
    drain_timeout: Option<String>,
    allow_overrides: Option<bool>,
}

impl ConfigFile {
    /// Reads the file at `path`. Blocks.
    ///
    /// # Errors
    /// Names the file, the line and the key.
    pub(crate) fn read(path: &Path) -> Result<Self, FileError> {
        let unreadable = |source| FileError::Unreadable { path: path.to_owned(), source };
        let bytes = std::fs::metadata(path).map_err(unreadable)?.len();
        if bytes > BYTES_MAX {
            return Err(FileError::TooLarge { path: path.to_owned(), bytes });
        }
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        Self::parse(path, &text)
    }

    /// Reads `text`, which stands in the file at `path`.
    pub(super) fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let refused = |span: Option<Range<usize>>, key: String, reason: String| FileError::Line {
            path: path.to_owned(),
            line: line(text, span.map_or(0, |span| span.start)),
            key,
            reason,
        };
        let document = DeTable::parse(text)
            .map_err(|error| refused(error.span(), String::new(), error.message().to_owned()))?;
        let raw: Raw = toml::from_str(text).map_err(|error| {
            let key = error.span().and_then(|span| key_at(document.get_ref(), &span)).unwrap_or_default();
            refused(error.span(), key, found_expected(error.message()))
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        raw.meant(folder)
            .map_err(|BadValue { key, reason }| refused(span_of(document.get_ref(), &key), key, reason))
    }
}

impl Raw {
    fn meant(self, folder: &Path) -> Result<ConfigFile, BadValue> {
        let mut functions = BTreeMap::new();
        for (name, raw) in self.function {
            let key = format!("function.{name}");
            let name: FunctionName = name.parse().map_err(|error| BadValue::new(&key, error))?;
            let (component, config) = raw.meant(&key)?;
            let component = component.map(|component| folder.join(component));
            functions.insert(name, Function { component, config });
        }
        Ok(ConfigFile { functions, serve: self.serve.meant(folder)? })
    }
}

impl RawServe {
    fn meant(self, folder: &Path) -> Result<Serve, BadValue> {
        let address = |key: &str, text: Option<String>| {
            let parse = |text: String| {
                let reason = format!("found {text:?}, expected an address such as 127.0.0.1:8080");
                text.parse::<SocketAddr>().map_err(|_| BadValue::new(key, reason))
            };
            text.map(parse).transpose()
        };
        Ok(Serve {
            listen: address("serve.listen", self.listen)?,
            admin: address("serve.admin", self.admin)?,
            data_dir: self.data_dir.map(|data_dir| folder.join(data_dir)),
            instances_max: self.instances_max,
            body_max_bytes: size("serve.body_max", self.body_max)?,
            component_max_bytes: size("serve.component_max", self.component_max)?,
            drain_timeout: duration("serve.drain_timeout", self.drain_timeout)?,
            allow_overrides: self.allow_overrides,
        })
    }
}

/// Reads `64MiB`.
pub(super) fn size(key: &str, text: Option<String>) -> Result<Option<u64>, BadValue> {
    let parse = |text: String| {
        let reason = format!("found {text:?}, expected a size such as 64MiB");
        text.parse::<bytesize::ByteSize>().map(|size| size.0).map_err(|_| BadValue::new(key, reason))
    };
    text.map(parse).transpose()
}

/// Reads `10s`.
pub(super) fn duration(key: &str, text: Option<String>) -> Result<Option<Duration>, BadValue> {
    let parse = |text: String| {
        let reason = format!("found {text:?}, expected a time such as 10s or 500ms");
        humantime::parse_duration(&text).map_err(|_| BadValue::new(key, reason))
    };
    text.map(parse).transpose()
}

/// serde's words as ours: `found …, expected …`, and what is expected in words of TOML.
fn found_expected(message: &str) -> String {
    let message = message.trim_end();
    let rest = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let Some((found, expected)) = rest.and_then(|rest| rest.rsplit_once(", expected ")) else {
        return message.to_owned();
    };
    let expected = match expected {
        "u32" => "a whole number from 0 to 4294967295",
        "a sequence" => "an array",
        "a map" => "a table",
        other => other,
    };
    format!("found {found}, expected {expected}")
}

/// The number of the line that byte `at` is in.
fn line(text: &str, at: usize) -> usize {
    let before = &text.as_bytes()[..at.min(text.len())];
    before.split(|&byte| byte == b'\n').count()
}

/// Where the key with the dotted path `key` stands.
fn span_of(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    // Names of functions have no dots, or the file would have been refused before; a name that is
    // refused itself may have some, and is looked for as a whole.
    let (first, rest) = key.split_once('.').map_or((key, ""), |(first, rest)| (first, rest));
    let (found, value) = table.iter().find(|(name, _)| name.get_ref() == first || name.get_ref() == key)?;
    let below = value.get_ref().as_table().filter(|_| !rest.is_empty());
    below.and_then(|below| span_of(below, rest)).or(Some(found.span()))
}

/// The dotted path of the innermost key whose name or value covers `span`.
fn key_at(table: &DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let mut best: Option<(usize, String)> = None;
    visit(table, "", &mut |path, covers| {
        let inside = covers.start <= span.start && span.end <= covers.end;
        if inside && best.as_ref().is_none_or(|(length, _)| covers.len() <= *length) {
            best = Some((covers.len(), path.to_owned()));
        }
    });
    best.map(|(_, path)| path)
}

fn visit(table: &DeTable<'_>, above: &str, each: &mut dyn FnMut(&str, Range<usize>)) {
    for (key, value) in table {
        let path =
            if above.is_empty() { key.get_ref().to_string() } else { format!("{above}.{}", key.get_ref()) };
        each(&path, key.span());
        each(&path, value.span());
        match value.get_ref() {
            DeValue::Table(below) => visit(below, &path, each),
            DeValue::Array(items) => {
                for below in items.iter().filter_map(|item| item.get_ref().as_table()) {
                    visit(below, &path, each);
                }
            }
            _ => {}
        }
    }
}
