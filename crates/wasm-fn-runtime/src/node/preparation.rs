//! Preparing a component: it is compiled and started once. A large one may serve with code of one pass until
//! its optimised code is there.

use std::sync::Arc;

use wasm_fn_core::Digest;

use super::resources::NodeResources;
use crate::{
    code::{
        cache::{ComponentCode, ProgressSink},
        loader::{LoadedComponent, UNFUSED},
        prepare::{PrepareError, PreparedComponent},
    },
    fault::Fault,
    guest_host::template::InstanceTemplate,
};

/// A component, and what an instance of it is started from to see that it starts.
#[derive(Clone)]
pub(super) struct Preparation {
    pub(super) node: Arc<NodeResources>,
    pub(super) code: Arc<ComponentCode>,
    pub(super) template: Arc<InstanceTemplate>,
}

/// What became of code that was started once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Checked {
    /// It starts, or there was no place to try.
    Good,
    /// It starts only as it was uploaded. That code is kept now.
    Adopted,
}

impl Preparation {
    /// Compiles the component, optimised, unless the cache has its code, and starts it once.
    pub(super) async fn run(&self, progress: ProgressSink) -> Result<PreparedComponent, PrepareError> {
        let at_hand = self.code.get().is_some();
        let loaded = self.node.codes.load(&self.code, self.node.now(), None, progress).await?;
        let prepared = PreparedComponent { cached: loaded.prepared.cached || at_hand, ..loaded.prepared };
        if prepared.is_baseline {
            self.optimise().await?;
        } else {
            self.check(&loaded).await?;
        }
        Ok(PreparedComponent { is_baseline: false, ..prepared })
    }

    /// [`run`](Self::run), but ends as soon as the component can serve. If that is by code of one pass, the
    /// optimised code takes its place later.
    pub(super) async fn run_quick(&self, progress: ProgressSink) -> Result<PreparedComponent, PrepareError> {
        let baseline = self.node.codes.load_baseline(&self.code, self.node.now(), progress.clone()).await;
        let Some(baseline) = baseline else { return self.run(progress).await };
        self.check(&baseline).await?;
        let preparation = self.clone();
        tokio::spawn(async move {
            if let Err(error) = preparation.optimise().await {
                let digest = preparation.digest();
                tracing::warn!(component = %digest, %error, "a component keeps the slow code of one pass");
            }
        });
        Ok(baseline.prepared)
    }

    /// Puts optimised code in the place of code of one pass, once it has started an instance.
    async fn optimise(&self) -> Result<(), PrepareError> {
        let optimised = self.node.codes.optimise(self.digest()).await?;
        if self.check(&optimised).await? == Checked::Good {
            self.node.codes.keep(&self.code, &Arc::new(optimised), self.node.now());
        }
        Ok(())
    }

    fn digest(&self) -> Digest {
        self.code.digest()
    }

    /// Starts `loaded` once. If it does not start with its core modules linked, it is tried as it was
    /// uploaded.
    async fn check(&self, loaded: &LoadedComponent) -> Result<Checked, PrepareError> {
        let fault = match self.try_start(loaded).await {
            Err(fault) if loaded.is_fused && is_of_guest(&fault) => {
                // It may be the linking that broke it.
                let unfused = self.node.codes.compile_unfused(self.digest()).await?;
                match self.try_start(&unfused.loaded).await {
                    Ok(()) => {
                        tracing::warn!(
                            component = %self.digest(), %fault,
                            "component does not start with its core modules linked: {UNFUSED}"
                        );
                        self.node.codes.adopt(&self.code, unfused, self.node.now()).await?;
                        return Ok(Checked::Adopted);
                    }
                    Err(Fault::NodeOverloaded { .. }) => fault,
                    Err(fault) => fault,
                }
            }
            Ok(()) | Err(Fault::NodeOverloaded { .. }) => return Ok(Checked::Good),
            Err(fault) => fault,
        };
        Err(match fault {
            Fault::OutOfMemory { limit_bytes } => PrepareError::Memory { limit_bytes },
            fault => PrepareError::Start { reason: fault.to_string() },
        })
    }

    /// Starts an instance that nobody uses.
    async fn try_start(&self, loaded: &LoadedComponent) -> Result<(), Fault> {
        let permit = self.node.slots.try_take().ok_or_else(Fault::node_overloaded)?;
        self.template.instantiate_in_time(loaded, permit).await.map(drop)
    }
}

/// Whether `fault` is due to what the guest does when it starts, not to the node or a limit of memory.
fn is_of_guest(fault: &Fault) -> bool {
    !matches!(fault, Fault::NodeOverloaded { .. } | Fault::OutOfMemory { .. })
}
