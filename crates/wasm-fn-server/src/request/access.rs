//! Who may choose the version that answers.

use wasm_fn_core::{FunctionName, StageName};

/// Decides whether a request may choose its version, by the `wasm-fn-version` header or by the version's own
/// address.
///
/// Only such requests ask, in the task of their connection: an implementation must not block. It must compare
/// tokens in constant time.
pub trait OverrideAccess: Send + Sync + 'static {
    /// Whether the bearer of `token`, the `wasm-fn-token` header as sent, may choose among the versions of
    /// `function` in `stage`.
    fn may_override(&self, function: &FunctionName, stage: &StageName, token: Option<&str>) -> bool;

    /// Whether `token` is a preview token for the versions of `function` in `stage`.
    fn may_preview(&self, function: &FunctionName, stage: &StageName, token: &str) -> bool;
}
