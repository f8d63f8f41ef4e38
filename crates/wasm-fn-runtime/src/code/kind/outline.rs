//! Reads as much of the binary format as is needed to recognise a guest.

use std::sync::Arc;

use wasmparser::{
    BinaryReaderError, ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    ComponentTypeRef, CompositeInnerType, ExternalKind, FuncType, InstanceTypeDeclaration, MemoryType,
    Parser, Payload, TypeBounds, TypeRef,
};

/// Most bytes of the names of imports. Several imports may share the name of their module in the file.
const IMPORTS_BYTES_MAX: usize = 16 << 20;

/// The two binary formats.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Module,
    Component,
}

/// What is imported or exported.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// A function of a core module.
    Function(Arc<FuncType>),
    /// A memory of a core module.
    Memory(MemoryType),
    /// A type of a component, or an interface of types, which nobody has to provide.
    Type,
    /// Something else.
    Other(&'static str),
}

/// The outermost imports and exports, and the number of functions at any depth.
pub(super) struct Outline {
    pub(super) encoding: Encoding,
    /// Those of a module as `MODULE/NAME`.
    pub(super) imports: Vec<(String, Item)>,
    pub(super) exports: Vec<(String, Item)>,
    pub(super) functions: u64,
    /// The memories of a module, imported ones first.
    pub(super) memories: Vec<MemoryType>,
    /// Types of a module, by index; `None` for those that are not of functions.
    types: Vec<Option<Arc<FuncType>>>,
    /// Types of the functions of a module, imported ones first.
    function_types: Vec<u32>,
    /// Types of a component, by index: whether each is of an instance with types only.
    has_only_types: Vec<bool>,
    imports_bytes: usize,
}

impl Outline {
    /// Reads `bytes`.
    ///
    /// # Errors
    /// They are truncated or malformed.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let mut outline = Self {
            encoding: Encoding::Module,
            imports: vec![],
            exports: vec![],
            functions: 0,
            memories: vec![],
            types: vec![],
            function_types: vec![],
            has_only_types: vec![],
            imports_bytes: 0,
        };
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            let taken = payload.and_then(|payload| outline.take(payload, &mut depth));
            taken.map_err(|error| error.to_string())?;
            if outline.imports_bytes > IMPORTS_BYTES_MAX {
                return Err(format!("the names of its imports take over {IMPORTS_BYTES_MAX} bytes"));
            }
        }
        Ok(outline)
    }

    /// The names of its exports.
    pub(super) fn export_names(&self) -> Vec<String> {
        self.exports.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Its export `name`.
    pub(super) fn export(&self, name: &str) -> Option<&Item> {
        self.exports.iter().find(|(found, _)| found == name).map(|(_, item)| item)
    }

    fn take(&mut self, payload: Payload<'_>, depth: &mut u32) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::Version { encoding: wasmparser::Encoding::Component, .. } if *depth == 0 => {
                self.encoding = Encoding::Component;
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => *depth += 1,
            Payload::End(_) => *depth = depth.saturating_sub(1),
            Payload::CodeSectionStart { count, .. } => self.functions += u64::from(count),
            _ if *depth > 0 => {}
            payload if self.encoding == Encoding::Module => self.take_of_module(payload)?,
            payload => self.take_of_component(payload)?,
        }
        Ok(())
    }

    fn take_of_module(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    self.types.extend(group?.types().map(|ty| match &ty.composite_type.inner {
                        CompositeInnerType::Func(ty) => Some(Arc::new(ty.clone())),
                        _ => None,
                    }));
                }
            }
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let item = self.imported(import.ty);
                    self.import(format!("{}/{}", import.module, import.name), item);
                    if self.imports_bytes > IMPORTS_BYTES_MAX {
                        break;
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    self.function_types.push(ty?);
                }
            }
            Payload::MemorySection(section) => {
                for ty in section {
                    self.memories.push(ty?);
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let item = self.exported(export.kind, export.index);
                    self.exports.push((export.name.to_owned(), item));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take_of_component(&mut self, payload: Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::ComponentTypeSection(section) => {
                for ty in section {
                    self.has_only_types.push(has_only_types(&ty?));
                }
            }
            Payload::ComponentAliasSection(section) => {
                for alias in section {
                    if matches!(
                        alias?,
                        ComponentAlias::InstanceExport { kind: ComponentExternalKind::Type, .. }
                            | ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, .. }
                    ) {
                        self.has_only_types.push(false);
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    let import = import?;
                    let item = match import.ty {
                        ComponentTypeRef::Type(_) => {
                            self.has_only_types.push(false);
                            Item::Type
                        }
                        ComponentTypeRef::Instance(ty)
                            if self.has_only_types.get(ty as usize) == Some(&true) =>
                        {
                            Item::Type
                        }
                        _ => Item::Other("an item of a component"),
                    };
                    self.import(import.name.name.to_owned(), item);
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Type {
                        self.has_only_types.push(false);
                    }
                    self.exports.push((export.name.name.to_owned(), Item::Other("an item of a component")));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn import(&mut self, name: String, item: Item) {
        self.imports_bytes += name.len();
        self.imports.push((name, item));
    }

    fn imported(&mut self, ty: TypeRef) -> Item {
        match ty {
            TypeRef::Func(ty) | TypeRef::FuncExact(ty) => {
                self.function_types.push(ty);
                self.function(ty)
            }
            TypeRef::Memory(ty) => {
                self.memories.push(ty);
                Item::Memory(ty)
            }
            TypeRef::Table(_) => Item::Other("a table"),
            TypeRef::Global(_) => Item::Other("a global"),
            TypeRef::Tag(_) => Item::Other("a tag"),
        }
    }

    /// The item `index` of a module. Indices of nothing are found when the module is validated.
    fn exported(&self, kind: ExternalKind, index: u32) -> Item {
        let index = index as usize;
        match kind {
            ExternalKind::Func | ExternalKind::FuncExact => match self.function_types.get(index) {
                Some(&ty) => self.function(ty),
                None => Item::Other("a function"),
            },
            ExternalKind::Memory => {
                self.memories.get(index).map_or(Item::Other("a memory"), |&ty| Item::Memory(ty))
            }
            ExternalKind::Table => Item::Other("a table"),
            ExternalKind::Global => Item::Other("a global"),
            ExternalKind::Tag => Item::Other("a tag"),
        }
    }

    fn function(&self, ty: u32) -> Item {
        let ty = self.types.get(ty as usize).and_then(Option::as_ref);
        ty.map_or(Item::Other("a function"), |ty| Item::Function(ty.clone()))
    }
}

/// Whether `ty` is of an instance that exports types only, without resources, which somebody must provide.
fn has_only_types(ty: &ComponentType<'_>) -> bool {
    let ComponentType::Instance(declarations) = ty else { return false };
    let mut exports = declarations.iter().filter_map(|declaration| match declaration {
        InstanceTypeDeclaration::Export { ty, .. } => Some(ty),
        _ => None,
    });
    let is_type = |ty: &ComponentTypeRef| matches!(ty, ComponentTypeRef::Type(TypeBounds::Eq(_)));
    exports.next().is_some_and(is_type) && exports.all(is_type)
}
