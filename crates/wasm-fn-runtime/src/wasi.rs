//! The WASI context of an instance: its environment, and the log that takes what it prints.
//!
//! Made when the guest first asks for it: a context is a dozen allocations and two random generators, and few
//! guests that answer HTTP ever ask.

use std::sync::Arc;

use wasm_fn_core::VersionNo;
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder,
    cli::{StdinStream, StdoutStream},
};

use crate::{
    capture::{Capture, Serving},
    logs::{LogRing, LogStream},
};

/// What the instances of a version find around them.
pub(crate) struct Surroundings {
    pub(crate) version: VersionNo,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) log: Arc<LogRing>,
}

/// The context of one instance.
pub(crate) struct Wasi {
    surroundings: Arc<Surroundings>,
    serving: Arc<Serving>,
    /// `None` until the guest asks.
    context: Option<WasiCtx>,
}

impl Wasi {
    pub(crate) fn new(surroundings: Arc<Surroundings>, serving: Arc<Serving>) -> Self {
        Self { surroundings, serving, context: None }
    }

    pub(crate) fn context(&mut self) -> &mut WasiCtx {
        let Self { surroundings, serving, context } = self;
        context.get_or_insert_with(|| builder(surroundings, serving).envs(&surroundings.env).build())
    }

    /// Makes the context of a command's single run: its request is its environment, input and output.
    pub(crate) fn make_for_command(
        &mut self,
        variables: &[(String, String)],
        stdin: impl StdinStream + 'static,
        stdout: impl StdoutStream + 'static,
    ) {
        let mut builder = builder(&self.surroundings, &self.serving);
        builder.envs(&self.surroundings.env).envs(variables).stdin(stdin).stdout(stdout);
        self.context = Some(builder.build());
    }
}

fn builder(surroundings: &Surroundings, serving: &Arc<Serving>) -> WasiCtxBuilder {
    let capture =
        |stream| Capture::new(surroundings.log.clone(), serving.clone(), surroundings.version, stream);
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(capture(LogStream::Stdout)).stderr(capture(LogStream::Stderr));
    builder
}
