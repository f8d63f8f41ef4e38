//! What a start function calls.

use std::collections::HashSet;

use wasmparser::Operator;

use super::shim::Shim;
use crate::{
    NotFused,
    read::link::{Func, Linker, Own, count},
};

/// Whether the function `start` may call a function of `shim`, directly or indirectly. One that calls through
/// a table or a reference may call anything.
///
/// # Errors
/// A body is malformed.
pub(super) fn may_call_shim(linker: &Linker<'_>, shim: Option<&Shim>, start: Own) -> Result<bool, NotFused> {
    let (mut reached, mut ahead) = (HashSet::new(), vec![start]);
    while let Some(own) = ahead.pop() {
        if shim.is_some_and(|shim| shim.program == own.program) {
            return Ok(true);
        }
        if !reached.insert(own) {
            continue;
        }
        let linked = linker.programs.get(own.program).ok_or(NotFused::NOWHERE)?;
        let index = own.index.checked_sub(count(&linked.functions)?).ok_or(NotFused::NOWHERE)?;
        let body = usize::try_from(index).ok().and_then(|index| linked.program.bodies.get(index));
        for operator in body.ok_or(NotFused::NOWHERE)?.get_operators_reader()? {
            match operator? {
                Operator::Call { function_index } | Operator::ReturnCall { function_index } => {
                    if let Func::Own(called) = linked.function(own.program, function_index) {
                        ahead.push(called);
                    }
                }
                Operator::CallIndirect { .. }
                | Operator::ReturnCallIndirect { .. }
                | Operator::CallRef { .. }
                | Operator::ReturnCallRef { .. } => return Ok(true),
                _ => {}
            }
        }
    }
    Ok(false)
}
