//! Recognises the kind of a guest by its exports, before anything is compiled.

use std::fmt;

use wasm_encoding::{Encoding, Outline};
use wit_component::ComponentEncoder;

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
        "exports no handler: found {}, expected wasi:http/incoming-handler@0.2, wasi:http/handler@0.3 or, \
         in a WASI command, wasi:cli/run@0.2 or _start",
        list(found)
    )]
    NoHandler {
        /// Its exports.
        found: Vec<String>,
    },
    /// It imports what the node does not offer.
    #[error(
        "imports what this node does not offer: {}; offered are wasi:* at 0.2 and 0.3, and \
         wasi_snapshot_preview1 for commands",
        list(missing)
    )]
    Imports {
        /// Their names.
        missing: Vec<String>,
    },
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
    let kind = kind_of(&outline).ok_or_else(|| KindError::NoHandler { found: outline.exports.clone() })?;
    let offered = match outline.encoding {
        Encoding::Component => offered_to_component,
        Encoding::Module => offered_to_module,
    };
    let missing: Vec<_> = outline.imports.iter().filter(|name| !offered(name)).cloned().collect();
    if !missing.is_empty() {
        return Err(KindError::Imports { missing });
    }
    let concurrent = kind == Kind::Http03 || outline.imports.iter().any(|name| name.contains("@0.3."));
    Ok(Recognised { kind, functions: outline.functions, concurrent, encoding: outline.encoding })
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
            let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER;
            ComponentEncoder::default()
                .module(&bytes)
                .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", adapter))
                .and_then(|mut encoder| encoder.encode())
                .map_err(|error| KindError::Malformed { reason: format!("{error:#}") })
        }
    }
}

fn kind_of(outline: &Outline) -> Option<Kind> {
    let exports = |wanted: &str| outline.exports.iter().any(|name| name.starts_with(wanted));
    match outline.encoding {
        Encoding::Module => outline.exports.iter().any(|name| name == "_start").then_some(Kind::Command),
        Encoding::Component if exports("wasi:http/handler@0.3.") => Some(Kind::Http03),
        Encoding::Component if exports("wasi:http/incoming-handler@0.2.") => Some(Kind::Http02),
        Encoding::Component if exports("wasi:cli/run@0.2.") => Some(Kind::Command),
        Encoding::Component => None,
    }
}

/// Whether the linker defines an interface. Linking checks the types of its functions.
fn offered_to_component(name: &str) -> bool {
    const PACKAGES: [&str; 7] = ["cli", "clocks", "filesystem", "http", "io", "random", "sockets"];
    let Some((package, rest)) = name.strip_prefix("wasi:").and_then(|name| name.split_once('/')) else {
        // The linker reports inline types and functions itself.
        return !name.contains(':');
    };
    let version = rest.split_once('@').map_or("", |(_, version)| version);
    let released = version.starts_with("0.2.") || version.starts_with("0.3.");
    PACKAGES.contains(&package) && released && !version.contains("-rc")
}

fn offered_to_module(name: &str) -> bool {
    name.starts_with("wasi_snapshot_preview1/")
}

/// Reads as much of the binary format as is needed.
mod wasm_encoding {
    use wasmparser::{Parser, Payload};

    #[derive(Clone, Copy)]
    pub(super) enum Encoding {
        Module,
        Component,
    }

    /// The outermost imports and exports, and the number of functions at any depth.
    pub(super) struct Outline {
        pub(super) encoding: Encoding,
        pub(super) imports: Vec<String>,
        pub(super) exports: Vec<String>,
        pub(super) functions: u64,
    }

    impl Outline {
        pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
            let mut outline =
                Self { encoding: Encoding::Module, imports: vec![], exports: vec![], functions: 0 };
            let mut depth = 0_u32;
            for payload in Parser::new(0).parse_all(bytes) {
                outline.take(payload.map_err(|error| error.to_string())?, &mut depth)?;
            }
            Ok(outline)
        }

        fn take(&mut self, payload: Payload<'_>, depth: &mut u32) -> Result<(), String> {
            let text = |error: wasmparser::BinaryReaderError| error.to_string();
            match payload {
                Payload::Version { encoding: wasmparser::Encoding::Component, .. } if *depth == 0 => {
                    self.encoding = Encoding::Component;
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => *depth += 1,
                Payload::End(_) => *depth = depth.saturating_sub(1),
                Payload::CodeSectionStart { count, .. } => self.functions += u64::from(count),
                Payload::ImportSection(section) if *depth == 0 => {
                    for import in section.into_imports() {
                        let import = import.map_err(text)?;
                        self.imports.push(format!("{}/{}", import.module, import.name));
                    }
                }
                Payload::ExportSection(section) if *depth == 0 => {
                    for export in section {
                        self.exports.push(export.map_err(text)?.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(section) if *depth == 0 => {
                    for import in section {
                        self.imports.push(import.map_err(text)?.name.name.to_owned());
                    }
                }
                Payload::ComponentExportSection(section) if *depth == 0 => {
                    for export in section {
                        self.exports.push(export.map_err(text)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
