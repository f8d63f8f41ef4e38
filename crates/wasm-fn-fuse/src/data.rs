//! Extracts the data of a component's memory, so that the memory can be made with its data.

use std::ops::Range;

use wasm_encoder::{Component, Module, RawSection};
use wasmparser::{BinaryReaderError, Data, DataKind, MemoryType, Parser, Payload, TypeRef};

use crate::constant;

/// Size of a page of memory.
const PAGE_BYTES: u64 = 64 << 10;

/// Data is extracted if there are at most this many zeros for each byte of data, ...
const ZEROS_MAX: usize = 2;

/// ... or at most this many zeros in all.
const ZEROS_ANYWAY: usize = 1 << 20;

/// A component, and the data of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractedData {
    /// The component without the data.
    pub component: Vec<u8>,
    /// Address of the data, a multiple of the grain.
    pub start: usize,
    /// The data, a multiple of the grain in length. Every memory of an instance that is large enough must
    /// hold it before the guest runs. All other bytes are zero.
    pub data: Vec<u8>,
}

/// A module that defines a memory.
#[derive(Default)]
struct MemoryModule<'a> {
    /// The positions of the components around it, outermost first, and then of the module.
    path: Vec<Range<usize>>,
    /// Its own memories, without imported ones.
    memories: Vec<MemoryType>,
    /// Whether it imports a memory. Its memory 0 is another module's then.
    imports_memory: bool,
    data: Vec<Data<'a>>,
    /// Whether code may refer to its data.
    is_named: bool,
}

/// Extracts the data of `component`, in multiples of `grain` bytes, a power of two that divides 64 KiB.
///
/// Returns `None` when there is no data, when another memory would be large enough for it, when its addresses
/// are unknown or far apart, or when code copies it.
pub fn extract_data(component: &[u8], grain: usize) -> Option<ExtractedData> {
    let (home, others) = homes(component).ok()??;
    let [memory] = home.memories.as_slice() else { return None };
    let plain = !memory.memory64 && !memory.shared && memory.page_size_log2.is_none();
    if !plain || home.is_named || home.data.is_empty() {
        return None;
    }
    let memory_bytes = bytes_of(memory)?;
    let placed: Vec<_> = home.data.iter().map(placed).collect::<Option<_>>()?;
    let start = placed.iter().map(|(offset, _)| *offset).min()? / grain * grain;
    let end = placed.iter().map(|(offset, bytes)| offset.saturating_add(bytes.len())).max()?;
    let bytes: usize = placed.iter().map(|(_, bytes)| bytes.len()).sum();
    let length = (end - start).checked_next_multiple_of(grain)?;
    let fits =
        |other: &MemoryType| other.memory64 || bytes_of(other).is_none_or(|bytes| bytes >= start + length);
    if others.iter().any(fits) {
        return None;
    }
    if bytes == 0 || end > memory_bytes || length > ZEROS_ANYWAY.max(bytes.saturating_mul(1 + ZEROS_MAX)) {
        return None;
    }
    let mut data = vec![0; length];
    for (offset, bytes) in placed {
        data[offset - start..][..bytes.len()].copy_from_slice(bytes);
    }
    Some(ExtractedData { component: without_data(component, &home.path).ok()?, start, data })
}

/// Initial size of a memory; `None` when that exceeds the address space.
fn bytes_of(memory: &MemoryType) -> Option<usize> {
    let page_bytes = memory.page_size_log2.map_or(Some(PAGE_BYTES), |log| 1_u64.checked_shl(log))?;
    usize::try_from(memory.initial.checked_mul(page_bytes)?).ok()
}

/// Address and bytes of a segment; `None` when the address is unknown.
fn placed<'a>(data: &Data<'a>) -> Option<(usize, &'a [u8])> {
    let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return None };
    let offset = constant::evaluate(offset_expr, |_| None)?.cast_unsigned();
    Some((usize::try_from(offset).ok()?, data.data))
}

/// The only module with data for its own memory, and the memories of other modules; `None` when there is no
/// such module, or several.
fn homes(component: &[u8]) -> Result<Option<(MemoryModule<'_>, Vec<MemoryType>)>, BinaryReaderError> {
    let (mut found, mut others) = (None, Vec::new());
    let mut path: Vec<Range<usize>> = Vec::new();
    let mut homes = vec![MemoryModule::default()];
    for payload in Parser::new(0).parse_all(component) {
        let current = homes.last_mut();
        match (payload?, current) {
            (
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. },
                _,
            ) => {
                path.push(unchecked_range.clone());
                homes.push(MemoryModule { path: path.clone(), ..MemoryModule::default() });
            }
            (Payload::ImportSection(section), Some(home)) => {
                for import in section.into_imports() {
                    home.imports_memory |= matches!(import?.ty, TypeRef::Memory(_));
                }
            }
            (Payload::MemorySection(section), Some(home)) => {
                home.memories = section.into_iter().collect::<Result<_, _>>()?;
            }
            (Payload::DataCountSection { .. }, Some(home)) => home.is_named = true,
            (Payload::DataSection(section), Some(home)) => {
                home.data = section.into_iter().collect::<Result<_, _>>()?;
            }
            (Payload::End(_), Some(_)) => {
                path.pop();
                let Some(home) = homes.pop() else { continue };
                // Data for an imported memory stays, and is written when the module gets its instance.
                if home.data.is_empty() || home.imports_memory {
                    others.extend(home.memories);
                } else if !home.memories.is_empty() && found.replace(home).is_some() {
                    return Ok(None);
                }
            }
            _ => {}
        }
    }
    Ok(found.map(|home| (home, others)))
}

/// `bytes` without the data of the module at `path`.
fn without_data(bytes: &[u8], path: &[Range<usize>]) -> Result<Vec<u8>, BinaryReaderError> {
    let Some((next, rest)) = path.split_first() else {
        let mut module = Module::new();
        for (id, range) in sections(bytes)? {
            if id != wasm_encoder::SectionId::Data as u8 {
                module.section(&RawSection { id, data: &bytes[range] });
            }
        }
        return Ok(module.finish());
    };
    let mut component = Component::new();
    for (id, range) in sections(bytes)? {
        if range == *next {
            let rest: Vec<_> =
                rest.iter().map(|within| within.start - next.start..within.end - next.start).collect();
            let data = &without_data(&bytes[range], &rest)?;
            component.section(&RawSection { id, data });
        } else {
            component.section(&RawSection { id, data: &bytes[range] });
        }
    }
    Ok(component.finish())
}

/// The sections of a module or component itself, without those of nested ones.
fn sections(bytes: &[u8]) -> Result<Vec<(u8, Range<usize>)>, BinaryReaderError> {
    let (mut sections, mut depth) = (Vec::new(), 0_u32);
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        if let Some(section) = payload.as_section().filter(|_| depth == 0) {
            sections.push(section);
        }
        match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(sections)
}

#[cfg(test)]
mod tests;
