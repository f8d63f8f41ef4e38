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

/// The context of one instance. Whoever asks for it says what the instance finds around itself: the same each time.
pub(crate) struct Wasi {
    /// Of the request that the instance serves; 0 before the first.
    request_id: u128,
    /// `None` until the guest asks.
    made: Option<Made>,
}

/// A context, and what it names the request by.
struct Made {
    context: WasiCtx,
    serving: Arc<Serving>,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        Self { request_id: 0, made: None }
    }

    /// What is printed from now on belongs to the request `request_id`.
    pub(crate) fn serve(&mut self, request_id: u128) {
        self.request_id = request_id;
        if let Some(made) = &self.made {
            made.serving.set(request_id);
        }
    }

    pub(crate) fn context(&mut self, surroundings: &Surroundings) -> &mut WasiCtx {
        let Self { request_id, made } = self;
        let made = made.get_or_insert_with(|| {
            let serving = Arc::new(Serving::new(*request_id));
            let context = builder(surroundings, &serving).envs(&surroundings.env).build();
            Made { context, serving }
        });
        &mut made.context
    }

    /// Makes the context of a command's single run: its request is its environment, input and output.
    pub(crate) fn make_for_command(
        &mut self,
        surroundings: &Surroundings,
        variables: &[(String, String)],
        stdin: impl StdinStream + 'static,
        stdout: impl StdoutStream + 'static,
    ) {
        // What a start function opened goes on to name the request.
        let serving = match self.made.take() {
            Some(made) => made.serving,
            None => Arc::new(Serving::new(self.request_id)),
        };
        let mut builder = builder(surroundings, &serving);
        builder.envs(&surroundings.env).envs(variables).stdin(stdin).stdout(stdout);
        self.made = Some(Made { context: builder.build(), serving });
    }
}

fn builder(surroundings: &Surroundings, serving: &Arc<Serving>) -> WasiCtxBuilder {
    let capture =
        |stream| Capture::new(surroundings.log.clone(), serving.clone(), surroundings.version, stream);
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(capture(LogStream::Stdout)).stderr(capture(LogStream::Stderr));
    builder
}
