//! What is cheap enough to compile, and what is refused. The components are made of the smallest bodies that
//! have each effect.

use wasm_encoder::{
    BlockType, CodeSection, Function, FunctionSection, Instruction, Module as Encoded, TypeSection, ValType,
};

use super::*;

/// A module of one function without parameters, with `results` and `locals`.
fn module(results: u32, locals: u32, write: impl FnOnce(&mut Function)) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], (0..results).map(|_| ValType::I32));
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut body = Function::new([(locals, ValType::I32)]);
    write(&mut body);
    body.instruction(&Instruction::End);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Encoded::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

fn read_all(body: &mut Function, locals: u32) {
    for local in 0..locals {
        body.instruction(&Instruction::LocalGet(local)).instruction(&Instruction::Drop);
    }
}

fn exceeded(module: &[u8], what: &str) {
    match check(module) {
        Err(EffortError::Exceeded(reason)) => assert!(reason.contains(what), "{reason}"),
        other => panic!("{what}: {other:?}"),
    }
}

#[test]
fn usual_components_are_far_from_every_limit() {
    let folder = format!("{}/../../guest-examples/prebuilt", env!("CARGO_MANIFEST_DIR"));
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            assert_eq!(check(&std::fs::read(&path).unwrap()), Ok(()), "{}", path.display());
        }
    }
}

/// A loop in a loop, and so on, and in the innermost a read of every local.
fn loops(locals: u32, depth: u32) -> Vec<u8> {
    module(0, locals, |body| {
        for _ in 0..depth {
            body.instruction(&Instruction::Loop(BlockType::Empty));
        }
        read_all(body, locals);
        for _ in 0..depth {
            body.instruction(&Instruction::End);
        }
    })
}

#[test]
fn values_in_nested_loops_are_counted() {
    assert_eq!(check(&loops(1000, 1000)), Ok(()));
    let bomb = loops(2100, 2100);
    assert!(bomb.len() < 20_000);
    exceeded(&bomb, "values passed between blocks of one function");
}

#[test]
fn values_behind_branches_are_counted_for_each_path() {
    // Many ways to one place; only there all locals are read.
    let branches = |locals, count| {
        module(0, locals, |body| {
            body.instruction(&Instruction::Block(BlockType::Empty));
            for _ in 0..count {
                body.instruction(&Instruction::I32Const(0)).instruction(&Instruction::BrIf(0));
            }
            body.instruction(&Instruction::End);
            read_all(body, locals);
        })
    };
    assert_eq!(check(&branches(1000, 1000)), Ok(()));
    exceeded(&branches(2100, 2100), "values passed");
    // As many ways back to the head of a loop.
    let returns = module(0, 2100, |body| {
        body.instruction(&Instruction::Loop(BlockType::Empty));
        read_all(body, 2100);
        for _ in 0..2100 {
            body.instruction(&Instruction::I32Const(0)).instruction(&Instruction::BrIf(0));
        }
        body.instruction(&Instruction::End);
    });
    exceeded(&returns, "values passed");
    // As many conditions after each other.
    let conditions = module(0, 2100, |body| {
        for _ in 0..2100 {
            body.instruction(&Instruction::I32Const(0));
            body.instruction(&Instruction::If(BlockType::Empty)).instruction(&Instruction::End);
        }
        read_all(body, 2100);
    });
    exceeded(&conditions, "values passed");
}

#[test]
fn values_that_branches_pass_are_counted() {
    let returns = module(1000, 0, |body| {
        for _ in 0..4100 {
            body.instruction(&Instruction::Br(0));
        }
    });
    exceeded(&returns, "values passed");
}

#[test]
fn locals_that_are_read_where_they_are_set_cost_nothing() {
    // What compilers make without optimisation: a local for each value.
    let temporaries = module(0, 40_000, |body| {
        for local in 0..40_000 {
            body.instruction(&Instruction::I32Const(0));
            body.instruction(&Instruction::If(BlockType::Empty)).instruction(&Instruction::End);
            body.instruction(&Instruction::I32Const(1)).instruction(&Instruction::LocalSet(local));
            body.instruction(&Instruction::LocalGet(local)).instruction(&Instruction::Drop);
        }
    });
    assert_eq!(check(&temporaries), Ok(()));
}

#[test]
fn large_functions_share_a_limit() {
    let one = loops(1900, 2000);
    assert_eq!(check(&one), Ok(()));
    let mut component = wasm_encoder::Component::new();
    for _ in 0..5 {
        component.section(&wasm_encoder::RawSection { id: 1, data: &one });
    }
    exceeded(&component.finish(), "large functions");
}

#[test]
fn blocks_functions_and_bytes_are_bounded() {
    let deep = module(0, 0, |body| {
        for _ in 0..140_000 {
            body.instruction(&Instruction::Block(BlockType::Empty));
        }
        for _ in 0..140_000 {
            body.instruction(&Instruction::End);
        }
    });
    exceeded(&deep, "blocks of one function");
    let long = module(0, 0, |body| {
        for _ in 0..3_000_000 {
            body.instruction(&Instruction::Nop);
        }
    });
    exceeded(&long, "bytes of one function");
    // The section says how many bodies follow, before any of them.
    let mut module = Encoded::new();
    let bodies = [&[0xa1, 0xc2, 0x1e][..], &vec![0; 500_001]].concat();
    module.section(&wasm_encoder::RawSection { id: 3, data: &bodies });
    module.section(&wasm_encoder::RawSection { id: 10, data: &bodies });
    exceeded(&module.finish(), "functions: found 500001");
}

#[test]
fn what_is_malformed_is_said_or_left_to_the_validator() {
    assert!(matches!(check(b"\0asm\x01\0\0\0\xff"), Err(EffortError::Malformed(_))));
    let huge = module(0, 0, |body| {
        body.instruction(&Instruction::LocalGet(u32::MAX));
    });
    exceeded(&huge, "locals of one function");
    // Branches to nowhere, and ends of nothing.
    let wild = module(0, 0, |body| {
        body.instruction(&Instruction::Br(u32::MAX));
        for _ in 0..10 {
            body.instruction(&Instruction::End);
        }
        body.instruction(&Instruction::Return).instruction(&Instruction::Else);
    });
    let _ = check(&wild);
}
