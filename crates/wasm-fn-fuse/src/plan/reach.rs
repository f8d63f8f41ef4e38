//! Leaves out functions that are never called, and imports that only they use.
//!
//! Tools leave out functions that no other function calls, but keep everything in a table. If the targets of
//! calls through a table are known, functions of a type that is never called there are never called.

use std::collections::{HashMap, HashSet};

use wasmparser::{FunctionBody, Operator};

use super::{Plan, dispatch::Dispatch};
use crate::{
    NotFused,
    read::link::{Own, count},
};

/// Removes functions that are never called from `plan`.
///
/// # Errors
/// A body is malformed.
pub(crate) fn trim<'p, 'a>(mut plan: Plan<'p, 'a>) -> Result<Plan<'p, 'a>, NotFused> {
    let dispatch = Dispatch::new(&plan)?;
    // If a table stays, everything in it may be called.
    if dispatch.replaces_tables() {
        let reached = reached(&plan, &dispatch)?;
        plan.keep(&reached)?;
    }
    Ok(plan)
}

/// The functions of the merged module that are called from outside, directly or indirectly.
fn reached(plan: &Plan<'_, '_>, dispatch: &Dispatch<'_>) -> Result<HashSet<u32>, NotFused> {
    let bodies = bodies(plan)?;
    let (mut reached, mut called) = (HashSet::new(), HashSet::new());
    let mut ahead = roots(plan)?;
    while let Some(function) = ahead.pop() {
        if !reached.insert(function) {
            continue;
        }
        let Some(&(own, body)) = bodies.get(&function) else { continue };
        let program = own.program;
        if plan.is_guard(program) {
            ahead.push(plan.guarded(own.index)?);
            continue;
        }
        for operator in body.get_operators_reader()? {
            match operator? {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    let function = plan.function(program, function_index)?;
                    // A body may call one function millions of times.
                    if !reached.contains(&function) {
                        ahead.push(function);
                    }
                }
                Operator::CallIndirect { type_index, table_index }
                | Operator::ReturnCallIndirect { type_index, table_index } => {
                    let (table, ty) =
                        (plan.table(program, table_index)?, plan.type_index(program, type_index)?);
                    // So with calls through a table, each of which finds hundreds of functions.
                    if called.insert((table, ty)) {
                        ahead.extend(dispatch.found(table, ty));
                    }
                }
                _ => {}
            }
        }
    }
    Ok(reached)
}

/// The functions with a body.
fn bodies<'m>(plan: &'m Plan<'_, '_>) -> Result<HashMap<u32, (Own, &'m FunctionBody<'m>)>, NotFused> {
    let mut bodies = HashMap::new();
    for &program in &plan.merged {
        let linked = plan.linked(program)?;
        for (index, body) in (count(&linked.functions)?..).zip(&linked.program.bodies) {
            let own = Own { program, index };
            bodies.insert(plan.own_function(own)?, (own, body));
        }
    }
    Ok(bodies)
}

/// The functions that are called from outside, and those in globals.
fn roots(plan: &Plan<'_, '_>) -> Result<Vec<u32>, NotFused> {
    let entered = plan.exports.iter().chain(plan.reallocs.iter()).chain(plan.start);
    let mut roots = entered.map(|own| plan.own_function(own)).collect::<Result<Vec<_>, _>>()?;
    for &program in &plan.merged {
        for global in &plan.linked(program)?.program.globals {
            for operator in global.init_expr.get_operators_reader() {
                if let Operator::RefFunc { function_index } = operator? {
                    roots.push(plan.function(program, function_index)?);
                }
            }
        }
    }
    Ok(roots)
}
