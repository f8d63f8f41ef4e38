//! From a component's bytes to something that can be instantiated: check, compile, cache, link.

use std::{fs, io, path::Path, sync::Arc};

use futures_util::FutureExt as _;
use wasm_fn_core::Digest;
use wasm_fn_memory::{Image, Memories};
use wasmtime::{
    Engine, StoreContextMut,
    component::{InstancePre, Linker, Resource, ResourceType},
};
use wasmtime_wasi_io::streams::DynOutputStream;

use crate::{
    artifacts::{Artifact, Artifacts, Compiled},
    engine::{Calls, Engines},
    handler::Handler,
    kind::{self, Kind, KindError},
    runtime::RuntimeError,
    size,
    state::State,
};

/// The interface of streams, as the host's functions are linked.
const STREAMS: &str = "wasi:io/streams@0.2.12";

/// What a deployed component turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// How it is called.
    pub kind: Kind,
    /// Whether its native code was in the cache already.
    pub cached: bool,
}

/// A step of preparing a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Looking at imports and exports.
    Checking,
    /// Compiling to native code.
    Compiling,
    /// Making a first instance.
    Loading,
}

/// How far preparing got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The step under way.
    pub step: Step,
    /// Functions to compile, once known.
    pub functions: u64,
}

/// Why a component cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PrepareError {
    /// The bytes are no function.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// Recognised, but invalid.
    #[error("component is invalid: {reason}")]
    Invalid {
        /// The compiler's words.
        reason: String,
    },
    /// Its imports have other types than the node's.
    #[error("component does not link: {reason}")]
    Link {
        /// The linker's words.
        reason: String,
    },
    /// It does not start.
    #[error("component does not start: {reason}")]
    Start {
        /// Why.
        reason: String,
    },
    /// More memory at the start than its limit.
    #[error("component needs more memory to start than its limit of {limit_bytes} bytes")]
    Memory {
        /// The configured limit.
        limit_bytes: u64,
    },
    /// Too many others are being compiled.
    #[error("component is not compiled now: {reason}")]
    Busy {
        /// How many.
        reason: String,
    },
    /// The data directory failed.
    #[error("component {digest}: {source}")]
    Io {
        /// Which component.
        digest: Digest,
        /// What the system said.
        source: Arc<io::Error>,
    },
}

impl PrepareError {
    pub(crate) fn io(digest: Digest, source: io::Error) -> Self {
        Self::Io { digest, source: Arc::new(source) }
    }

    /// What `error` says when the system has failed and not the component.
    fn of_host(digest: Digest, error: &wasmtime::Error) -> Option<Self> {
        let is_io = error.chain().any(|cause| cause.is::<io::Error>());
        is_io.then(|| Self::io(digest, io::Error::other(format!("{error:#}"))))
    }

    /// Whether it is only a matter of time.
    pub fn is_busy(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }
}

/// A component that can be instantiated, and where it came from.
pub(crate) struct Mapped {
    pub(crate) pre: InstancePre<State>,
    pub(crate) handler: Handler,
    /// What its memories begin with.
    pub(crate) image: Arc<Image>,
    pub(crate) prepared: Prepared,
    /// Memory that its code and image take.
    pub(crate) bytes: u64,
}

/// Turns components into [`Mapped`] ones; holds the caller's thread while it works.
pub(crate) struct Loader {
    /// For guests whose calls follow one another.
    sequential: Tools,
    /// For guests with asynchronous functions.
    concurrent: Tools,
}

/// A component to be compiled.
struct Source {
    digest: Digest,
    kind: Kind,
    bytes: Vec<u8>,
    /// The same with fewer core instances, if it can be had.
    fused: Option<Vec<u8>>,
}

/// An engine, what its guests may import, and the code that it compiled.
struct Tools {
    engine: Engine,
    linker: Linker<State>,
    artifacts: Artifacts,
    memories: Arc<Memories>,
}

impl Loader {
    /// Makes what two engines need, with their code cached in `data_dir`.
    pub(crate) fn new(engines: Engines, data_dir: &Path) -> Result<Self, RuntimeError> {
        let Engines { sequential, concurrent, memories, .. } = engines;
        Ok(Self {
            sequential: Tools::new(sequential, Calls::Sequential, memories.clone(), data_dir)?,
            concurrent: Tools::new(concurrent, Calls::Concurrent, memories, data_dir)?,
        })
    }

    /// Whether there is an artefact that [`cached`](Self::cached) would look at.
    pub(crate) fn has_cached(&self, digest: Digest) -> bool {
        self.sequential.artifacts.has(digest) || self.concurrent.artifacts.has(digest)
    }

    /// Loads `digest` from the cache; `None` when it has to be compiled. Takes milliseconds.
    pub(crate) fn cached(&self, digest: Digest) -> Option<Result<Mapped, PrepareError>> {
        // A source can be large: one that was compiled here is not read again.
        [&self.sequential, &self.concurrent].into_iter().find_map(|tools| {
            let (kind, artifact) = tools.artifacts.load(digest)?;
            Some(tools.map(digest, Prepared { kind, cached: true }, artifact))
        })
    }

    /// Compiles the component at `source` and caches it. Takes seconds.
    pub(crate) fn compile(
        &self,
        digest: Digest,
        source: &Path,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Mapped, PrepareError> {
        let bytes = fs::read(source).map_err(|error| PrepareError::io(digest, error))?;
        let recognised = kind::recognise(&bytes)?;
        let (kind, functions, concurrent) = (recognised.kind, recognised.functions, recognised.concurrent);
        progress(Progress { step: Step::Compiling, functions });
        let bytes = kind::into_component(&recognised, bytes)?;
        size::check(&bytes).map_err(|reason| PrepareError::Invalid { reason })?;
        let source = Source { digest, kind, fused: fused(digest, &bytes), bytes };
        let (tools, artifact) = if concurrent {
            (&self.concurrent, self.concurrent.compile(&source)?)
        } else if let Ok(artifact) = self.sequential.compile(&source) {
            (&self.sequential, artifact)
        } else {
            // It may have asynchronous functions all the same; if not, what is said now is the reason.
            (&self.concurrent, self.concurrent.compile(&source)?)
        };
        progress(Progress { step: Step::Loading, functions });
        tools.map(digest, Prepared { kind, cached: false }, artifact)
    }
}

impl Tools {
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

    fn compile(&self, source: &Source) -> Result<Artifact, PrepareError> {
        let Source { digest, kind, .. } = *source;
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

    /// The code of the fused component; `None` when there is none, or it meets a limit that the parts did not
    /// meet.
    fn compile_fused(&self, source: &Source, name: &str) -> Option<(Compiled, Artifact)> {
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

    fn map(&self, digest: Digest, prepared: Prepared, artifact: Artifact) -> Result<Mapped, PrepareError> {
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
        Ok(Mapped { pre, handler, image, prepared, bytes })
    }
}

/// `component` with fewer core instances; `None` when it stays as it is.
fn fused(digest: Digest, component: &[u8]) -> Option<Vec<u8>> {
    wasm_fn_fuse::fuse(component)
        .inspect_err(|reason| tracing::debug!(%digest, %reason, "a component stays as it is"))
        .ok()
}

/// Everything that the guests of an engine may import.
fn linker(engine: &Engine, calls: Calls) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    // Again, such that streams need the table of resources only: as linked above they ask for the whole context,
    // which is not made before a guest needs it.
    linker.allow_shadowing(true);
    wasmtime_wasi_io::add_to_linker_async(&mut linker)?;
    linker.instance(STREAMS)?.resource(
        "output-stream",
        ResourceType::host::<DynOutputStream>(),
        drop_stream,
    )?;
    linker.allow_shadowing(false);
    if calls == Calls::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

/// Drops a guest's output stream. The guest does not wait until what the stream still does has ended: every guest
/// drops one, and a response's has nothing to end.
fn drop_stream(mut store: StoreContextMut<'_, State>, stream: u32) -> wasmtime::Result<()> {
    end(store.data_mut().table.delete(Resource::new_own(stream))?);
    Ok(())
}

/// Has `stream` end what it does, by itself where that takes time.
fn end(mut stream: DynOutputStream) {
    let mut ended = Box::pin(async move { stream.cancel().await });
    if ended.as_mut().now_or_never().is_none() {
        tokio::spawn(ended);
    }
}

#[cfg(test)]
mod tests;
