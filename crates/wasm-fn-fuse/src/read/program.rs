//! Parses a core module.

use std::collections::HashMap;

use wasmparser::{
    CompositeInnerType, Data, DataKind, Element, ElementKind, ExternalKind, FuncType, FunctionBody, Global,
    KnownCustom, MemoryType, Name, Parser, Payload, RecGroup, SubType, Table, TypeRef,
};

use crate::NotFused;

/// An import of a module.
#[derive(Clone, Copy)]
pub(crate) struct Import<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
    pub(crate) ty: TypeRef,
}

/// The contents of a module. Custom sections other than names are left out, since they contain offsets.
#[derive(Default)]
pub(crate) struct Program<'a> {
    pub(crate) types: Vec<RecGroup>,
    pub(crate) imports: Vec<Import<'a>>,
    /// Types of its own functions.
    pub(crate) functions: Vec<u32>,
    pub(crate) tables: Vec<Table<'a>>,
    pub(crate) memories: Vec<MemoryType>,
    pub(crate) globals: Vec<Global<'a>>,
    pub(crate) exports: HashMap<&'a str, (ExternalKind, u32)>,
    pub(crate) start: Option<u32>,
    pub(crate) elements: Vec<Element<'a>>,
    pub(crate) data: Vec<Data<'a>>,
    pub(crate) bodies: Vec<FunctionBody<'a>>,
    pub(crate) name: Option<&'a str>,
    /// Names of functions by index, including imported ones.
    pub(crate) names: Vec<(u32, &'a str)>,
}

#[cfg(test)]
thread_local! {
    /// How often this thread listed the types of a program.
    pub(crate) static LISTED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

impl<'a> Program<'a> {
    /// Parses `bytes`.
    ///
    /// # Errors
    /// They are malformed, or use a feature that cannot be moved to another module.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, NotFused> {
        let mut program = Self::default();
        for payload in Parser::new(0).parse_all(bytes) {
            program.take(payload?)?;
        }
        Ok(program)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<(), NotFused> {
        match payload {
            Payload::TypeSection(section) => self.types = all(section)?,
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.imports.push(Import { module: import.module, name: import.name, ty: import.ty });
                }
            }
            Payload::FunctionSection(section) => self.functions = all(section)?,
            Payload::TableSection(section) => self.tables = all(section)?,
            Payload::MemorySection(section) => self.memories = all(section)?,
            Payload::GlobalSection(section) => self.globals = all(section)?,
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    self.exports.insert(export.name, (export.kind, export.index));
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(section) => self.elements = all(section)?,
            Payload::DataSection(section) => self.data = all(section)?,
            Payload::CodeSectionEntry(body) => self.bodies.push(body),
            Payload::CustomSection(section) => {
                if let KnownCustom::Name(names) = section.as_known() {
                    self.take_names(names);
                }
            }
            Payload::TagSection(_) => {
                return NotFused::shape("a module with tags", "no exceptions");
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads names, up to a malformed one. They are only for people.
    fn take_names(&mut self, names: wasmparser::NameSectionReader<'a>) {
        for subsection in names {
            match subsection {
                Ok(Name::Module { name, .. }) => self.name = Some(name),
                Ok(Name::Function(names)) => {
                    self.names.extend(names.into_iter().map_while(Result::ok).map(|it| (it.index, it.name)));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
    }

    /// Its types, by index.
    pub(crate) fn subtypes(&self) -> impl Iterator<Item = &SubType> {
        self.types.iter().flat_map(RecGroup::types)
    }

    /// Its function types, by index; `None` for other types. This looks at every type, so nothing calls it
    /// for each function.
    pub(crate) fn signatures<'p>(&'p self) -> Vec<Option<&'p FuncType>> {
        #[cfg(test)]
        LISTED.set(LISTED.get() + 1);
        let signature = |ty: &'p SubType| match &ty.composite_type.inner {
            CompositeInnerType::Func(ty) => Some(ty),
            CompositeInnerType::Array(_) | CompositeInnerType::Struct(_) | CompositeInnerType::Cont(_) => {
                None
            }
        };
        self.subtypes().map(signature).collect()
    }

    /// Whether each of its types stands alone, by index. Such types are the same if they look the same.
    pub(crate) fn plain_types(&self) -> impl Iterator<Item = bool> {
        self.types.iter().flat_map(|group| {
            let is_alone = group.types().len() == 1;
            group.types().map(move |ty| is_alone && ty.is_final && ty.supertype_idx.is_none())
        })
    }

    /// Whether every type stands alone.
    pub(crate) fn has_plain_types(&self) -> bool {
        self.plain_types().all(|plain| plain)
    }

    /// Whether instantiating it writes to a memory or a table.
    pub(crate) fn has_active_segments(&self) -> bool {
        let active = |element: &Element<'_>| matches!(element.kind, ElementKind::Active { .. });
        self.has_active_data() || self.elements.iter().any(active)
    }

    /// Whether instantiating it writes to a memory.
    pub(crate) fn has_active_data(&self) -> bool {
        self.data.iter().any(|data| matches!(data.kind, DataKind::Active { .. }))
    }
}

fn all<'a, T: wasmparser::FromReader<'a>>(
    section: wasmparser::SectionLimited<'a, T>,
) -> Result<Vec<T>, NotFused> {
    Ok(section.into_iter().collect::<Result<_, _>>()?)
}
