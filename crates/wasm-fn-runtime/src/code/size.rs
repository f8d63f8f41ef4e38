//! Limits the size of an instance without its memories and tables: what the engine keeps for each item of a
//! module.

use wasmparser::{ElementItems, Parser, Payload};

/// Largest instance of one module or component, bytes.
const BYTES_MAX: u64 = 4 << 20;

/// Bytes for an imported function, or one that may be called by reference, at most.
const FUNCTION_BYTES: u64 = 48;

/// Bytes for any other import, a global, a table, a memory, or a segment.
const OTHER_BYTES: u64 = 32;

/// Bytes for a canonical function of a component.
const CANONICAL_BYTES: u64 = 128;

/// Checks that instances of all modules and components in `component` are small enough.
///
/// # Errors
/// The component is malformed, or something in it is too large.
pub(crate) fn check(component: &[u8]) -> Result<(), String> {
    let mut sizes = vec![0_u64];
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(|error| error.to_string())?;
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => sizes.push(0),
            Payload::End(_) => drop(sizes.pop()),
            payload => {
                let bytes = bytes(payload).map_err(|error| error.to_string())?;
                let Some(size) = sizes.last_mut() else { continue };
                *size = size.saturating_add(bytes);
                if *size > BYTES_MAX {
                    return Err(format!(
                        "an instance takes over {BYTES_MAX} bytes beside its memories and tables"
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Bytes that the engine keeps for a section.
fn bytes(payload: Payload<'_>) -> wasmparser::Result<u64> {
    Ok(match payload {
        Payload::ImportSection(section) => FUNCTION_BYTES * u64::from(section.count()),
        Payload::ExportSection(section) => FUNCTION_BYTES * u64::from(section.count()),
        // A global may hold a function.
        Payload::GlobalSection(section) => (FUNCTION_BYTES + OTHER_BYTES) * u64::from(section.count()),
        Payload::TableSection(section) => OTHER_BYTES * u64::from(section.count()),
        Payload::MemorySection(section) => OTHER_BYTES * u64::from(section.count()),
        Payload::TagSection(section) => OTHER_BYTES * u64::from(section.count()),
        Payload::DataSection(section) => OTHER_BYTES * u64::from(section.count()),
        Payload::ElementSection(section) => {
            let mut bytes = 0;
            for element in section {
                let items = match element?.items {
                    ElementItems::Functions(items) => items.count(),
                    ElementItems::Expressions(_, items) => items.count(),
                };
                bytes += OTHER_BYTES + FUNCTION_BYTES * u64::from(items);
            }
            bytes
        }
        Payload::ComponentCanonicalSection(section) => CANONICAL_BYTES * u64::from(section.count()),
        Payload::ComponentImportSection(section) => CANONICAL_BYTES * u64::from(section.count()),
        Payload::ComponentAliasSection(section) => OTHER_BYTES * u64::from(section.count()),
        Payload::InstanceSection(section) => OTHER_BYTES * u64::from(section.count()),
        Payload::ComponentInstanceSection(section) => OTHER_BYTES * u64::from(section.count()),
        _ => 0,
    })
}

#[cfg(test)]
mod tests;
