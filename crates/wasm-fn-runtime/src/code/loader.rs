//! Turns the bytes of a component into something that can be instantiated: checks, compiles, caches, links.

use std::{fs, path::Path, sync::Arc};

use wasm_fn_core::Digest;
use wasm_fn_memory::{Image, Memories};
use wasmtime::{
    Engine,
    component::{InstancePre, Linker},
};

use super::{
    artifacts::{Artifact, Artifacts, Compiled},
    engine::{Calls, Engines},
    handler::Handler,
    kind::{self, Kind},
    linker::linker,
    prepare::{PrepareError, PrepareProgress, PrepareStep, PreparedComponent},
    size,
};
use crate::{guest_host::state::GuestState, node::error::RuntimeError};

/// A component that can be instantiated.
pub(crate) struct LoadedComponent {
    pub(crate) pre: InstancePre<GuestState>,
    pub(crate) handler: Handler,
    /// The initial content of its memories.
    pub(crate) image: Arc<Image>,
    pub(crate) prepared: PreparedComponent,
    /// Memory of its code and image, bytes.
    pub(crate) bytes: u64,
}

/// Loads components. Blocks the calling thread.
pub(crate) struct Loader {
    /// For guests with sequential calls.
    sequential: EngineTools,
    /// For guests with asynchronous functions.
    concurrent: EngineTools,
}

/// A component that must be compiled.
struct ComponentSource {
    digest: Digest,
    kind: Kind,
    bytes: Vec<u8>,
    /// The same component with fewer core instances, if possible.
    fused: Option<Vec<u8>>,
}

/// An engine, the imports of its guests, and the code that it compiled.
struct EngineTools {
    engine: Engine,
    linker: Linker<GuestState>,
    artifacts: Artifacts,
    memories: Arc<Memories>,
}

impl Loader {
    /// A loader for two engines, with a cache in `data_dir`.
    pub(crate) fn new(engines: Engines, data_dir: &Path) -> Result<Self, RuntimeError> {
        let Engines { sequential, concurrent, memories, .. } = engines;
        Ok(Self {
            sequential: EngineTools::new(sequential, Calls::Sequential, memories.clone(), data_dir)?,
            concurrent: EngineTools::new(concurrent, Calls::Concurrent, memories, data_dir)?,
        })
    }

    /// Whether there is an artefact that [`cached`](Self::cached) would try.
    pub(crate) fn has_cached(&self, digest: Digest) -> bool {
        self.sequential.artifacts.has(digest) || self.concurrent.artifacts.has(digest)
    }

    /// Loads `digest` from the cache; `None` when it must be compiled. Takes milliseconds.
    pub(crate) fn cached(&self, digest: Digest) -> Option<Result<LoadedComponent, PrepareError>> {
        // A source can be large, so a cached component is loaded without it.
        [&self.sequential, &self.concurrent].into_iter().find_map(|tools| {
            let (kind, artifact) = tools.artifacts.load(digest)?;
            Some(tools.map(digest, PreparedComponent { kind, cached: true }, artifact))
        })
    }

    /// Compiles the component at `source` and caches it. Takes seconds.
    pub(crate) fn compile(
        &self,
        digest: Digest,
        source: &Path,
        progress: &(dyn Fn(PrepareProgress) + Send + Sync),
    ) -> Result<LoadedComponent, PrepareError> {
        let bytes = fs::read(source).map_err(|error| PrepareError::io(digest, error))?;
        let recognised = kind::recognise(&bytes)?;
        let (kind, functions, concurrent) = (recognised.kind, recognised.functions, recognised.concurrent);
        progress(PrepareProgress { step: PrepareStep::Compiling, functions });
        let bytes = kind::into_component(&recognised, bytes)?;
        size::check(&bytes).map_err(|reason| PrepareError::Invalid { reason })?;
        let source = ComponentSource { digest, kind, fused: fused(digest, &bytes), bytes };
        let (tools, artifact) = if concurrent {
            (&self.concurrent, self.concurrent.compile(&source)?)
        } else if let Ok(artifact) = self.sequential.compile(&source) {
            (&self.sequential, artifact)
        } else {
            // It may have asynchronous functions all the same. If not, this error is the reason.
            (&self.concurrent, self.concurrent.compile(&source)?)
        };
        progress(PrepareProgress { step: PrepareStep::Loading, functions });
        tools.map(digest, PreparedComponent { kind, cached: false }, artifact)
    }
}

impl EngineTools {
    fn new(
        engine: Engine,
        calls: Calls,
        memories: Arc<Memories>,
        data_dir: &Path,
    ) -> Result<Self, RuntimeError> {
        let artifacts = Artifacts::open(data_dir, &engine)
            .map_err(|source| RuntimeError::Artifacts { dir: data_dir.to_owned(), source })?;
        let linker = linker(&engine, calls).map_err(|error| RuntimeError::Linker(format!("{error:#}")))?;
        Ok(Self { engine, linker, artifacts, memories })
    }

    fn compile(&self, source: &ComponentSource) -> Result<Artifact, PrepareError> {
        let ComponentSource { digest, kind, .. } = *source;
        let name = digest.to_string();
        let compiled =
            self.compile_fused(source, &name).map_or_else(|| self.compile_as_is(&source.bytes, &name), Ok);
        let (compiled, artifact) = compiled.map_err(|error| {
            PrepareError::of_host(digest, &error)
                .unwrap_or_else(|| PrepareError::Invalid { reason: format!("{error:#}") })
        })?;
        if let Err(error) = self.artifacts.store(digest, kind, &compiled) {
            tracing::warn!(%digest, %error, "artefact not cached");
        }
        Ok(artifact)
    }

    fn compile_as_is(&self, component: &[u8], name: &str) -> wasmtime::Result<(Compiled, Artifact)> {
        let compiled = Compiled::new(&self.engine, component)?;
        let artifact = compiled.artifact(name)?;
        Ok((compiled, artifact))
    }

    /// Compiles the fused component. Returns `None` when there is none, or when it exceeds a limit that the
    /// original does not.
    fn compile_fused(&self, source: &ComponentSource, name: &str) -> Option<(Compiled, Artifact)> {
        let fused = source.fused.as_ref()?;
        let usable = size::check(fused).map_err(wasmtime::Error::msg).and_then(|()| {
            let (compiled, artifact) = self.compile_as_is(fused, name)?;
            artifact.component(&self.engine)?;
            Ok((compiled, artifact))
        });
        usable
            .inspect_err(|error| {
                let digest = source.digest;
                tracing::debug!(%digest, error = format!("{error:#}"), "a fused component is not usable");
            })
            .ok()
    }

    fn map(
        &self,
        digest: Digest,
        prepared: PreparedComponent,
        artifact: Artifact,
    ) -> Result<LoadedComponent, PrepareError> {
        let component = artifact.component(&self.engine);
        let linked = component
            .and_then(|component| self.linker.instantiate_pre(&component))
            .and_then(|pre| Ok((Handler::find(prepared.kind, pre.component())?, pre)));
        let (handler, pre) = linked.map_err(|error| {
            PrepareError::of_host(digest, &error)
                .unwrap_or_else(|| PrepareError::Link { reason: format!("{error:#}") })
        })?;
        let bytes = artifact.bytes();
        let image = artifact.image(&self.memories).map_err(|error| PrepareError::io(digest, error))?;
        Ok(LoadedComponent { pre, handler, image, prepared, bytes })
    }
}

/// `component` with fewer core instances; `None` when it cannot be fused.
fn fused(digest: Digest, component: &[u8]) -> Option<Vec<u8>> {
    wasm_fn_fuse::fuse(component)
        .inspect_err(|reason| tracing::debug!(%digest, %reason, "a component stays as it is"))
        .ok()
}

#[cfg(test)]
mod tests;
