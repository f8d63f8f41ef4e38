//! Who may name the version that answers.

use wasm_fn_core::FunctionName;

/// Decides whether a request may choose its version, by the `wasm-fn-version` header or by the version's own
/// address.
///
/// Asked only for requests that do, on the connection's own task: it must not block. Comparing a token takes as long
/// wherever it is wrong.
pub trait OverrideAccess: Send + Sync + 'static {
    /// Whether the bearer of `token`, the `wasm-fn-token` header as it was sent, may choose among
    /// the versions of `function`.
    fn may_override(&self, function: &FunctionName, token: Option<&str>) -> bool;

    /// Whether `token` is one for the addresses of the versions of `function`, and for nothing else.
    fn may_preview(&self, function: &FunctionName, token: &str) -> bool;
}
