//! Takes the data out of a component's memory, so that whoever makes the memory can have it there beforehand.

use std::ops::Range;

use wasm_encoder::{Component, Module, RawSection};
use wasmparser::{BinaryReaderError, Data, DataKind, MemoryType, Parser, Payload};

use crate::constant;

/// Size of a page of memory.
const PAGE_BYTES: u64 = 64 << 10;

/// Data is taken out when it lies so close together that at most so many bytes are zeros for each of data, ...
const ZEROS_MAX: usize = 2;

/// ... or there are no more of them than this.
const ZEROS_ANYWAY: usize = 1 << 20;

/// A component without the data of its memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Apart {
    /// What is left of it.
    pub component: Vec<u8>,
    /// Where in the memory the data begins: a multiple of what was asked for.
    pub start: usize,
    /// What every memory of an instance that is large enough for it has to have there before code of the guest runs; as
    /// many as a multiple of what was asked for. All other bytes are zero.
    pub data: Vec<u8>,
}

/// A module that defines a memory.
#[derive(Default)]
struct Home<'a> {
    /// Where the components around it lie, outermost first, and then the module.
    path: Vec<Range<usize>>,
    memories: Vec<MemoryType>,
    data: Vec<Data<'a>>,
    /// Whether code may name its data.
    is_named: bool,
}

/// Takes the data out of `component`, in whole pieces of `grain` bytes, a power of two that divides 64 KiB.
///
/// `None` when it stays as it is: there is no data, or another memory that would be large enough for it, or its addresses
/// are not known or far apart, or code copies it.
pub fn take_data(component: &[u8], grain: usize) -> Option<Apart> {
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
    Some(Apart { component: without_data(component, &home.path).ok()?, start, data })
}

/// How large a memory is at first; `None` when that is more than there are addresses.
fn bytes_of(memory: &MemoryType) -> Option<usize> {
    let page_bytes = memory.page_size_log2.map_or(Some(PAGE_BYTES), |log| 1_u64.checked_shl(log))?;
    usize::try_from(memory.initial.checked_mul(page_bytes)?).ok()
}

/// Address and bytes of a segment; `None` when they are not known.
fn placed<'a>(data: &Data<'a>) -> Option<(usize, &'a [u8])> {
    let DataKind::Active { memory_index: 0, offset_expr } = &data.kind else { return None };
    let offset = constant::evaluate(offset_expr, |_| None)?.cast_unsigned();
    Some((usize::try_from(offset).ok()?, data.data))
}

/// The one module that defines memories and has data, and the memories of others; `None` when there are several, or none.
fn homes(component: &[u8]) -> Result<Option<(Home<'_>, Vec<MemoryType>)>, BinaryReaderError> {
    let (mut found, mut others) = (None, Vec::new());
    let mut path: Vec<Range<usize>> = Vec::new();
    let mut homes = vec![Home::default()];
    for payload in Parser::new(0).parse_all(component) {
        let current = homes.last_mut();
        match (payload?, current) {
            (
                Payload::ModuleSection { unchecked_range, .. }
                | Payload::ComponentSection { unchecked_range, .. },
                _,
            ) => {
                path.push(unchecked_range.clone());
                homes.push(Home { path: path.clone(), ..Home::default() });
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
                if home.data.is_empty() {
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

/// `bytes` without the data of the module that `path` leads to.
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

/// The sections of a module or component, without those of what is in it.
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
