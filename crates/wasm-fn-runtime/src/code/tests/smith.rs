//! Core modules by wasm-smith, for the places that `program.rs` writes modules for. Every function ends: it
//! has fuel, and traps without.

use arbitrary::Unstructured;
use rand::{RngExt as _, rngs::StdRng};
use wasm_smith::{Config, Module};
use wasmparser::{Parser, Payload};

use super::interface::{Kind, Offer, Role};

/// Calls and rounds of loops in one module.
const FUEL: u32 = 120;

/// Random bytes for one module.
const BYTES: usize = 1500;

/// A module for `role` that imports some of `offers`, and what it imports; `None` if there is none for it.
pub(super) fn make(random: &mut StdRng, role: &Role, offers: &[Offer]) -> Option<(Vec<u8>, Vec<Offer>)> {
    let mut bytes = vec![0_u8; BYTES];
    random.fill(&mut bytes[..]);
    let imports: String = offers.iter().map(import).collect();
    let exports: String = role.exports.iter().map(|export| definition(&export.name, export.kind)).collect();
    let parsed = |text: String| wat::parse_str(format!("(module {text})")).expect("it is a module");
    let owns_memory = role.exports.iter().any(|export| matches!(export.kind, Kind::Memory { .. }));
    let config = Config {
        available_imports: Some(parsed(imports)),
        exports: Some(parsed(exports)),
        allow_start_export: role.has_start,
        canonicalize_nans: true,
        disallow_traps: random.random_bool(0.8),
        exceptions_enabled: false,
        gc_enabled: false,
        threads_enabled: false,
        relaxed_simd_enabled: false,
        bulk_memory_enabled: role.is_bold,
        reference_types_enabled: role.is_bold,
        memory_max_size_required: true,
        max_memories: 1,
        min_memories: u32::from(owns_memory),
        max_memory32_bytes: 4 << 16,
        max_tables: 2,
        max_table_elements: 40,
        max_data_segments: 4,
        max_element_segments: 4,
        max_elements: 8,
        max_funcs: 8,
        max_globals: 6,
        max_imports: 20,
        max_instructions: 60,
        max_types: 12,
        max_values: 4,
        ..Config::default()
    };
    let mut module = Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    module.ensure_termination(FUEL).ok()?;
    let module = module.to_bytes();
    let used = imported(&module, offers, owns_memory)?;
    Some((module, used))
}

fn import(offer: &Offer) -> String {
    format!("(import \"{}\" \"{}\" {})", offer.module, offer.field, offer.kind.text())
}

fn definition(name: &str, kind: Kind) -> String {
    match kind {
        Kind::Func(signature) => format!("(func (export \"{name}\"){} (unreachable))", signature.text()),
        Kind::Memory { pages, pages_max } => format!("(memory (export \"{name}\") {pages} {pages_max})"),
        Kind::Table { slots } => format!("(table (export \"{name}\") {slots} funcref)"),
        Kind::Global { ty, mutable } => {
            let (ty, zero) = (ty.name(), format!("({}.const 0)", ty.name()));
            let ty = if mutable { format!("(mut {ty})") } else { ty.to_owned() };
            format!("(global (export \"{name}\") {ty} {zero})")
        }
    }
}

/// What of `offers` the module imports; `None` if it has a memory that it should not have: a component with
/// several is not linked.
fn imported(module: &[u8], offers: &[Offer], owns_memory: bool) -> Option<Vec<Offer>> {
    let mut used = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        let section = match payload.ok()? {
            Payload::ImportSection(section) => section,
            Payload::MemorySection(memories) if memories.count() > 0 && !owns_memory => return None,
            _ => continue,
        };
        for import in section.into_imports() {
            let import = import.ok()?;
            let is_it = |offer: &&Offer| offer.module == import.module && offer.field == import.name;
            let offer = offers.iter().find(is_it)?;
            if !used.iter().any(|it: &Offer| it.module == offer.module && it.field == offer.field) {
                used.push(offer.clone());
            }
        }
    }
    Some(used)
}
