//! Facts about what is fused and what is left.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wasmparser::{ElementKind, FunctionBody, Operator, TableInit, TypeRef};

use super::*;
use crate::{TableTrap, read::program::Program};

mod bombs;

const LINKED: &str = include_str!("linked.wat");

/// Functions for what [`LINKED`] calls through its table: one for each type.
const FINDERS: usize = 2;

/// Functions that trap as a table would.
const TRAPS: usize = 3;

fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// [`LINKED`] with another text for one.
fn linked(from: &str, to: &str) -> Vec<u8> {
    assert!(LINKED.contains(from), "{from}");
    component(&LINKED.replacen(from, to, 1))
}

/// The core modules of `component`, at any depth.
fn modules(component: &[u8]) -> Vec<Program<'_>> {
    let mut modules = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        if let Payload::ModuleSection { unchecked_range, .. } = payload.unwrap() {
            modules.push(Program::read(&component[unchecked_range]).unwrap());
        }
    }
    modules
}

/// How many functions `component` is given by the host.
fn hosts(component: &[u8]) -> usize {
    let functions = Parser::new(0).parse_all(component).flat_map(|payload| match payload.unwrap() {
        Payload::ComponentCanonicalSection(section) => section.into_iter().collect(),
        _ => Vec::new(),
    });
    functions.filter(|function| !matches!(function, Ok(wasmparser::CanonicalFunction::Lift { .. }))).count()
}

/// Why [`LINKED`] with another text for one is left as it is.
fn found(from: &str, to: &str) -> &'static str {
    match fuse(&linked(from, to)) {
        Err(NotFused::Shape { found, .. }) => found,
        other => panic!("{:?}", other.map(|fused| fused.len())),
    }
}

#[test]
fn two_modules_are_left() {
    let fused = fuse(&component(LINKED)).unwrap();
    let [memory, code] = &*modules(&fused) else { panic!("two modules") };
    assert_eq!((memory.data.len(), memory.functions.len(), memory.memories.len()), (2, 1, 1));
    assert!(memory.imports.is_empty());
    assert_eq!((code.data.len(), code.functions.len(), code.memories.len()), (0, 5 + FINDERS + TRAPS, 0));
    assert_eq!((memory.tables.len(), code.tables.len()), (1, 0));
}

#[test]
fn no_code_runs_when_an_instance_is_made() {
    let fused = fuse(&component(LINKED)).unwrap();
    for module in modules(&fused) {
        assert_eq!(module.start, None);
        // What the engine writes into an instance as it is: numbers, and tables of nothing.
        for global in &module.globals {
            assert!(crate::constant::evaluate(&global.init_expr, |_| None).is_some());
        }
        assert!(module.tables.iter().all(|table| matches!(table.init, TableInit::RefNull)));
        assert!(module.elements.iter().all(|element| matches!(element.kind, ElementKind::Declared)));
    }
}

#[test]
fn the_host_is_called_without_a_detour() {
    let fused = fuse(&component(LINKED)).unwrap();
    let modules = modules(&fused);
    let imported = modules[1].imports.iter().filter(|import| matches!(import.ty, TypeRef::Func(_)));
    assert_eq!(imported.count(), 2);
    assert_eq!(modules[1].tables.len(), 0);
}

#[test]
fn what_is_imported_twice_is_imported_once() {
    let call = "(call $log (i32.const 16) (local.get $length) (global.get $stack))";
    let slot = "(call_indirect (param i32 i32 i32) (local.get 0) (local.get 1) (local.get 2) (i32.const 2))";
    let edits = [
        ("3 3 funcref", "4 4 funcref".to_owned()),
        (
            slot,
            format!(
                "{slot}) (func (export \"3\") (param i32 i32 i32) {}",
                slot.replace("const 2", "const 3")
            ),
        ),
        (
            "(global $next",
            "(import \"host\" \"more\" (func $more (param i32 i32 i32))) (global $next".to_owned(),
        ),
        (call, format!("{call} {}", call.replace("$log", "$more"))),
        ("(func $shim \"2\")", "(func $shim \"2\")) (export \"more\" (func $shim \"3\")".to_owned()),
        (
            "(elem (i32.const 0) func 0 1 2)",
            r#"(import "" "3" (func (param i32 i32 i32))) (elem (i32.const 0) func 0 1 2 3)"#.to_owned(),
        ),
        (
            "(core instance $filler",
            "(core func $more (canon lower (func $host \"log\") (memory $memory))) (core instance $filler"
                .to_owned(),
        ),
        ("(func $log))))))", "(func $log)) (export \"3\" (func $more))))))".to_owned()),
    ];
    let text = edits.iter().fold(LINKED.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    });
    let twice = component(&text);
    assert_eq!(hosts(&twice), 3);
    assert_eq!(hosts(&fuse(&twice).unwrap()), 2);
    // With other options it is another function.
    let other = text.replace(
        "\"log\") (memory $memory))) (core",
        "\"log\") (memory $memory) string-encoding=utf16)) (core",
    );
    assert_eq!(hosts(&fuse(&component(&other)).unwrap()), 3);
}

/// How many of the functions of `component`'s code call through a table.
fn indirect(component: &[u8]) -> usize {
    let indirect = |body: &&FunctionBody<'_>| {
        let mut operators = body.get_operators_reader().unwrap().into_iter();
        operators.any(|operator| {
            matches!(operator, Ok(Operator::CallIndirect { .. } | Operator::ReturnCallIndirect { .. }))
        })
    };
    modules(component)[1].bodies.iter().filter(indirect).count()
}

#[test]
fn what_is_called_through_a_table_is_found_without_it() {
    assert_eq!(indirect(&fuse(&component(LINKED)).unwrap()), 0);
}

#[test]
fn what_is_never_called_is_left_out() {
    const CALL: &str = "(call $log (i32.const 16) (local.get $length) (global.get $stack))";
    // Only a function logs that nobody calls: there is no call of its type.
    let never = |text: &str| {
        let text = text.replacen(CALL, "", 1);
        let logs = "(func $never (param i64) (call $log (i32.const 16) (i32.const 1) (i32.const 2)))";
        text.replacen("func $twice)", &format!("func $twice $never) {logs}"), 1)
    };
    let silent = component(&never(LINKED));
    assert_eq!((hosts(&silent), hosts(&fuse(&silent).unwrap())), (2, 1));
    // One of its type is called, if only by a function that is never called either.
    let call = "(func (export \"run\") (result i32)";
    let twice =
        format!("(func $idle (param f32) (call_indirect (param i64) (i64.const 1) (i32.const 3))) {call}");
    let text = never(LINKED).replacen(call, &twice, 1);
    assert_eq!(hosts(&fuse(&component(&text)).unwrap()), 1);
    // And here by one that is called.
    let text = text.replacen(
        "(call_indirect (result i32) (i32.const 1))",
        "(call_indirect (result i32) (i32.const 1)) (call $idle (f32.const 0))",
        1,
    );
    assert_eq!(hosts(&fuse(&component(&text)).unwrap()), 2);
    // A table that stays keeps what it holds.
    let text = never(LINKED).replacen(
        "(call $name (i32.const 8))",
        "(call $name (i32.const 8)) (drop (table.size 0))",
        1,
    );
    assert_eq!(hosts(&fuse(&component(&text)).unwrap()), 2);
}

#[test]
fn a_table_that_may_change_or_is_large_is_called_as_it_was() {
    let answer = "(call $name (i32.const 8))";
    let changes = [
        "(table.set (i32.const 0) (ref.func $answer))",
        "(drop (table.grow (ref.null func) (i32.const 1)))",
        "(table.copy (i32.const 0) (i32.const 1) (i32.const 1))",
        "(table.fill (i32.const 0) (ref.null func) (i32.const 1))",
    ];
    for change in changes {
        let fused = fuse(&linked(answer, &format!("{answer} {change}"))).unwrap();
        assert_eq!((indirect(&fused), modules(&fused)[1].functions.len()), (2, 5), "{change}");
    }
    let text = LINKED.replace("(table 8 funcref)", "(table 513 funcref)");
    let text = text.replace("(table (export \"table\") 8 funcref)", "(table (export \"table\") 513 funcref)");
    assert_eq!(modules(&fuse(&component(&text)).unwrap())[1].functions.len(), 5);
}

#[test]
fn a_table_stays_that_is_needed_for_more_than_calls() {
    let answer = "(call $name (i32.const 8))";
    for more in ["(drop (table.size 0))", "(drop (table.get (i32.const 1)))", "(drop (ref.func $answer))"] {
        let fused = fuse(&linked(answer, &format!("{answer} {more}"))).unwrap();
        let [_, code] = &*modules(&fused) else { panic!("two modules") };
        assert_eq!((code.functions.len(), code.tables.len()), (5 + FINDERS, 1), "{more}");
    }
}

#[test]
fn elements_outside_of_their_table_take_no_room() {
    for offset in ["513", "-1", "0x7fffffff"] {
        let element = format!("(elem (i32.const 1) func $answer) (elem (i32.const {offset}) func $answer)");
        let fused = fuse(&linked("(elem (i32.const 1) func $answer)", &element)).unwrap();
        assert_eq!((modules(&fused)[1].functions.len(), fused.len() < 2000), (5, true), "{offset}");
    }
}

#[test]
fn addresses_are_numbers() {
    let fused = fuse(&component(LINKED)).unwrap();
    let modules = modules(&fused);
    for global in &modules[1].globals {
        assert!(crate::constant::evaluate(&global.init_expr, |_| None).is_some());
    }
}

#[test]
fn names_are_kept() {
    let fused = fuse(&component(LINKED)).unwrap();
    let modules = modules(&fused);
    let names = |at: usize| modules[at].names.iter().map(|(_, name)| *name).collect::<Vec<_>>();
    assert_eq!(names(0), ["realloc"]);
    let traps = [TableTrap::OtherType, TableTrap::Empty, TableTrap::Outside].map(TableTrap::name);
    assert_eq!(names(1), [&["realloc", "answer", "twice", "write"], &traps[..]].concat());
    assert_eq!(modules[1].name, Some("program"));
}

#[test]
fn a_fused_component_is_left_as_it_is() {
    let fused = fuse(&component(LINKED)).unwrap();
    assert_eq!(fuse(&fused), Err(NotFused::Few { found: 2 }));
}

#[test]
fn components_within_are_fused() {
    let within = LINKED.replacen("(component", "(component $within", 1);
    let text = format!(
        r#"(component
            (import "host" (instance $host
                (export "name" (func (result string)))
                (export "log" (func (param "text" string) (param "number" u32)))))
            {within}
            (instance $made (instantiate $within (with "host" (instance $host))))
            (export "run" (func $made "run")))"#
    );
    assert_eq!(modules(&fuse(&component(&text)).unwrap()).len(), 2);
}

#[test]
fn a_shim_that_does_more_is_merged_as_it_is() {
    let more = "(call_indirect (param i32) (local.get 0) (i32.const 1)) (drop (i32.const 3))";
    let fused = linked("(call_indirect (param i32) (local.get 0) (i32.const 1))", more);
    let fused = fuse(&fused).unwrap();
    let [_, code] = &*modules(&fused) else { panic!("two modules") };
    assert_eq!((code.functions.len(), code.tables.len()), (8 + FINDERS + 3 + TRAPS, 0));
}

#[test]
fn a_shim_whose_calls_trap_is_merged_as_it_is() {
    let fused = fuse(&linked("func 0 1 2)", "func 0 2 1)")).unwrap();
    let [_, code] = &*modules(&fused) else { panic!("two modules") };
    assert_eq!((code.functions.len(), code.tables.len()), (8 + FINDERS + 3 + TRAPS, 0));
}

#[test]
fn a_filler_may_fill_other_tables() {
    let text = LINKED
        .replacen(r#"(import "" "0""#, r#"(import "" "table" (table $other 8 funcref)) (import "" "0""#, 1)
        .replacen("func 0 1 2)", "func 0 1 2) (elem (table $other) (i32.const 5) func 1)", 1)
        .replacen(
            r#"(export "0" (func $library "write"))"#,
            r#"(export "0" (func $library "write")) (export "table" (table $program "table"))"#,
            1,
        );
    let fused = fuse(&component(&text)).unwrap();
    let [_, code] = &*modules(&fused) else { panic!("two modules") };
    assert_eq!((code.functions.len(), code.tables.len(), code.elements.len()), (5 + FINDERS + TRAPS, 0, 1));
}

#[test]
fn the_last_module_may_have_the_start_function() {
    let to = "(func $begin) (start $begin) (elem (i32.const 0) func 0 1 2)";
    let started = fuse(&linked("(elem (i32.const 0) func 0 1 2)", to)).unwrap();
    assert!(modules(&started)[1].start.is_some());
}

/// How many functions of `fused` fill in the `realloc`s.
fn filling(fused: &[u8]) -> usize {
    let fills = |body: &&FunctionBody<'_>| {
        let mut operators = body.get_operators_reader().unwrap().into_iter();
        operators.any(|operator| matches!(operator, Ok(Operator::RefFunc { .. })))
    };
    modules(fused)[1].bodies.iter().filter(fills).count()
}

#[test]
fn reallocs_are_filled_in_by_what_runs_first() {
    assert_eq!(filling(&fuse(&component(LINKED)).unwrap()), 1);
    let to = "(func $begin) (start $begin) (elem (i32.const 0) func 0 1 2)";
    assert_eq!(filling(&fuse(&linked("(elem (i32.const 0) func 0 1 2)", to)).unwrap()), 2);
    // A function of another module's.
    let to = "(start 0) (elem (i32.const 0) func 0 1 2)";
    let text = LINKED.replacen(
        "(func $write (export \"write\") (param $length i32) (result i32)",
        "(func (export \"begin\")) (func $write (export \"write\") (param $length i32) (result i32)",
        1,
    );
    let text = text.replacen(
        "(elem (i32.const 0) func 0 1 2)",
        &format!("(import \"\" \"begin\" (func $begin)) {}", to.replace("start 0", "start $begin")),
        1,
    );
    let text = text.replacen(
        r#"(export "0" (func $library "write"))"#,
        r#"(export "0" (func $library "write")) (export "begin" (func $library "begin"))"#,
        1,
    );
    assert_eq!(filling(&fuse(&component(&text)).unwrap()), 2);
}

#[test]
fn a_start_function_stays_before_what_follows_it() {
    let to = "(func $begin) (start $begin) (elem (i32.const 1) func $answer)";
    let why = found("(elem (i32.const 1) func $answer)", to);
    assert_eq!(why, "a start function before other modules' data");
}

/// How many functions of `fused` ask whether the start function has ended.
fn guards(fused: &[u8]) -> usize {
    let asks = |body: &&FunctionBody<'_>| {
        let mut operators = body.get_operators_reader().unwrap().into_iter().map(Result::unwrap);
        let first = operators.next();
        matches!(first, Some(Operator::GlobalGet { .. }))
            && operators.any(|it| matches!(it, Operator::ReturnCall { .. }))
    };
    modules(fused)[1].bodies.iter().filter(asks).count()
}

#[test]
fn a_shim_is_guarded_from_a_start_function_that_may_call_it() {
    let twice = "(func $twice (param i32) (result i32)";
    let starting = |call: &str| {
        let start = format!("(func $begin (call $more)) (func $more {call}) (start $begin)");
        fuse(&linked(twice, &format!("{start} {twice}"))).unwrap()
    };
    let direct = starting("(call $log (i32.const 0) (i32.const 0) (i32.const 0))");
    let through_a_table = "(drop (call_indirect (param i32) (result i32) (i32.const 0) (i32.const 2)))";
    // The table itself may be gone.
    for fused in [direct, starting(through_a_table)] {
        assert_eq!((guards(&fused), modules(&fused)[1].tables.len()), (3, 0));
    }
    // An adapter takes memory for its stack when it starts.
    assert_eq!(guards(&starting("(drop (memory.grow (i32.const 1)))")), 0);
    assert_eq!(guards(&fuse(&component(LINKED)).unwrap()), 0);
}

#[test]
fn instances_of_components_stay_before_or_after_the_core_instances() {
    let shim = "(core instance $shim (instantiate $shim))";
    let filler = "(core instance $filler (instantiate $filler";
    let run = "(type $run ";
    let with = |before: &str| {
        let made = format!("(component $empty) (instance (instantiate $empty)) {before}");
        fuse(&linked(before, &made))
    };
    /// The positions in `fused` of the first instance of a component and of a core module.
    fn positions(fused: &[u8]) -> (Option<usize>, Option<usize>) {
        let payloads: Vec<_> = Parser::new(0).parse_all(fused).map(Result::unwrap).collect();
        (
            payloads.iter().position(|payload| matches!(payload, Payload::ComponentInstanceSection(_))),
            payloads.iter().position(|payload| matches!(payload, Payload::InstanceSection(_))),
        )
    }
    let (nested, core) = positions(&with(shim).unwrap());
    assert!(nested < core, "{nested:?} {core:?}");
    let (nested, core) = positions(&with(run).unwrap());
    assert!(nested > core, "{nested:?} {core:?}");
    // Nothing runs when those before it are made, so they may be made later.
    let (nested, core) = positions(&with(filler).unwrap());
    assert!(nested < core, "{nested:?} {core:?}");
    let text = LINKED.replacen("(func $twice", "(func $begin) (start $begin) (func $twice", 1).replacen(
        filler,
        &format!("(component $empty) (instance (instantiate $empty)) {filler}"),
        1,
    );
    let between = fuse(&component(&text)).unwrap_err();
    let expected = "an instance of a component between a start function and other core instances";
    assert!(matches!(between, NotFused::Shape { found, .. } if found == expected), "{between}");
}

/// [`LINKED`] with a type in a group, and some text for one or more.
fn grouped(edits: &[(&str, &str)]) -> Result<Vec<u8>, NotFused> {
    let text = edits.iter().fold(LINKED.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "{from}");
        text.replacen(from, to, 1)
    });
    fuse(&component(&text))
}

#[test]
fn types_that_look_the_same_in_a_group_are_not_the_same() {
    // The shim calls by a type that no function of the host has: its call traps, and stays.
    let group = "(rec (type $one (func (param i32))) (type (func)))";
    let fused = grouped(&[
        (
            "(import \"host\" \"name\" (func $name (param i32)))",
            &format!("{group} (import \"host\" \"name\" (func $name (type $one)))"),
        ),
        (
            "(func (export \"1\") (param i32)\n      (call_indirect (param i32)",
            &format!("{group} (func (export \"1\") (type $one) (call_indirect (type $one)"),
        ),
    ])
    .unwrap();
    assert_eq!(modules(&fused)[1].tables.len(), 2, "the program's and the shim's");
    // The host calls the `realloc` whatever its type is called, which a table does not.
    let group = "(rec (type $realloc (func (param i32 i32 i32 i32) (result i32))) (type (func)))";
    let refused = grouped(&[
        ("(@name \"program\")", &format!("(@name \"program\") {group}")),
        (
            "(func $realloc (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)",
            "(func $realloc (export \"cabi_realloc\") (type $realloc)",
        ),
    ]);
    assert!(
        matches!(refused, Err(NotFused::Shape { found: "a `realloc` of a type in a group", .. })),
        "{:?}",
        refused.map(|fused| fused.len())
    );
}

#[test]
fn what_is_not_understood_is_left() {
    for (from, to, why) in [
        ("(memory (export \"memory\") 1)", "(memory (export \"memory\") 1) (memory 1)", "several memories"),
        ("(data (i32.const 16)", "(data (i32.const 65535)", "data outside of the memory"),
        (
            "(func $twice (param i32) (result i32)",
            "(data $late \"x\") (func $twice (param i32) (result i32) (data.drop $late)",
            "code that names a data segment",
        ),
        ("(data (i32.const 16)", "(tag) (data (i32.const 16)", "a module with tags"),
        (
            "(canon lift (core func $program \"run\"))",
            "(canon lift (core func $program \"run\"))) (core instance (instantiate $shim)",
            "a core instance after a lifted function",
        ),
        (
            "(core instance $shim (instantiate $shim))",
            "(core instance $shim (instantiate $shim)) (core instance (instantiate $shim))",
            "two instances of a module",
        ),
        ("(core module $shim", "(core type (func)) (core module $shim", "a core type"),
        (
            "(type $run ",
            "(type (resource (rep i32) (dtor (func $shim \"1\")))) (type $run ",
            "a destructor, or a core module that is passed on",
        ),
        (
            "(type $run ",
            "(component $passed (import \"m\" (core module))) (core module $bare) \
             (instance (instantiate $passed (with \"m\" (core module $bare)))) (type $run ",
            "a destructor, or a core module that is passed on",
        ),
        (
            "(type $run ",
            "(component (alias outer 1 $filler (core module))) (type $run ",
            "a module of an outer component",
        ),
    ] {
        assert_eq!(found(from, to), why);
    }
}

#[test]
fn other_memories_are_left() {
    let empty = r#"(component
        (core module $none)
        (core module $one (memory i64 1))
        (core module $other)
        (core instance (instantiate $none))
        (core instance (instantiate $one))
        (core instance (instantiate $other)))"#;
    let shape = |text: &str| match fuse(&component(text)) {
        Err(NotFused::Shape { found, .. }) => found,
        other => panic!("{:?}", other.map(|fused| fused.len())),
    };
    assert_eq!(shape(empty), "a memory of another kind");
    assert_eq!(shape(&empty.replace("(memory i64 1)", "")), "no memory");
    assert_eq!(shape(&empty.replace("i64 1", "1 1 shared")), "a memory of another kind");
}

#[test]
fn whatever_is_understood_is_understood_rightly() {
    let whole = component(LINKED);
    let cut = (0..whole.len()).map(|end| whole[..end].to_vec());
    let changed = (0..whole.len()).map(|at| {
        let mut changed = whole.clone();
        changed[at] ^= 0x11;
        changed
    });
    for (at, bytes) in cut.chain(changed).enumerate() {
        let fused = fuse(&bytes);
        assert!(!matches!(fused, Err(NotFused::Wrong { .. })), "{at}: {fused:?}");
    }
}

#[test]
fn modules_are_no_components() {
    assert!(matches!(fuse(&component("(module)")), Err(NotFused::Shape { found: "a core module", .. })));
    assert!(matches!(fuse(b"\0asm"), Err(NotFused::Invalid { .. })));
}

#[test]
fn no_bytes_reach_a_panic_or_something_invalid() {
    let (whole, mut random, mut fused) = (component(LINKED), StdRng::seed_from_u64(7), 0);
    for _ in 0..20_000 {
        let mut bytes = whole.clone();
        for _ in 0..random.random_range(1..=3) {
            let at = random.random_range(8..bytes.len());
            bytes[at] = random.random();
        }
        match fuse(&bytes) {
            Ok(_) => fused += 1,
            Err(NotFused::Wrong { reason }) => panic!("{reason}: {bytes:?}"),
            Err(_) => {}
        }
    }
    assert!(fused > 100, "only {fused} were valid");
}
