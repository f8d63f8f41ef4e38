//! What a start function calls.

use std::collections::HashSet;

use wasmparser::Operator;

use super::{core_functions::core_functions, shim::Shim};
use crate::{
    NotFused,
    read::link::{Func, Linker, Own, at, count},
};

/// Whether a start function may call a function of `shim` before that is filled. Such a call traps.
///
/// # Errors
/// A body is malformed.
pub(super) fn meets_empty(linker: &Linker<'_>, shim: &Shim) -> Result<bool, NotFused> {
    let before = linker.programs.iter().enumerate().take(shim.filler.unwrap_or(0));
    for (program, linked) in before {
        let Some(start) = linked.program.start else { continue };
        if let Func::Own(start) = linked.function(program, start)
            && may_call(linker, shim.program, start)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether the function `start` may call a function of program `shim`, directly or indirectly. One that calls
/// through a table or a reference may call anything, and a host's function calls what allocates for it.
fn may_call(linker: &Linker<'_>, shim: usize, start: Own) -> Result<bool, NotFused> {
    let (mut reached, mut hosts, mut ahead) = (HashSet::new(), HashSet::new(), vec![start]);
    while let Some(own) = ahead.pop() {
        if own.program == shim {
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
                    match linked.function(own.program, function_index) {
                        Func::Own(called) => ahead.push(called),
                        Func::Host(host) if !hosts.insert(host) => {}
                        Func::Host(host) => {
                            let host = linker.hosts.get(host).ok_or(NotFused::NOWHERE)?;
                            for function in core_functions(host)? {
                                match at(&linker.functions, function)? {
                                    Func::Own(called) => ahead.push(called),
                                    Func::Host(_) => {}
                                }
                            }
                        }
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
