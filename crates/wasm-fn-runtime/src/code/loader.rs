//! Turns the bytes of a component into something that can be instantiated: checks, compiles, caches, links.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};
use wasm_fn_core::Digest;
use wasm_fn_memory::{Image, Memories};
use wasmtime::{
    Engine,
    component::{InstancePre, Linker},
};

use super::{
    artifacts::{Artifact, Artifacts, Compiled, NativeCode},
    effort::{self, EffortError},
    engine::{Calls, Engines},
    functions::CompiledFunctions,
    handler::Handler,
    kind::{self, Kind},
    linker::linker,
    prepare::{PrepareError, PrepareProgress, PrepareStep, PreparedComponent},
    size,
};
use crate::{guest_host::state::GuestState, node::error::RuntimeError};

/// What the log says of a component that does not work with its core modules linked.
pub(crate) const UNFUSED: &str = "it runs as it was uploaded, and its requests take more time";

/// From this size on, a component is compiled in one pass first, and what it has in common with others is
/// looked up. It is the size of the smallest interpreters: QuickJS has 1.7 MB. Smaller components are
/// compiled in a fraction of a second.
const LARGE_BYTES: u64 = 1 << 20;

/// A component that can be instantiated.
pub(crate) struct LoadedComponent {
    pub(crate) pre: InstancePre<GuestState>,
    pub(crate) handler: Handler,
    /// The initial content of its memories.
    pub(crate) image: Arc<Image>,
    pub(crate) prepared: PreparedComponent,
    /// Whether its core modules were linked before it was compiled.
    pub(crate) is_fused: bool,
    /// Memory of its code and image, bytes.
    pub(crate) bytes: u64,
}

/// A component that was compiled as it was uploaded, although it can be fused. It is not in the cache.
pub(crate) struct Unfused {
    pub(crate) loaded: LoadedComponent,
    compiled: Compiled,
    source: ComponentSource,
}

/// Loads components. Blocks the calling thread.
pub(crate) struct Loader {
    /// For guests with sequential calls.
    sequential: EngineTools,
    /// For guests with asynchronous functions.
    concurrent: EngineTools,
    /// For guests with sequential calls that are compiled in one pass. Nothing of it is cached.
    baseline: Option<EngineTools>,
    functions: Arc<CompiledFunctions>,
    /// Whether core modules are linked.
    links: bool,
    /// A folder with an empty file for each component that starts only as it was uploaded, named by its
    /// digest. It is kept apart from the cache, which operators may delete.
    unfused: PathBuf,
}

/// A component that must be compiled.
struct ComponentSource {
    digest: Digest,
    kind: Kind,
    /// Number of functions.
    functions: u64,
    /// Whether it uses an interface of 0.3, whose functions may be asynchronous.
    concurrent: bool,
    /// Whether it has at least [`LARGE_BYTES`].
    is_large: bool,
    bytes: Vec<u8>,
    /// The same component with fewer core instances, if possible.
    fused: Option<Vec<u8>>,
}

/// An engine, the imports of its guests, and the code that it compiled.
struct EngineTools {
    engine: Engine,
    /// Compiles large components for `engine`, if there is one.
    incremental: Option<Engine>,
    linker: Linker<GuestState>,
    artifacts: Artifacts,
    memories: Arc<Memories>,
}

impl Loader {
    /// A loader for `engines`, with a cache in `data_dir`. `links` says whether core modules are linked.
    pub(crate) fn new(engines: Engines, data_dir: &Path, links: bool) -> Result<Self, RuntimeError> {
        let tools = |engine: &Engine, calls| {
            let artifacts = Artifacts::open(data_dir, engine, links);
            let artifacts =
                artifacts.map_err(|source| RuntimeError::Artifacts { dir: data_dir.to_owned(), source })?;
            EngineTools::new(engine.clone(), calls, engines.memories.clone(), artifacts)
        };
        let mut sequential = tools(&engines.sequential, Calls::Sequential)?;
        let mut concurrent = tools(&engines.concurrent, Calls::Concurrent)?;
        let baseline =
            engines.baseline.as_ref().map(|engine| tools(engine, Calls::Sequential)).transpose()?;
        let functions = CompiledFunctions::new(data_dir, sequential.artifacts.key());
        for (tools, calls) in [(&mut sequential, Calls::Sequential), (&mut concurrent, Calls::Concurrent)] {
            tools.incremental = engines
                .incremental(calls, functions.clone())
                .inspect_err(|error| tracing::warn!(%error, "no compiled function is found again"))
                .ok();
        }
        let unfused = data_dir.join("unfused");
        Ok(Self { sequential, concurrent, baseline, functions, links, unfused })
    }

    /// Whether there is an artefact that [`cached`](Self::cached) would try.
    pub(crate) fn has_cached(&self, digest: Digest) -> bool {
        self.sequential.artifacts.has(digest) || self.concurrent.artifacts.has(digest)
    }

    /// The file in the cache with the native code of `digest`.
    pub(crate) fn native_code(&self, digest: Digest) -> Option<NativeCode> {
        [&self.sequential, &self.concurrent].into_iter().find_map(|tools| tools.artifacts.file(digest))
    }

    /// Moves a file with native code of `digest` into the cache. Returns false if it is not for these
    /// engines.
    pub(crate) fn take_native_code(&self, digest: Digest, code: &NativeCode) -> io::Result<bool> {
        let tools = [&self.sequential, &self.concurrent];
        match tools.into_iter().find(|tools| tools.artifacts.is_name_of(digest, &code.name)) {
            Some(tools) => tools.artifacts.take(code).map(|()| true),
            None => Ok(false),
        }
    }

    /// Loads `digest` from the cache; `None` when it must be compiled. Takes milliseconds.
    pub(crate) fn cached(&self, digest: Digest) -> Option<Result<LoadedComponent, PrepareError>> {
        // A source can be large, so a cached component is loaded without it.
        [&self.sequential, &self.concurrent].into_iter().find_map(|tools| {
            let (kind, artifact) = tools.artifacts.load(digest)?;
            Some(tools.map(digest, PreparedComponent { kind, cached: true, is_baseline: false }, artifact))
        })
    }

    /// Compiles the component at `source` and caches it. Takes seconds.
    pub(crate) fn compile(
        &self,
        digest: Digest,
        source: &Path,
        progress: &(dyn Fn(PrepareProgress) + Send + Sync),
    ) -> Result<LoadedComponent, PrepareError> {
        let mut source = read(digest, source, progress)?;
        if self.links && !self.unfused.join(digest.to_string()).exists() {
            source.fused = fused(digest, &source.bytes);
        }
        let (tools, compiled, artifact) = self.compile_source(&source)?;
        if let Err(error) = tools.artifacts.store(digest, source.kind, &compiled) {
            tracing::warn!(%digest, %error, "artefact not cached");
        }
        progress(PrepareProgress { step: PrepareStep::Loading, functions: source.functions });
        tools.map(
            digest,
            PreparedComponent { kind: source.kind, cached: false, is_baseline: false },
            artifact,
        )
    }

    /// Compiles the component at `source` in one pass, if it is large: in a fifth of the time of
    /// [`compile`](Self::compile), which has to follow, because this code is slow and not cached. `None` if
    /// that is not possible.
    pub(crate) fn compile_baseline(
        &self,
        digest: Digest,
        source: &Path,
        progress: &(dyn Fn(PrepareProgress) + Send + Sync),
    ) -> Option<LoadedComponent> {
        let tools = self.baseline.as_ref()?;
        if !fs::metadata(source).is_ok_and(|file| file.len() >= LARGE_BYTES) {
            return None;
        }
        let compiled = read(digest, source, progress).and_then(|source| {
            if source.concurrent {
                return Ok(None);
            }
            let (_, artifact) =
                tools
                    .compile_bytes(&source.bytes, &source.digest.to_string(), false, None)
                    .map_err(|error| PrepareError::Unsupported { reason: format!("{error:#}") })?;
            let prepared = PreparedComponent { kind: source.kind, cached: false, is_baseline: true };
            tools.map(digest, prepared, artifact).map(Some)
        });
        // The usual way tells what is wrong with it, if anything is.
        let compiled = compiled
            .inspect_err(|error| tracing::debug!(%digest, %error, "a component is not compiled in one pass"));
        compiled.ok().flatten()
    }

    /// Compiles the component at `source` as it was uploaded. Takes seconds.
    pub(crate) fn compile_unfused(&self, digest: Digest, source: &Path) -> Result<Unfused, PrepareError> {
        let source = read(digest, source, &|_| {})?;
        let (tools, compiled, artifact) = self.compile_source(&source)?;
        let prepared = PreparedComponent { kind: source.kind, cached: false, is_baseline: false };
        Ok(Unfused { loaded: tools.map(digest, prepared, artifact)?, compiled, source })
    }

    /// Caches a component as it was uploaded, and never fuses it again.
    pub(crate) fn adopt(&self, unfused: Unfused) -> LoadedComponent {
        let Unfused { loaded, compiled, source } = unfused;
        let is_sequential = Engine::same(loaded.pre.engine(), &self.sequential.engine);
        let tools = if is_sequential { &self.sequential } else { &self.concurrent };
        let kept = self
            .remember_unfused(source.digest)
            .and_then(|()| tools.artifacts.store(source.digest, source.kind, &compiled));
        if let Err(error) = kept {
            tracing::warn!(digest = %source.digest, %error, "artefact not cached");
        }
        loaded
    }

    /// Compiled functions that were found again.
    #[cfg(test)]
    pub(crate) fn functions_found(&self) -> u64 {
        self.functions.found()
    }

    fn remember_unfused(&self, digest: Digest) -> io::Result<()> {
        fs::create_dir_all(&self.unfused)?;
        fs::File::create(self.unfused.join(digest.to_string()))?.sync_all()
    }

    fn compile_source(
        &self,
        source: &ComponentSource,
    ) -> Result<(&EngineTools, Compiled, Artifact), PrepareError> {
        let functions = source.is_large.then_some(&*self.functions);
        if !source.concurrent
            && let Ok((compiled, artifact)) = self.sequential.compile(source, functions)
        {
            return Ok((&self.sequential, compiled, artifact));
        }
        // It may have asynchronous functions all the same. If not, this error is the reason.
        let (compiled, artifact) = self.concurrent.compile(source, functions)?;
        Ok((&self.concurrent, compiled, artifact))
    }
}

/// The component at `source`, as it was uploaded.
fn read(
    digest: Digest,
    source: &Path,
    progress: &(dyn Fn(PrepareProgress) + Send + Sync),
) -> Result<ComponentSource, PrepareError> {
    let bytes = fs::read(source).map_err(|error| PrepareError::io(digest, error))?;
    // It was verified when it was stored. Who has changed it since must not decide what is run as `digest`.
    let found = Digest(Sha256::digest(&bytes).into());
    if found != digest {
        return Err(PrepareError::Changed { digest, found });
    }
    let recognised = kind::recognise(&bytes)?;
    let (kind, functions, concurrent) = (recognised.kind, recognised.functions, recognised.concurrent);
    progress(PrepareProgress { step: PrepareStep::Compiling, functions });
    let is_large = bytes.len() as u64 >= LARGE_BYTES;
    let bytes = kind::into_component(&recognised, bytes)?;
    size::check(&bytes).map_err(|reason| PrepareError::Invalid { reason })?;
    effort::check(&bytes).map_err(|error| match error {
        EffortError::Malformed(reason) => PrepareError::Invalid { reason },
        EffortError::Exceeded(reason) => PrepareError::TooCostly { reason },
    })?;
    Ok(ComponentSource { digest, kind, functions, concurrent, is_large, bytes, fused: None })
}

impl EngineTools {
    fn new(
        engine: Engine,
        calls: Calls,
        memories: Arc<Memories>,
        artifacts: Artifacts,
    ) -> Result<Self, RuntimeError> {
        let linker = linker(&engine, calls).map_err(|error| RuntimeError::Linker(format!("{error:#}")))?;
        Ok(Self { engine, incremental: None, linker, artifacts, memories })
    }

    /// Compiles `source`, fused if that works.
    fn compile(
        &self,
        source: &ComponentSource,
        functions: Option<&CompiledFunctions>,
    ) -> Result<(Compiled, Artifact), PrepareError> {
        let (digest, name) = (source.digest, source.digest.to_string());
        let why = match self.compile_fused(source, &name, functions) {
            Some(Ok(compiled)) => return Ok(compiled),
            Some(Err(error)) => Some(format!("{error:#}")),
            None => None,
        };
        let compiled = self.compile_bytes(&source.bytes, &name, false, functions);
        let (compiled, artifact) = compiled.map_err(|error| {
            PrepareError::of_host(digest, &error).unwrap_or_else(|| not_compiled(&source.bytes, &error))
        })?;
        if let Some(error) = why
            && self.link(source.kind, &artifact).is_ok()
        {
            tracing::warn!(
                component = %digest, error,
                "component cannot be used with its core modules linked: {UNFUSED}"
            );
        }
        Ok((compiled, artifact))
    }

    fn compile_bytes(
        &self,
        component: &[u8],
        name: &str,
        is_fused: bool,
        functions: Option<&CompiledFunctions>,
    ) -> wasmtime::Result<(Compiled, Artifact)> {
        let compiled = match (&self.incremental, functions) {
            (Some(engine), Some(functions)) => {
                let _session = functions.begin();
                Compiled::new(engine, component, is_fused)?
            }
            _ => Compiled::new(&self.engine, component, is_fused)?,
        };
        let artifact = compiled.artifact(name)?;
        Ok((compiled, artifact))
    }

    /// Compiles the fused component, if there is one. It may exceed a limit that the original does not.
    fn compile_fused(
        &self,
        source: &ComponentSource,
        name: &str,
        functions: Option<&CompiledFunctions>,
    ) -> Option<wasmtime::Result<(Compiled, Artifact)>> {
        let fused = source.fused.as_ref()?;
        Some(size::check(fused).map_err(wasmtime::Error::msg).and_then(|()| {
            let (compiled, artifact) = self.compile_bytes(fused, name, true, functions)?;
            self.link(source.kind, &artifact)?;
            Ok((compiled, artifact))
        }))
    }

    fn link(&self, kind: Kind, artifact: &Artifact) -> wasmtime::Result<(InstancePre<GuestState>, Handler)> {
        let pre = self.linker.instantiate_pre(&artifact.component(&self.engine)?)?;
        let handler = Handler::find(kind, pre.component())?;
        Ok((pre, handler))
    }

    fn map(
        &self,
        digest: Digest,
        prepared: PreparedComponent,
        artifact: Artifact,
    ) -> Result<LoadedComponent, PrepareError> {
        let (pre, handler) = self.link(prepared.kind, &artifact).map_err(|error| {
            PrepareError::of_host(digest, &error).unwrap_or_else(|| PrepareError::of_linker(&error))
        })?;
        let is_fused = artifact.is_fused();
        let bytes = artifact.bytes();
        let image = artifact.image(&self.memories).map_err(|error| PrepareError::io(digest, error))?;
        Ok(LoadedComponent { pre, handler, image, prepared, is_fused, bytes })
    }
}

/// Why the engine refuses `component`.
fn not_compiled(component: &[u8], error: &wasmtime::Error) -> PrepareError {
    match kind::validate(component) {
        Err(reason) => PrepareError::Invalid { reason },
        Ok(()) => PrepareError::Unsupported { reason: format!("{error:#}") },
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
