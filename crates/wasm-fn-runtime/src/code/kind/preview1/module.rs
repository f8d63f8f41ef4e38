//! A module that does not see the adapter's pages in its memory.
//!
//! The pages lie behind the module's own. `memory.size` leaves them out. `memory.grow` moves them up, so that
//! what the module gets follows what it has, and is zero.

use std::convert::Infallible;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ExportKind, ExportSection, Function, FunctionSection, GlobalSection,
    GlobalType, ImportSection, Module, SectionId, TypeSection, ValType,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{
    CodeSectionReader, CustomSectionReader, ExportSectionReader, ExternalKind, FunctionBody,
    FunctionSectionReader, GlobalSectionReader, ImportSectionReader, KnownCustom, MemoryType, Operator,
    Parser, Payload, TypeRef, TypeSectionReader,
};

use super::{MOVED, PREVIEW1};

/// Pages of the adapter: its stack and its state.
const ADAPTER_PAGES: u64 = 2;

/// Most pages of a 32-bit memory.
const PAGES_MAX: u64 = 1 << 16;

/// Bits of an address within a page.
const PAGE_BITS: i32 = 16;

/// The name of the function that the adapter asks for pages.
const REALLOC: &str = "cabi_realloc";

/// What of a module is changed or added, by its indices.
#[derive(Default)]
struct Parts {
    types: u32,
    imported_functions: u32,
    functions: u32,
    imported_globals: u32,
    globals: u32,
    /// The types of its memories, if it imports none.
    memories: Vec<MemoryType>,
    /// The memory that it exports for the adapter.
    exported: Option<u32>,
    imports_preview1: bool,
    imports_memory: bool,
    has_realloc: bool,
}

impl Parts {
    fn read(module: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut parts = Self::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    for group in section {
                        parts.types += u32::try_from(group?.types().len()).unwrap_or(u32::MAX);
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        parts.imports_preview1 |= import.module == PREVIEW1;
                        match import.ty {
                            TypeRef::Func(_) | TypeRef::FuncExact(_) => parts.imported_functions += 1,
                            TypeRef::Global(_) => parts.imported_globals += 1,
                            TypeRef::Memory(_) => parts.imports_memory = true,
                            TypeRef::Table(_) | TypeRef::Tag(_) => {}
                        }
                    }
                }
                Payload::FunctionSection(section) => parts.functions = section.count(),
                Payload::MemorySection(section) => {
                    parts.memories = section.into_iter().collect::<Result<_, _>>()?;
                }
                Payload::GlobalSection(section) => parts.globals = section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        match (export.kind, export.name) {
                            (ExternalKind::Memory, "memory") => parts.exported = Some(export.index),
                            (ExternalKind::Func, "cabi_realloc" | "canonical_abi_realloc") => {
                                parts.has_realloc = true;
                            }
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(parts)
    }

    /// The memory with the adapter's pages; `None` if the adapter gets its memory in another way, or has no
    /// use for it.
    fn memory(&self) -> Option<(u32, MemoryType)> {
        if self.has_realloc || self.imports_memory || !self.imports_preview1 {
            return None;
        }
        let index = self.exported?;
        let ty = *self.memories.get(usize::try_from(index).ok()?)?;
        let plain = !ty.memory64 && !ty.shared && ty.page_size_log2.is_none();
        plain.then_some((index, ty))
    }
}

/// `module` such that it does not see the adapter's pages; as it is if there are none.
///
/// # Errors
/// The module is malformed; says why.
pub(in crate::code::kind) fn with_hidden_pages(module: &[u8]) -> Result<Vec<u8>, String> {
    let parts = Parts::read(module).map_err(|error| error.to_string())?;
    let Some((memory, ty)) = parts.memory() else { return Ok(module.to_vec()) };
    let moved = parts.imported_functions;
    let mut rewriter = Rewriter {
        memory,
        pages_max: ty.maximum.unwrap_or(PAGES_MAX).min(PAGES_MAX),
        types: parts.types,
        moved,
        grow: moved + 1 + parts.functions,
        realloc: moved + 2 + parts.functions,
        hidden: parts.imported_globals + parts.globals,
        has_hidden: false,
    };
    let mut rewritten = Module::new();
    rewriter.parse_core_module(&mut rewritten, Parser::new(0), module).map_err(|error| error.to_string())?;
    Ok(rewritten.finish())
}

struct Rewriter {
    memory: u32,
    /// Most pages that the module itself may have.
    pages_max: u64,
    /// The types of the module; those that are added follow.
    types: u32,
    /// The added import, behind the other imports. All own functions move up by one.
    moved: u32,
    grow: u32,
    realloc: u32,
    /// The global with the number of the adapter's pages.
    hidden: u32,
    /// Whether that global was written.
    has_hidden: bool,
}

impl Rewriter {
    /// The type of `moved`, and behind it those of `grow` and `realloc`.
    fn add_types(types: &mut TypeSection) {
        types.ty().function([ValType::I32], []);
        types.ty().function([ValType::I32], [ValType::I32]);
        types.ty().function([ValType::I32; 4], [ValType::I32]);
    }

    fn add_hidden(&mut self, globals: &mut GlobalSection) {
        let ty = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
        globals.global(ty, &ConstExpr::i32_const(0));
        self.has_hidden = true;
    }

    /// Grows the module's own memory by a number of pages.
    fn grow(&self) -> Function {
        let (pages, own, zeroed) = (0, 1, 2);
        let mut function = Function::new([(2, ValType::I32)]);
        let mut code = function.instructions();
        code.memory_size(self.memory).global_get(self.hidden).i32_sub().local_set(own);
        // Its own limit: that of the memory includes the adapter's pages.
        let most = i32::try_from(self.pages_max).unwrap_or(i32::MAX);
        code.local_get(pages).i32_const(most).local_get(own).i32_sub().i32_gt_u();
        code.if_(BlockType::Empty).i32_const(-1).return_().end();
        code.local_get(pages).memory_grow(self.memory).i32_const(-1).i32_eq();
        code.if_(BlockType::Empty).i32_const(-1).return_().end();
        code.global_get(self.hidden).i32_eqz().local_get(pages).i32_eqz().i32_or();
        code.if_(BlockType::Empty).local_get(own).return_().end();
        let bytes = |code: &mut wasm_encoder::InstructionSink<'_>| {
            code.i32_const(PAGE_BITS).i32_shl();
        };
        code.local_get(own).local_get(pages).i32_add();
        bytes(&mut code);
        code.local_get(own);
        bytes(&mut code);
        code.global_get(self.hidden);
        bytes(&mut code);
        code.memory_copy(self.memory, self.memory);
        // What the adapter's pages leave is the module's now.
        code.local_get(pages).global_get(self.hidden).local_get(pages).global_get(self.hidden).i32_lt_u();
        code.select().local_set(zeroed);
        code.local_get(own);
        bytes(&mut code);
        code.i32_const(0).local_get(zeroed);
        bytes(&mut code);
        code.memory_fill(self.memory);
        code.local_get(pages);
        bytes(&mut code);
        code.call(self.moved).local_get(own).end();
        function
    }

    /// Gives the adapter new pages. It asks for nothing else.
    fn realloc(&self) -> Function {
        let (bytes, pages, at) = (3, 4, 5);
        let mut function = Function::new([(2, ValType::I32)]);
        let mut code = function.instructions();
        code.local_get(bytes).i32_const((1 << PAGE_BITS) - 1).i32_add().i32_const(PAGE_BITS).i32_shr_u();
        code.local_tee(pages).memory_grow(self.memory).local_tee(at).i32_const(-1).i32_eq();
        code.if_(BlockType::Empty).unreachable().end();
        code.global_get(self.hidden).local_get(pages).i32_add().global_set(self.hidden);
        code.local_get(at).i32_const(PAGE_BITS).i32_shl().end();
        function
    }
}

impl Reencode for Rewriter {
    type Error = Infallible;

    fn function_index(&mut self, function: u32) -> Result<u32, Error<Infallible>> {
        Ok(if function < self.moved { function } else { function + 1 })
    }

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_type_section(self, types, section)?;
        Self::add_types(types);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_import_section(self, imports, section)?;
        imports.import(PREVIEW1, MOVED, wasm_encoder::EntityType::Function(self.types));
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.types + 1).function(self.types + 2);
        Ok(())
    }

    fn parse_memory_section(
        &mut self,
        memories: &mut wasm_encoder::MemorySection,
        section: wasmparser::MemorySectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        for (index, memory) in (0..).zip(section) {
            let mut memory = self.memory_type(memory?)?;
            if index == self.memory {
                let with_adapter = |pages: u64| (pages + ADAPTER_PAGES).min(PAGES_MAX);
                memory.maximum = memory.maximum.map(with_adapter);
            }
            memories.memory(memory);
        }
        Ok(())
    }

    fn parse_global_section(
        &mut self,
        globals: &mut GlobalSection,
        section: GlobalSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_global_section(self, globals, section)?;
        self.add_hidden(globals);
        Ok(())
    }

    /// Adds the section of globals to a module without one. The section of exports follows in any module that
    /// has a memory for the adapter.
    fn intersperse_section_hook(
        &mut self,
        module: &mut Module,
        _: Option<SectionId>,
        before: Option<SectionId>,
    ) -> Result<(), Error<Infallible>> {
        if before == Some(SectionId::Export) && !self.has_hidden {
            let mut globals = GlobalSection::new();
            self.add_hidden(&mut globals);
            module.section(&globals);
        }
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(REALLOC, ExportKind::Func, self.realloc);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_code_section(self, code, section)?;
        code.function(&self.grow()).function(&self.realloc());
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            match operators.read()? {
                Operator::MemorySize { mem } if mem == self.memory => {
                    function.instructions().memory_size(mem).global_get(self.hidden).i32_sub();
                }
                Operator::MemoryGrow { mem } if mem == self.memory => {
                    function.instructions().call(self.grow);
                }
                operator => {
                    function.instruction(&self.instruction(operator)?);
                }
            }
        }
        code.function(&function);
        Ok(())
    }

    /// Keeps what the encoder of components reads. Other sections may name places in the code, which have
    /// moved.
    fn parse_custom_section(
        &mut self,
        module: &mut Module,
        section: CustomSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        let name = section.name();
        let kept = matches!(section.as_known(), KnownCustom::Name(_) | KnownCustom::Producers(_));
        if kept || name.starts_with("component-type") {
            utils::parse_custom_section(self, module, section)?;
        }
        Ok(())
    }
}
