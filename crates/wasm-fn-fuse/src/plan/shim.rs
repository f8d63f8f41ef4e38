//! The shim: functions that call the contents of a table, so that a module can get its imports before they
//! exist. If all of it is known, the calls can be direct.

use std::collections::HashMap;

use wasmparser::{ElementItems, ElementKind, ExternalKind, FuncType, FunctionBody, Operator};

use crate::{
    constant,
    read::{
        link::{Func, Linked, Linker, Own, at},
        program::Program,
    },
};

/// A shim, and the targets of its functions.
pub(crate) struct Shim {
    /// The program that is the shim.
    pub(crate) program: usize,
    /// The program that fills its table, if it does nothing else.
    pub(crate) filler: Option<usize>,
    /// The target of each of its functions.
    pub(crate) calls: Vec<Func>,
}

/// The slot that a function of a shim calls, and its type.
struct ShimCall<'p> {
    slot: u32,
    ty: &'p FuncType,
}

/// The contents that a module puts into the table of a shim.
struct FilledTable<'p> {
    /// Functions by slot, each with its type.
    functions: HashMap<u32, (Func, &'p FuncType)>,
    /// Whether it also fills another table.
    others: bool,
}

impl Shim {
    /// The table that it calls through.
    pub(crate) fn table(&self) -> Own {
        table(self.program)
    }
}

fn table(program: usize) -> Own {
    Own { program, index: 0 }
}

/// Finds the shim of a component, if all of it is known. Otherwise it counts as an ordinary program.
pub(crate) fn find(linker: &Linker<'_>) -> Option<Shim> {
    let programs = &linker.programs;
    let (program, called) =
        programs.iter().enumerate().find_map(|(at, linked)| Some((at, calls(&linked.program)?)))?;
    let mut users = (0..programs.len()).filter(|&at| programs[at].tables.contains(&table(program)));
    let filler = users.next()?;
    if users.next().is_some() {
        return None;
    }
    let size = programs[program].program.tables.first()?.ty.initial;
    let filled = filled(&programs[filler], table(program), size)?;
    let resolve = |call: &ShimCall<'_>| {
        let (function, ty) = *filled.functions.get(&call.slot)?;
        // Otherwise the call would trap, or reach the shim again.
        let direct = !matches!(function, Func::Own(own) if own.program == program);
        (direct && same(call.ty, ty)).then_some(function)
    };
    let calls = called.iter().map(resolve).collect::<Option<_>>()?;
    Some(Shim { program, filler: (!filled.others).then_some(filler), calls })
}

/// Whether these types are the same in two modules.
pub(crate) fn same(a: &FuncType, b: &FuncType) -> bool {
    a == b && has_plain_values(a)
}

/// Whether it has no reference values, which may depend on types of its module.
pub(crate) fn has_plain_values(ty: &FuncType) -> bool {
    ty.params().iter().chain(ty.results()).all(|ty| !ty.is_reference_type())
}

/// The slots that the functions of `program` call; `None` when they do anything else, or when types that look
/// the same may not be.
fn calls<'p>(program: &'p Program<'_>) -> Option<Vec<ShimCall<'p>>> {
    let bare = program.has_plain_types()
        && program.imports.is_empty()
        && program.memories.is_empty()
        && program.globals.is_empty()
        && program.start.is_none()
        && !program.has_active_segments()
        && program.tables.len() == 1
        && program.exports.get("$imports").is_some_and(|(kind, _)| *kind == ExternalKind::Table);
    if !bare || program.bodies.len() != program.functions.len() {
        return None;
    }
    let signatures = program.signatures();
    let functions = program.functions.iter().zip(&program.bodies);
    let call = |(&index, body)| {
        let ty = at(&signatures, index).ok()??;
        Some(ShimCall { slot: slot(index, ty, body)?, ty })
    };
    functions.map(call).collect()
}

/// The slot that `body` calls with its own arguments, if it does nothing else.
fn slot(ty: u32, signature: &FuncType, body: &FunctionBody<'_>) -> Option<u32> {
    if body.get_locals_reader().ok()?.get_count() != 0 {
        return None;
    }
    let mut operators = body.get_operators_reader().ok()?.into_iter().map_while(Result::ok);
    for expected in 0..signature.params().len() {
        match operators.next()? {
            Operator::LocalGet { local_index } if usize::try_from(local_index) == Ok(expected) => {}
            _ => return None,
        }
    }
    let Operator::I32Const { value } = operators.next()? else { return None };
    match operators.next()? {
        Operator::CallIndirect { type_index, table_index: 0 } if type_index == ty => {}
        _ => return None,
    }
    let ends = matches!(operators.next()?, Operator::End) && operators.next().is_none();
    ends.then(|| u32::try_from(value).ok()).flatten()
}

/// The contents that `linked` puts into the `size` slots of `table`; `None` when it has functions, or
/// anything else that may use the table.
fn filled<'p>(linked: &'p Linked<'_>, table: Own, size: u64) -> Option<FilledTable<'p>> {
    let program = &linked.program;
    let bare = program.has_plain_types()
        && program.functions.is_empty()
        && program.tables.is_empty()
        && program.memories.is_empty()
        && program.globals.is_empty()
        && program.exports.is_empty()
        && program.start.is_none()
        && !program.has_active_data();
    if !bare {
        return None;
    }
    let signatures = program.signatures();
    let mut filled = FilledTable { functions: HashMap::new(), others: false };
    for element in &program.elements {
        let ElementKind::Active { table_index, offset_expr } = &element.kind else { return None };
        if at(&linked.tables, table_index.unwrap_or(0)).ok()? != table {
            filled.others = true;
            continue;
        }
        let ElementItems::Functions(functions) = &element.items else { return None };
        let offset = u32::try_from(constant::evaluate(offset_expr, |_| None)?).ok()?;
        if u64::from(offset) + u64::from(functions.count()) > size {
            return None;
        }
        for (slot, function) in (offset..).zip(functions.clone()) {
            let index = function.ok()?;
            let ty = at(&signatures, at(&linked.function_types, index).ok()?).ok()??;
            filled.functions.insert(slot, (at(&linked.functions, index).ok()?, ty));
        }
    }
    Some(filled)
}
