//! Models of what keeps guests apart, made of the files of `wasm-fn-memory` themselves, without the engine.
//!
//! ```text
//! cargo test --manifest-path tests/model/Cargo.toml
//! cargo +nightly miri test --manifest-path tests/model/Cargo.toml
//! ```

#![cfg(test)]
#![allow(dead_code, reason = "the files have more than is modelled")]

#[path = "../../../crates/wasm-fn-memory/src/area.rs"]
mod area;
#[path = "../../../crates/wasm-fn-memory/src/free_list.rs"]
mod free_list;
#[path = "../../../crates/wasm-fn-memory/src/kernel.rs"]
mod kernel;
#[path = "../../../crates/wasm-fn-memory/src/pages.rs"]
mod pages;
#[path = "../../../crates/wasm-fn-memory/src/reset_audit.rs"]
mod reset_audit;
#[path = "../../../crates/wasm-fn-memory/src/slot.rs"]
mod slot;
#[path = "../../../crates/wasm-fn-memory/src/vouching.rs"]
mod vouching;

#[cfg(not(miri))]
mod orders;
