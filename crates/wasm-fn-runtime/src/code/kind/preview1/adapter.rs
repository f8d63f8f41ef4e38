//! The published adapter with two changes: the host gets the number with which a program exits, where the
//! adapter tells it no more than whether that is 0, and the adapter's pages can be moved.

use std::convert::Infallible;

use wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER as PUBLISHED;
use wasm_encoder::{
    CodeSection, ExportKind, ExportSection, Function, FunctionSection, ImportSection, Module, TypeSection,
    ValType,
    reencode::{Error, Reencode, utils},
};
use wasmparser::{
    CodeSectionReader, ExportSectionReader, FunctionBody, FunctionSectionReader, ImportSectionReader,
    KnownCustom, Name, Parser, Payload, TypeRef, TypeSectionReader,
};

use super::MOVED;

/// The largest number that the host takes. A larger one is not 0 either.
const NUMBER_MAX: i32 = 255;

/// What of the adapter is changed, by its indices.
#[derive(Default)]
struct Parts {
    types: u32,
    imported_functions: u32,
    functions: u32,
    /// The import that ends the program.
    exit: Option<u32>,
    /// The function that programs call to exit.
    proc_exit: Option<u32>,
    stack_pointer: Option<u32>,
    state: Option<u32>,
}

impl Parts {
    fn read(adapter: &[u8]) -> Result<Self, wasmparser::BinaryReaderError> {
        let mut parts = Self::default();
        for payload in Parser::new(0).parse_all(adapter) {
            match payload? {
                Payload::TypeSection(section) => parts.types = section.count(),
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        if let TypeRef::Func(_) = import.ty {
                            if is_exit(import.module, import.name) {
                                parts.exit = Some(parts.imported_functions);
                            }
                            parts.imported_functions += 1;
                        }
                    }
                }
                Payload::FunctionSection(section) => parts.functions = section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.name == "proc_exit" {
                            parts.proc_exit = Some(export.index);
                        }
                    }
                }
                Payload::CustomSection(section) => parts.name(&section)?,
                _ => {}
            }
        }
        Ok(parts)
    }

    /// Finds the globals by their names, as the encoder of components does.
    fn name(
        &mut self,
        section: &wasmparser::CustomSectionReader<'_>,
    ) -> Result<(), wasmparser::BinaryReaderError> {
        let KnownCustom::Name(names) = section.as_known() else { return Ok(()) };
        for names in names {
            let Name::Global(globals) = names? else { continue };
            for global in globals {
                let global = global?;
                match global.name {
                    "__stack_pointer" => self.stack_pointer = Some(global.index),
                    "internal_state_ptr" => self.state = Some(global.index),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn is_exit(module: &str, name: &str) -> bool {
    module.starts_with("wasi:cli/exit@") && name == "exit"
}

/// The changed adapter.
pub(in crate::code::kind) fn with_number_and_move() -> Vec<u8> {
    const KNOWN: &str = "the published adapter is the one that this was written for";
    let parts = Parts::read(PUBLISHED).expect(KNOWN);
    let (exit, proc_exit) = parts.exit.zip(parts.proc_exit).expect(KNOWN);
    let (stack_pointer, state) = parts.stack_pointer.zip(parts.state).expect(KNOWN);
    let mut rewriter = Rewriter {
        moved_type: parts.types,
        moved: parts.imported_functions + parts.functions,
        next: parts.imported_functions,
        exit,
        proc_exit,
        stack_pointer,
        state,
    };
    let mut module = Module::new();
    rewriter.parse_core_module(&mut module, Parser::new(0), PUBLISHED).expect(KNOWN);
    module.finish()
}

struct Rewriter {
    moved_type: u32,
    moved: u32,
    /// The function whose body is read next.
    next: u32,
    exit: u32,
    proc_exit: u32,
    stack_pointer: u32,
    state: u32,
}

impl Rewriter {
    /// Exits with the number that the program gives.
    fn exit_with_number(&self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.local_get(0).i32_const(NUMBER_MAX);
        code.local_get(0).i32_const(NUMBER_MAX).i32_lt_u().select();
        code.call(self.exit).unreachable().end();
        function
    }

    /// Adds a distance to both addresses that the adapter keeps. Between two calls it keeps no others.
    fn follow_a_move(&self) -> Function {
        let mut function = Function::new([]);
        let mut code = function.instructions();
        code.global_get(self.stack_pointer).local_get(0).i32_add().global_set(self.stack_pointer);
        // 0 until it has a state.
        code.global_get(self.state).if_(wasm_encoder::BlockType::Empty);
        code.global_get(self.state).local_get(0).i32_add().global_set(self.state);
        code.end().end();
        function
    }
}

impl Reencode for Rewriter {
    type Error = Infallible;

    fn parse_type_section(
        &mut self,
        types: &mut TypeSection,
        section: TypeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_type_section(self, types, section)?;
        types.ty().function([ValType::I32], []);
        Ok(())
    }

    fn parse_import_section(
        &mut self,
        imports: &mut ImportSection,
        section: ImportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        for import in section.into_imports() {
            let import = import?;
            let name = if is_exit(import.module, import.name) { "exit-with-code" } else { import.name };
            imports.import(import.module, name, self.entity_type(import.ty)?);
        }
        Ok(())
    }

    fn parse_function_section(
        &mut self,
        functions: &mut FunctionSection,
        section: FunctionSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_function_section(self, functions, section)?;
        functions.function(self.moved_type);
        Ok(())
    }

    fn parse_export_section(
        &mut self,
        exports: &mut ExportSection,
        section: ExportSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_export_section(self, exports, section)?;
        exports.export(MOVED, ExportKind::Func, self.moved);
        Ok(())
    }

    fn parse_code_section(
        &mut self,
        code: &mut CodeSection,
        section: CodeSectionReader<'_>,
    ) -> Result<(), Error<Infallible>> {
        utils::parse_code_section(self, code, section)?;
        code.function(&self.follow_a_move());
        Ok(())
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error<Infallible>> {
        let function = self.next;
        self.next += 1;
        if function == self.proc_exit {
            code.function(&self.exit_with_number());
            return Ok(());
        }
        utils::parse_function_body(self, code, body)
    }
}
