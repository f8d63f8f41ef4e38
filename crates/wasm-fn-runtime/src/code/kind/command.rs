//! Checks a core module that is to run as a WASI command.

use wasmparser::{FuncType, MemoryType};

use super::{
    KindError,
    offer::{self, Offer},
    outline::{Item, Outline},
};

/// What a command exports.
const MEMORY: &str = "a memory that is exported as `memory`";
const START: &str = "a function `_start` without parameters and results";

/// Checks that `module` is a command that the adapter for preview 1 can run.
///
/// # Errors
/// It is not a command, imports what is not offered, or has no memory that the adapter can use.
pub(super) fn check(module: &Outline) -> Result<(), KindError> {
    let start = module.export("_start").ok_or_else(|| without_start(module))?;
    let missing: Vec<_> = module.imports.iter().filter_map(missing).collect();
    if !missing.is_empty() {
        return Err(KindError::Imports { missing });
    }
    let found = match start {
        Item::Function(ty) if ty.params().is_empty() && ty.results().is_empty() => {
            return check_memory(module);
        }
        Item::Function(ty) => format!("`_start` of type {}", signature(ty)),
        _ => "an export `_start` that is not a function".to_owned(),
    };
    Err(KindError::NotCommand { found, expected: START })
}

/// Why a module without `_start` is not a command.
fn without_start(module: &Outline) -> KindError {
    // Tools name the functions of an interface `INTERFACE#FUNCTION` before they make the component.
    let is_of_component = |name: &&String| name.contains('#') || name.starts_with("cm32p2|");
    let names = module.export_names();
    let found: Vec<_> = names.iter().filter(is_of_component).cloned().collect();
    if !found.is_empty() {
        KindError::NotComponent { found }
    } else if module.export("_initialize").is_some() {
        let found = "a reactor, which exports `_initialize` and not `_start`".to_owned();
        KindError::NotCommand { found, expected: START }
    } else {
        KindError::NoHandler { found: names }
    }
}

/// The name of an import that is not offered, with its type if only that is not.
fn missing((name, item): &(String, Item)) -> Option<String> {
    match (offer::to_module(name), item) {
        (Offer::Function(offered), Item::Function(ty)) if *offered == **ty => None,
        (Offer::Function(offered), Item::Function(ty)) => {
            Some(format!("{name} of type {} (offered as {})", signature(ty), signature(offered)))
        }
        (Offer::Function(_), _) => Some(format!("{name} that is not a function")),
        (Offer::Nothing, _) => Some(name.clone()),
    }
}

fn check_memory(module: &Outline) -> Result<(), KindError> {
    let refused = |found: &str, expected| Err(KindError::NotCommand { found: found.to_owned(), expected });
    match module.export("memory") {
        Some(Item::Memory(ty)) => match unusable(ty) {
            Some(found) => refused(found, "a 32-bit memory of one thread with pages of 64 KiB"),
            None => Ok(()),
        },
        Some(_) => refused("an export `memory` that is not a memory", MEMORY),
        None if module.memories.is_empty() => refused("no memory", MEMORY),
        None => refused("a memory that is not exported as `memory`", MEMORY),
    }
}

/// Why the adapter cannot use a memory.
fn unusable(ty: &MemoryType) -> Option<&'static str> {
    if ty.memory64 {
        Some("a 64-bit memory")
    } else if ty.shared {
        Some("a memory that threads share")
    } else if ty.page_size_log2.is_some() {
        Some("a memory with pages of another size")
    } else {
        None
    }
}

/// The type of a function, for people: `(i32, i64) -> (i32)`.
fn signature(ty: &FuncType) -> String {
    let list = |types: &[wasmparser::ValType]| {
        let types: Vec<_> = types.iter().map(ToString::to_string).collect();
        format!("({})", types.join(", "))
    };
    format!("{} -> {}", list(ty.params()), list(ty.results()))
}
