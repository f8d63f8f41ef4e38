//! Evaluates constant expressions before anything is linked.

use wasmparser::{ConstExpr, Operator};

/// The value of `expression`, if it is a 32-bit number that depends only on numbers and on globals that
/// `global` knows.
pub(crate) fn evaluate(expression: &ConstExpr<'_>, global: impl Fn(u32) -> Option<i32>) -> Option<i32> {
    let mut stack: Vec<i32> = Vec::new();
    for operator in expression.get_operators_reader() {
        let value = match operator.ok()? {
            Operator::I32Const { value } => value,
            Operator::GlobalGet { global_index } => global(global_index)?,
            Operator::I32Add => two(&mut stack, i32::wrapping_add)?,
            Operator::I32Sub => two(&mut stack, i32::wrapping_sub)?,
            Operator::I32Mul => two(&mut stack, i32::wrapping_mul)?,
            Operator::End => continue,
            _ => return None,
        };
        stack.push(value);
    }
    match stack.as_slice() {
        [value] => Some(*value),
        _ => None,
    }
}

fn two(stack: &mut Vec<i32>, operation: fn(i32, i32) -> i32) -> Option<i32> {
    let (right, left) = (stack.pop()?, stack.pop()?);
    Some(operation(left, right))
}
