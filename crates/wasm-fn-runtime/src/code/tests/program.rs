//! Random core modules, as text: functions that compute, use memory, tables and globals, and call each other.
//! Every function ends: it has fuel, and returns without. This knows nothing of components.

mod operators;

use std::fmt::Write as _;

use rand::{RngExt as _, rngs::StdRng};

use super::interface::{Kind, Offer, Role, Signature, Value};

/// Writes one module.
pub(super) struct Writer<'r> {
    random: &'r mut StdRng,
    functions: Vec<(String, Signature)>,
    globals: Vec<(String, Value, bool)>,
    tables: Vec<(String, u32)>,
    has_memory: bool,
    /// Whether it is a dynamic library, whose constants must be numbers.
    is_library: bool,
    is_bold: bool,
    risk: u32,
    passive_data: u32,
    passive_elements: u32,
    locals: Vec<(String, Value)>,
    /// Nested loops, which have a counter each.
    loops: u32,
}

/// A module for `role` that imports some of `offers`. Returns its text without the first parenthesis, and
/// what it imports.
pub(super) fn write(random: &mut StdRng, role: &Role, offers: &[Offer]) -> (String, Vec<Offer>) {
    let mut writer = Writer {
        random,
        functions: Vec::new(),
        globals: Vec::new(),
        tables: Vec::new(),
        has_memory: false,
        is_library: !role.annotations.is_empty(),
        is_bold: role.is_bold,
        risk: role.risk,
        passive_data: 0,
        passive_elements: 0,
        locals: Vec::new(),
        loops: 0,
    };
    writer.module(role, offers)
}

impl Writer<'_> {
    fn below(&mut self, end: u32) -> u32 {
        self.random.random_range(0..end)
    }

    fn one_in(&mut self, many: u32) -> bool {
        self.below(many) == 0
    }

    fn pick<T: Clone>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() { None } else { Some(list[self.random.random_range(0..list.len())].clone()) }
    }

    fn module(&mut self, role: &Role, offers: &[Offer]) -> (String, Vec<Offer>) {
        let Role { name, annotations, .. } = role;
        let mut text = format!("module ${name} (@name \"{name}\")\n{annotations}");
        for signature in Signature::ALL {
            let _ = writeln!(text, "  (type ${signature:?} (func{}))", signature.text());
        }
        let (imports, constants) = self.imports(&mut text, offers);
        self.definitions(&mut text, role, &constants);

        // All functions are known before the first body.
        let mut own: Vec<_> = role
            .exports
            .iter()
            .filter_map(|export| match export.kind {
                Kind::Func(signature) => Some((Some(export.name.clone()), signature)),
                _ => None,
            })
            .collect();
        // A table has a function of each type.
        let owns_table = self.tables.iter().any(|(name, _)| !name.starts_with("$i"));
        own.extend(Signature::SHARED.into_iter().filter(|_| owns_table).map(|signature| (None, signature)));
        for _ in 0..1 + self.below(3) {
            own.push((None, self.pick(&Signature::SHARED).expect("there are some")));
        }
        let names: Vec<_> = (0..own.len()).map(|at| format!("$f{at}")).collect();
        for (name, (_, signature)) in names.iter().zip(&own) {
            self.functions.push((name.clone(), *signature));
        }
        if role.has_start {
            text += "  (start $start)\n  (func $start\n    ";
            self.locals = vec![];
            for _ in 0..1 + self.below(3) {
                text += &self.statement(2);
            }
            text += ")\n";
        }
        if role.has_segments {
            self.segments(&mut text, &constants, &names);
        }
        for (name, (export, signature)) in names.iter().zip(own) {
            let export_text = export.as_ref().map(|name| format!(" (export \"{name}\")")).unwrap_or_default();
            let body = self.function(export.as_deref(), signature);
            let _ = writeln!(text, "  (func {name}{export_text} (type ${signature:?}){body})");
        }
        (text + ")\n", imports)
    }

    /// Writes imports. Returns them, and the names of imported constants.
    fn imports(&mut self, text: &mut String, offers: &[Offer]) -> (Vec<Offer>, Vec<String>) {
        let (mut imports, mut constants) = (Vec::new(), Vec::new());
        for (at, offer) in offers.iter().enumerate() {
            let wanted = match offer.kind {
                Kind::Memory { .. } => true,
                Kind::Table { .. } => !self.one_in(4),
                _ => !self.one_in(3),
            };
            if !wanted {
                continue;
            }
            let name = format!("$i{at}");
            let Offer { module, field, kind, .. } = offer;
            let inner = match kind {
                Kind::Func(signature) => {
                    self.functions.push((name.clone(), *signature));
                    format!("(func {name} (type ${signature:?}))")
                }
                Kind::Memory { .. } => {
                    self.has_memory = true;
                    kind.text()
                }
                Kind::Table { slots } => {
                    self.tables.push((name.clone(), *slots));
                    format!("(table {name} {slots} funcref)")
                }
                Kind::Global { ty, mutable } => {
                    self.globals.push((name.clone(), *ty, *mutable));
                    if !mutable && *ty == Value::I32 {
                        constants.push(name.clone());
                    }
                    kind.text().replacen("(global", &format!("(global {name}"), 1)
                }
            };
            let _ = writeln!(text, "  (import \"{module}\" \"{field}\" {inner})");
            imports.push(offer.clone());
        }
        (imports, constants)
    }

    /// Writes memory, tables and globals.
    fn definitions(&mut self, text: &mut String, role: &Role, constants: &[String]) {
        let _ = writeln!(text, "  (global $fuel (mut i32) (i32.const {}))", 20 + self.below(150));
        let _ = writeln!(text, "  (global $heap (mut i32) (i32.const {}))", 4096 + 8 * self.below(100));
        for export in &role.exports {
            let name = &export.name;
            match export.kind {
                Kind::Memory { pages, pages_max } => {
                    self.has_memory = true;
                    let _ = writeln!(text, "  (memory (export \"{name}\") {pages} {pages_max})");
                }
                Kind::Table { slots } => {
                    self.tables.push((format!("${name}"), slots));
                    let _ = writeln!(text, "  (table ${name} (export \"{name}\") {slots} funcref)");
                }
                Kind::Global { ty, mutable } => {
                    self.globals.push((format!("${name}"), ty, mutable));
                    let value = self.initial(ty, mutable, constants);
                    let ty = if mutable { format!("(mut {})", ty.name()) } else { ty.name().to_owned() };
                    let _ = writeln!(text, "  (global ${name} (export \"{name}\") {ty} {value})");
                }
                Kind::Func(_) => {}
            }
        }
        if role.has_segments && self.one_in(6) {
            let slots = 1 + self.below(6);
            self.tables.push(("$own".to_owned(), slots));
            let _ = writeln!(text, "  (table $own {slots} funcref)");
        }
        for at in 0..self.below(3) {
            let ty = self.pick(&[Value::I32, Value::I64, Value::F64]).expect("there are some");
            let value = self.initial(ty, true, constants);
            let _ = writeln!(text, "  (global $g{at} (mut {}) {value})", ty.name());
            self.globals.push((format!("$g{at}"), ty, true));
        }
    }

    /// The initial value of a global. Those that do not change are addresses and slots.
    fn initial(&mut self, ty: Value, mutable: bool, constants: &[String]) -> String {
        if ty == Value::I32
            && (mutable || !self.is_library)
            && self.one_in(3)
            && let Some(constant) = self.pick(constants)
        {
            let get = format!("(global.get {constant})");
            return if self.one_in(2) {
                get
            } else {
                format!("(i32.add {get} (i32.const {}))", self.below(3))
            };
        }
        if ty == Value::I32 && !mutable {
            return format!("(i32.const {})", self.below(5));
        }
        self.constant(ty)
    }

    /// A function of the type that belongs into `slot` of a table.
    fn for_slot(&mut self, slot: u32) -> Option<String> {
        let wanted = Signature::SHARED[slot as usize % Signature::SHARED.len()];
        let fitting: Vec<_> = self
            .functions
            .iter()
            .filter(|(_, signature)| *signature == wanted)
            .map(|it| it.0.clone())
            .collect();
        self.pick(&fitting)
    }

    /// Writes elements and data. Slots have functions of all types by turns, most of the time.
    fn segments(&mut self, text: &mut String, constants: &[String], functions: &[String]) {
        for (table, slots) in self.tables.clone() {
            let is_own = !table.starts_with("$i");
            let mut elements = vec![(0, slots)];
            if !is_own || self.one_in(8) {
                let length = 1 + self.below(3);
                elements = vec![(self.below(slots), length); self.below(3) as usize];
            }
            for (first, length) in elements {
                let end = if self.one_in(200) { slots + 1 } else { slots.min(first + length) };
                let all: Vec<_> = (first..end)
                    .map_while(
                        |slot| if self.one_in(100) { self.pick(functions) } else { self.for_slot(slot) },
                    )
                    .collect();
                let _ = writeln!(text, "  (elem (table {table}) (i32.const {first}) func {})", all.join(" "));
            }
            if self.one_in(8)
                && let Some(constant) = self.pick(constants)
                && let Some(function) = self.pick(functions)
                && slots > 6
            {
                let _ = writeln!(text, "  (elem (table {table}) (global.get {constant}) func {function})");
            }
        }
        if self.is_bold && !self.tables.is_empty() {
            let list: Vec<_> = (0..3).filter_map(|_| self.pick(functions)).collect();
            let _ = writeln!(text, "  (elem $e0 func {})", list.join(" "));
            let _ = writeln!(text, "  (elem declare func {})", functions.join(" "));
            self.passive_elements = 1;
        }
        if !self.has_memory {
            return;
        }
        for _ in 0..self.below(4) {
            let offset = match self.pick(constants) {
                Some(constant) if self.one_in(2) => {
                    format!("(i32.add (global.get {constant}) (i32.const {}))", 16 * self.below(20))
                }
                Some(constant) if self.one_in(2) => format!("(global.get {constant})"),
                _ if self.one_in(80) => "(i32.const 65530)".to_owned(),
                _ => format!("(i32.const {})", self.below(300)),
            };
            let bytes: String =
                (0..1 + self.below(24)).map(|_| format!("\\{:02x}", self.below(256))).collect();
            let _ = writeln!(text, "  (data (offset {offset}) \"{bytes}\")");
        }
        if self.is_bold && self.one_in(4) {
            text.push_str("  (data $d0 \"passive data\")\n");
            self.passive_data = 1;
        }
    }

    fn function(&mut self, export: Option<&str>, signature: Signature) -> String {
        let params = signature.params();
        self.locals = (0..params.len()).map(|at| (format!("{at}"), params[at])).collect();
        match export {
            Some("realloc" | "cabi_realloc" | "cabi_import_realloc") => return self.realloc(),
            // While it runs, the host must not be called.
            Some("done" | "cabi_post_give") if !self.one_in(8) => return String::new(),
            Some("give") if self.has_memory => {
                return "\n    (i32.store (i32.const 2048) (i32.load8_u (i32.const 5)))\n    \
                        (i32.store (i32.const 2052) (i32.load8_u (i32.const 6)))\n    (i32.const 2048)"
                    .to_owned();
            }
            _ => {}
        }
        let mut body = String::from(" (local $a i32) (local $b i32) (local $c i64) (local $d f64)\n");
        for at in 0..3 {
            let _ = writeln!(body, "    (local $n{at} i32)");
        }
        let named = [("$a", Value::I32), ("$b", Value::I32), ("$c", Value::I64), ("$d", Value::F64)];
        self.locals.extend(named.map(|(name, ty)| (name.to_owned(), ty)));
        let nothing = signature.result().map(|ty| format!("({}.const 0)", ty.name())).unwrap_or_default();
        let _ = writeln!(
            body,
            "    (if (i32.le_s (global.get $fuel) (i32.const 0)) (then (return {nothing})))\n    \
             (global.set $fuel (i32.sub (global.get $fuel) (i32.const 1)))"
        );
        let depth = if self.one_in(6) { 3 } else { 2 };
        for _ in 0..1 + self.below(3) {
            let _ = writeln!(body, "    {}", self.statement(depth));
        }
        if self.one_in(8)
            && let Some(callee) = self.callee(signature.result())
        {
            let arguments = self.arguments(&callee, 1);
            let _ = write!(body, "    (return_call {} {arguments})", callee.0);
            return body;
        }
        if let Some(result) = signature.result() {
            let _ = write!(body, "    {}", self.expression(result, depth));
        }
        body
    }

    /// A function that allocates, as those of guests do: it never gives anything back.
    fn realloc(&mut self) -> String {
        let mut body = String::from(" (local $at i32)\n");
        if self.one_in(8) {
            self.locals.truncate(4);
            let _ = writeln!(body, "    {}", self.statement(1));
        }
        body += "    (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))\n    \
                 (global.set $heap (i32.add (local.get $at) (local.get 3)))\n    (local.get $at)";
        body
    }

    /// A function with this result.
    fn callee(&mut self, result: Option<Value>) -> Option<(String, Signature)> {
        let fitting: Vec<_> =
            self.functions.iter().filter(|(_, signature)| signature.result() == result).cloned().collect();
        self.pick(&fitting)
    }

    fn arguments(&mut self, callee: &(String, Signature), depth: u32) -> String {
        let signature = callee.1;
        // What the host gets lies in the memory, most of the time.
        let small = |writer: &mut Self, end: u32| format!("(i32.const {})", writer.below(end));
        if !self.one_in(self.risk.max(2)) {
            match signature {
                Signature::Text => return format!("{} {}", small(self, 2000), small(self, 40)),
                Signature::Fetch => {
                    let n = self.expression(Value::I32, depth);
                    return format!("(i32.and {n} (i32.const 255)) (i32.const {})", 8 * self.below(250));
                }
                _ => {}
            }
        }
        signature.params().iter().map(|&ty| self.expression(ty, depth) + " ").collect()
    }

    /// An address within the memory, most of the time.
    fn address(&mut self, depth: u32) -> String {
        if self.one_in(self.risk.max(2) * 2) {
            return self.expression(Value::I32, depth);
        }
        if self.one_in(2) {
            return format!("(i32.const {})", self.below(600));
        }
        let inner = self.expression(Value::I32, depth);
        format!("(i32.and {inner} (i32.const 0x3ff8))")
    }

    /// A slot of a table that has a function of this type, most of the time; `None` if no slot should.
    fn slot_of(&mut self, signature: Signature, slots: u32, depth: u32) -> Option<String> {
        if self.one_in(self.risk.max(2)) {
            return Some(self.slot(slots, depth));
        }
        let types = u32::try_from(Signature::SHARED.len()).expect("there are a few");
        let first = (0..types).find(|&at| Signature::SHARED[at as usize] == signature)?;
        let count = slots.checked_sub(first + 1)? / types + 1;
        if self.one_in(2) {
            return Some(format!("(i32.const {})", first + types * self.below(count)));
        }
        let inner = self.expression(Value::I32, depth);
        Some(format!(
            "(i32.add (i32.const {first}) (i32.mul (i32.const {types}) (i32.rem_u {inner} (i32.const {count}))))"
        ))
    }

    /// A slot of a table, in it most of the time.
    fn slot(&mut self, slots: u32, depth: u32) -> String {
        if self.one_in(2) {
            return format!("(i32.const {})", self.below(slots.max(1)));
        }
        let inner = self.expression(Value::I32, depth);
        if self.one_in(self.risk.max(2)) {
            return inner;
        }
        format!("(i32.rem_u {inner} (i32.const {}))", slots.max(1))
    }

    fn of_locals(&mut self, ty: Value) -> Option<String> {
        let fitting: Vec<_> =
            self.locals.iter().filter(|local| local.1 == ty).map(|local| local.0.clone()).collect();
        self.pick(&fitting)
    }

    fn of_globals(&mut self, ty: Value, writable: bool) -> Option<String> {
        let fitting: Vec<_> = self
            .globals
            .iter()
            .filter(|global| global.1 == ty && (global.2 || !writable))
            .map(|global| global.0.clone())
            .collect();
        self.pick(&fitting)
    }

    fn expression(&mut self, ty: Value, depth: u32) -> String {
        if depth == 0 {
            let leaf = match self.below(3) {
                0 => self.of_locals(ty).map(|local| format!("(local.get {local})")),
                1 => self.of_globals(ty, false).map(|global| format!("(global.get {global})")),
                _ => None,
            };
            return leaf.unwrap_or_else(|| self.constant(ty));
        }
        let depth = depth - 1;
        match self.below(12) {
            0 | 1 => self.expression(ty, 0),
            2 | 3 => self.call(Some(ty), depth).unwrap_or_else(|| self.constant(ty)),
            4 | 5 => self.indirect(Some(ty), depth).unwrap_or_else(|| self.constant(ty)),
            6 if self.has_memory => {
                let load = match ty {
                    Value::I32 => self.pick(&["i32.load", "i32.load8_u", "i32.load16_s"]),
                    Value::I64 => self.pick(&["i64.load", "i64.load32_u"]),
                    // No bytes are a NaN: which of two an operation returns is the processor's choice.
                    Value::F64 => Some("f64.convert_i64_s (i64.load"),
                };
                let end = if ty == Value::F64 { ")" } else { "" };
                format!("({} {}){end}", load.expect("there are some"), self.address(depth))
            }
            7 => {
                let (a, b) = (self.expression(ty, depth), self.expression(ty, depth));
                format!("(select {a} {b} {})", self.expression(Value::I32, depth))
            }
            8 => {
                let condition = self.expression(Value::I32, depth);
                let (a, b) = (self.expression(ty, depth), self.expression(ty, depth));
                format!("(if (result {}) {condition} (then {a}) (else {b}))", ty.name())
            }
            _ => self.arithmetic(ty, depth),
        }
    }

    fn call(&mut self, result: Option<Value>, depth: u32) -> Option<String> {
        let callee = self.callee(result)?;
        let arguments = self.arguments(&callee, depth);
        Some(format!("(call {} {arguments})", callee.0))
    }

    fn indirect(&mut self, result: Option<Value>, depth: u32) -> Option<String> {
        let (table, slots) = self.pick(&self.tables.clone())?;
        let fitting: Vec<_> =
            Signature::SHARED.into_iter().filter(|signature| signature.result() == result).collect();
        let signature = self.pick(&fitting)?;
        let arguments = self.arguments(&(String::new(), signature), depth);
        let slot = self.slot_of(signature, slots, depth)?;
        Some(format!("(call_indirect {table} (type ${signature:?}) {arguments} {slot})"))
    }

    fn statement(&mut self, depth: u32) -> String {
        let depth = depth.saturating_sub(1);
        if self.one_in(self.risk.max(2) * 6) {
            return "(unreachable)".to_owned();
        }
        let ty = self.pick(&[Value::I32, Value::I32, Value::I64, Value::F64]).expect("there are some");
        match self.below(12) {
            0 => match self.of_locals(ty) {
                Some(local) => format!("(local.set {local} {})", self.expression(ty, depth + 1)),
                None => "(nop)".to_owned(),
            },
            1 | 2 => match self.of_globals(ty, true) {
                Some(global) => format!("(global.set {global} {})", self.expression(ty, depth + 1)),
                None => "(nop)".to_owned(),
            },
            3 | 4 if self.has_memory => {
                let (address, value) = (self.address(depth), self.expression(ty, depth + 1));
                format!("({}.store {address} {value})", ty.name())
            }
            5 if self.has_memory => {
                let (to, n) = (self.address(depth), self.below(50));
                if self.one_in(2) {
                    let value = self.expression(Value::I32, depth);
                    format!("(memory.fill {to} {value} (i32.const {n}))")
                } else {
                    let from = self.address(depth);
                    format!("(memory.copy {to} {from} (i32.const {n}))")
                }
            }
            6 if depth > 0 => {
                let condition = self.expression(Value::I32, depth);
                format!("(if {condition} (then {}) (else {}))", self.statement(depth), self.statement(depth))
            }
            7 if depth > 0 && self.loops < 3 && self.locals.iter().any(|(name, _)| name == "$a") => {
                let counter = format!("$n{}", self.loops);
                self.loops += 1;
                let body = self.statement(depth);
                self.loops -= 1;
                let times = 1 + self.below(5);
                format!(
                    "(local.set {counter} (i32.const {times})) (loop {body} (br_if 0 (local.tee {counter} \
                     (i32.sub (local.get {counter}) (i32.const 1)))))"
                )
            }
            8 if self.is_bold => self.bold(depth),
            9 => {
                let call = self.indirect(Some(ty), depth);
                call.map_or_else(|| "(nop)".to_owned(), |call| format!("(drop {call})"))
            }
            10 => self.indirect(None, depth).unwrap_or_else(|| "(nop)".to_owned()),
            _ => {
                if self.one_in(3) {
                    let call = self.call(Some(ty), depth);
                    return call.map_or_else(|| "(nop)".to_owned(), |call| format!("(drop {call})"));
                }
                self.call(None, depth).unwrap_or_else(|| "(nop)".to_owned())
            }
        }
    }

    /// A statement that changes a table, or copies a segment.
    fn bold(&mut self, depth: u32) -> String {
        if self.passive_data > 0 && self.one_in(2) {
            let to = self.address(depth);
            return match self.below(4) {
                0 => "(data.drop $d0)".to_owned(),
                _ => format!("(memory.init $d0 {to} (i32.const {}) (i32.const 4))", self.below(10)),
            };
        }
        let Some((table, slots)) = self.pick(&self.tables.clone()) else { return "(nop)".to_owned() };
        let slot = self.slot(slots, depth);
        let functions: Vec<_> = self.functions.iter().map(|it| it.0.clone()).collect();
        let own: Vec<_> = functions.into_iter().filter(|name| name.starts_with("$f")).collect();
        match (self.below(6), self.pick(&own)) {
            (0, _) if self.passive_elements > 0 => "(elem.drop $e0)".to_owned(),
            (1, _) if self.passive_elements > 0 => {
                format!("(table.init {table} $e0 {slot} (i32.const 0) (i32.const 1))")
            }
            (2, _) => format!("(table.copy {table} {table} {slot} (i32.const 0) (i32.const 1))"),
            (3, _) => format!("(drop (table.grow {table} (ref.null func) (i32.const 1)))"),
            (4, _) => format!("(table.set {table} {slot} (ref.null func))"),
            (_, Some(function)) if self.passive_elements > 0 => {
                format!("(table.set {table} {slot} (ref.func {function}))")
            }
            _ => "(nop)".to_owned(),
        }
    }
}
