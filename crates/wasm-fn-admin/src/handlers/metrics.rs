//! `/metrics`: the tallies of the published table, read on request.

use std::{fmt, sync::Arc};

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::header;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, text::encode},
    metrics::MetricType,
    registry::Registry,
};
use wasm_fn_core::Outcome;
use wasm_fn_router::{RouteTable, Shielding, TallySnapshot};

use wasm_fn_control::host::Host;
use wasm_fn_store::Store;

use crate::{ApiError, extract::Plane};

/// The OpenMetrics text format, which Prometheus reads.
const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Reads requests, latencies and memory of every version in every stage.
pub(crate) async fn metrics<H: Host, S: Store>(State(control): Plane<H, S>) -> Result<Response, ApiError> {
    let functions = control.state().functions().count();
    let tallies = Tallies { table: control.tables().load_full(), functions };
    let mut registry = Registry::default();
    registry.register_collector(Box::new(tallies));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_| ApiError::not_ready("metrics cannot be written as text"))?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text).into_response())
}

/// The tallies of one table.
struct Tallies<V> {
    table: Arc<RouteTable<V>>,
    functions: usize,
}

impl<V> fmt::Debug for Tallies<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tallies").field("revision", &self.table.revision()).finish_non_exhaustive()
    }
}

/// A version in a stage, and its tally.
struct Row {
    function: String,
    stage: String,
    version: String,
    tally: TallySnapshot,
    /// The tally of requests that asked for the version.
    overrides: TallySnapshot,
}

impl Row {
    fn labels(&self) -> [(&'static str, &str); 3] {
        [("function", &self.function), ("stage", &self.stage), ("version", &self.version)]
    }

    fn labels_and<'a>(&'a self, name: &'static str, value: &'a str) -> [(&'static str, &'a str); 4] {
        let [function, stage, version] = self.labels();
        [function, stage, version, (name, value)]
    }
}

impl<V> Tallies<V> {
    /// The versions that have answered a request. The others have no numbers.
    fn rows(&self) -> Vec<Row> {
        let stages = self.table.stages().iter();
        let rows = stages.flat_map(|stage| {
            stage.versions().iter().map(move |version| Row {
                function: stage.function().to_string(),
                stage: stage.name().to_string(),
                version: version.no.to_string(),
                tally: version.tally.snapshot(),
                overrides: version.tally.overrides(),
            })
        });
        rows.filter(|row| row.tally.total() + row.overrides.total() > 0).collect()
    }
}

impl<V: Send + Sync + 'static> Collector for Tallies<V> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let rows = self.rows();
        let mut revision = encoder.encode_descriptor(
            "wasm_fn_revision",
            "Revision of the published route table",
            None,
            MetricType::Gauge,
        )?;
        revision.encode_gauge(&self.table.revision().0)?;
        let mut functions =
            encoder.encode_descriptor("wasm_fn_functions", "Number of functions", None, MetricType::Gauge)?;
        functions.encode_gauge(&(self.functions as u64))?;
        requests(&mut encoder, "wasm_fn_requests", "Requests that ended, by outcome", &rows, |row| {
            &row.tally
        })?;
        requests(
            &mut encoder,
            "wasm_fn_override_requests",
            "Requests that asked for their version, by outcome; no other metric counts them",
            &rows,
            |row| &row.overrides,
        )?;
        shield(&mut encoder, &rows)?;
        quantiles(
            &mut encoder,
            "wasm_fn_request_latency_seconds",
            "Latency since the node started, by quantile",
            &rows,
            |tally, quantile| tally.latency_quantile(quantile).map(|latency| latency.as_secs_f64()),
        )?;
        quantiles(
            &mut encoder,
            "wasm_fn_queue_wait_seconds",
            "Time in the queue since the node started, by quantile",
            &rows,
            |tally, quantile| tally.queue_wait_quantile(quantile).map(|wait| wait.as_secs_f64()),
        )?;
        let mut peaks = encoder.encode_descriptor(
            "wasm_fn_memory_peak_bytes",
            "Largest linear memory of one invocation",
            None,
            MetricType::Gauge,
        )?;
        for row in rows.iter().filter(|row| row.tally.total() > 0) {
            peaks.encode_family(&row.labels())?.encode_gauge(&row.tally.memory_peak_bytes_max())?;
        }
        Ok(())
    }
}

fn requests(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    rows: &[Row],
    tally: impl Fn(&Row) -> &TallySnapshot,
) -> fmt::Result {
    // The encoder adds `_total`.
    let mut requests = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for row in rows.iter().filter(|row| tally(row).total() > 0) {
        for outcome in Outcome::ALL {
            let labels = row.labels_and("outcome", outcome.as_str());
            let count = tally(row).count(outcome);
            requests.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// Counts failures under the shield. Most versions have none and are left out.
fn shield(encoder: &mut DescriptorEncoder<'_>, rows: &[Row]) -> fmt::Result {
    let mut shield = encoder.encode_descriptor(
        "wasm_fn_shield",
        "Failures of a canary under the shield, by result",
        None,
        MetricType::Counter,
    )?;
    let failed = |row: &&Row| Shielding::ALL.iter().any(|&shielding| row.tally.shielded(shielding) > 0);
    for row in rows.iter().filter(failed) {
        for shielding in Shielding::ALL {
            let labels = row.labels_and("result", shielding.as_str());
            let count = row.tally.shielded(shielding);
            shield.encode_family(&labels)?.encode_counter::<[(&str, &str); 0], _, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn quantiles(
    encoder: &mut DescriptorEncoder<'_>,
    name: &'static str,
    help: &'static str,
    rows: &[Row],
    value: impl Fn(&TallySnapshot, f64) -> Option<f64>,
) -> fmt::Result {
    let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for row in rows {
        for (label, quantile) in [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)] {
            if let Some(value) = value(&row.tally, quantile) {
                gauge.encode_family(&row.labels_and("quantile", label))?.encode_gauge(&value)?;
            }
        }
    }
    Ok(())
}
