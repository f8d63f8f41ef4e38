//! Guards of a shim: if a start function may call through it before it is filled, calls trap until the start
//! function has ended, as they did through the empty table.

use wasm_encoder::{BlockType, Function, GlobalType, ValType};
use wasmparser::FuncType;

use crate::{
    NotFused,
    plan::{Plan, dispatch::Dispatch},
    read::link::count,
};

/// The type of the global that says whether the start function has ended.
pub(super) fn open_type() -> GlobalType {
    GlobalType { val_type: ValType::I32, mutable: true, shared: false }
}

/// The index of that global. It comes after the one that says whether the `realloc`s are filled in.
fn open(plan: &Plan<'_, '_>) -> u32 {
    u32::from(!plan.reallocs.is_empty())
}

/// A start function that calls `start`, and opens the guards.
pub(super) fn opening(plan: &Plan<'_, '_>, start: u32) -> Function {
    let mut function = Function::new([]);
    function.instructions().call(start).i32_const(1).global_set(open(plan)).end();
    function
}

/// The body of the guard for function `index` of the shim, whose type is `ty`.
pub(super) fn body(
    plan: &Plan<'_, '_>,
    dispatch: &Dispatch<'_>,
    index: u32,
    ty: &FuncType,
) -> Result<Function, NotFused> {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.global_get(open(plan)).i32_eqz().if_(BlockType::Empty);
    code.call(dispatch.empty_slot()?).unreachable().end();
    (0..count(ty.params())?).for_each(|param| {
        code.local_get(param);
    });
    code.return_call(plan.guarded(index)?).end();
    Ok(function)
}
