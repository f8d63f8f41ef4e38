//! `wasm-fn triggers` and `wasm-fn events`.

pub(super) mod inbox;
pub(super) mod triggers;
