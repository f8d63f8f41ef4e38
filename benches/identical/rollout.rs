//! A rollout as the admin API shows it, and how one is begun.

use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use wasm_fn_benches::{http::Connection, node::Node};

use crate::cases::Release;

/// A step that outlasts every run.
const STEP_MIN: Duration = Duration::from_secs(24 * 3600);

/// A version to be: the digest of a component that is on the node, and the function's variables.
#[derive(Debug, Clone)]
pub(crate) struct Version {
    component: String,
    env: Value,
}

/// What became of a rollout.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Ended {
    outcome: String,
    started_ms: u64,
    ended_ms: u64,
    pub(crate) reason: String,
    pub(crate) evidence: Option<Evidence>,
}

/// The numbers of a rollout.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Evidence {
    pub(crate) canary: Side,
    /// The previous version, which is looked at by itself once everybody has left it.
    pub(crate) stable: Side,
    baseline_side: Option<Side>,
    pub(crate) signals: Vec<Signal>,
}

/// What one version did in a rollout.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Side {
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
}

/// One test of the gate.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Signal {
    pub(crate) text: String,
    pub(crate) e_value: f64,
    pub(crate) threshold: f64,
}

/// A rollout that is under way, or one that has ended.
#[derive(Debug, Clone)]
pub(crate) enum Rollout {
    UnderWay(Option<Evidence>),
    Ended(Ended),
}

#[derive(Deserialize)]
struct Function {
    stages: Vec<Stage>,
}

#[derive(Deserialize)]
struct Stage {
    rollout: Option<Current>,
    last_rollout: Option<Ended>,
}

#[derive(Deserialize)]
struct Current {
    gate: Option<Gate>,
}

#[derive(Deserialize)]
struct Gate {
    evidence: Evidence,
}

impl Ended {
    /// Whether everybody is on the version before again.
    pub(crate) fn taken_back(&self) -> bool {
        self.outcome != "promoted"
    }

    /// How long the rollout lasted.
    pub(crate) fn after(&self) -> Duration {
        Duration::from_millis(self.ended_ms.saturating_sub(self.started_ms))
    }
}

impl Evidence {
    /// What the canary's latencies are compared with: the baseline beside it, or else the previous version's
    /// past.
    pub(crate) fn baseline(&self) -> &Side {
        self.baseline_side.as_ref().unwrap_or(&self.stable)
    }
}

impl Rollout {
    /// Whether the new version was taken back.
    pub(crate) fn taken_back(&self) -> Option<&Ended> {
        match self {
            Self::Ended(ended) if ended.taken_back() => Some(ended),
            Self::Ended(_) | Self::UnderWay(_) => None,
        }
    }

    /// Its numbers: the last ones.
    pub(crate) fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::UnderWay(evidence) => evidence.as_ref(),
            Self::Ended(ended) => ended.evidence.as_ref(),
        }
    }
}

impl Version {
    /// Puts `component` on `node`, and compiles it for a function that nobody calls, so that no deployment
    /// has to.
    ///
    /// # Errors
    ///
    /// The node refused it, and what it said.
    pub(crate) fn prepare(node: &Node, component: &[u8]) -> Result<Self> {
        let digest: String = Sha256::digest(component).iter().map(|byte| format!("{byte:02x}")).collect();
        let mut control = node.control()?;
        let path = format!("/v1/components/{digest}");
        control.send("PUT", &path, "application/wasm", component)?.success()?;
        let version = Self { component: digest, env: json!({}) };
        post(&mut control, "compiled", &version.request(&json!({ "name": "no-traffic" }), &json!({})))?;
        Ok(version)
    }

    /// The same component with one variable.
    pub(crate) fn with(&self, name: &str, value: &str) -> Self {
        Self { env: json!({ name: value }), ..self.clone() }
    }

    /// Releases it as the next version of `function`, with everything else at its default.
    ///
    /// # Errors
    ///
    /// As those of [`prepare`](Self::prepare).
    pub(crate) fn deploy(&self, control: &mut Connection, function: &str, release: Release) -> Result<()> {
        let (strategy, rollout) = match release {
            Release::Canary(percent) => {
                let strategy = json!({ "name": "canary", "steps": [format!("{percent}%")] });
                (strategy, json!({ "step_min_ms": STEP_MIN.as_secs() * 1000 }))
            }
            Release::AllAtOnce => (json!({ "name": "all-at-once" }), json!({})),
        };
        post(control, function, &self.request(&strategy, &rollout))
    }

    fn request(&self, strategy: &Value, rollout: &Value) -> Value {
        let Self { component, env } = self;
        json!({
            "component": component,
            "config": { "env": env },
            "strategy": strategy,
            "rollout": rollout,
            "allow_new": true,
        })
    }
}

fn post(control: &mut Connection, function: &str, request: &Value) -> Result<()> {
    let path = format!("/v1/functions/{function}/deployments");
    let answer = control.send("POST", &path, "application/json", request.to_string().as_bytes())?;
    answer.success().with_context(|| format!("`{function}` was not deployed"))?;
    Ok(())
}

/// The rollout of `function`.
///
/// # Errors
///
/// There is none, or the answer is something else.
pub(crate) fn status(control: &mut Connection, function: &str) -> Result<Rollout> {
    let answer = control.get(&format!("/v1/functions/{function}"))?.success()?;
    rollout(&answer.body).with_context(|| format!("the status of `{function}`"))
}

fn rollout(body: &[u8]) -> Result<Rollout> {
    let Function { stages } = serde_json::from_slice(body)?;
    let stage = stages.into_iter().next().context("there is no stage")?;
    match (stage.rollout, stage.last_rollout) {
        (Some(current), _) => Ok(Rollout::UnderWay(current.gate.map(|gate| gate.evidence))),
        (None, Some(ended)) => Ok(Rollout::Ended(ended)),
        (None, None) => anyhow::bail!("there is no rollout"),
    }
}

/// Deletes `function`.
///
/// # Errors
///
/// The node refused to.
pub(crate) fn delete(control: &mut Connection, function: &str) -> Result<()> {
    control.send("DELETE", &format!("/v1/functions/{function}"), "application/json", b"")?.success()?;
    Ok(())
}

#[cfg(test)]
mod tests;
