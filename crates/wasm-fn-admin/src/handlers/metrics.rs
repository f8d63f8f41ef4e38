//! `/metrics`: the tallies of the published table, the rollouts under way, the triggers and the buckets,
//! read on request.

mod buckets;
mod certificates;
mod cluster;
mod isolation;
mod labels;
mod numbers;
mod rollouts;
pub(crate) mod series;
mod telemetry;
mod text;
mod traffic;
mod triggers;

use std::{convert::Infallible, fmt, time::Duration};

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::header;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, text::encode},
    metrics::MetricType,
    registry::Registry,
};

use wasm_fn_api::ClusterView;
use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

use self::{
    buckets::Buckets,
    certificates::Certificates,
    rollouts::Rollouts,
    text::{Text, TextFormat},
    traffic::Traffic,
    triggers::Triggers,
};
pub use self::{
    certificates::{CertificateExpiry, NodeCertificates},
    isolation::{IsolationCounts, IsolationSource},
    telemetry::{TelemetryCount, TelemetrySource, TracedRequest},
};
use crate::{ApiError, admin::Shared, extract::WantsOpenMetrics};

/// The OpenMetrics text format, for clients that ask for it, as Prometheus does.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The text format of Prometheus, which `promtool` and most other programs read.
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Reads requests, latencies and memory of every version in every stage, the rollouts, the triggers, and the
/// buckets.
pub(crate) async fn metrics<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    WantsOpenMetrics(open_metrics): WantsOpenMetrics,
) -> Result<Response, ApiError> {
    let control = &admin.control;
    let state = control.state();
    let table = control.tables().load_full();
    let traffic = Traffic::read(&table, &admin.metric_series, admin.options.series_max);
    let format =
        if open_metrics { TextFormat::OpenMetrics(traffic.exemplars(&table)) } else { TextFormat::Classic };
    let metrics = Metrics {
        program_version: admin.options.program_version.clone(),
        started_ms: control.started().0,
        revision: state.revision().0,
        functions: state.functions().count() as u64,
        traffic,
        rollouts: Rollouts::read(control, &state),
        triggers: Triggers::read(&*admin.events, &state).await,
        certificates: Certificates::read(&*admin.options.shown),
        buckets: Buckets::read(&*admin.values).await,
        telemetry: admin.options.telemetry.counts(),
        cluster: admin.options.cluster.as_ref().map(|cluster| cluster.seen()),
        isolation: admin.options.isolation.counts(),
    };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(metrics));
    let mut written = Text::new(format);
    encode(&mut written, &registry).map_err(|_| ApiError::not_ready("metrics cannot be written as text"))?;
    let pieces = written.into_pieces();
    let length = pieces.iter().map(Bytes::len).sum::<usize>().to_string();
    let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
    let media_type = if open_metrics { OPEN_METRICS } else { CLASSIC };
    let headers =
        [(header::CONTENT_TYPE, media_type), (header::VARY, "accept"), (header::CONTENT_LENGTH, &*length)];
    Ok((headers, body).into_response())
}

/// All metrics, as read at one moment.
#[derive(Debug)]
struct Metrics {
    program_version: String,
    started_ms: u64,
    revision: u64,
    functions: u64,
    traffic: Traffic,
    rollouts: Rollouts,
    triggers: Triggers,
    certificates: Certificates,
    buckets: Buckets,
    telemetry: Vec<TelemetryCount>,
    cluster: Option<ClusterView>,
    isolation: IsolationCounts,
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let build = [
            ("version", &*self.program_version),
            ("os", std::env::consts::OS),
            ("arch", std::env::consts::ARCH),
        ];
        encoder
            .encode_descriptor(
                "wasm_fn_build_info",
                "The program that runs this node, always 1",
                None,
                MetricType::Gauge,
            )?
            .encode_family(&build)?
            .encode_gauge(&1_u32)?;
        let started = Duration::from_millis(self.started_ms).as_secs_f64();
        gauge(
            &mut encoder,
            "wasm_fn_start_time_seconds",
            "When this process took the state, in seconds since the Unix epoch",
            &started,
        )?;
        gauge(&mut encoder, "wasm_fn_revision", "Revision of the published route table", &self.revision)?;
        gauge(&mut encoder, "wasm_fn_functions", "Number of functions", &self.functions)?;
        if let Some(cluster) = &self.cluster {
            cluster::encode(cluster, &mut encoder)?;
        }
        self.traffic.encode(&mut encoder)?;
        self.rollouts.encode(&mut encoder)?;
        self.triggers.encode(&mut encoder)?;
        self.certificates.encode(&mut encoder)?;
        self.buckets.encode(&mut encoder)?;
        isolation::encode(&self.isolation, &mut encoder)?;
        telemetry::encode(&self.telemetry, &mut encoder)
    }
}

/// Writes a metric without labels.
fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    value: &impl EncodeGaugeValue,
) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}
