//! The metrics of triggers: what they have in the inbox, and what became of their events.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_control::state::State;
use wasm_fn_core::{FunctionName, StageName};
use wasm_fn_delivery::{
    ASYNC, DeployStats, EventOperations, QueueStanding, QueueStats, TriggerStats, VersionStats, trigger_key,
};
use wasm_fn_store::TriggerCounts;

use super::{super::triggers::counts, labels::Label};

/// Triggers, as read at one moment.
#[derive(Debug)]
pub(super) struct Triggers {
    rows: Vec<Row>,
}

/// A trigger, or the asynchronous requests of a stage.
#[derive(Debug)]
struct Row {
    function: String,
    stage: String,
    trigger: String,
    /// Counts of the inbox; `None` if it cannot be read.
    inbox: Option<Inbox>,
    stats: TriggerStats,
    /// Whether its events deploy.
    deploys: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    waiting: u64,
    in_flight: u64,
    dead: u64,
    oldest_s: Option<f64>,
    blocked: bool,
}

impl Inbox {
    fn new(counts: &TriggerCounts, now_ms: u64) -> Self {
        let age = |arrived_ms| std::time::Duration::from_millis(now_ms.saturating_sub(arrived_ms));
        Self {
            waiting: counts.waiting,
            in_flight: counts.in_flight,
            dead: counts.dead,
            oldest_s: counts.oldest_arrived_ms.map(|arrived_ms| age(arrived_ms).as_secs_f64()),
            blocked: counts.is_blocked,
        }
    }
}

impl Triggers {
    /// Reads every trigger, and the stages that have had asynchronous requests.
    pub(super) async fn read(events: &dyn EventOperations, state: &State) -> Self {
        let counts = counts(events).await.map_err(|error| {
            tracing::warn!(%error, "metrics are without those of the inbox");
        });
        let (counts, now_ms) = (counts.ok(), events.now().unix_ms());
        let row = |function: &FunctionName, stage: &StageName, trigger: &str, key: &str, deploys| Row {
            function: function.to_string(),
            stage: stage.to_string(),
            trigger: trigger.to_owned(),
            inbox: counts
                .as_ref()
                .map(|counts| counts.get(key).map(|counts| Inbox::new(counts, now_ms)).unwrap_or_default()),
            stats: events.stats(key),
            deploys,
        };
        let mut rows = Vec::new();
        for (name, function) in state.functions() {
            for stage in function.stages.keys() {
                let key = format!("{name}/{stage}/{ASYNC}");
                if counts.as_ref().is_some_and(|counts| counts.contains_key(&*key)) {
                    rows.push(row(name, stage, ASYNC, &key, false));
                }
            }
        }
        for (id, found) in state.triggers() {
            let (name, deploys) = (id.name.as_str(), found.trigger.deploys());
            rows.push(row(&id.function, &id.stage, name, &trigger_key(&id), deploys));
        }
        Self { rows }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        self.inboxes(encoder)?;
        self.queues(encoder)?;
        self.counts(
            encoder,
            "wasm_fn_trigger_ticks",
            "Ticks of a schedule that did not run to their end since the node started, by result",
            "result",
            |row| {
                let TriggerStats { skipped, missed, cancelled, .. } = row.stats;
                [("skipped", skipped), ("missed", missed), ("cancelled", cancelled)]
            },
        )?;
        self.deployments(encoder)?;
        let mut of_node = encoder.encode_descriptor(
            "wasm_fn_trigger_node_failures",
            "Deliveries that the node could not make since it started; they spent no attempt",
            None,
            MetricType::Counter,
        )?;
        for row in &self.rows {
            let count = row.stats.of_node;
            of_node.encode_family(&row.labels())?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
        }
        self.deliveries(
            encoder,
            "wasm_fn_trigger_deliveries",
            "Deliveries of events since the node started, by version and result",
            "result",
            |counts| {
                [
                    ("acknowledged", counts.acknowledged),
                    ("retried", counts.retried),
                    ("failed", counts.failed),
                ]
            },
        )?;
        self.deliveries(
            encoder,
            "wasm_fn_trigger_delivery_starts",
            "Deliveries of events since the node started, by version and whether they began within a second",
            "start",
            |counts| [("on-time", counts.on_time), ("late", counts.late)],
        )
    }

    fn inboxes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let read = || self.rows.iter().filter_map(|row| Some((row, row.inbox.as_ref()?)));
        let mut events = encoder.encode_descriptor(
            "wasm_fn_trigger_events",
            "Events of a trigger in the inbox, by state",
            None,
            MetricType::Gauge,
        )?;
        for (row, inbox) in read() {
            let states = [("waiting", inbox.waiting), ("in-flight", inbox.in_flight), ("dead", inbox.dead)];
            for (state, count) in states {
                events.encode_family(&row.labels_and("state", state))?.encode_gauge(&count)?;
            }
        }
        let mut ages = encoder.encode_descriptor(
            "wasm_fn_trigger_oldest_event_age_seconds",
            "Age of the oldest event of a trigger that waits or is being delivered",
            None,
            MetricType::Gauge,
        )?;
        for (row, inbox) in read() {
            if let Some(age) = &inbox.oldest_s {
                ages.encode_family(&row.labels())?.encode_gauge(age)?;
            }
        }
        let mut blocked = encoder.encode_descriptor(
            "wasm_fn_trigger_blocked",
            "Whether a trigger has as many dead letters as it may have, so that nothing is delivered",
            None,
            MetricType::Gauge,
        )?;
        for (row, inbox) in read() {
            blocked.encode_family(&row.labels())?.encode_gauge(&u32::from(inbox.blocked))?;
        }
        Ok(())
    }

    /// Writes how the brokers of queues are.
    fn queues(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Read = fn(&QueueStats) -> Option<u64>;
        let gauges: [(&str, &str, Read); 3] = [
            (
                "wasm_fn_trigger_queue_connected",
                "Whether messages of a queue can come from its broker",
                |queue| Some(u64::from(queue.standing == QueueStanding::Connected)),
            ),
            (
                "wasm_fn_trigger_queue_pending",
                "Messages of a queue that its broker has not delivered",
                |queue| queue.pending,
            ),
            (
                "wasm_fn_trigger_queue_unsettled",
                "Messages of a queue that its broker has delivered and that are not settled",
                |queue| queue.unsettled,
            ),
        ];
        let queues = || self.rows.iter().filter_map(|row| Some((row, row.stats.queue.as_deref()?)));
        for (name, help, read) in gauges {
            let mut gauge = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (row, queue) in queues() {
                if let Some(value) = read(queue) {
                    gauge.encode_family(&row.labels())?.encode_gauge(&value)?;
                }
            }
        }
        let mut repeated = encoder.encode_descriptor(
            "wasm_fn_trigger_queue_repeated",
            "Messages of a queue that came again although they were in progress or settled, since the node started",
            None,
            MetricType::Counter,
        )?;
        for (row, queue) in queues() {
            let count = queue.repeated;
            repeated.encode_family(&row.labels())?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
        }
        Ok(())
    }

    /// Writes a counter of triggers.
    fn counts(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn(&Row) -> [(&'static str, u64); 3],
    ) -> fmt::Result {
        // The encoder adds `_total`.
        let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in &self.rows {
            for (value, count) in read(row) {
                let labels = row.labels_and(label, value);
                counter.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    /// Writes what the events of triggers that deploy led to.
    fn deployments(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut counter = encoder.encode_descriptor(
            "wasm_fn_trigger_deployments",
            "Events of triggers that deploy since the node started, by what they led to",
            None,
            MetricType::Counter,
        )?;
        for row in self.rows.iter().filter(|row| row.deploys) {
            let DeployStats { deployed, skipped, retried, failed } = row.stats.deploys;
            let counts =
                [("deployed", deployed), ("skipped", skipped), ("retried", retried), ("failed", failed)];
            for (result, count) in counts {
                let labels = row.labels_and("result", result);
                counter.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    /// Writes a counter of the versions that answered.
    fn deliveries<const N: usize>(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn(&VersionStats) -> [(&'static str, u64); N],
    ) -> fmt::Result {
        let mut counter = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for row in &self.rows {
            for (version, counts) in &row.stats.versions {
                let version = version.to_string();
                for (value, count) in read(counts) {
                    let [function, stage, trigger] = row.labels();
                    let labels = [function, stage, trigger, ("version", &version), (label, value)];
                    counter.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(&count, None)?;
                }
            }
        }
        Ok(())
    }
}

impl Row {
    fn labels(&self) -> [Label<'_>; 3] {
        [("function", &self.function), ("stage", &self.stage), ("trigger", &self.trigger)]
    }

    fn labels_and<'a>(&'a self, name: &'static str, value: &'a str) -> [Label<'a>; 4] {
        let [function, stage, trigger] = self.labels();
        [function, stage, trigger, (name, value)]
    }
}
