//! Components of the shapes that tools make: a program alone; a program with a shim and its filler, by which
//! it has imports that need its memory; with an adapter; with libraries that share memory and table, and with
//! a start after all others; and components in components. What the modules do is not known here.

use std::{collections::BTreeMap, fmt::Write as _};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use wasmtime::component::Val;

use super::{
    forms::{Call, HOST},
    interface::{Export, Kind, Offer, Role, Signature, Value},
    program, tools,
};

/// A component, and what is called in it.
pub(super) struct Made {
    /// Its shape.
    pub(super) shape: &'static str,
    pub(super) component: Vec<u8>,
    pub(super) calls: Vec<Call>,
    /// How many of its modules are wasm-smith's.
    pub(super) smiths: usize,
    /// Its text, with empty modules in the places of wasm-smith's.
    pub(super) text: String,
}

/// The component of case `number` of `seed`.
pub(super) fn make(seed: u64, number: u64) -> Made {
    let mut random = StdRng::seed_from_u64(seed.rotate_left(40) ^ number);
    match random.random_range(0..100) {
        0..4 => Composer::new(&mut random, "alone", 1).finish(false),
        4..25 => Composer::new(&mut random, "program", 1).finish(true),
        25..45 => Composer::new(&mut random, "adapter", 2).finish(true),
        45..70 => {
            let modules = random.random_range(3..7);
            Composer::new(&mut random, "libraries", modules).finish(true)
        }
        70..76 => tools::program(&mut random, false),
        76..82 => tools::program(&mut random, true),
        82..90 => tools::libraries(&mut random),
        _ => nested(&mut random),
    }
}

/// A component with others inside: what is called is exported by the outer one.
fn nested(random: &mut StdRng) -> Made {
    let count = random.random_range(1..3);
    let (mut text, mut exports, mut calls) = (format!("(component {HOST}"), String::new(), Vec::new());
    let (mut replaced, mut smiths) = (BTreeMap::new(), 0);
    for at in 0..count {
        let modules = random.random_range(1..4);
        let made = Composer::new(random, "nested", modules).finish(true);
        let _ = write!(
            text,
            "\n(component $c{at})\n(instance $i{at} (instantiate $c{at} (with \"host\" (instance $host))))"
        );
        for call in made.calls {
            let name = format!("{}-{at}", call.name);
            let export = format!("\n(export \"{name}\" (func $i{at} \"{}\"))", call.name);
            if !exports.contains(&export) {
                exports += &export;
            }
            calls.push(Call::new(&name, call.arguments));
        }
        replaced.insert((COMPONENT, at), made.component);
        smiths += made.smiths;
    }
    text = text + &exports + ")";
    let component = splice(&wat::parse_str(&text).expect("it is a component"), &replaced);
    Made { shape: "nested", component, calls, smiths, text }
}

/// Ids of sections: a core module, a component (component model, binary format).
pub(super) const MODULE: u8 = 1;
const COMPONENT: u8 = 4;

/// `component` with other sections in the places of those that `replaced` names, by id and how many of that
/// id come before.
pub(super) fn splice(component: &[u8], replaced: &BTreeMap<(u8, usize), Vec<u8>>) -> Vec<u8> {
    let (mut result, mut rest) = (component[..8].to_vec(), &component[8..]);
    let mut seen = BTreeMap::new();
    while let Some((&id, after)) = rest.split_first() {
        let (size, digits) = leb(after);
        let (section, behind) = after[digits..].split_at(size);
        let before = seen.entry(id).or_insert(0_usize);
        let section = replaced.get(&(id, *before)).map_or(section, Vec::as_slice);
        *before += 1;
        result.push(id);
        let mut left = section.len();
        while left >= 0x80 {
            result.push(u8::try_from(left & 0x7f).expect("seven bits") | 0x80);
            left >>= 7;
        }
        result.push(u8::try_from(left).expect("seven bits"));
        result.extend_from_slice(section);
        rest = behind;
    }
    result
}

/// An unsigned LEB128 number, and its length.
fn leb(bytes: &[u8]) -> (usize, usize) {
    let digits = bytes.iter().position(|byte| byte & 0x80 == 0).expect("it ends") + 1;
    let value = bytes[..digits].iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f));
    (value, digits)
}

/// A module by wasm-smith; `None` if there is none for this role, or it is not there.
fn smith(random: &mut StdRng, role: &Role, offers: &[Offer]) -> Option<(Vec<u8>, Vec<Offer>)> {
    #[cfg(feature = "wasm-smith")]
    return super::smith::make(random, role, offers);
    #[cfg(not(feature = "wasm-smith"))]
    {
        let _ = (random, role, offers);
        None
    }
}

/// Composes a component.
struct Composer<'r> {
    random: &'r mut StdRng,
    shape: &'static str,
    modules: usize,
    /// The module that has the memory, the table, and what is called from outside.
    home: usize,
    tables: usize,
    main: usize,
    /// How many modules have their instances before the filler.
    early: usize,
    is_bold: bool,
    /// What each module exports.
    exports: Vec<Vec<Export>>,
    /// The slots of the shim: a core function each, and its type.
    slots: Vec<(String, Signature)>,
}

impl<'r> Composer<'r> {
    fn new(random: &'r mut StdRng, shape: &'static str, modules: usize) -> Self {
        let usual = |random: &mut StdRng| {
            if random.random_ratio(9, 10) { 0 } else { random.random_range(0..modules) }
        };
        let (home, tables) = (usual(random), usual(random));
        let main = if shape == "libraries" { random.random_range(0..modules) } else { usual(random) };
        let is_late = modules > 2 && home + 1 < modules && random.random_ratio(1, 2);
        let is_bold = random.random_ratio(1, 6);
        let early = if is_late { modules - 1 } else { modules };
        let mut this = Self {
            random,
            shape,
            modules,
            home,
            tables,
            main,
            early,
            is_bold,
            exports: vec![],
            slots: vec![],
        };
        this.plan();
        this
    }

    /// Decides what modules export.
    fn plan(&mut self) {
        for at in 0..self.modules {
            let mut exports = Vec::new();
            let mut export = |name: String, kind| exports.push(Export { name, kind });
            if at == self.home {
                let pages = self.random.random_range(1..3);
                export("memory".to_owned(), Kind::Memory { pages, pages_max: pages + 2 });
                export("realloc".to_owned(), Kind::Func(Signature::Realloc));
            }
            if at == self.tables {
                let slots =
                    if self.random.random_ratio(1, 30) { 600 } else { self.random.random_range(4..20) };
                export("table".to_owned(), Kind::Table { slots });
            }
            if at == self.main {
                export("run".to_owned(), Kind::Func(Signature::Wide));
                export("take".to_owned(), Kind::Func(Signature::Text));
                export("give".to_owned(), Kind::Func(Signature::Give));
                export("done".to_owned(), Kind::Func(Signature::Sink));
            }
            for of in 0..self.random.random_range(1..3) {
                let signature = Signature::SHARED[self.random.random_range(0..Signature::SHARED.len())];
                export(format!("p{at}f{of}"), Kind::Func(signature));
            }
            for of in 0..self.random.random_range(0..3) {
                let ty = [Value::I32, Value::I32, Value::I64, Value::F64][self.random.random_range(0..4)];
                export(format!("p{at}g{of}"), Kind::Global { ty, mutable: self.random.random_ratio(1, 2) });
            }
            self.exports.push(exports);
        }
    }

    /// The slot of the shim for `target`.
    fn slot(&mut self, target: &str, signature: Signature) -> usize {
        let known = self.slots.iter().position(|(it, _)| it == target);
        known.unwrap_or_else(|| {
            self.slots.push((target.to_owned(), signature));
            self.slots.len() - 1
        })
    }

    /// What module `at` may import.
    fn offers(&mut self, at: usize, has_shim: bool) -> Vec<Offer> {
        let mut offers = Vec::new();
        let mut offer = |module, field: &str, kind, source| {
            offers.push(Offer { module, field: field.to_owned(), kind, source });
        };
        offer("host", "mark", Kind::Func(Signature::Mark), "(func $mark)".to_owned());
        for (from, exports) in self.exports.iter().enumerate().take(at) {
            for export in exports {
                let (module, of) = match export.kind {
                    Kind::Func(_) => ("fn", "func"),
                    Kind::Memory { .. } => ("env", "memory"),
                    Kind::Table { .. } => ("env", "table"),
                    Kind::Global { .. } => ("env", "global"),
                };
                offer(module, &export.name, export.kind, format!("({of} $p{from} \"{}\")", export.name));
            }
        }
        let host = [("text", Signature::Text), ("fetch", Signature::Fetch), ("fail", Signature::Sink)];
        if !has_shim {
            return offers;
        }
        let mut through = Vec::new();
        for (name, signature) in host {
            // With a memory already, there need be no detour.
            if at > self.home && self.random.random_ratio(1, 2) {
                offer("host", name, Kind::Func(signature), format!("(func ${name})"));
            } else {
                through.push(("host", name.to_owned(), format!("(func ${name})"), signature));
            }
        }
        for (later, exports) in self.exports.iter().enumerate().take(self.early).skip(at) {
            for export in exports {
                if let Kind::Func(signature) = export.kind {
                    let target = format!("(func $p{later} \"{}\")", export.name);
                    through.push(("later", export.name.clone(), target, signature));
                }
            }
        }
        for (module, field, target, signature) in through {
            if self.random.random_ratio(2, 3) {
                let slot = self.slot(&target, signature);
                let source = format!("(func $shim \"{slot}\")");
                offers.push(Offer { module, field, kind: Kind::Func(signature), source });
            }
        }
        offers
    }

    fn finish(mut self, has_shim: bool) -> Made {
        let (mut modules, mut imports, mut replaced, mut smiths) = (vec![], vec![], BTreeMap::new(), 0);
        let smith_in = [0, 0, 3, 5][self.random.random_range(0..4)];
        for at in 0..self.modules {
            let offers = self.offers(at, has_shim);
            let late = at >= self.early || at + 1 == self.modules;
            let role = Role {
                name: format!("p{at}"),
                annotations: String::new(),
                exports: self.exports[at].clone(),
                has_start: self.random.random_ratio(1, if late { 3 } else { 25 }),
                has_segments: true,
                is_bold: self.is_bold && self.random.random_ratio(1, 2),
                risk: if self.random.random_ratio(1, 3) { 12 } else { 60 },
            };
            let is_smith = smith_in > 0 && self.random.random_ratio(smith_in, 10);
            let smith = if is_smith { smith(self.random, &role, &offers) } else { None };
            let (text, used) = match smith {
                Some((module, used)) => {
                    replaced.insert((MODULE, at), module);
                    smiths += 1;
                    (format!("(core module $p{at})\n"), used)
                }
                None => {
                    let (text, used) = program::write(self.random, &role, &offers);
                    (format!("(core {text}"), used)
                }
            };
            modules.push(text);
            imports.push(used);
        }
        let (text, is_observed) = self.component(&modules.concat(), &imports, has_shim);
        let parsed = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let component = splice(&parsed, &replaced);
        let mut calls = calls(self.random);
        if is_observed {
            calls.push(Call::new("observe", []));
        }
        Made { shape: self.shape, component, calls, smiths, text }
    }

    fn component(&mut self, modules: &str, imports: &[Vec<Offer>], has_shim: bool) -> (String, bool) {
        let mut text = format!("(component {HOST}\n{modules}");
        text += "(core func $mark (canon lower (func $host \"mark\")))\n";
        if has_shim {
            self.shim(&mut text);
            text += "(core instance $shim (instantiate $shim))\n";
        }
        for (at, imports) in imports.iter().enumerate() {
            if at == self.early && has_shim {
                self.fill(&mut text);
            }
            let _ = writeln!(text, "(core instance $p{at} (instantiate $p{at}{}))", arguments(imports));
            if at == self.home {
                let _ = writeln!(
                    text,
                    "(alias core export $p{at} \"memory\" (core memory $memory))\n\
                     (core func $text (canon lower (func $host \"text\") (memory $memory)))\n\
                     (core func $fetch (canon lower (func $host \"fetch\") (memory $memory)\n  \
                     (realloc (func $p{at} \"realloc\"))))\n\
                     (core func $fail (canon lower (func $host \"fail\")))"
                );
            }
        }
        if has_shim && self.early == self.modules {
            self.fill(&mut text);
        }
        let is_observed = self.observer(&mut text);
        let (main, home) = (self.main, self.home);
        let lifted = format!("(memory $memory) (realloc (func $p{home} \"realloc\"))");
        let exports = [
            ("run", "(param \"a\" u32) (param \"b\" u64) (result u64)", String::new()),
            ("take", "(param \"bytes\" (list u8)) (result u32)", lifted),
            (
                "give",
                "(result (list u8))",
                format!("(memory $memory) (post-return (func $p{main} \"done\"))"),
            ),
        ];
        for (name, ty, options) in exports {
            let _ = writeln!(
                text,
                "(func ${name} (export \"{name}\") {ty} (canon lift (core func $p{main} \"{name}\") {options}))"
            );
        }
        if is_observed {
            text +=
                "(func (export \"observe\") (result u64) (canon lift (core func $observer \"observe\")))\n";
        }
        (text + ")", is_observed)
    }

    /// Writes the shim and its filler.
    fn shim(&mut self, text: &mut String) {
        let mut filler = String::new();
        let count = self.slots.len();
        let _ = writeln!(text, "(core module $shim\n  (table (export \"$imports\") {count} {count} funcref)");
        for (slot, (_, signature)) in self.slots.iter().enumerate() {
            let arguments: String =
                (0..signature.params().len()).map(|at| format!(" (local.get {at})")).collect();
            let _ = writeln!(
                text,
                "  (type ${slot} (func{}))\n  (func (export \"{slot}\") (type ${slot}) (call_indirect (type \
                 ${slot}){arguments} (i32.const {slot})))",
                signature.text()
            );
            let _ = writeln!(filler, "  (import \"\" \"{slot}\" (func{}))", signature.text());
        }
        text.push_str(")\n");
        let functions: String = (0..count).map(|at| format!(" {at}")).collect();
        let _ = writeln!(
            text,
            "(core module $filler\n  (import \"\" \"$imports\" (table {count} {count} funcref))\n{filler}  \
             (elem (i32.const 0) func{functions}))"
        );
    }

    fn fill(&self, text: &mut String) {
        text.push_str("(core instance $filler (instantiate $filler (with \"\" (instance");
        text.push_str(" (export \"$imports\" (table $shim \"$imports\"))");
        for (slot, (target, _)) in self.slots.iter().enumerate() {
            let _ = write!(text, " (export \"{slot}\" {target})");
        }
        text.push_str("))))\n");
    }

    /// Writes a module that sees every global and every table, if there is to be one.
    fn observer(&mut self, text: &mut String) -> bool {
        if self.random.random_ratio(1, 4) {
            return false;
        }
        let looks_into_tables = self.is_bold;
        let (mut imports, mut body, mut given) = (String::new(), String::new(), String::new());
        for (at, export) in self
            .exports
            .iter()
            .enumerate()
            .flat_map(|(at, exports)| exports.iter().map(move |export| (at, export)))
        {
            let name = &export.name;
            let value = match export.kind {
                Kind::Global { ty: Value::I32, .. } => format!("(i64.extend_i32_u (global.get ${name}))"),
                Kind::Global { ty: Value::I64, .. } => format!("(global.get ${name})"),
                Kind::Global { ty: Value::F64, .. } => {
                    format!("(i64.reinterpret_f64 (global.get ${name}))")
                }
                Kind::Table { slots } if looks_into_tables => (0..slots.min(20))
                    .map(|slot| {
                        format!("(i64.extend_i32_u (ref.is_null (table.get ${name} (i32.const {slot}))))")
                    })
                    .reduce(|a, b| format!("(i64.add (i64.rotl {a} (i64.const 1)) {b})"))
                    .expect("there are slots"),
                _ => continue,
            };
            let of = if matches!(export.kind, Kind::Table { .. }) { "table" } else { "global" };
            let kind = export.kind.text().replacen(&format!("({of}"), &format!("({of} ${name}"), 1);
            let _ = writeln!(imports, "  (import \"env\" \"{name}\" {kind})");
            let _ = write!(given, " (export \"{name}\" ({of} $p{at} \"{name}\"))");
            let _ = writeln!(
                body,
                "    (local.set 0 (i64.xor (i64.mul (local.get 0) (i64.const 0x100000001b3)) {value}))"
            );
        }
        let _ = writeln!(
            text,
            "(core module $observer\n{imports}  (func (export \"observe\") (result i64) (local i64)\n{body}    \
             (local.get 0)))\n(core instance $observer (instantiate $observer (with \"env\" (instance{given}))))"
        );
        true
    }
}

/// Calls of what all components here export.
pub(super) fn calls(random: &mut StdRng) -> Vec<Call> {
    let call = |_| match random.random_range(0..5) {
        0 => Call::new("give", []),
        1 => {
            let bytes = (0..random.random_range(0..30)).map(|byte| Val::U8(byte * 7)).collect();
            Call::new("take", [Val::List(bytes)])
        }
        _ => Call::new("run", [Val::U32(random.random_range(0..40)), Val::U64(random.random())]),
    };
    (0..3).map(call).collect()
}

/// Arguments of an instance that gets `imports`.
fn arguments(imports: &[Offer]) -> String {
    let mut by_module: BTreeMap<&str, String> = BTreeMap::new();
    for offer in imports {
        let _ = write!(
            by_module.entry(offer.module).or_default(),
            " (export \"{}\" {})",
            offer.field,
            offer.source
        );
    }
    by_module.iter().map(|(module, items)| format!(" (with \"{module}\" (instance{items}))")).collect()
}
