//! From a component's bytes to something that can be instantiated: check, compile, cache, link.

use std::{fs, io, path::Path};

use wasm_fn_core::Digest;
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};
use wasmtime_wasi::p2::bindings::CommandPre;
use wasmtime_wasi_http::{p2::bindings::ProxyPre, p3::bindings::ServicePre};

use crate::{
    artifacts::Artifacts,
    engine::{Calls, Engines},
    kind::{self, Kind, KindError},
    runtime::RuntimeError,
    state::State,
};

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
#[derive(Debug, thiserror::Error)]
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
    /// The data directory failed.
    #[error("component {digest}: {source}")]
    Io {
        /// Which component.
        digest: Digest,
        /// What the system said.
        source: io::Error,
    },
}

/// A linked component.
#[derive(Clone)]
pub(crate) enum Loaded {
    Http02(ProxyPre<State>),
    Http03(ServicePre<State>),
    Command(CommandPre<State>),
}

impl Loaded {
    /// The engine that its instances live in.
    pub(crate) fn engine(&self) -> &Engine {
        match self {
            Self::Http02(pre) => pre.engine(),
            Self::Http03(pre) => pre.engine(),
            Self::Command(pre) => pre.engine(),
        }
    }
}

/// Turns components into [`Loaded`]; holds the thread that calls it while it works.
pub(crate) struct Loader {
    /// For guests whose calls follow one another.
    sequential: Tools,
    /// For guests with asynchronous functions.
    concurrent: Tools,
}

/// An engine, what its guests may import, and the code that it compiled.
struct Tools {
    engine: Engine,
    linker: Linker<State>,
    artifacts: Artifacts,
}

impl Loader {
    /// Makes what two engines need, with their code cached in `data_dir`.
    pub(crate) fn new(engines: Engines, data_dir: &Path) -> Result<Self, RuntimeError> {
        Ok(Self {
            sequential: Tools::new(engines.sequential, Calls::Sequential, data_dir)?,
            concurrent: Tools::new(engines.concurrent, Calls::Concurrent, data_dir)?,
        })
    }

    /// Loads `digest` from the cache, or compiles the component at `source` and caches it.
    ///
    /// Blocks for as long as compilation takes: call it off the async threads.
    pub(crate) fn load(
        &self,
        digest: Digest,
        source: &Path,
        progress: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<(Loaded, Prepared), PrepareError> {
        progress(Progress { step: Step::Checking, functions: 0 });
        // A source can be large: one that was compiled here is not read again.
        for tools in [&self.sequential, &self.concurrent] {
            if let Some((kind, component)) = tools.artifacts.load(&tools.engine, digest) {
                progress(Progress { step: Step::Loading, functions: 0 });
                return Ok((tools.link(kind, &component)?, Prepared { kind, cached: true }));
            }
        }
        let bytes = fs::read(source).map_err(|source| PrepareError::Io { digest, source })?;
        let recognised = kind::recognise(&bytes)?;
        let (kind, functions, concurrent) = (recognised.kind, recognised.functions, recognised.concurrent);
        progress(Progress { step: Step::Compiling, functions });
        let bytes = kind::into_component(&recognised, bytes)?;
        let (tools, component) = if concurrent {
            (&self.concurrent, self.concurrent.compile(digest, kind, &bytes)?)
        } else if let Ok(component) = self.sequential.compile(digest, kind, &bytes) {
            (&self.sequential, component)
        } else {
            // It may have asynchronous functions all the same; if not, what is said now is the reason.
            (&self.concurrent, self.concurrent.compile(digest, kind, &bytes)?)
        };
        progress(Progress { step: Step::Loading, functions });
        Ok((tools.link(kind, &component)?, Prepared { kind, cached: false }))
    }
}

impl Tools {
    fn new(engine: Engine, calls: Calls, data_dir: &Path) -> Result<Self, RuntimeError> {
        let artifacts = Artifacts::open(data_dir, &engine)
            .map_err(|source| RuntimeError::Artifacts { dir: data_dir.to_owned(), source })?;
        let linker = linker(&engine, calls).map_err(|error| RuntimeError::Linker(format!("{error:#}")))?;
        Ok(Self { engine, linker, artifacts })
    }

    fn compile(&self, digest: Digest, kind: Kind, bytes: &[u8]) -> Result<Component, PrepareError> {
        let invalid = |error: wasmtime::Error| PrepareError::Invalid { reason: format!("{error:#}") };
        let compiled = Component::from_binary(&self.engine, bytes).map_err(invalid)?;
        let code = compiled.serialize().map_err(invalid)?;
        match self.artifacts.store(digest, kind, &code) {
            // Mapped from its file, code is shared with the page cache instead of held twice.
            Ok(()) => {
                let mapped = self.artifacts.load(&self.engine, digest);
                Ok(mapped.map_or(compiled, |(_, component)| component))
            }
            Err(error) => {
                tracing::warn!(%digest, %error, "artefact not cached");
                Ok(compiled)
            }
        }
    }

    fn link(&self, kind: Kind, component: &Component) -> Result<Loaded, PrepareError> {
        let linked = self.linker.instantiate_pre(component).and_then(|pre| loaded(kind, pre));
        linked.map_err(|error| PrepareError::Link { reason: format!("{error:#}") })
    }
}

/// Everything that the guests of an engine may import.
fn linker(engine: &Engine, calls: Calls) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    if calls == Calls::Concurrent {
        wasmtime_wasi::p3::add_to_linker(&mut linker)?;
        wasmtime_wasi_http::p3::add_to_linker(&mut linker)?;
    }
    Ok(linker)
}

fn loaded(kind: Kind, pre: InstancePre<State>) -> wasmtime::Result<Loaded> {
    Ok(match kind {
        Kind::Http02 => Loaded::Http02(ProxyPre::new(pre)?),
        Kind::Http03 => Loaded::Http03(ServicePre::new(pre)?),
        Kind::Command => Loaded::Command(CommandPre::new(pre)?),
    })
}
