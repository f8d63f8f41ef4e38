//! The metrics of versions: how their requests ended, how long they took, what the shield did.

use std::{fmt, time::Duration};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_core::Outcome;
use wasm_fn_router::{Distribution, RouteTable, Shielding, TallySnapshot};

use super::labels::{Label, Subject};

/// Upper bounds of latencies: a small function answers within a tenth of a millisecond, and a request may
/// take an hour.
const LATENCIES: [Duration; 17] = [
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
    Duration::from_secs(10),
    Duration::from_secs(60),
];

/// Upper bounds of waits. Most requests do not wait.
const QUEUE_WAITS: [Duration; 6] = [
    Duration::from_micros(100),
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// The tallies of a table.
#[derive(Debug)]
pub(super) struct Traffic {
    rows: Vec<Row>,
}

/// A version in a stage, and its tally.
#[derive(Debug)]
struct Row {
    subject: Subject,
    /// Whether a rollout moves to the version.
    canary: bool,
    tally: TallySnapshot,
    /// The tally of requests that asked for the version.
    overrides: TallySnapshot,
}

impl Row {
    /// Whether the shield has something to count: a canary from its beginning, so that its first failure
    /// shows as an increase; others only if they failed as canaries.
    fn shielded(&self) -> bool {
        self.canary || Shielding::ALL.iter().any(|&shielding| self.tally.shielded(shielding) > 0)
    }
}

impl Traffic {
    /// Reads the versions that have answered a request, and the canaries. The others have no numbers.
    pub(super) fn read<V>(table: &RouteTable<V>) -> Self {
        let rows = table.stages().iter().flat_map(|stage| {
            stage.versions().iter().map(move |version| Row {
                subject: Subject::new(stage.function(), stage.name(), version.no),
                canary: stage.canary().is_some_and(|canary| canary.no == version.no),
                tally: version.tally.snapshot(),
                overrides: version.tally.overrides(),
            })
        });
        let rows = rows.filter(|row| row.canary || row.tally.total() + row.overrides.total() > 0);
        Self { rows: rows.collect() }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(encoder, "wasm_fn_requests", "Requests that ended, by outcome", |row| &row.tally)?;
        self.requests(
            encoder,
            "wasm_fn_override_requests",
            "Requests that asked for their version, by outcome; no other metric counts them",
            |row| &row.overrides,
        )?;
        self.shield(encoder)?;
        self.times(
            encoder,
            "wasm_fn_request_latency_seconds",
            "Latency of requests that ran to the end, without the time that they waited for the client",
            &LATENCIES,
            |tally| tally.latencies(&LATENCIES),
        )?;
        self.times(
            encoder,
            "wasm_fn_queue_wait_seconds",
            "Time that requests waited for their place",
            &QUEUE_WAITS,
            |tally| tally.queue_waits(&QUEUE_WAITS),
        )?;
        let mut peaks = encoder.encode_descriptor(
            "wasm_fn_memory_peak_bytes",
            "Largest linear memory of one invocation",
            None,
            MetricType::Gauge,
        )?;
        for row in self.answered() {
            peaks.encode_family(&row.subject.labels())?.encode_gauge(&row.tally.memory_peak_bytes_max())?;
        }
        Ok(())
    }

    fn answered(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.tally.total() > 0)
    }

    fn requests(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &'static str,
        help: &'static str,
        tally: impl Fn(&Row) -> &TallySnapshot,
    ) -> fmt::Result {
        // The encoder adds `_total`.
        let mut requests = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in self.rows.iter().filter(|row| tally(row).total() > 0) {
            for outcome in Outcome::ALL {
                let labels = row.subject.labels_and("outcome", outcome.as_str());
                let count = tally(row).count(outcome);
                requests.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn shield(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut shield = encoder.encode_descriptor(
            "wasm_fn_shield",
            "Failures of a canary under the shield, by result",
            None,
            MetricType::Counter,
        )?;
        for row in self.rows.iter().filter(|row| row.shielded()) {
            for shielding in Shielding::ALL {
                let labels = row.subject.labels_and("result", shielding.as_str());
                let count = row.tally.shielded(shielding);
                shield.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn times(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &'static str,
        help: &'static str,
        bounds: &[Duration],
        read: impl Fn(&TallySnapshot) -> Distribution,
    ) -> fmt::Result {
        let mut times = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let bounds = bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let bounds: Vec<f64> = bounds.collect();
        for row in self.answered() {
            let read = read(&row.tally);
            let buckets: Vec<_> = bounds.iter().copied().zip(read.counts.iter().copied()).collect();
            let (labels, sum) = (row.subject.labels(), read.sum.as_secs_f64());
            let mut times = times.encode_family(&labels)?;
            times.encode_histogram::<[Label<'_>; 0]>(sum, read.count(), &buckets, None)?;
        }
        Ok(())
    }
}
