//! Reads a component: its core level for the linker, and the rest in parts that stay as they are.

use wasmparser::{
    CanonicalFunction, Chunk, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ComponentType, ComponentTypeRef, Encoding, Instance, Parser, Payload,
};

use super::{
    dedup::{HostFunctions, IndexSpace},
    link::Linker,
};
use crate::NotFused;

/// A part of a component that is kept.
pub(crate) enum ComponentPart<'a> {
    /// A section that does not refer to the core level.
    Raw { id: u8, bytes: &'a [u8] },
    /// A nested component.
    Component(&'a [u8]),
    /// An alias outside the core level.
    Alias(ComponentAlias<'a>),
    /// A function of the component, lifted from a core function.
    Lift(CanonicalFunction),
}

/// A component.
#[derive(Default)]
pub(crate) struct OuterComponent<'a> {
    /// In order. Their indices stay the same as long as none is left out.
    pub(crate) parts: Vec<ComponentPart<'a>>,
    pub(crate) linker: Linker<'a>,
    /// How many of the parts come before the last core instance.
    pub(crate) core_at: usize,
    functions: IndexSpace<'a>,
    types: IndexSpace<'a>,
    hosts: HostFunctions,
    lifted: bool,
    /// Whether an instance of a component comes after a core module's that runs something when it is made.
    interrupted: bool,
}

impl<'a> OuterComponent<'a> {
    /// Reads `bytes`.
    ///
    /// # Errors
    /// They are malformed, or their core level has an unsupported structure.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, NotFused> {
        let mut outer = Self::default();
        let (mut parser, mut read) = (Parser::new(0), 0);
        loop {
            let rest = bytes.get(read..).ok_or(NotFused::NOWHERE)?;
            let (consumed, payload) = match parser.parse(rest, true)? {
                Chunk::Parsed { consumed, payload } => (consumed, payload),
                Chunk::NeedMoreData(_) => return Err(NotFused::NOWHERE),
            };
            read += consumed;
            match payload {
                Payload::End(_) => return Ok(outer),
                // The parser continues after the nested item.
                Payload::ModuleSection { unchecked_range, .. } => {
                    read = unchecked_range.end;
                    outer.linker.module(bytes.get(unchecked_range).ok_or(NotFused::NOWHERE)?);
                }
                Payload::ComponentSection { unchecked_range, .. } => {
                    read = unchecked_range.end;
                    let within = bytes.get(unchecked_range).ok_or(NotFused::NOWHERE)?;
                    outer.parts.push(ComponentPart::Component(within));
                }
                payload => outer.take(bytes, payload)?,
            }
        }
    }

    fn take(&mut self, bytes: &'a [u8], payload: Payload<'a>) -> Result<(), NotFused> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => Ok(()),
            Payload::Version { .. } => NotFused::shape("a core module", "a component"),
            Payload::CoreTypeSection(_) => NotFused::shape("a core type", "none outside of modules"),
            Payload::ComponentStartSection { .. } => {
                NotFused::shape("a start function", "none in a component")
            }
            Payload::InstanceSection(section) => {
                for instance in section {
                    let instance = instance?;
                    if matches!(instance, Instance::Instantiate { .. }) {
                        self.check_order()?;
                        self.core_at = self.parts.len();
                    }
                    self.linker.instance(instance)?;
                }
                Ok(())
            }
            Payload::ComponentAliasSection(section) => {
                section.into_iter().try_for_each(|alias| self.take_alias(alias?))
            }
            Payload::ComponentCanonicalSection(section) => {
                section.into_iter().try_for_each(|function| self.take_function(function?))
            }
            Payload::CustomSection(section) if section.name() == "component-name" => Ok(()),
            payload => {
                check(&payload)?;
                self.count(&payload)?;
                self.note_order(&payload)?;
                let (id, range) = payload.as_section().ok_or(NotFused::NOWHERE)?;
                let bytes = bytes.get(range).ok_or(NotFused::NOWHERE)?;
                self.parts.push(ComponentPart::Raw { id, bytes });
                Ok(())
            }
        }
    }

    /// Refuses a core instance that the others cannot be joined with. All of them will be made where the last
    /// one was, and what runs then must run in the same order.
    fn check_order(&self) -> Result<(), NotFused> {
        if self.lifted {
            return NotFused::shape("a core instance after a lifted function", "all of them before");
        }
        if self.interrupted {
            return NotFused::shape(
                "an instance of a component between a start function and other core instances",
                "all of them before or after",
            );
        }
        Ok(())
    }

    fn take_alias(&mut self, alias: ComponentAlias<'a>) -> Result<(), NotFused> {
        match alias {
            ComponentAlias::CoreInstanceExport { instance_index, name, .. } => {
                self.linker.alias(instance_index, name)
            }
            ComponentAlias::InstanceExport { kind: ComponentExternalKind::Module, .. }
            | ComponentAlias::Outer {
                kind: ComponentOuterAliasKind::CoreModule | ComponentOuterAliasKind::CoreType,
                ..
            } => NotFused::shape("an alias of a core module or type", "all of them defined here"),
            alias => {
                match alias {
                    ComponentAlias::InstanceExport { kind, instance_index, name } => {
                        if let Some(space) = self.space(kind) {
                            space.alias(instance_index, name)?;
                        }
                    }
                    ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. } => {
                        self.types.define()?
                    }
                    _ => {}
                }
                self.parts.push(ComponentPart::Alias(alias));
                Ok(())
            }
        }
    }

    /// The index space of `kind`, if it is tracked.
    fn space(&mut self, kind: ComponentExternalKind) -> Option<&mut IndexSpace<'a>> {
        match kind {
            ComponentExternalKind::Func => Some(&mut self.functions),
            ComponentExternalKind::Type => Some(&mut self.types),
            _ => None,
        }
    }

    /// Counts the definitions of a section that is kept.
    fn count(&mut self, payload: &Payload<'a>) -> Result<(), NotFused> {
        let mut define = |kind| self.space(kind).map_or(Ok(()), IndexSpace::define);
        match payload {
            Payload::ComponentTypeSection(section) => {
                (0..section.count()).try_for_each(|_| define(ComponentExternalKind::Type))
            }
            Payload::ComponentImportSection(section) => {
                section.clone().into_iter().try_for_each(|import| define(import?.ty.kind()))
            }
            Payload::ComponentExportSection(section) => {
                section.clone().into_iter().try_for_each(|export| define(export?.kind))
            }
            _ => Ok(()),
        }
    }

    /// Notes instances of components that come after a start function.
    fn note_order(&mut self, payload: &Payload<'a>) -> Result<(), NotFused> {
        let Payload::ComponentInstanceSection(section) = payload else { return Ok(()) };
        for instance in section.clone() {
            let is_made = matches!(instance?, ComponentInstance::Instantiate { .. });
            self.interrupted |= is_made && self.linker.programs.iter().any(|it| it.program.start.is_some());
        }
        Ok(())
    }

    fn take_function(&mut self, function: CanonicalFunction) -> Result<(), NotFused> {
        if matches!(function, CanonicalFunction::Lift { .. }) {
            self.lifted = true;
            self.functions.define()?;
            self.parts.push(ComponentPart::Lift(function));
        } else if self.lifted {
            return NotFused::shape("a lowered function after a lifted one", "all of them before");
        } else {
            let next = self.linker.hosts.len();
            let first = self.hosts.first(&function, next, &self.functions, &self.types)?;
            self.linker.host(function, first);
        }
        Ok(())
    }
}

/// Refuses a section to be kept that refers to the core level.
fn check(payload: &Payload<'_>) -> Result<(), NotFused> {
    let module = |kind| kind == ComponentExternalKind::Module;
    let found = match payload {
        Payload::ComponentTypeSection(section) => {
            section.clone().into_iter().try_fold(false, |found, ty| {
                ty.map(|ty| found || matches!(ty, ComponentType::Resource { dtor: Some(_), .. }))
            })?
        }
        Payload::ComponentImportSection(section) => {
            section.clone().into_iter().try_fold(false, |found, import| {
                import.map(|import| found || matches!(import.ty, ComponentTypeRef::Module(_)))
            })?
        }
        Payload::ComponentExportSection(section) => section
            .clone()
            .into_iter()
            .try_fold(false, |found, export| export.map(|export| found || module(export.kind)))?,
        Payload::ComponentInstanceSection(section) => {
            section.clone().into_iter().try_fold(false, |found, instance| {
                instance.map(|instance| {
                    found
                        || match instance {
                            ComponentInstance::Instantiate { args, .. } => {
                                args.iter().any(|arg| module(arg.kind))
                            }
                            ComponentInstance::FromExports(exports) => {
                                exports.iter().any(|export| module(export.kind))
                            }
                        }
                })
            })?
        }
        _ => false,
    };
    if found {
        return NotFused::shape("a destructor, or a core module that is passed on", "neither");
    }
    Ok(())
}
