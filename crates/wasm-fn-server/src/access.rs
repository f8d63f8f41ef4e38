//! Who may name the version that answers.

use wasm_fn_core::FunctionName;

/// Decides whether a request may choose its version by the `wasm-fn-version` header.
///
/// Asked only for requests that carry the header, on the connection's own task: it must not block.
pub trait OverrideAccess: Send + Sync + 'static {
    /// Whether the bearer of `token`, the `wasm-fn-token` header as it was sent, may choose among
    /// the versions of `function`.
    fn may_override(&self, function: &FunctionName, token: Option<&str>) -> bool;
}
