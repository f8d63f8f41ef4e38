//! How many draws or users a canary needs before it may pass: as many as would prove it broken if all of them
//! failed.

use wasm_fn_core::Weight;
use wasm_fn_rollout::RATIOS;

/// The gate's alpha in all scenarios, its part for failures beside stable, and what is tolerated.
const ALPHA: f64 = 0.001;
const PART: f64 = 0.8 * 0.5;
const TOLERATE: f64 = 1.1;

/// Weights of the alternatives.
const PRIOR: [f64; RATIOS.len()] = [0.08, 0.10, 0.17, 0.35, 0.30];

/// The part of alpha of a gate's first run.
pub(super) const FIRST_RUN: f64 = 0.8;

/// The least part of alpha that the run has which a step begins with: the gate starts one with each step and
/// each minute, and no scenario has more than 32 of both.
pub(super) const LAST_RUN: f64 = 0.2 * 6.0 / (std::f64::consts::PI * std::f64::consts::PI * 32.0 * 32.0);

/// As many are asked for at most.
pub(super) const MOST: u64 = 200;

/// Voices that gate number `gate_no` needs at `share` in a run with this part of alpha; `None` where they do
/// not matter.
pub(super) fn needed(share: Weight, gate_no: u32, run: f64) -> Option<u64> {
    if share == Weight::ZERO || share == Weight::FULL {
        return None;
    }
    let no = f64::from(gate_no);
    let part = if gate_no <= 1 { 0.75 } else { 0.25 / (no * (no - 1.0)) };
    let odds = TOLERATE * f64::from(share.basis_points()) / f64::from(share.complement().basis_points());
    let enough = |failed: u64| {
        let by = |ratio: f64| (ratio * (1.0 + odds) / (1.0 + ratio * odds)).powf(failed as f64);
        let evidence: f64 = RATIOS.into_iter().zip(PRIOR).map(|(ratio, prior)| prior * by(ratio)).sum();
        run * evidence * ALPHA * part * PART >= 1.0
    };
    Some((3..MOST).find(|&failed| enough(failed)).unwrap_or(MOST))
}
