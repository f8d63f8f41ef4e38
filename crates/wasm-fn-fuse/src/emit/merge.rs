//! The module with all the code.

use std::collections::BTreeSet;

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    FunctionSection, GlobalSection, GlobalType, ImportSection, Instruction, MemoryType, Module, NameMap,
    NameSection, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
    reencode::{self, Error, Reencode},
};
use wasmparser::{FunctionBody, Operator};

use super::guard;
use crate::{
    NotFused, constant,
    plan::{
        Plan,
        dispatch::{Dispatch, trapping},
    },
    read::link::{self, Own, at, count},
};

/// Module name of all imports.
pub(crate) const IMPORTS: &str = "";

/// Name of the memory.
pub(crate) const MEMORY: &str = "memory";

/// Name of the table of `realloc`s.
pub(crate) const REALLOCS: &str = "reallocs";

/// Index of that table in the merged module.
const REALLOCS_TABLE: u32 = 0;

/// Index of the global that says whether that table is filled.
const FILLED: u32 = 0;

/// Rewrites indices of a program to those of the merged module.
struct IndexRewriter<'m, 'p, 'a> {
    plan: &'m Plan<'p, 'a>,
    dispatch: &'m Dispatch<'p>,
    program: usize,
    /// Functions that code refers to. A program may have declared them by exporting them.
    referred: BTreeSet<u32>,
}

/// The merged module.
///
/// # Errors
/// A program has an item that cannot be moved.
pub(crate) fn module<'p>(plan: &Plan<'p, '_>, dispatch: &Dispatch<'p>) -> Result<Vec<u8>, NotFused> {
    let mut module = Module::new();
    let sections = Sections::of(plan, dispatch)?;
    module.section(&sections.types).section(&imports(plan)?).section(&sections.functions);
    module.section(&sections.tables).section(&sections.globals).section(&exports(plan)?);
    if let Some(start) = plan.start {
        let (_, opening) = dispatch.ends()?;
        let function_index = if plan.is_guarded() { opening } else { plan.own_function(start)? };
        module.section(&StartSection { function_index });
    }
    module.section(&sections.elements).section(&sections.code).section(&names(plan, dispatch)?);
    Ok(module.finish())
}

/// The sections that are copied from every program.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    functions: FunctionSection,
    tables: TableSection,
    globals: GlobalSection,
    elements: ElementSection,
    code: CodeSection,
}

impl Sections {
    fn of<'p>(plan: &Plan<'p, '_>, dispatch: &Dispatch<'p>) -> Result<Self, NotFused> {
        let mut sections = Self::default();
        if !plan.reallocs.is_empty() {
            let filled = GlobalType { val_type: ValType::I32, mutable: true, shared: false };
            sections.globals.global(filled, &ConstExpr::i32_const(0));
        }
        if plan.is_guarded() {
            sections.globals.global(guard::open_type(), &ConstExpr::i32_const(0));
        }
        let mut referred = BTreeSet::new();
        for &program in &plan.merged {
            let mut mover = IndexRewriter { plan, dispatch, program, referred: BTreeSet::new() };
            sections.add(&mut mover)?;
            referred.append(&mut mover.referred);
        }
        dispatch.write(&mut sections.types, &mut sections.functions, &mut sections.code)?;
        if let Some(start) = plan.start.filter(|_| plan.is_guarded()) {
            sections.types.ty().function([], []);
            sections.functions.function(dispatch.ends()?.0);
            sections.code.function(&guard::opening(plan, plan.own_function(start)?));
        }
        referred.extend(reallocs(plan)?);
        if !referred.is_empty() {
            let referred: Vec<_> = referred.into_iter().collect();
            sections.elements.declared(Elements::Functions(referred.into()));
        }
        Ok(sections)
    }

    fn add(&mut self, mover: &mut IndexRewriter<'_, '_, '_>) -> Result<(), NotFused> {
        let (plan, at) = (mover.plan, mover.program);
        let program = &plan.linked(at)?.program;
        for types in &program.types {
            mover.parse_recursive_type_group(self.types.ty(), types.clone())?;
        }
        for &ty in &program.functions {
            self.functions.function(mover.type_index(ty)?);
        }
        for global in &program.globals {
            mover.parse_global(&mut self.globals, global.clone())?;
        }
        if !mover.dispatch.replaces_tables() {
            // The table of a shim is gone.
            for table in program.tables.iter().filter(|_| !plan.is_guard(at)) {
                mover.parse_table(&mut self.tables, table.clone())?;
            }
            for element in plan.elements(at)? {
                mover.parse_element(&mut self.elements, element.clone())?;
            }
        }
        let imported = count(&plan.linked(at)?.functions)?;
        let signatures = if plan.is_guard(at) { program.signatures() } else { Vec::new() };
        for (index, body) in (imported..).zip(&program.bodies) {
            let own = Own { program: at, index };
            let entered = plan.exports.position(own).is_ok() || plan.start == Some(own);
            if plan.is_guard(at) && !plan.is_dead(own) {
                let ty = link::at(&signatures, link::at(&program.functions, index)?)?;
                let ty = ty.ok_or(NotFused::NOWHERE)?;
                self.code.function(&guard::body(plan, mover.dispatch, index, ty)?);
            } else if plan.is_dead(own) {
                // The index stays, so that all other indices stay.
                self.code.function(&trapping());
            } else if entered {
                mover.parse_entered_body(&mut self.code, body)?;
            } else {
                mover.parse_function_body(&mut self.code, body.clone())?;
            }
        }
        Ok(())
    }
}

/// The functions in the table of `realloc`s, in order.
fn reallocs(plan: &Plan<'_, '_>) -> Result<Vec<u32>, NotFused> {
    plan.reallocs.iter().map(|own| plan.own_function(own)).collect()
}

/// The type of the memory, which the other module defines.
pub(crate) fn memory_type(plan: &Plan<'_, '_>) -> MemoryType {
    let ty = plan.memory_type;
    MemoryType {
        minimum: ty.initial,
        maximum: ty.maximum,
        memory64: false,
        shared: false,
        page_size_log2: None,
    }
}

/// The type of the table of `realloc`s, which the other module defines. It is empty until the guest is first
/// entered.
pub(crate) fn reallocs_type(plan: &Plan<'_, '_>) -> Result<TableType, NotFused> {
    let slots = plan.reallocs.count()?.into();
    let (element_type, maximum) = (RefType::FUNCREF, Some(slots));
    Ok(TableType { element_type, minimum: slots, maximum, table64: false, shared: false })
}

fn imports(plan: &Plan<'_, '_>) -> Result<ImportSection, NotFused> {
    let mut imports = ImportSection::new();
    imports.import(IMPORTS, MEMORY, memory_type(plan));
    if !plan.reallocs.is_empty() {
        imports.import(IMPORTS, REALLOCS, reallocs_type(plan)?);
    }
    for (at, &(program, ty)) in plan.hosts.values().enumerate() {
        let ty = plan.type_index(program, ty)?;
        imports.import(IMPORTS, &at.to_string(), EntityType::Function(ty));
    }
    Ok(imports)
}

fn exports(plan: &Plan<'_, '_>) -> Result<ExportSection, NotFused> {
    let mut exports = ExportSection::new();
    for (at, own) in plan.exports.iter().enumerate() {
        exports.export(&at.to_string(), ExportKind::Func, plan.own_function(own)?);
    }
    Ok(exports)
}

/// Names of the module and of functions, for backtraces.
fn names(plan: &Plan<'_, '_>, dispatch: &Dispatch<'_>) -> Result<NameSection, NotFused> {
    let mut named = Vec::new();
    for &program in &plan.merged {
        let linked = plan.linked(program)?;
        let end = linked.functions.len() + linked.program.functions.len();
        let defined = linked.functions.len()..end;
        for &(index, name) in &linked.program.names {
            // Modules that import a function have other names for it.
            if usize::try_from(index).is_ok_and(|index| defined.contains(&index)) {
                named.push((plan.function(program, index)?, name));
            }
        }
    }
    named.extend(dispatch.names()?);
    named.sort_by_key(|(index, _)| *index);
    named.dedup_by_key(|(index, _)| *index);
    let mut functions = NameMap::new();
    named.iter().for_each(|&(index, name)| functions.append(index, name));
    let mut names = NameSection::new();
    if let Some(name) = plan.linked(plan.memory.program)?.program.name {
        names.module(name);
    }
    names.functions(&functions);
    Ok(names)
}

impl IndexRewriter<'_, '_, '_> {
    fn constant(&self, global: u32) -> Option<i32> {
        at(&self.plan.linked(self.program).ok()?.constants, global).ok()?
    }

    /// Writes the body of a function that is called from outside. The first call fills the table of
    /// `realloc`s.
    fn parse_entered_body(
        &mut self,
        code: &mut CodeSection,
        body: &FunctionBody<'_>,
    ) -> Result<(), NotFused> {
        let mut function = self.new_function_with_parsed_locals(body)?;
        let reallocs = reallocs(self.plan)?;
        if !reallocs.is_empty() {
            let mut fill = function.instructions();
            fill.global_get(FILLED).i32_eqz().if_(BlockType::Empty);
            for (slot, realloc) in (0..).zip(reallocs) {
                fill.i32_const(slot).ref_func(realloc).table_set(REALLOCS_TABLE);
            }
            fill.i32_const(1).global_set(FILLED).end();
        }
        let mut operators = body.get_operators_reader()?;
        while !operators.eof() {
            function.instruction(&self.parse_instruction(&mut operators)?);
        }
        code.function(&function);
        Ok(())
    }
}

impl Reencode for IndexRewriter<'_, '_, '_> {
    type Error = NotFused;

    fn type_index(&mut self, ty: u32) -> Result<u32, Error<NotFused>> {
        self.plan.type_index(self.program, ty).map_err(Error::UserError)
    }

    fn function_index(&mut self, function: u32) -> Result<u32, Error<NotFused>> {
        self.plan.function(self.program, function).map_err(Error::UserError)
    }

    fn table_index(&mut self, table: u32) -> Result<u32, Error<NotFused>> {
        self.plan.table(self.program, table).map_err(Error::UserError)
    }

    fn global_index(&mut self, global: u32) -> Result<u32, Error<NotFused>> {
        self.plan.global(self.program, global).map_err(Error::UserError)
    }

    /// Makes calls through a table direct if their targets are known.
    fn instruction<'a>(&mut self, operator: Operator<'a>) -> Result<Instruction<'a>, Error<NotFused>> {
        if let Operator::CallIndirect { type_index, table_index }
        | Operator::ReturnCallIndirect { type_index, table_index } = operator
        {
            let (table, ty) = (self.table_index(table_index)?, self.type_index(type_index)?);
            if let Some(function) = self.dispatch.function(table, ty) {
                let returns = matches!(operator, Operator::ReturnCallIndirect { .. });
                return Ok(if returns {
                    Instruction::ReturnCall(function)
                } else {
                    Instruction::Call(function)
                });
            }
        }
        if let Operator::RefFunc { function_index } = operator {
            let function = self.function_index(function_index)?;
            self.referred.insert(function);
        }
        reencode::utils::instruction(self, operator)
    }

    fn element_index(&mut self, element: u32) -> Result<u32, Error<NotFused>> {
        let base = self.plan.bases(self.program).map_err(Error::UserError)?.elements;
        element.checked_add(base).ok_or(Error::UserError(NotFused::NOWHERE))
    }

    fn memory_index(&mut self, memory: u32) -> Result<u32, Error<NotFused>> {
        if memory == 0 { Ok(0) } else { Err(Error::UserError(NotFused::NOWHERE)) }
    }

    fn data_index(&mut self, _: u32) -> Result<u32, Error<NotFused>> {
        NotFused::shape("code that names a data segment", "data that is written at the start")
            .map_err(Error::UserError)
    }

    /// Replaces expressions with known values by these, since the imports behind them are gone.
    fn const_expr(&mut self, expression: wasmparser::ConstExpr<'_>) -> Result<ConstExpr, Error<NotFused>> {
        if let Some(value) = constant::evaluate(&expression, |global| self.constant(global)) {
            return Ok(ConstExpr::i32_const(value));
        }
        for operator in expression.get_operators_reader() {
            if matches!(operator?, Operator::GlobalGet { .. }) {
                // In one module, only garbage collection would allow it.
                let found = "a constant that is another module's global, and no number of 32 bits";
                return NotFused::shape(found, "numbers of 32 bits").map_err(Error::UserError);
            }
        }
        reencode::utils::const_expr(self, expression)
    }
}
