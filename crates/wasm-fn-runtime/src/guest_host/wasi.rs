//! The WASI context of an instance: its environment, and the log that takes its output.
//!
//! The context is made when the guest first asks for it. It takes a dozen allocations and two random
//! generators, and few guests that answer HTTP ever ask.

use std::sync::Arc;

use wasm_fn_core::VersionNo;
use wasm_fn_secrets::SecretSet;
use wasmtime_wasi::{
    WasiCtx, WasiCtxBuilder,
    cli::{StdinStream, StdoutStream},
};

use super::{
    capture::{Capture, CaptureOptions, CurrentRequest},
    logs::{GuestLogStream, LogRing, Served},
};

/// The environment of the instances of a version.
pub(crate) struct GuestEnvironment {
    pub(crate) version: VersionNo,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) secrets: Arc<SecretSet>,
    /// Whether the secrets are variables too.
    pub(crate) secrets_env: bool,
    pub(crate) log: Arc<LogRing>,
}

impl GuestEnvironment {
    /// The secrets that are variables.
    fn secret_variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let secrets = self.secrets_env.then(|| self.secrets.iter());
        secrets.into_iter().flatten().map(|(name, value)| (name.as_str(), value.expose()))
    }

    /// Whether the variable `name` is configured.
    fn has_variable(&self, name: &str) -> bool {
        self.env.iter().any(|(configured, _)| configured == name)
            || self.secrets_env && self.secrets.get(name).is_some()
    }
}

/// The WASI context of one instance. Callers pass the environment, which is the same each time.
pub(crate) struct Wasi {
    /// The request that the instance serves.
    serving: Served,
    /// `None` until the guest asks.
    made: Option<WasiContext>,
}

/// A context, and the request that its output belongs to.
struct WasiContext {
    context: WasiCtx,
    serving: Arc<CurrentRequest>,
}

impl Wasi {
    pub(crate) fn new() -> Self {
        Self { serving: Served::NOTHING, made: None }
    }

    /// Output from now on belongs to the request `served`.
    pub(crate) fn serve(&mut self, served: Served) {
        self.serving = served;
        if let Some(made) = &self.made {
            made.serving.set(served);
        }
    }

    pub(crate) fn context(&mut self, environment: &GuestEnvironment) -> &mut WasiCtx {
        let Self { serving, made } = self;
        let made = made.get_or_insert_with(|| {
            let serving = Arc::new(CurrentRequest::new(*serving));
            let context = builder(environment, &serving).build();
            WasiContext { context, serving }
        });
        &mut made.context
    }

    /// Makes the context for the single run of a command, which it knows as `program`: the request becomes
    /// its environment, input and output.
    ///
    /// A variable that is configured hides that of a request: whoever sends a request cannot change the
    /// configuration.
    pub(crate) fn make_for_command(
        &mut self,
        environment: &GuestEnvironment,
        program: &str,
        variables: &[(String, String)],
        stdin: impl StdinStream + 'static,
        stdout: impl StdoutStream + 'static,
    ) {
        // Streams that a start function opened keep naming the request.
        let serving = match self.made.take() {
            Some(made) => made.serving,
            None => Arc::new(CurrentRequest::new(self.serving)),
        };
        let mut builder = builder(environment, &serving);
        builder.arg(program).stdin(stdin).stdout(stdout);
        for (name, value) in variables.iter().filter(|(name, _)| !environment.has_variable(name)) {
            builder.env(name, value);
        }
        self.made = Some(WasiContext { context: builder.build(), serving });
    }
}

fn builder(environment: &GuestEnvironment, serving: &Arc<CurrentRequest>) -> WasiCtxBuilder {
    let capture = |stream| {
        Capture::new(CaptureOptions {
            ring: environment.log.clone(),
            secrets: environment.secrets.clone(),
            serving: serving.clone(),
            version: environment.version,
            stream,
        })
    };
    let mut builder = WasiCtxBuilder::new();
    builder.stdout(capture(GuestLogStream::Stdout)).stderr(capture(GuestLogStream::Stderr));
    builder.envs(&environment.env);
    for (name, value) in environment.secret_variables() {
        builder.env(name, value);
    }
    builder
}
