//! The module with what must exist before anything is imported: the memory with its data, and trampolines to
//! functions that allocate in it.

use std::collections::HashMap;

use wasm_encoder::{
    CodeSection, ConstExpr, DataSection, ExportKind, ExportSection, Function, FunctionSection, MemorySection,
    Module, NameMap, NameSection, TableSection, TypeSection, ValType,
};

use super::merge::{MEMORY, REALLOCS, memory_type, reallocs_type};
use crate::{NotFused, plan::Plan, read::link::Own};

/// Parameters of a `realloc`: old address, old size, alignment, new size. It returns an address.
const PARAMETERS: u32 = 4;

/// Writes the module. The other module fills its table; until then, calls trap.
pub(crate) fn module(plan: &Plan<'_, '_>) -> Result<Vec<u8>, NotFused> {
    let mut module = Module::new();
    let (mut memories, mut exports, mut data) =
        (MemorySection::new(), ExportSection::new(), DataSection::new());
    memories.memory(memory_type(plan));
    exports.export(MEMORY, ExportKind::Memory, 0);
    for placed in &plan.data {
        let offset = ConstExpr::i32_const(placed.offset.cast_signed());
        data.active(0, &offset, placed.bytes.iter().copied());
    }
    if plan.reallocs.is_empty() {
        module.section(&memories).section(&exports).section(&data);
        return Ok(module.finish());
    }
    let (mut types, mut functions, mut tables, mut code) =
        (TypeSection::new(), FunctionSection::new(), TableSection::new(), CodeSection::new());
    types.ty().function([ValType::I32; PARAMETERS as usize], [ValType::I32]);
    tables.table(reallocs_type(plan)?);
    exports.export(REALLOCS, ExportKind::Table, 0);
    for at in 0..plan.reallocs.count()? {
        functions.function(0);
        exports.export(&at.to_string(), ExportKind::Func, at);
        code.function(&trampoline(at));
    }
    module.section(&types).section(&functions).section(&tables).section(&memories).section(&exports);
    module.section(&code).section(&data).section(&names(plan)?);
    Ok(module.finish())
}

/// A function that calls `slot` of the table.
fn trampoline(slot: u32) -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    (0..PARAMETERS).for_each(|parameter| {
        code.local_get(parameter);
    });
    code.i32_const(slot.cast_signed()).call_indirect(0, 0).end();
    function
}

/// Gives each trampoline the name of the function that it calls.
fn names(plan: &Plan<'_, '_>) -> Result<NameSection, NotFused> {
    let mut known = HashMap::new();
    for &program in &plan.merged {
        let names = plan.linked(program)?.program.names.iter();
        known.extend(names.map(|&(index, name)| (Own { program, index }, name)));
    }
    let mut functions = NameMap::new();
    for (at, own) in (0..).zip(plan.reallocs.iter()) {
        if let Some(name) = known.get(&own) {
            functions.append(at, name);
        }
    }
    let mut names = NameSection::new();
    names.module(MEMORY);
    names.functions(&functions);
    Ok(names)
}
