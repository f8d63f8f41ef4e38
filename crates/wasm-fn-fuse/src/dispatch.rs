//! Direct calls in the place of calls through a table.
//!
//! The engine makes what a table's slot holds when an instance first calls it, which costs each request as much as
//! dozens of calls. Where a small table is filled once, and code only ever calls what is in it, a call of a slot is a
//! jump to one of a few calls that are known. A slot that holds no function of the type that is called leads to what
//! stands for the table's trap or, where the table has to stay, is called through it as before.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, TypeSection, ValType,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasmparser::{ElementItems, ElementKind, FuncType, Operator, SubType, TableInit};

use crate::{
    NotFused, constant,
    emit::roundtrip,
    link::{self, Own, count},
    plan::Plan,
    program::Program,
    shim::{has_plain_values, same},
    trap::TableTrap,
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
    /// Whether the finders are all that is left of the tables.
    replaces_tables: bool,
}

struct Finder<'p> {
    call: Call,
    ty: &'p FuncType,
    /// What the table holds, by slot; functions of another type are `None`.
    slots: BTreeMap<u32, Option<u32>>,
    size: u32,
}

/// Where a slot leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    Function(u32),
    /// Through a table, by the slot.
    Table(u32),
    /// To the trap that a table would end in.
    Trap(TableTrap),
}

/// A table: what its slots hold, each a function in the merged module, unless it was left out, and its type.
#[derive(Default)]
struct Held<'p> {
    size: u32,
    slots: BTreeMap<u32, (Option<u32>, &'p FuncType)>,
}

/// What code does with tables.
struct Uses<'p> {
    calls: BTreeMap<Call, &'p FuncType>,
    /// It does more than call, though it changes nothing.
    others: bool,
}

impl<'p> Dispatch<'p> {
    /// Plans the direct calls of `plan`; none, when a table may change, is large, or is filled with what is not known.
    pub(crate) fn new(plan: &Plan<'p, '_>) -> Result<Self, NotFused> {
        let mut dispatch =
            Self { functions_base: plan.ends.functions, types_base: plan.ends.types, ..Self::default() };
        let Some(mut tables) = tables(plan)? else { return Ok(dispatch) };
        let (Some(uses), Some(active)) = (uses(plan)?, fill(&mut tables, plan)?) else { return Ok(dispatch) };
        if uses.calls.len() > TYPES_MAX {
            return Ok(dispatch);
        }
        let (mut can_replace, none) = (active && !uses.others, Held::default());
        for (call, ty) in uses.calls {
            let held = tables.get(&call.0).unwrap_or(&none);
            let way = |&(function, held): &(Option<u32>, &FuncType)| function.filter(|_| same(held, ty));
            let slots: BTreeMap<_, _> = held.slots.iter().map(|(&slot, held)| (slot, way(held))).collect();
            // Of types with references it is not known which are the same.
            can_replace &= has_plain_values(ty);
            dispatch.finders.push(Finder { call, ty, slots, size: held.size });
        }
        dispatch.replaces_tables = can_replace;
        if !can_replace {
            dispatch.finders.retain(|finder| finder.slots.values().any(Option::is_some));
        }
        dispatch.by_call = dispatch.finders.iter().map(|finder| finder.call).zip(0..).collect();
        Ok(dispatch)
    }

    /// Whether no table is left.
    pub(crate) fn replaces_tables(&self) -> bool {
        self.replaces_tables
    }

    /// Whether there are functions that trap as a table would.
    fn traps(&self) -> bool {
        self.replaces_tables && !self.finders.is_empty()
    }

    /// The functions behind all others that are named, by their indices.
    pub(crate) fn names(&self) -> Result<Vec<(u32, &'static str)>, NotFused> {
        if !self.traps() {
            return Ok(Vec::new());
        }
        TableTrap::ALL.into_iter().map(|trap| Ok((self.trap(trap)?, trap.name()))).collect()
    }

    /// The function that ends in `trap`.
    fn trap(&self, trap: TableTrap) -> Result<u32, NotFused> {
        let before = count(&self.finders)?.checked_add(trap as u32);
        before.and_then(|before| self.functions_base.checked_add(before)).ok_or(NotFused::NOWHERE)
    }

    /// The function that stands for a call of type `ty` through `table`. It takes the slot after what is called with.
    pub(crate) fn function(&self, table: u32, ty: u32) -> Option<u32> {
        self.by_call.get(&(table, ty))?.checked_add(self.functions_base)
    }

    /// The functions that a call of type `ty` through `table` may find.
    pub(crate) fn found(&self, table: u32, ty: u32) -> impl Iterator<Item = u32> {
        let finder =
            self.by_call.get(&(table, ty)).and_then(|&at| self.finders.get(usize::try_from(at).ok()?));
        finder.into_iter().flat_map(|finder| finder.slots.values().copied().flatten())
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
            code.function(&finder.body(self)?);
        }
        if self.traps() {
            let ty = self.types_base.checked_add(count(&self.finders)?).ok_or(NotFused::NOWHERE)?;
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

impl Finder<'_> {
    fn body(&self, dispatch: &Dispatch<'_>) -> Result<Function, NotFused> {
        let params = count(self.ty.params())?;
        let functions: BTreeSet<_> = self.slots.values().copied().flatten().collect();
        let mut ways: Vec<_> = functions.into_iter().map(Way::Function).collect();
        let ends = if dispatch.replaces_tables {
            [TableTrap::OtherType, TableTrap::Empty, TableTrap::Outside].map(Way::Trap)
        } else {
            [Way::Table(self.call.0); 3]
        };
        ways.extend(BTreeSet::from(ends));
        let depths: BTreeMap<_, _> = (0..).zip(&ways).map(|(depth, way)| (*way, depth)).collect();
        let depth = |way: Way| depths.get(&way).copied().ok_or(NotFused::NOWHERE);
        let [other, empty, outside] = ends;
        let target = |slot| match self.slots.get(&slot) {
            Some(Some(function)) => depth(Way::Function(*function)),
            Some(None) => depth(other),
            None => depth(empty),
        };
        let targets = (0..self.size).map(target).collect::<Result<Vec<_>, _>>()?;

        let mut function = Function::new([]);
        let mut code = function.instructions();
        ways.iter().for_each(|_| {
            code.block(BlockType::Empty);
        });
        code.local_get(params).br_table(targets, depth(outside)?);
        for way in &ways {
            code.end();
            if let Way::Trap(trap) = way {
                code.call(dispatch.trap(*trap)?).unreachable();
                continue;
            }
            (0..params).for_each(|param| {
                code.local_get(param);
            });
            match *way {
                Way::Function(callee) => code.return_call(callee),
                Way::Table(table) => code.local_get(params).return_call_indirect(table, self.call.1),
                Way::Trap(_) => &mut code,
            };
        }
        code.end();
        Ok(function)
    }
}

/// Whether all types of `program` are functions by themselves, the same as others that look the same.
fn has_plain_types(program: &Program<'_>) -> bool {
    let plain = |ty: &SubType| ty.is_final && ty.supertype_idx.is_none();
    program.types.iter().all(|group| group.types().len() == 1 && group.types().all(plain))
}

/// The tables of `plan`, empty; `None` when they are large or something else is not plain.
fn tables<'p>(plan: &Plan<'p, '_>) -> Result<Option<HashMap<u32, Held<'p>>>, NotFused> {
    let (mut tables, mut slots) = (HashMap::new(), 0_u64);
    for &at in &plan.merged {
        let linked = plan.linked(at)?;
        if !has_plain_types(&linked.program) {
            return Ok(None);
        }
        for (index, table) in (count(&linked.tables)?..).zip(&linked.program.tables) {
            slots = slots.saturating_add(table.ty.initial);
            let size = u32::try_from(table.ty.initial).ok();
            let plain = !table.ty.table64 && matches!(table.init, TableInit::RefNull);
            let (true, true, Some(size)) = (plain, slots <= SLOTS_MAX, size) else { return Ok(None) };
            tables.insert(plan.table(at, index)?, Held { size, ..Held::default() });
        }
    }
    Ok(Some(tables))
}

/// What the code of `plan` does with tables; `None` when it changes one.
fn uses<'p>(plan: &Plan<'p, '_>) -> Result<Option<Uses<'p>>, NotFused> {
    let mut uses = Uses { calls: BTreeMap::new(), others: false };
    for &at in &plan.merged {
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

/// Fills `tables` as an instance of `plan` would; whether elements have no other purpose, or `None` when what they
/// are is not known.
fn fill<'p>(tables: &mut HashMap<u32, Held<'p>>, plan: &Plan<'p, '_>) -> Result<Option<bool>, NotFused> {
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
            // Where an element lies outside, no instance is ever made.
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
