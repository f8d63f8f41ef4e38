//! Direct calls in the place of calls through a table.
//!
//! The engine makes what a table's slot holds when an instance first calls it, which costs each request as much as
//! dozens of calls. Where a small table is filled once, and code only ever calls what is in it, a call of a slot is a
//! jump to one of a few calls that are known. A slot that holds no function of the type that is called is called
//! through the table as before, so that it ends in the same trap.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, TypeSection, ValType,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{ElementItems, ElementKind, FuncType, Operator, SubType, TableInit};

use crate::{
    NotFused, constant,
    emit::roundtrip,
    link::{self, count},
    plan::Plan,
    program::Program,
    shim::same,
};

/// Most slots of all tables: interpreters have thousands, of which they call few.
const SLOTS_MAX: u64 = 512;

/// Most types that are called.
const TYPES_MAX: usize = 128;

/// A table, and a type that is called there, by their indices in the merged module.
type Call = (u32, u32);

/// The functions that find what a slot calls.
#[derive(Default)]
pub(crate) struct Dispatch<'p> {
    finders: Vec<Finder<'p>>,
    /// Which of them stands for a call.
    by_call: HashMap<Call, u32>,
    functions_base: u32,
    types_base: u32,
}

struct Finder<'p> {
    call: Call,
    ty: &'p FuncType,
    /// By slot, the function in the merged module.
    slots: BTreeMap<u32, u32>,
}

/// What the slots of a table hold: each a function in the merged module, and its type.
type Slots<'p> = BTreeMap<u32, (u32, &'p FuncType)>;

impl<'p> Dispatch<'p> {
    /// Plans the direct calls of `plan`; none, when a table may change, is large, or is filled with what is not known.
    pub(crate) fn new(plan: &Plan<'p, '_>) -> Result<Self, NotFused> {
        let mut dispatch =
            Self { functions_base: plan.ends.functions, types_base: plan.ends.types, ..Self::default() };
        let mut slots = 0_u64;
        for &program in &plan.merged {
            let program = &plan.linked(program)?.program;
            let tables = program.tables.iter().map(|table| table.ty.initial);
            slots = tables.fold(slots, u64::saturating_add);
            let empty = program.tables.iter().all(|table| matches!(table.init, TableInit::RefNull));
            if slots > SLOTS_MAX || !empty || !has_plain_types(program) {
                return Ok(dispatch);
            }
        }
        let (Some(calls), Some(tables)) = (calls(plan)?, filled(plan)?) else { return Ok(dispatch) };
        if calls.len() > TYPES_MAX {
            return Ok(dispatch);
        }
        for (call, ty) in calls {
            let slots = tables.get(&call.0).into_iter().flatten();
            let slots = slots.filter(|(_, (_, held))| same(held, ty));
            let slots: BTreeMap<_, _> = slots.map(|(&slot, &(function, _))| (slot, function)).collect();
            if !slots.is_empty() {
                dispatch.by_call.insert(call, count(&dispatch.finders)?);
                dispatch.finders.push(Finder { call, ty, slots });
            }
        }
        Ok(dispatch)
    }

    /// The function that stands for a call of type `ty` through `table`. It takes the slot after what is called with.
    pub(crate) fn function(&self, table: u32, ty: u32) -> Option<u32> {
        self.by_call.get(&(table, ty))?.checked_add(self.functions_base)
    }

    /// Writes the functions, behind all others.
    pub(crate) fn write(
        &self,
        types: &mut TypeSection,
        functions: &mut FunctionSection,
        code: &mut CodeSection,
    ) -> Result<(), NotFused> {
        for (ty, finder) in (self.types_base..).zip(&self.finders) {
            let mut params = values(finder.ty.params())?;
            params.push(ValType::I32);
            types.ty().function(params, values(finder.ty.results())?);
            functions.function(ty);
            code.function(&finder.body()?);
        }
        Ok(())
    }
}

impl Finder<'_> {
    fn body(&self) -> Result<Function, NotFused> {
        let params = count(self.ty.params())?;
        // One call for each function, in a block that a jump to its slots leaves.
        let callees: BTreeSet<_> = self.slots.values().copied().collect();
        let first = self.slots.keys().next().copied().unwrap_or_default();
        let last = self.slots.keys().next_back().copied().unwrap_or_default();
        let none = u32::try_from(callees.len()).or(Err(NotFused::NOWHERE))?;
        let depths: HashMap<_, _> = callees.iter().copied().zip(0..).collect();
        let depth =
            |slot| self.slots.get(&slot).and_then(|callee| depths.get(callee)).copied().unwrap_or(none);
        let targets: Vec<_> = (first..=last).map(depth).collect();

        let mut function = Function::new([]);
        let mut code = function.instructions();
        (0..=callees.len()).for_each(|_| {
            code.block(BlockType::Empty);
        });
        code.local_get(params).i32_const(first.cast_signed()).i32_sub().br_table(targets, none).end();
        for &callee in &callees {
            (0..params).for_each(|param| {
                code.local_get(param);
            });
            code.return_call(callee).end();
        }
        (0..=params).for_each(|param| {
            code.local_get(param);
        });
        let (table, ty) = self.call;
        code.return_call_indirect(table, ty).end();
        Ok(function)
    }
}

/// Whether all types of `program` are functions by themselves, the same as others that look the same.
fn has_plain_types(program: &Program<'_>) -> bool {
    let plain = |ty: &SubType| ty.is_final && ty.supertype_idx.is_none();
    program.types.iter().all(|group| group.types().len() == 1 && group.types().all(plain))
}

/// The calls through tables that `plan` has, with their types; `None` when code changes a table.
fn calls<'p>(plan: &Plan<'p, '_>) -> Result<Option<BTreeMap<Call, &'p FuncType>>, NotFused> {
    let mut calls = BTreeMap::new();
    for &at in &plan.merged {
        let program = &plan.linked(at)?.program;
        let signatures = program.signatures();
        for body in &program.bodies {
            for operator in body.get_operators_reader()? {
                let (ty, table) = match operator? {
                    Operator::CallIndirect { type_index, table_index }
                    | Operator::ReturnCallIndirect { type_index, table_index } => (type_index, table_index),
                    Operator::TableSet { .. }
                    | Operator::TableGrow { .. }
                    | Operator::TableFill { .. }
                    | Operator::TableCopy { .. }
                    | Operator::TableInit { .. } => return Ok(None),
                    _ => continue,
                };
                let signature = link::at(&signatures, ty)?.ok_or(NotFused::NOWHERE)?;
                calls.insert((plan.table(at, table)?, plan.type_index(at, ty)?), signature);
            }
        }
    }
    Ok(Some(calls))
}

/// What tables hold when an instance has been made; `None` when that is not known.
fn filled<'p>(plan: &Plan<'p, '_>) -> Result<Option<HashMap<u32, Slots<'p>>>, NotFused> {
    let mut tables: HashMap<u32, Slots<'p>> = HashMap::new();
    for &at in &plan.merged {
        let linked = plan.linked(at)?;
        let signatures = linked.program.signatures();
        let imported = count(&linked.functions)?;
        let type_of = |function: u32| match function.checked_sub(imported) {
            None => link::at(&linked.function_types, function),
            Some(own) => link::at(&linked.program.functions, own),
        };
        for element in plan.elements(at)? {
            let ElementKind::Active { table_index, offset_expr } = &element.kind else { continue };
            let known = |global| link::at(&linked.constants, global).ok().flatten();
            let offset = constant::evaluate(offset_expr, known).and_then(|offset| u32::try_from(offset).ok());
            let (Some(offset), ElementItems::Functions(functions)) = (offset, &element.items) else {
                return Ok(None);
            };
            let slots = tables.entry(plan.table(at, table_index.unwrap_or(0))?).or_default();
            for (slot, function) in (offset..).zip(functions.clone()) {
                let function = function?;
                let ty = link::at(&signatures, type_of(function)?)?.ok_or(NotFused::NOWHERE)?;
                slots.insert(slot, (plan.function(at, function)?, ty));
            }
        }
    }
    Ok(Some(tables))
}

fn values(types: &[wasmparser::ValType]) -> Result<Vec<ValType>, NotFused> {
    types.iter().map(|&ty| RoundtripReencoder.val_type(ty).map_err(roundtrip)).collect()
}
