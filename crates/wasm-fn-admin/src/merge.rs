//! Adds up what the nodes of a cluster say of the same. Pure.
//!
//! Counters add up. Of a median or another quantile, the largest is kept: what all requests have together is
//! at most that. What is the same on all nodes, such as a split, is that of the node that answers. A node
//! that sees more, or fewer, functions or stages at the moment adds to those that this one has.

mod series;

use wasm_fn_api as api;

use crate::nodes::Told;

/// An answer that each node has for itself.
pub(crate) trait PerNode: Sized {
    /// Marks the numbers as those of `node`.
    fn mark(&mut self, node: &str);

    /// Adds what `node` has.
    fn add(&mut self, node: &str, other: Self);

    /// Where it is kept whose numbers there are.
    fn nodes(&mut self) -> &mut Vec<api::AskedNode>;
}

/// `own`, which `node` has, with what the others have `told`.
pub(crate) fn all<T: PerNode>(mut own: T, node: &str, told: Told<T>) -> T {
    own.mark(node);
    let mut nodes = vec![api::AskedNode { node: node.to_owned(), missing: None }];
    for (node, answer) in told {
        let missing = match answer {
            Ok(other) => {
                own.add(&node, other);
                None
            }
            Err(reason) => Some(reason),
        };
        nodes.push(api::AskedNode { node, missing });
    }
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    *own.nodes() = nodes;
    own
}

impl PerNode for api::FunctionList {
    fn mark(&mut self, _: &str) {}

    fn add(&mut self, _: &str, other: Self) {
        for function in other.functions {
            // Both are sorted by name.
            let found = self.functions.binary_search_by(|own| own.function.cmp(&function.function));
            let Some(own) = found.ok().and_then(|at| self.functions.get_mut(at)) else { continue };
            for stage in function.stages {
                if let Some(own) = own.stages.iter_mut().find(|own| own.stage == stage.stage) {
                    own.requests += stage.requests;
                    own.failures += stage.failures;
                }
            }
        }
    }

    fn nodes(&mut self) -> &mut Vec<api::AskedNode> {
        &mut self.nodes
    }
}

impl PerNode for api::FunctionStatus {
    fn mark(&mut self, node: &str) {
        for version in self.stages.iter_mut().flat_map(|stage| &mut stage.versions) {
            version.nodes = vec![on_node(node, version)];
        }
    }

    fn add(&mut self, node: &str, other: Self) {
        for stage in other.stages {
            let Some(own) = self.stages.iter_mut().find(|own| own.stage == stage.stage) else { continue };
            for version in stage.versions {
                add_version(own, node, version);
            }
            if let (Some(own), Some(rollout)) = (&mut own.rollout, stage.rollout) {
                take_gate(own, rollout);
            }
        }
    }

    fn nodes(&mut self) -> &mut Vec<api::AskedNode> {
        &mut self.nodes
    }
}

fn on_node(node: &str, version: &api::VersionStatus) -> api::VersionOnNode {
    let api::VersionStatus { tally, overrides, instances, .. } = version.clone();
    api::VersionOnNode { node: node.to_owned(), tally, overrides, instances }
}

fn add_version(stage: &mut api::StageStatus, node: &str, version: api::VersionStatus) {
    let theirs = on_node(node, &version);
    match stage.versions.iter_mut().find(|own| own.version == version.version) {
        Some(own) => {
            add_tally(&mut own.tally, version.tally);
            own.overrides += version.overrides;
            own.instances += version.instances;
            let at = own.nodes.partition_point(|own| own.node < theirs.node);
            own.nodes.insert(at, theirs);
        }
        // It answered requests there once, and has no share.
        None => stage.versions.push(api::VersionStatus { nodes: vec![theirs], ..version }),
    }
}

fn add_tally(own: &mut api::TallyView, other: api::TallyView) {
    own.requests += other.requests;
    own.failures += other.failures;
    for (mine, theirs) in [(&mut own.outcomes, other.outcomes), (&mut own.shield, other.shield)] {
        for (word, count) in theirs {
            *mine.entry(word).or_default() += count;
        }
    }
    own.latency_p50_ms = largest(own.latency_p50_ms, other.latency_p50_ms);
    own.latency_p99_ms = largest(own.latency_p99_ms, other.latency_p99_ms);
    own.queue_wait_p99_ms = largest(own.queue_wait_p99_ms, other.queue_wait_p99_ms);
    own.memory_peak_bytes = own.memory_peak_bytes.max(other.memory_peak_bytes);
}

/// The larger of two numbers of which either may be missing.
pub(crate) fn largest(own: Option<f64>, other: Option<f64>) -> Option<f64> {
    own.into_iter().chain(other).reduce(f64::max)
}

/// Takes the gate of a node that knows more of the same rollout: all nodes hear of each other's evidence, and
/// the one that decides has it first.
fn take_gate(own: &mut api::RolloutView, other: api::RolloutView) {
    let is_same = (&own.canary, own.started_ms, own.step, &own.phase)
        == (&other.canary, other.started_ms, other.step, &other.phase);
    let known = |rollout: &api::RolloutView| {
        let evidence = rollout.gate.as_ref().map(|gate| &gate.evidence);
        evidence.map(|evidence| evidence.canary.requests + evidence.stable.requests)
    };
    if is_same && known(&other) > known(own) {
        own.gate = other.gate;
    }
}

impl PerNode for api::TraceList {
    fn mark(&mut self, node: &str) {
        self.traces.iter_mut().for_each(|trace| trace.node = Some(node.to_owned()));
    }

    fn add(&mut self, node: &str, mut other: Self) {
        other.mark(node);
        self.traced |= other.traced;
        self.traces.append(&mut other.traces);
        // Of requests that failed, the newest first, and then the slowest first.
        self.traces.sort_by(|a, b| {
            let within =
                if a.failed { b.at_ms.cmp(&a.at_ms) } else { b.duration_ms.total_cmp(&a.duration_ms) };
            b.failed.cmp(&a.failed).then(within)
        });
    }

    fn nodes(&mut self) -> &mut Vec<api::AskedNode> {
        &mut self.nodes
    }
}

#[cfg(test)]
mod tests;
