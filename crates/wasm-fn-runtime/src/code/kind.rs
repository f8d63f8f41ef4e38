//! Recognises the kind of a guest by its exports, before anything is compiled, and refuses what this node
//! cannot run in words that say what was found and what was expected.

mod command;
mod offer;
mod outline;
mod preview1;

use std::fmt;

use wit_component::ComponentEncoder;

use outline::{Encoding, Item, Outline};

pub(super) use preview1::VERSION as PREVIEW1_VERSION;

/// How a guest is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A component with `wasi:http/incoming-handler@0.2`.
    Http02,
    /// A component with `wasi:http/handler@0.3`.
    Http03,
    /// A WASI command, run once a request with CGI semantics (RFC 3875).
    Command,
}

impl Kind {
    /// Its name for users.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http02 => "wasi:http 0.2",
            Self::Http03 => "wasi:http 0.3",
            Self::Command => "wasi command (CGI)",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why bytes are not a function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KindError {
    /// They are not WebAssembly.
    #[error("not WebAssembly: starts with {found}, expected the bytes 00 61 73 6d (\\0asm)")]
    NotWasm {
        /// The first bytes, in hexadecimal.
        found: String,
    },
    /// The WebAssembly is truncated or malformed.
    #[error("malformed WebAssembly: {reason}")]
    Malformed {
        /// Where and why.
        reason: String,
    },
    /// No export can be called.
    #[error(
        "exports no handler: found {}, expected wasi:http/incoming-handler@0.2.x, wasi:http/handler@0.3.x or, \
         in a WASI command, wasi:cli/run@0.2.x or _start",
        list(found)
    )]
    NoHandler {
        /// Its exports.
        found: Vec<String>,
    },
    /// A core module that is to become a component.
    #[error("core module with exports of a component: found {}, expected the component", list(found))]
    NotComponent {
        /// The exports of the component.
        found: Vec<String>,
    },
    /// A core module that cannot be run as a WASI command.
    #[error("module cannot run as a WASI command: found {found}, expected {expected}")]
    NotCommand {
        /// What was found.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// It is a command of WASI 0.3.
    #[error(
        "is a WASI 0.3 command: found {found}, expected wasi:http/handler@0.3, or wasi:cli/run@0.2 for a \
         command"
    )]
    Command03 {
        /// The export that requests would call.
        found: String,
    },
    /// It imports what the node does not offer.
    #[error(
        "imports what this node does not offer: {}; offered are released interfaces of wasi:* at 0.2.x and \
         0.3.x, wasi:config/store@0.2.0-rc.1, store, atomics and batch of wasi:keyvalue at 0.2.0-draft and \
         0.2.0-draft2, and wasi_snapshot_preview1 for commands",
        list(missing)
    )]
    Imports {
        /// Their names.
        missing: Vec<String>,
    },
}

impl KindError {
    /// How to solve the problem.
    pub fn help(&self) -> &'static str {
        const RELEASED: &str = "it is built for a draft of WASI: build it with released WIT 0.2.x or 0.3.0";
        let any = |names: &[String], is: fn(&str) -> bool| names.iter().any(|name| is(name));
        match self {
            Self::NotWasm { .. } => "deploy the .wasm file that your build makes, not its source",
            Self::Malformed { .. } => "build the component again; the file may be truncated",
            Self::NoHandler { found } if any(found, offer::is_draft) => RELEASED,
            Self::NoHandler { .. } => {
                "build for the wasi:http/proxy world, or as a WASI command whose output is a CGI response"
            }
            Self::Command03 { .. } => {
                "export wasi:http/handler@0.3 (the wasi:http/service world), or build the command for WASI 0.2"
            }
            Self::NotComponent { .. } => {
                "build for a target with components, such as wasm32-wasip2, or use `wasm-tools component new`"
            }
            Self::NotCommand { .. } => {
                "build it as a program with a main function, for example for wasm32-wasip1"
            }
            Self::Imports { missing } if any(missing, offer::is_config) => {
                "build it with WIT wasi:config@0.2.0-rc.1, and import only its interface `store`"
            }
            Self::Imports { missing } if any(missing, offer::is_keyvalue) => {
                "build it with WIT wasi:keyvalue@0.2.0-draft or 0.2.0-draft2, and import only its interfaces `store`, \
                 `atomics` and `batch`"
            }
            Self::Imports { missing } if any(missing, offer::is_draft) => RELEASED,
            Self::Imports { missing } if any(missing, offer::is_handler) => {
                "middleware calls the handler of another component: join both into one component, for example \
                 with `wac plug`, and deploy that"
            }
            Self::Imports { missing } if any(missing, |name| name.starts_with("wasi_unstable/")) => {
                "it is built for an older WASI: build it with tools that use wasi_snapshot_preview1"
            }
            Self::Imports { .. } => "leave out what needs these imports, or build it for another target",
        }
    }
}

/// Joins names, up to a dozen.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 12;
    match names.len() {
        0 => "none".to_owned(),
        n if n > SHOWN => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
        _ => names.join(", "),
    }
}

/// A guest whose kind is known.
pub(crate) struct Recognised {
    pub(crate) kind: Kind,
    /// Number of functions to compile.
    pub(crate) functions: u64,
    /// Whether it uses an interface of 0.3, whose functions may be asynchronous.
    pub(crate) concurrent: bool,
    /// The interfaces that a component imports, without their versions. A module imports none.
    pub(crate) imports: Vec<String>,
    encoding: Encoding,
}

/// Recognises a guest by its outermost imports and exports.
///
/// # Errors
/// The bytes are not WebAssembly, export no handler, or import what the node does not offer.
pub(crate) fn recognise(bytes: &[u8]) -> Result<Recognised, KindError> {
    if !bytes.starts_with(b"\0asm") {
        let found: Vec<_> = bytes.iter().take(4).map(|b| format!("{b:02x}")).collect();
        let found = if found.is_empty() { "nothing".to_owned() } else { found.join(" ") };
        return Err(KindError::NotWasm { found });
    }
    let outline = Outline::read(bytes).map_err(|reason| KindError::Malformed { reason })?;
    let kind = match outline.encoding {
        Encoding::Component => kind_of_component(&outline)?,
        Encoding::Module => {
            command::check(&outline)?;
            Kind::Command
        }
    };
    let concurrent = kind == Kind::Http03 || outline.imports.iter().any(|(name, _)| name.contains("@0.3."));
    let imports = match outline.encoding {
        Encoding::Component => outline.imports.iter().map(|(name, _)| unversioned(name).to_owned()).collect(),
        Encoding::Module => Vec::new(),
    };
    Ok(Recognised { kind, functions: outline.functions, concurrent, imports, encoding: outline.encoding })
}

/// `wasi:http/types` of `wasi:http/types@0.2.0`.
fn unversioned(name: &str) -> &str {
    name.split_once('@').map_or(name, |(name, _)| name)
}

/// The component to compile: the bytes themselves, or a core module wrapped by the published preview-1
/// adapter.
///
/// # Errors
/// The module does not fit the adapter.
pub(crate) fn into_component(recognised: &Recognised, bytes: Vec<u8>) -> Result<Vec<u8>, KindError> {
    match recognised.encoding {
        Encoding::Component => Ok(bytes),
        Encoding::Module => {
            let module = preview1::module(&bytes).map_err(|reason| KindError::Malformed { reason })?;
            ComponentEncoder::default()
                .module(&module)
                .and_then(|encoder| encoder.adapter(offer::PREVIEW1, &preview1::adapter()))
                .and_then(|encoder| encoder.adapter(offer::EMSCRIPTEN, offer::EMSCRIPTEN_ADAPTER))
                .and_then(|mut encoder| encoder.encode())
                .map_err(|error| not_adapted(&bytes, &format!("{error:#}")))
        }
    }
}

/// Why `module` does not fit the adapter.
fn not_adapted(module: &[u8], reason: &str) -> KindError {
    match validate(module) {
        Err(reason) => KindError::Malformed { reason },
        Ok(()) => KindError::NotCommand {
            found: format!("a module that does not fit the adapter for preview 1 ({reason})"),
            expected: "one that does",
        },
    }
}

/// Whether `bytes` are valid WebAssembly, with all features that there are.
///
/// # Errors
/// Where and why they are not.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), String> {
    let validated =
        wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all()).validate_all(bytes);
    validated.map(drop).map_err(|error| error.to_string())
}

/// Why no export of a component can be called.
fn no_handler(outline: &Outline) -> KindError {
    let found = outline.export_names();
    match found.iter().find(|name| name.starts_with("wasi:cli/run@0.3.") && !offer::is_draft(name)) {
        Some(command) => KindError::Command03 { found: command.clone() },
        None => KindError::NoHandler { found },
    }
}

/// The kind of a component.
fn kind_of_component(outline: &Outline) -> Result<Kind, KindError> {
    let exports = |wanted: &str, minor: u32| {
        outline.exports.iter().any(|(name, _)| {
            let found = name.split_once('@').map(|(name, version)| (name, offer::minor(version)));
            found == Some((wanted, Some(minor)))
        })
    };
    let kind = if exports("wasi:http/handler", 3) {
        Kind::Http03
    } else if exports("wasi:http/incoming-handler", 2) {
        Kind::Http02
    } else if exports("wasi:cli/run", 2) {
        Kind::Command
    } else {
        return Err(no_handler(outline));
    };
    let is_missing = |(name, item): &&(String, Item)| *item != Item::Type && !offer::is_offered(name);
    let missing: Vec<_> = outline.imports.iter().filter(is_missing).map(|(name, _)| name.clone()).collect();
    if missing.is_empty() { Ok(kind) } else { Err(KindError::Imports { missing }) }
}

#[cfg(test)]
mod tests;
