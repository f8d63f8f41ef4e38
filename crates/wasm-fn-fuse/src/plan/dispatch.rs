//! Replaces calls through a table by direct calls.
//!
//! The engine fills a table's slot when an instance first calls it, which costs each request as much as
//! dozens of calls. If a small table is filled once, and code only calls its contents, a call of a slot can
//! jump to one of a few known calls. A slot without a function of the called type leads to a function that
//! stands for the table's trap. If the table has to stay, such a slot is called through it as before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, TypeSection, ValType,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{ElementItems, ElementKind, FuncType, Operator, TableInit};

use super::{
    Plan,
    shim::{has_plain_values, same},
};
use crate::{
    NotFused, constant,
    error::roundtrip,
    read::link::{self, Own, count},
    trap::TableTrap,
};

/// Most slots of all tables. Interpreters have thousands, of which they call few.
const SLOTS_MAX: u64 = 512;

/// Most types of calls.
const TYPES_MAX: usize = 128;

/// A table and the type of a call through it, by their indices in the merged module.
type TableCall = (u32, u32);

/// The functions that dispatch calls of slots.
#[derive(Default)]
pub(crate) struct Dispatch<'p> {
    dispatchers: Vec<Dispatcher<'p>>,
    /// The dispatcher of each call.
    by_call: HashMap<TableCall, u32>,
    functions_base: u32,
    types_base: u32,
    /// Whether the dispatchers replace all tables.
    replaces_tables: bool,
    /// Whether there are guards of a shim, whose table is gone in any case.
    has_guards: bool,
}

struct Dispatcher<'p> {
    call: TableCall,
    ty: &'p FuncType,
    /// The contents of the table, by slot; `None` for functions of another type.
    slots: BTreeMap<u32, Option<u32>>,
    size: u32,
}

/// The target of a call of a slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum CallTarget {
    Function(u32),
    /// The slot of a table.
    Table(u32),
    /// The trap of a table.
    Trap(TableTrap),
}

/// The contents of a table. Each slot has a function of the merged module, unless that was left out, and its
/// type.
#[derive(Default)]
struct TableContents<'p> {
    size: u32,
    slots: BTreeMap<u32, (Option<u32>, &'p FuncType)>,
}

/// How code uses tables.
struct TableUses<'p> {
    calls: BTreeMap<TableCall, &'p FuncType>,
    /// Whether it does more than call, though it changes nothing.
    others: bool,
}

impl<'p> Dispatch<'p> {
    /// Plans the direct calls of `plan`. There are none when a table may change, is large, or has unknown
    /// contents.
    pub(crate) fn new(plan: &Plan<'p, '_>) -> Result<Self, NotFused> {
        let mut dispatch = Self {
            functions_base: plan.ends.functions,
            types_base: plan.ends.types,
            has_guards: plan.is_guarded(),
            ..Self::default()
        };
        let Some(mut tables) = tables(plan)? else { return Ok(dispatch) };
        let (Some(uses), Some(active)) = (uses(plan)?, fill(&mut tables, plan)?) else { return Ok(dispatch) };
        if uses.calls.len() > TYPES_MAX {
            return Ok(dispatch);
        }
        let (mut can_replace, none) = (active && !uses.others, TableContents::default());
        for (call, ty) in uses.calls {
            let held = tables.get(&call.0).unwrap_or(&none);
            let call_target =
                |&(function, held): &(Option<u32>, &FuncType)| function.filter(|_| same(held, ty));
            let slots: BTreeMap<_, _> =
                held.slots.iter().map(|(&slot, held)| (slot, call_target(held))).collect();
            // It is unknown which types with references are the same.
            can_replace &= has_plain_values(ty);
            dispatch.dispatchers.push(Dispatcher { call, ty, slots, size: held.size });
        }
        dispatch.replaces_tables = can_replace;
        if !can_replace {
            dispatch.dispatchers.retain(|dispatcher| dispatcher.slots.values().any(Option::is_some));
        }
        dispatch.by_call = dispatch.dispatchers.iter().map(|dispatcher| dispatcher.call).zip(0..).collect();
        Ok(dispatch)
    }

    /// Whether all tables are replaced.
    pub(crate) fn replaces_tables(&self) -> bool {
        self.replaces_tables
    }

    /// Whether there are functions that stand for traps of a table.
    fn traps(&self) -> bool {
        self.has_guards || self.replaces_tables && !self.dispatchers.is_empty()
    }

    /// The names of functions that stand for traps, by index.
    pub(crate) fn names(&self) -> Result<Vec<(u32, &'static str)>, NotFused> {
        if !self.traps() {
            return Ok(Vec::new());
        }
        TableTrap::ALL.into_iter().map(|trap| Ok((self.trap(trap)?, trap.name()))).collect()
    }

    /// The type after all of those here, and the function after all of these.
    pub(crate) fn ends(&self) -> Result<(u32, u32), NotFused> {
        let dispatchers = count(&self.dispatchers)?;
        let (types, functions) = if self.traps() { (1, count(&TableTrap::ALL)?) } else { (0, 0) };
        let end = |base: u32, more: u32| base.checked_add(dispatchers)?.checked_add(more);
        end(self.types_base, types).zip(end(self.functions_base, functions)).ok_or(NotFused::NOWHERE)
    }

    /// The function that stands for the trap of an empty slot. With guards there is one.
    pub(crate) fn empty_slot(&self) -> Result<u32, NotFused> {
        self.trap(TableTrap::Empty)
    }

    /// The function that stands for `trap`.
    fn trap(&self, trap: TableTrap) -> Result<u32, NotFused> {
        let before = count(&self.dispatchers)?.checked_add(trap as u32);
        before.and_then(|before| self.functions_base.checked_add(before)).ok_or(NotFused::NOWHERE)
    }

    /// The dispatcher for calls of type `ty` through `table`. It takes the slot after the arguments.
    pub(crate) fn function(&self, table: u32, ty: u32) -> Option<u32> {
        self.by_call.get(&(table, ty))?.checked_add(self.functions_base)
    }

    /// The functions that a call of type `ty` through `table` may reach.
    pub(crate) fn found(&self, table: u32, ty: u32) -> impl Iterator<Item = u32> {
        let dispatcher =
            self.by_call.get(&(table, ty)).and_then(|&at| self.dispatchers.get(usize::try_from(at).ok()?));
        dispatcher.into_iter().flat_map(|dispatcher| dispatcher.slots.values().copied().flatten())
    }

    /// Writes the dispatchers, after all other functions.
    pub(crate) fn write(
        &self,
        types: &mut TypeSection,
        functions: &mut FunctionSection,
        code: &mut CodeSection,
    ) -> Result<(), NotFused> {
        for (ty, dispatcher) in (self.types_base..).zip(&self.dispatchers) {
            let mut params = values(dispatcher.ty.params())?;
            params.push(ValType::I32);
            types.ty().function(params, values(dispatcher.ty.results())?);
            functions.function(ty);
            code.function(&dispatcher.body(self)?);
        }
        if self.traps() {
            let ty = self.types_base.checked_add(count(&self.dispatchers)?).ok_or(NotFused::NOWHERE)?;
            types.ty().function([], []);
            for _ in TableTrap::ALL {
                functions.function(ty);
                code.function(&trapping());
            }
        }
        Ok(())
    }
}

/// A function that traps.
pub(crate) fn trapping() -> Function {
    let mut function = Function::new([]);
    function.instructions().unreachable().end();
    function
}

impl Dispatcher<'_> {
    fn body(&self, dispatch: &Dispatch<'_>) -> Result<Function, NotFused> {
        let params = count(self.ty.params())?;
        let functions: BTreeSet<_> = self.slots.values().copied().flatten().collect();
        let mut call_targets: Vec<_> = functions.into_iter().map(CallTarget::Function).collect();
        let ends = if dispatch.replaces_tables {
            [TableTrap::OtherType, TableTrap::Empty, TableTrap::Outside].map(CallTarget::Trap)
        } else {
            [CallTarget::Table(self.call.0); 3]
        };
        call_targets.extend(BTreeSet::from(ends));
        let depths: BTreeMap<_, _> =
            (0..).zip(&call_targets).map(|(depth, call_target)| (*call_target, depth)).collect();
        let depth = |call_target: CallTarget| depths.get(&call_target).copied().ok_or(NotFused::NOWHERE);
        let [other, empty, outside] = ends;
        let target = |slot| match self.slots.get(&slot) {
            Some(Some(function)) => depth(CallTarget::Function(*function)),
            Some(None) => depth(other),
            None => depth(empty),
        };
        let targets = (0..self.size).map(target).collect::<Result<Vec<_>, _>>()?;

        let mut function = Function::new([]);
        let mut code = function.instructions();
        call_targets.iter().for_each(|_| {
            code.block(BlockType::Empty);
        });
        code.local_get(params).br_table(targets, depth(outside)?);
        for call_target in &call_targets {
            code.end();
            if let CallTarget::Trap(trap) = call_target {
                code.call(dispatch.trap(*trap)?).unreachable();
                continue;
            }
            (0..params).for_each(|param| {
                code.local_get(param);
            });
            match *call_target {
                CallTarget::Function(callee) => code.return_call(callee),
                CallTarget::Table(table) => code.local_get(params).return_call_indirect(table, self.call.1),
                CallTarget::Trap(_) => &mut code,
            };
        }
        code.end();
        Ok(function)
    }
}

/// The tables of `plan`, empty; `None` when they are too large or not plain.
fn tables<'p>(plan: &Plan<'p, '_>) -> Result<Option<HashMap<u32, TableContents<'p>>>, NotFused> {
    let (mut tables, mut slots) = (HashMap::new(), 0_u64);
    for &at in &plan.merged {
        let linked = plan.linked(at)?;
        if !linked.program.has_plain_types() {
            return Ok(None);
        }
        if plan.is_guard(at) {
            // Its table is gone.
            continue;
        }
        for (index, table) in (count(&linked.tables)?..).zip(&linked.program.tables) {
            slots = slots.saturating_add(table.ty.initial);
            let size = u32::try_from(table.ty.initial).ok();
            let plain = !table.ty.table64 && matches!(table.init, TableInit::RefNull);
            let (true, true, Some(size)) = (plain, slots <= SLOTS_MAX, size) else { return Ok(None) };
            tables.insert(plan.table(at, index)?, TableContents { size, ..TableContents::default() });
        }
    }
    Ok(Some(tables))
}

/// How the code of `plan` uses tables; `None` when it changes one.
fn uses<'p>(plan: &Plan<'p, '_>) -> Result<Option<TableUses<'p>>, NotFused> {
    let mut uses = TableUses { calls: BTreeMap::new(), others: false };
    for &at in &plan.merged {
        if plan.is_guard(at) {
            continue;
        }
        let program = &plan.linked(at)?.program;
        let signatures = program.signatures();
        for (index, body) in (count(&plan.linked(at)?.functions)?..).zip(&program.bodies) {
            if plan.is_dead(Own { program: at, index }) {
                continue;
            }
            for operator in body.get_operators_reader()? {
                let (ty, table) = match operator? {
                    Operator::CallIndirect { type_index, table_index }
                    | Operator::ReturnCallIndirect { type_index, table_index } => (type_index, table_index),
                    Operator::TableSet { .. }
                    | Operator::TableGrow { .. }
                    | Operator::TableFill { .. }
                    | Operator::TableCopy { .. }
                    | Operator::TableInit { .. } => return Ok(None),
                    Operator::TableGet { .. }
                    | Operator::TableSize { .. }
                    | Operator::RefFunc { .. }
                    | Operator::ElemDrop { .. } => {
                        uses.others = true;
                        continue;
                    }
                    _ => continue,
                };
                let signature = link::at(&signatures, ty)?.ok_or(NotFused::NOWHERE)?;
                uses.calls.insert((plan.table(at, table)?, plan.type_index(at, ty)?), signature);
            }
        }
    }
    Ok(Some(uses))
}

/// Fills `tables` as an instance of `plan` would. Returns whether elements have no other purpose, or `None`
/// when they are unknown.
fn fill<'p>(
    tables: &mut HashMap<u32, TableContents<'p>>,
    plan: &Plan<'p, '_>,
) -> Result<Option<bool>, NotFused> {
    let mut active = true;
    for &at in &plan.merged {
        let linked = plan.linked(at)?;
        let signatures = linked.program.signatures();
        let imported = count(&linked.functions)?;
        let type_of = |function: u32| match function.checked_sub(imported) {
            None => link::at(&linked.function_types, function),
            Some(own) => link::at(&linked.program.functions, own),
        };
        for element in plan.elements(at)? {
            let ElementKind::Active { table_index, offset_expr } = &element.kind else {
                active = false;
                continue;
            };
            let known = |global| link::at(&linked.constants, global).ok().flatten();
            let offset = constant::evaluate(offset_expr, known).map(i32::cast_unsigned);
            let (Some(offset), ElementItems::Functions(functions)) = (offset, &element.items) else {
                return Ok(None);
            };
            let table =
                tables.get_mut(&plan.table(at, table_index.unwrap_or(0))?).ok_or(NotFused::NOWHERE)?;
            // If an element lies outside, no instance can be made.
            if u64::from(offset) + u64::from(functions.count()) > u64::from(table.size) {
                return Ok(None);
            }
            for (slot, function) in (offset..).zip(functions.clone()) {
                let function = function?;
                let ty = link::at(&signatures, type_of(function)?)?.ok_or(NotFused::NOWHERE)?;
                table.slots.insert(slot, (plan.function(at, function).ok(), ty));
            }
        }
    }
    Ok(Some(active))
}

fn values(types: &[wasmparser::ValType]) -> Result<Vec<ValType>, NotFused> {
    types.iter().map(|&ty| RoundtripReencoder.val_type(ty).map_err(roundtrip)).collect()
}
