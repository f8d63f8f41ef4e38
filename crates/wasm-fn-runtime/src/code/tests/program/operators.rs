//! Random constants, and operators on values.

use rand::RngExt as _;

use super::{Value, Writer};

impl Writer<'_> {
    pub(super) fn constant(&mut self, ty: Value) -> String {
        match ty {
            Value::I32 => {
                let small = i64::from(self.below(200));
                let value = self.pick(&[0, 1, -1, 2, 7, 100, 4096, 65535, 65536, i64::from(i32::MIN), small]);
                format!("(i32.const {})", value.expect("there are some"))
            }
            Value::I64 => {
                let any = self.random.random::<i64>();
                let value = self.pick(&[0, 1, -1, 255, i64::MIN, i64::MAX, any]).expect("there are some");
                format!("(i64.const {value})")
            }
            Value::F64 => {
                let value = self.pick(&["0", "1.5", "-0", "1e300", "-3.25", "inf", "4294967296"]);
                format!("(f64.const {})", value.expect("there are some"))
            }
        }
    }

    pub(super) fn arithmetic(&mut self, ty: Value, depth: u32) -> String {
        match ty {
            Value::I32 => match self.below(8) {
                0 if self.has_memory => "(memory.size)".to_owned(),
                1 if self.has_memory && self.one_in(3) => {
                    format!("(memory.grow (i32.const {}))", self.below(3))
                }
                2 if self.is_bold => match self.pick(&self.tables.clone()) {
                    Some((table, slots)) if self.one_in(2) => {
                        let slot = self.slot(slots, depth);
                        format!("(ref.is_null (table.get {table} {slot}))")
                    }
                    Some((table, _)) => format!("(table.size {table})"),
                    None => self.constant(ty),
                },
                3 => format!("(i32.wrap_i64 {})", self.expression(Value::I64, depth)),
                4 => format!("(i32.trunc_sat_f64_s {})", self.expression(Value::F64, depth)),
                _ => {
                    let safe =
                        ["add", "sub", "mul", "xor", "and", "or", "shl", "shr_u", "rotl", "lt_s", "eq"];
                    let risky = self.one_in(self.risk.max(2));
                    let operator = if risky { "div_s" } else { self.pick(&safe).expect("there are some") };
                    let (a, b) = (self.expression(ty, depth), self.expression(ty, depth));
                    format!("(i32.{operator} {a} {b})")
                }
            },
            Value::I64 => match self.below(4) {
                0 => format!("(i64.extend_i32_s {})", self.expression(Value::I32, depth)),
                _ => {
                    let operator = self.pick(&["add", "sub", "mul", "xor", "rotl"]).expect("there are some");
                    let (a, b) = (self.expression(ty, depth), self.expression(ty, depth));
                    format!("(i64.{operator} {a} {b})")
                }
            },
            Value::F64 => match self.below(3) {
                0 => format!("(f64.convert_i32_s {})", self.expression(Value::I32, depth)),
                _ => {
                    let operator = self.pick(&["add", "sub", "mul"]).expect("there are some");
                    let (a, b) = (self.expression(ty, depth), self.expression(ty, depth));
                    format!("(f64.{operator} {a} {b})")
                }
            },
        }
    }
}
