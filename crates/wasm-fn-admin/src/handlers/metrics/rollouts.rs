//! The metrics of rollouts: where those under way stand, and how the others ended.

use std::fmt;

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType};
use wasm_fn_control::{
    Control,
    host::Host,
    state::{RolloutOutcome, StageKey, State},
};
use wasm_fn_core::Weight;
use wasm_fn_store::Store;

use super::labels::{Label, Subject};

/// Rollouts, as read at one moment.
#[derive(Debug)]
pub(super) struct Rollouts {
    rows: Vec<Row>,
    ended: Vec<(StageKey, RolloutOutcome, u64)>,
}

/// A rollout under way.
#[derive(Debug)]
struct Row {
    subject: Subject,
    /// The share of the version, 0 to 1.
    weight: f64,
    step: u32,
    steps: u64,
    phase: &'static str,
    verdict: Option<&'static str>,
}

impl Rollouts {
    pub(super) fn read<H: Host, S: Store>(control: &Control<H, S>, state: &State) -> Self {
        let mut rows = Vec::new();
        for (name, function) in state.functions() {
            for (stage, stands) in &function.stages {
                let Some(rollout) = &stands.rollout else { continue };
                let key = (name.clone(), stage.clone());
                let weight = stands.split.weight(rollout.canary).basis_points();
                rows.push(Row {
                    subject: Subject::new(name, stage, rollout.canary),
                    weight: f64::from(weight) / f64::from(Weight::FULL.basis_points()),
                    step: rollout.step().unwrap_or(0),
                    // The last one, of full weight, is not among the plan's.
                    steps: rollout.spec.plan().steps().len() as u64 + 1,
                    phase: rollout.phase.as_str(),
                    verdict: control.gate(&key, rollout).map(|standing| standing.verdict),
                });
            }
        }
        Self { rows, ended: control.ended_rollouts() }
    }

    pub(super) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut weights = encoder.encode_descriptor(
            "wasm_fn_rollout_weight_ratio",
            "Share of the version that a rollout moves to, 0 to 1",
            None,
            MetricType::Gauge,
        )?;
        for row in &self.rows {
            weights.encode_family(&row.subject.labels())?.encode_gauge(&row.weight)?;
        }
        let mut step = encoder.encode_descriptor(
            "wasm_fn_rollout_step",
            "Number of the step that a rollout is at; 0 before the first and after the last",
            None,
            MetricType::Gauge,
        )?;
        for row in &self.rows {
            step.encode_family(&row.subject.labels())?.encode_gauge(&row.step)?;
        }
        let mut steps = encoder.encode_descriptor(
            "wasm_fn_rollout_steps",
            "Number of steps of a rollout, including the last one of full weight",
            None,
            MetricType::Gauge,
        )?;
        for row in &self.rows {
            steps.encode_family(&row.subject.labels())?.encode_gauge(&row.steps)?;
        }
        let mut phase = encoder.encode_descriptor(
            "wasm_fn_rollout_phase",
            "Phase of a rollout under way, 1 for the current one",
            None,
            MetricType::Gauge,
        )?;
        for row in &self.rows {
            phase.encode_family(&row.subject.labels_and("phase", row.phase))?.encode_gauge(&1_u32)?;
        }
        let mut verdict = encoder.encode_descriptor(
            "wasm_fn_rollout_verdict",
            "Verdict of the gate of a rollout under way, 1 for the current one",
            None,
            MetricType::Gauge,
        )?;
        for row in &self.rows {
            if let Some(word) = row.verdict {
                verdict.encode_family(&row.subject.labels_and("verdict", word))?.encode_gauge(&1_u32)?;
            }
        }
        // The encoder adds `_total`.
        let mut ended = encoder.encode_descriptor(
            "wasm_fn_rollouts",
            "Rollouts that ended since the node started, and later rollbacks, by outcome",
            None,
            MetricType::Counter,
        )?;
        for ((function, stage), outcome, count) in &self.ended {
            let labels =
                [("function", function.as_str()), ("stage", stage.as_str()), ("outcome", outcome.as_str())];
            ended.encode_family(&labels)?.encode_counter::<[Label<'_>; 0], _, u64>(count, None)?;
        }
        Ok(())
    }
}
