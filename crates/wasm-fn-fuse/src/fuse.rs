//! Fuses a component.

use wasmparser::{ComponentAlias, ComponentOuterAliasKind, Parser, Payload, Validator, WasmFeatures};

use crate::{
    NotFused, emit,
    plan::{Plan, reach},
    read::outer::{ComponentPart, OuterComponent},
};

/// Changes when the same component is fused differently, or other data is extracted from it.
pub const VERSION: u32 = 7;

/// Deepest nested component that is fused.
const DEPTH_MAX: u32 = 4;

/// Fuses `component` and nested ones, so that each has two core instances if it had more.
///
/// # Errors
/// It is not valid, or nothing in it can be fused. The reason is that of the outermost component with core
/// instances.
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

/// Refuses nested components that use modules of outer ones, since modules are renumbered.
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
    let outer = OuterComponent::read(component)?;
    let mut fused = Vec::new();
    let mut reason = NotFused::Few { found: outer.linker.programs.len() };
    if depth < DEPTH_MAX {
        for part in &outer.parts {
            let ComponentPart::Component(within) = part else { continue };
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
    emit::component(&outer, &fused, plan.as_ref())
}

#[cfg(test)]
mod tests;
