//! The telemetry of a node: its queues, and the thread that sends what is in them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::Resource;
use tokio::{
    runtime::Builder,
    sync::{oneshot, watch},
    time::timeout,
};
use wasm_fn_core::{FinishedRequest, RequestSink, Sampler};

use crate::{
    access_log::AccessLog,
    export::{Logs, Spans, Trust, send_all},
    kept::{KeptTrace, KeptTraces},
    node_log::{NodeLog, mute_this_thread},
    queue::{Queue, QueueCounts, queue},
    records::{GuestLine, LogLine},
    settings::TelemetrySettings,
};

/// The name of the service, unless somebody gives it another.
const SERVICE: &str = "wasm-fn";

/// Why telemetry cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub(crate) String);

/// Sends telemetry. Clones share the queues.
#[derive(Clone, Debug)]
pub struct Telemetry {
    traces: Option<(Arc<Queue<Arc<FinishedRequest>>>, Sampler)>,
    kept: Option<(KeptTraces, Sampler)>,
    logs: Option<Arc<Queue<LogLine>>>,
    access_log: Option<AccessLog>,
    stop: Arc<watch::Sender<bool>>,
    /// Received once everything was sent; `None` once somebody waits for it.
    stopped: Arc<Mutex<Option<oneshot::Receiver<()>>>>,
}

impl Telemetry {
    /// Begins to send what `settings` say. Blocks while it reads a certificate.
    ///
    /// A collector that is not there is no error: what cannot be sent is lost, and counted.
    ///
    /// # Errors
    /// The address or a certificate of the collector cannot be used, or the system has no thread left.
    pub fn start(settings: &TelemetrySettings) -> Result<Self, StartError> {
        let pem = match &settings.certificate {
            None => None,
            Some(path) => Some(std::fs::read(path).map_err(|error| {
                StartError(format!("OTEL_EXPORTER_OTLP_CERTIFICATE {}: {error}", path.display()))
            })?),
        };
        let trust = Trust::new(pem)
            .map_err(|reason| StartError(format!("OTEL_EXPORTER_OTLP_CERTIFICATE: {reason}")))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| StartError(error.to_string()))?;
        let entered = runtime.enter();
        let resource = resource(settings);
        let (stop, stopping) = watch::channel(false);
        let spans = settings.traces.map(|(signal, _)| Spans::new(signal, &trust, &resource)).transpose()?;
        let logs = settings.logs.map(|signal| Logs::new(signal, &trust, &resource)).transpose()?;
        drop(entered);
        let traces = settings.traces.map(|(signal, sampler)| {
            let (queue, batches) = queue(signal.queue, stopping.clone());
            ((Arc::new(queue), sampler), (batches, signal.timeout))
        });
        let (traces, traced) = traces.unzip();
        let logged = settings.logs.map(|signal| {
            let (queue, batches) = queue(signal.queue, stopping);
            (Arc::new(queue), (batches, signal.timeout))
        });
        let (log_queue, logged) = logged.unzip();
        let (done, stopped) = oneshot::channel();
        let thread = thread::Builder::new().name("telemetry".to_owned());
        let spawned = thread.spawn(move || {
            mute_this_thread();
            runtime.block_on(async move {
                let sending_spans = async {
                    if let (Some((batches, patience)), Some(exporter)) = (traced, spans) {
                        send_all(batches, exporter, patience, "traces").await;
                    }
                };
                let sending_logs = async {
                    if let (Some((batches, patience)), Some(exporter)) = (logged, logs) {
                        send_all(batches, exporter, patience, "logs").await;
                    }
                };
                tokio::join!(sending_spans, sending_logs);
            });
            // Nobody may wait for it.
            let _ = done.send(());
        });
        spawned.map_err(|error| StartError(format!("no thread can be started: {error}")))?;
        let kept = traces.as_ref().map(|&(_, sampler)| (KeptTraces::default(), sampler));
        Ok(Self {
            traces,
            kept,
            logs: log_queue,
            access_log: None,
            stop: Arc::new(stop),
            stopped: Arc::new(Mutex::new(Some(stopped))),
        })
    }

    /// The same, with an access log too.
    #[must_use]
    pub fn with_access_log(self, access_log: AccessLog) -> Self {
        Self { access_log: Some(access_log), ..self }
    }

    /// The same, which traces requests that `sampler` takes also if no traces are sent, to show them.
    #[must_use]
    pub fn with_kept_traces(self, sampler: Sampler) -> Self {
        let kept = self.kept.or_else(|| Some((KeptTraces::default(), sampler)));
        Self { kept, ..self }
    }

    /// Telemetry that sends nothing.
    pub fn off() -> Self {
        let stop = Arc::new(watch::Sender::new(false));
        Self { traces: None, kept: None, logs: None, access_log: None, stop, stopped: Arc::default() }
    }

    /// Which requests are traced; `None` if none are.
    pub fn sampler(&self) -> Option<Sampler> {
        self.kept.as_ref().map(|&(_, sampler)| sampler)
    }

    /// Which requests the access log has; `None` if none.
    pub fn access_log_sampler(&self) -> Option<Sampler> {
        self.access_log.as_ref().map(AccessLog::sampler)
    }

    /// The traces of requests that failed, the newest first, and then of the slowest ones; `None` if no
    /// request is traced.
    pub fn kept_traces(&self) -> Option<Vec<KeptTrace>> {
        self.kept.as_ref().map(|(kept, _)| kept.list())
    }

    /// Takes the node's own log; `None` if logs are not sent.
    pub fn node_log(&self) -> Option<NodeLog> {
        self.logs.clone().map(|queue| NodeLog { queue })
    }

    /// Whether logs are sent.
    pub fn takes_logs(&self) -> bool {
        self.logs.is_some()
    }

    /// Takes a line of a guest's log. Never waits.
    pub fn guest_line(&self, line: GuestLine) {
        if let Some(logs) = &self.logs {
            logs.offer(LogLine::Guest(Box::new(line)));
        }
    }

    /// What became of the items of each queue, by its name.
    pub fn counts(&self) -> Vec<(&'static str, QueueCounts)> {
        let traces = self.traces.as_ref().map(|(queue, _)| ("traces", queue.counts()));
        let logs = self.logs.as_ref().map(|queue| ("logs", queue.counts()));
        let access_log = self.access_log.as_ref().map(|log| ("access_log", log.counts()));
        traces.into_iter().chain(logs).chain(access_log).collect()
    }

    /// Sends what waits, for at most `patience`.
    pub async fn stop(&self, patience: Duration) {
        self.stop.send_replace(true);
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(stopped) = stopped
            && timeout(patience, stopped).await.is_err()
        {
            tracing::warn!("telemetry that waited to be sent is lost: the collector took too long");
        }
        if let Some(access_log) = &self.access_log {
            access_log.flush(patience).await;
        }
    }
}

impl RequestSink for Telemetry {
    fn finished(&self, request: Box<FinishedRequest>) {
        let request = Arc::<FinishedRequest>::from(request);
        if let Some(access_log) = self.access_log.as_ref().filter(|_| request.head.is_logged) {
            access_log.offer(request.clone());
        }
        if !request.is_exported() {
            return;
        }
        if let Some((kept, _)) = &self.kept {
            kept.offer(&request);
        }
        if let Some((traces, _)) = &self.traces {
            traces.offer(request);
        }
    }
}

/// Who sends: what the usual variables say, with a name if they say none.
fn resource(settings: &TelemetrySettings) -> Resource {
    let builder = Resource::builder();
    let builder = if settings.is_nameless { builder.with_service_name(SERVICE) } else { builder };
    builder.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build()
}
