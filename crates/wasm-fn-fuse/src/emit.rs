//! Writes a component whose core level consists of two modules.

mod guard;
mod memory;
mod merge;

use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentSectionId, ExportKind,
    InstanceSection, ModuleArg, RawSection,
    reencode::{Error, Reencode, ReencodeComponent, RoundtripReencoder},
};

use crate::{
    NotFused,
    error::roundtrip,
    plan::{Plan, dispatch::Dispatch},
    read::outer::{ComponentPart, OuterComponent},
};
use merge::{IMPORTS, MEMORY, REALLOCS};

/// The instance of the module with the memory, the imports of the other module, and its instance.
const FIRST: u32 = 0;
const IMPORTED: u32 = 1;
const SECOND: u32 = 2;

/// Writes the parts of `outer`, with nested components replaced by `fused` ones where they are not `None`.
/// The core level comes where its last instance was, so that whatever runs then runs in the same order.
///
/// # Errors
/// The plan is not consistent.
pub(crate) fn component(
    outer: &OuterComponent<'_>,
    fused: &[Option<Vec<u8>>],
    plan: Option<&Plan<'_, '_>>,
) -> Result<Vec<u8>, NotFused> {
    let mut component = Component::new();
    let (mut core, mut fused) = (plan, fused.iter());
    let mut aliases = ComponentAliasSection::new();
    for (at, part) in outer.parts.iter().enumerate() {
        if let Some(plan) = core.take_if(|_| at == outer.core_at) {
            write_aliases(&mut component, &mut aliases);
            write_core(&mut component, plan)?;
        }
        if let ComponentPart::Alias(alias) = part {
            aliases.alias(RoundtripReencoder.component_alias(alias.clone()).map_err(roundtrip)?);
            continue;
        }
        write_aliases(&mut component, &mut aliases);
        match part {
            ComponentPart::Raw { id, bytes } => {
                component.section(&RawSection { id: *id, data: bytes });
            }
            ComponentPart::Component(bytes) => {
                let data = fused.next().and_then(Option::as_deref).unwrap_or(bytes);
                component.section(&RawSection { id: ComponentSectionId::Component.into(), data });
            }
            ComponentPart::Lift(function) => {
                let plan = plan.ok_or(NotFused::NOWHERE)?;
                let mut section = CanonicalFunctionSection::new();
                CanonicalRewriter { plan, function: Plan::exported }
                    .parse_component_canonical(&mut section, function.clone())?;
                component.section(&section);
            }
            ComponentPart::Alias(_) => {}
        }
    }
    write_aliases(&mut component, &mut aliases);
    if let Some(plan) = core {
        write_core(&mut component, plan)?;
    }
    Ok(component.finish())
}

fn write_aliases(component: &mut Component, aliases: &mut ComponentAliasSection) {
    if !aliases.is_empty() {
        component.section(&std::mem::take(aliases));
    }
}

/// Writes the two modules, an instance of each, and between them the host's functions.
fn write_core(component: &mut Component, plan: &Plan<'_, '_>) -> Result<(), NotFused> {
    let dispatch = Dispatch::new(plan)?;
    for module in [memory::module(plan)?, merge::module(plan, &dispatch)?] {
        component.section(&RawSection { id: ComponentSectionId::CoreModule.into(), data: &module });
    }
    component.section(InstanceSection::new().instantiate(FIRST, NO_ARGS));
    let reallocs = plan.reallocs.count()?;
    let mut aliases = ComponentAliasSection::new();
    aliases.alias(export(FIRST, ExportKind::Memory, MEMORY));
    if reallocs > 0 {
        aliases.alias(export(FIRST, ExportKind::Table, REALLOCS));
    }
    for at in 0..reallocs {
        aliases.alias(export(FIRST, ExportKind::Func, &at.to_string()));
    }
    component.section(&aliases);

    let mut hosts = CanonicalFunctionSection::new();
    for &host in plan.hosts.keys() {
        let function = plan.linker.hosts.get(host).ok_or(NotFused::NOWHERE)?;
        CanonicalRewriter { plan, function: Plan::realloc }
            .parse_component_canonical(&mut hosts, function.clone())?;
    }
    if !hosts.is_empty() {
        component.section(&hosts);
    }

    let mut imported = vec![(MEMORY.to_owned(), ExportKind::Memory, 0)];
    if reallocs > 0 {
        imported.push((REALLOCS.to_owned(), ExportKind::Table, 0));
    }
    let hosts = (0..hosts.len()).map(|at| (at.to_string(), ExportKind::Func, reallocs + at));
    imported.extend(hosts);
    let mut instances = InstanceSection::new();
    instances.export_items(imported.iter().map(|(name, kind, index)| (name.as_str(), *kind, *index)));
    instances.instantiate(1, [(IMPORTS, ModuleArg::Instance(IMPORTED))]);
    component.section(&instances);

    let mut aliases = ComponentAliasSection::new();
    for at in 0..plan.exports.count()? {
        aliases.alias(export(SECOND, ExportKind::Func, &at.to_string()));
    }
    write_aliases(component, &mut aliases);
    Ok(())
}

const NO_ARGS: [(&str, ModuleArg); 0] = [];

fn export(instance: u32, kind: ExportKind, name: &str) -> Alias<'_> {
    Alias::CoreInstanceExport { instance, kind, name }
}

/// Rewrites canonical functions; `function` finds their core functions.
struct CanonicalRewriter<'m, 'p, 'a> {
    plan: &'m Plan<'p, 'a>,
    function: fn(&Plan<'p, 'a>, u32) -> Result<u32, NotFused>,
}

impl Reencode for CanonicalRewriter<'_, '_, '_> {
    type Error = NotFused;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotFused>> {
        (self.function)(self.plan, function).map_err(Error::UserError)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error<NotFused>> {
        self.plan.check_memory(memory).map(|()| 0).map_err(Error::UserError)
    }
}

impl ReencodeComponent for CanonicalRewriter<'_, '_, '_> {}
