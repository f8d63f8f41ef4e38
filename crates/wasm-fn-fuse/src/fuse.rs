//! Fuses a component.

use wasmparser::{
    ComponentAlias, ComponentOuterAliasKind, KnownCustom, Name, Parser, Payload, Validator, WasmFeatures,
};

use crate::{
    NotFused, emit,
    plan::{Plan, reach},
    read::outer::{ComponentPart, OuterComponent},
    trap::TableTrap,
};

/// Changes when the same component is fused differently, or other data is extracted from it.
pub const VERSION: u32 = 9;

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
    check_names(component)?;
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

/// Refuses components with a function that has the name of a trap of a table, at any depth: by that name, the
/// functions that stand for these traps are recognised.
fn check_names(component: &[u8]) -> Result<(), NotFused> {
    for payload in Parser::new(0).parse_all(component) {
        let Payload::CustomSection(section) = payload? else { continue };
        let KnownCustom::Name(names) = section.as_known() else { continue };
        for names in names {
            // A section that is not as it should be names nothing from there on.
            let Ok(Name::Function(functions)) = names else { continue };
            if functions.into_iter().flatten().any(|function| TableTrap::of(function.name).is_some()) {
                return NotFused::shape("a function with the name of a table's trap", "another name");
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
