//! Writes a component whose core level is two modules.

use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentSectionId, ExportKind,
    InstanceSection, ModuleArg, RawSection,
    reencode::{Error, Reencode, ReencodeComponent, RoundtripReencoder},
};
use wasmparser::CanonicalFunction;

use crate::{
    NotFused,
    dispatch::Dispatch,
    memory,
    merge::{self, IMPORTS, MEMORY, REALLOCS},
    outer::Piece,
    plan::Plan,
};

/// The instance of the module with the memory, what the other one imports, and its instance.
const FIRST: u32 = 0;
const IMPORTED: u32 = 1;
const SECOND: u32 = 2;

/// Writes `pieces`, with `fused` components in the place of those that are not `None`, and the core level before
/// the first piece that needs it.
///
/// # Errors
/// The plan does not hold.
pub(crate) fn component(
    pieces: &[Piece<'_>],
    fused: &[Option<Vec<u8>>],
    plan: Option<&Plan<'_, '_>>,
) -> Result<Vec<u8>, NotFused> {
    let mut component = Component::new();
    let (mut core, mut fused) = (plan, fused.iter());
    let mut aliases = ComponentAliasSection::new();
    for piece in pieces {
        if let Piece::Alias(alias) = piece {
            aliases.alias(RoundtripReencoder.component_alias(alias.clone()).map_err(roundtrip)?);
            continue;
        }
        write_aliases(&mut component, &mut aliases);
        match piece {
            Piece::Raw { id, bytes } => {
                component.section(&RawSection { id: *id, data: bytes });
            }
            Piece::Component(bytes) => {
                let data = fused.next().and_then(Option::as_deref).unwrap_or(bytes);
                component.section(&RawSection { id: ComponentSectionId::Component.into(), data });
            }
            Piece::Lift(function) => {
                if let Some(plan) = core.take() {
                    write_core(&mut component, plan)?;
                }
                let plan = plan.ok_or(NotFused::NOWHERE)?;
                let mut section = CanonicalFunctionSection::new();
                Border { plan, function: Plan::exported }
                    .parse_component_canonical(&mut section, function.clone())?;
                component.section(&section);
            }
            Piece::Alias(_) => {}
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

/// The error of what changes nothing.
pub(crate) fn roundtrip(error: Error) -> NotFused {
    NotFused::Invalid { reason: error.to_string() }
}

/// The two modules, an instance of each, and between them what the host gives.
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
        Border { plan, function: Plan::realloc }.parse_component_canonical(&mut hosts, function.clone())?;
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

/// The component's core functions that `function` names.
///
/// # Errors
/// It cannot be written again.
pub(crate) fn functions_of(function: &CanonicalFunction) -> Result<Vec<u32>, NotFused> {
    let mut finder = Finder(Vec::new());
    finder.parse_component_canonical(&mut CanonicalFunctionSection::new(), function.clone())?;
    Ok(finder.0)
}

/// Notes the core functions that it meets.
struct Finder(Vec<u32>);

impl Reencode for Finder {
    type Error = NotFused;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotFused>> {
        self.0.push(function);
        Ok(function)
    }

    fn table_index(&mut self, _: u32) -> Result<u32, Error<NotFused>> {
        threads()
    }

    fn type_index(&mut self, _: u32) -> Result<u32, Error<NotFused>> {
        threads()
    }
}

impl ReencodeComponent for Finder {}

/// Rewrites functions on the border of the component, whose core functions `function` finds.
struct Border<'m, 'p, 'a> {
    plan: &'m Plan<'p, 'a>,
    function: fn(&Plan<'p, 'a>, u32) -> Result<u32, NotFused>,
}

impl Reencode for Border<'_, '_, '_> {
    type Error = NotFused;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotFused>> {
        (self.function)(self.plan, function).map_err(Error::UserError)
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error<NotFused>> {
        self.plan.check_memory(memory).map(|()| 0).map_err(Error::UserError)
    }
}

impl ReencodeComponent for Border<'_, '_, '_> {}

fn threads() -> Result<u32, Error<NotFused>> {
    NotFused::shape("a function of threads or core types", "those of functions, resources and streams")
        .map_err(Error::UserError)
}
