//! Effects: what an invocation does beyond its answer. Outgoing requests are effects, and so are writes to
//! buckets.

use std::{fmt, sync::Arc};

/// Decides whether an effect may begin. It is asked just before each one, and its decision is final for the
/// request being served.
#[derive(Clone)]
pub struct EffectCheck(Arc<dyn Fn() -> bool + Send + Sync>);

impl EffectCheck {
    /// A check that calls `may_begin`, which must not block.
    pub fn new(may_begin: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_begin))
    }

    /// Whether an effect may begin now.
    pub(super) fn may_begin(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for EffectCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EffectCheck").finish_non_exhaustive()
    }
}
