//! The options of the data plane, and what is recorded of its requests.

use std::{fmt, sync::Arc, time::Duration};

use wasm_fn_admin::{IsolationCounts, IsolationSource, TelemetryCount, TelemetrySource, TracedRequest};
use wasm_fn_core::FunctionName;
use wasm_fn_runtime::{GuestLogLine, GuestLogSink, GuestLogStream, Isolation, Runtime};
use wasm_fn_server::{RequestRecording, ServerOptions, draw_at_random};
use wasm_fn_telemetry::{GuestLine, KeptTrace, Telemetry};

use super::{NodeOptions, encryption::Encryption};

/// Maximum time that a request may wait for a thread. It is far above the wait of a quiet function next to
/// a hundred that compute, because the limit applies to quiet functions too.
const SCHEDULE_DELAY_MAX: Duration = Duration::from_secs(5);

pub(super) fn server_options(options: &NodeOptions, encryption: &Encryption) -> ServerOptions {
    ServerOptions {
        connections_max: options.connections_max as usize,
        connections_per_address: options.connections_per_address as usize,
        headers_max: 100,
        head_bytes_max: 64 << 10,
        body_bytes_max: options.body_bytes_max,
        head_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        stall_timeout: Duration::from_secs(30),
        drain_grace: Duration::from_millis(500),
        schedule_delay_max: SCHEDULE_DELAY_MAX,
        shield_body_bytes_max: 64 << 10,
        show_shielded: options.show_shielded,
        trusted_proxies: options.trusted_proxies.clone(),
        tls: encryption.http.as_ref().map(|tls| tls.config.clone()),
        proxy_protocol: options.proxy_protocol,
        preview_domain: options.preview_domain.clone(),
        receiver: None,
        recording: recording(&options.telemetry),
        draw: draw_at_random,
    }
}

/// What is recorded for `telemetry`.
fn recording(telemetry: &Telemetry) -> Option<RequestRecording> {
    let (traces, access_log) = (telemetry.sampler(), telemetry.access_log_sampler());
    let sink = Arc::new(telemetry.clone());
    (traces.is_some() || access_log.is_some()).then_some(RequestRecording { traces, access_log, sink })
}

/// Who takes the lines of guests, beside their logs.
pub(super) fn log_sink(telemetry: &Telemetry) -> Option<Arc<dyn GuestLogSink>> {
    telemetry.takes_logs().then(|| Arc::new(GuestLogs(telemetry.clone())) as _)
}

/// Sends the lines of guests.
struct GuestLogs(Telemetry);

impl GuestLogSink for GuestLogs {
    fn line(&self, function: &FunctionName, line: &GuestLogLine) {
        self.0.guest_line(GuestLine {
            function: function.clone(),
            stage: line.stage.clone(),
            version: line.version,
            request_id: line.request_id,
            span: line.span,
            at: std::time::UNIX_EPOCH + Duration::from_millis(line.at_ms),
            source: match line.stream {
                GuestLogStream::Stdout => "stdout",
                GuestLogStream::Stderr => "stderr",
                GuestLogStream::Host => "host",
            },
            is_failure: line.failed,
            text: line.text.clone(),
        });
    }
}

/// Tells the admin API how guests are held apart.
pub(super) struct RuntimeIsolation(pub(super) Arc<Runtime>);

impl fmt::Debug for RuntimeIsolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RuntimeIsolation").field(&self.0.isolation()).finish()
    }
}

impl IsolationSource for RuntimeIsolation {
    fn counts(&self) -> IsolationCounts {
        let Isolation { reset, compared, scanned, faults } = self.0.isolation();
        IsolationCounts { reset: reset.to_string(), compared, scanned, faults }
    }
}

/// Tells the admin API what became of telemetry.
#[derive(Debug)]
pub(super) struct TelemetryCounts(pub(super) Telemetry);

impl TelemetrySource for TelemetryCounts {
    fn counts(&self) -> Vec<TelemetryCount> {
        let counts = self.0.counts().into_iter();
        let counts = counts.flat_map(|(queue, counts)| {
            [("sent", counts.sent), ("dropped", counts.dropped), ("failed", counts.failed)]
                .map(|(result, count)| TelemetryCount { queue, result, count })
        });
        counts.collect()
    }

    fn traces(&self) -> Option<Vec<TracedRequest>> {
        let kept = self.0.kept_traces()?.into_iter();
        Some(kept.map(|KeptTrace { request, began_ms }| TracedRequest { request, began_ms }).collect())
    }
}
