//! From a component to a fused one.

use wasmparser::{ComponentAlias, ComponentOuterAliasKind, Parser, Payload, Validator, WasmFeatures};

use crate::{
    NotFused, emit,
    outer::{Outer, Piece},
    plan::Plan,
    reach,
};

/// Changes when the same component would be fused to another one, or other data taken out of it.
pub const VERSION: u32 = 6;

/// Components within components within components are looked into so deep.
const DEPTH_MAX: u32 = 4;

/// `component` with two core instances wherever there were more.
///
/// # Errors
/// It is not valid, or nothing in it can be fused: why, in the outermost component that has core instances.
pub fn fuse(component: &[u8]) -> Result<Vec<u8>, NotFused> {
    validate(component).map_err(|reason| NotFused::Invalid { reason })?;
    check_modules_stay_inside(component)?;
    let fused = fuse_within(component, 0)?;
    validate(&fused).map_err(|reason| NotFused::Wrong { reason })?;
    Ok(fused)
}

fn validate(component: &[u8]) -> Result<(), String> {
    let validated = Validator::new_with_features(WasmFeatures::all()).validate_all(component);
    validated.map(drop).map_err(|error| error.to_string())
}

/// Modules are renumbered: a component within may not know those of one around it.
fn check_modules_stay_inside(component: &[u8]) -> Result<(), NotFused> {
    for payload in Parser::new(0).parse_all(component) {
        let Payload::ComponentAliasSection(aliases) = payload? else { continue };
        for alias in aliases {
            if let ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } = alias? {
                return NotFused::shape("a module of an outer component", "modules of its own");
            }
        }
    }
    Ok(())
}

fn fuse_within(component: &[u8], depth: u32) -> Result<Vec<u8>, NotFused> {
    let outer = Outer::read(component)?;
    let mut fused = Vec::new();
    let mut reason = NotFused::Few { found: outer.linker.programs.len() };
    if depth < DEPTH_MAX {
        for piece in &outer.pieces {
            let Piece::Component(within) = piece else { continue };
            match fuse_within(within, depth + 1) {
                Ok(component) => fused.push(Some(component)),
                Err(why) => {
                    if matches!(reason, NotFused::Few { .. }) {
                        reason = why;
                    }
                    fused.push(None);
                }
            }
        }
    }
    let plan = if outer.linker.programs.is_empty() { None } else { Some(reach::trim(Plan::new(&outer)?)?) };
    if plan.is_none() && fused.iter().all(Option::is_none) {
        return Err(reason);
    }
    emit::component(&outer.pieces, &fused, plan.as_ref())
}

#[cfg(test)]
mod tests;
