//! Compiles components that have traffic but no code in the cache, so that no user waits for it. This
//! happens after an upgrade to another engine. Does not load code that is in the cache.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use wasm_fn_runtime::{ForVersion, Runtime};

use super::needs::Need;

/// Components to compile at once: as many as the compiler works on.
const AT_ONCE: usize = 2;

/// How long to wait if the compiler is overloaded.
const RETRY: Duration = Duration::from_secs(1);

/// Returns those `needs` that must be compiled.
pub(super) async fn missing(runtime: &Runtime, mut needs: Vec<Need>) -> Vec<Need> {
    let components = needs.iter().map(|need| need.component).collect();
    let missing: HashSet<_> = runtime.missing(components).await.into_iter().collect();
    needs.retain(|need| missing.contains(&need.component));
    needs
}

/// Compiles `needs` in their order, and calls `left` with the number of those that remain. Returns how many
/// could not be compiled.
pub(super) async fn compile(runtime: &Runtime, needs: Vec<Need>, left: impl Fn(usize)) -> usize {
    let pending = AtomicUsize::new(needs.len());
    left(needs.len());
    let (pending, left) = (&pending, &left);
    let compiled = stream::iter(needs).map(|need| async move {
        let compiled = one(runtime, &need).await;
        left(pending.fetch_sub(1, Relaxed) - 1);
        usize::from(!compiled)
    });
    compiled.buffer_unordered(AT_ONCE).fold(0, async |failed, one| failed + one).await
}

/// Compiles one component; returns whether it could be compiled.
async fn one(runtime: &Runtime, need: &Need) -> bool {
    let Need { component, function, version } = need;
    loop {
        let whom = ForVersion { function: function.clone(), version: *version };
        match runtime.compile(*component, Some(whom)).await {
            Ok(()) => return true,
            Err(error) if error.is_busy() => tokio::time::sleep(RETRY).await,
            Err(error) => {
                tracing::warn!(%component, %function, %version, %error, "version cannot be compiled, and cannot be called");
                return false;
            }
        }
    }
}
