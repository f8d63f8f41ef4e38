//! The metrics of versions: how their requests ended, how long they took, what the shield did.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    fmt::Write as _,
    time::Duration,
};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_core::Outcome;
use wasm_fn_router::{Distribution, LatencyExemplar, RouteTable, Shielding, Stage, VersionEntry};

use super::{
    gauge,
    labels::{Label, Subject},
    numbers::{LATENCIES, Numbers, QUEUE_WAITS},
    series::{Bounded, Found, SeriesBound},
};

/// The histogram that has exemplars.
const LATENCY: &str = "wasm_fn_request_latency_seconds";

/// The tallies of a table.
#[derive(Debug)]
pub(super) struct Traffic {
    rows: Vec<Row>,
    /// How many versions have no row of their own.
    others: u64,
}

/// A version in a stage, and its numbers.
#[derive(Debug)]
struct Row {
    subject: Subject,
    numbers: Numbers,
}

/// The versions of `table` with something to tell: those that have answered a request, and the canaries.
fn active<V>(table: &RouteTable<V>) -> impl Iterator<Item = (&Stage<V>, &VersionEntry<V>, Numbers)> {
    table.stages().flat_map(|stage| {
        let canary = stage.canary().map(|canary| canary.no);
        let read = move |version: &VersionEntry<V>| Numbers::read(&version.tally, canary == Some(version.no));
        let versions = stage.versions().iter().map(move |version| (&**stage, version, read(version)));
        versions.filter(|(.., numbers)| !numbers.is_empty())
    })
}

impl Traffic {
    /// Reads the versions in `table`. Those beyond `series_max` series are summed up.
    pub(super) fn read<V>(table: &RouteTable<V>, bound: &SeriesBound, series_max: usize) -> Self {
        let found = active(table).map(|(stage, version, numbers)| Found {
            subject: Subject::new(stage.function(), stage.name(), version.no),
            is_current: numbers.is_canary || stage.stable().no == version.no,
            numbers,
        });
        let Bounded { own, other, others } = bound.apply(found.collect(), series_max);
        let own = own.into_iter().map(|Found { subject, numbers, .. }| Row { subject, numbers });
        let other = other.map(|numbers| Row { subject: Subject::other(), numbers });
        Self { rows: own.chain(other).collect(), others: others as u64 }
    }

    /// The exemplars of the versions in `table` that have series of their own: what is to be written behind
    /// the samples of which series.
    pub(super) fn exemplars<V>(&self, table: &RouteTable<V>) -> HashMap<String, String> {
        let own: HashSet<_> = self.rows.iter().map(|row| &row.subject).collect();
        let mut behind = HashMap::new();
        for stage in table.stages() {
            for version in stage.versions() {
                let found = version.tally.exemplars();
                if found.is_empty() {
                    continue;
                }
                let subject = Subject::new(stage.function(), stage.name(), version.no);
                if own.contains(&subject) {
                    behind.extend(found.iter().map(|exemplar| exemplar_of(&subject, exemplar)));
                }
            }
        }
        behind
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.requests(
            encoder,
            "wasm_fn_requests",
            "Requests that ended, by outcome",
            |row| row.numbers.has_requests(),
            |row| &row.numbers.requests,
        )?;
        self.requests(
            encoder,
            "wasm_fn_override_requests",
            "Requests that asked for their version, by outcome; no other metric counts them",
            |row| row.numbers.has_overrides(),
            |row| &row.numbers.overrides,
        )?;
        self.shield(encoder)?;
        self.times(
            encoder,
            LATENCY,
            "Latency of requests that ran to the end, without the time that they waited for the client",
            &LATENCIES,
            |numbers| &numbers.latencies,
        )?;
        self.times(
            encoder,
            "wasm_fn_queue_wait_seconds",
            "Time that requests waited for their place",
            &QUEUE_WAITS,
            |numbers| &numbers.queue_waits,
        )?;
        let mut peaks = encoder.encode_descriptor(
            "wasm_fn_memory_peak_bytes",
            "Largest linear memory of one invocation",
            None,
            MetricType::Gauge,
        )?;
        for row in self.answered() {
            peaks.encode_family(&row.subject.labels())?.encode_gauge(&row.numbers.memory_peak_bytes)?;
        }
        gauge(
            encoder,
            "wasm_fn_metrics_other_versions",
            "Versions without series of their own, which the version `other` sums up",
            &self.others,
        )
    }

    fn answered(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.numbers.has_requests())
    }

    fn requests(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &'static str,
        help: &'static str,
        is_told: impl Fn(&Row) -> bool,
        counts: impl Fn(&Row) -> &[u64; Outcome::ALL.len()],
    ) -> fmt::Result {
        // The encoder adds `_total`.
        let mut requests = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in self.rows.iter().filter(|row| is_told(row)) {
            for outcome in Outcome::ALL {
                let labels = row.subject.labels_and("outcome", outcome.as_str());
                let count = counts(row)[outcome.index()];
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
        for row in self.rows.iter().filter(|row| row.numbers.has_shield()) {
            for shielding in Shielding::ALL {
                let labels = row.subject.labels_and("result", shielding.as_str());
                let count = row.numbers.shield[shielding.index()];
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
        read: impl Fn(&Numbers) -> &Distribution,
    ) -> fmt::Result {
        let mut times = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        let bounds = bounds.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
        let bounds: Vec<f64> = bounds.collect();
        for row in self.answered() {
            let read = read(&row.numbers);
            let buckets: Vec<_> = bounds.iter().copied().zip(read.counts.iter().copied()).collect();
            let (labels, sum) = (row.subject.labels(), read.sum.as_secs_f64());
            let mut times = times.encode_family(&labels)?;
            times.encode_histogram::<[Label<'_>; 0]>(sum, read.count(), &buckets, None)?;
        }
        Ok(())
    }
}

/// The series of the bucket that `exemplar` of `subject` is in, and what is written behind its sample.
fn exemplar_of(subject: &Subject, exemplar: &LatencyExemplar) -> (String, String) {
    let LatencyExemplar { latency, trace_id, at } = *exemplar;
    let bound = LATENCIES.iter().find(|&&bound| latency <= bound);
    let mut series = format!("{LATENCY}_bucket{{le=\"");
    // As the library writes it.
    let _ = match bound {
        Some(bound) => write!(series, "{:?}", bound.as_secs_f64()),
        None => write!(series, "+Inf"),
    };
    let [(_, function), (_, stage), (_, version)] = subject.labels();
    let _ = write!(series, "\",function=\"{function}\",stage=\"{stage}\",version=\"{version}\"}}");
    let (latency, at) = (latency.as_secs_f64(), at.as_secs_f64());
    (series, format!(" # {{trace_id=\"{trace_id:032x}\"}} {latency:?} {at:.3}"))
}
