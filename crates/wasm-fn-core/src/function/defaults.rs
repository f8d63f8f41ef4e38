//! What a rollout does if nobody says otherwise.

use std::time::Duration;

use crate::Weight;

/// The steps of a canary before everybody is on it: 1 %, 10 %, 50 %.
pub const CANARY_STEPS: [Weight; 3] = [weight(100), weight(1000), weight(5000)];

/// By how much a linear rollout grows at each step: 10 %.
pub const LINEAR_SHARE: Weight = weight(1000);

/// How long a step of a linear rollout lasts: a minute.
pub const LINEAR_EVERY: Duration = Duration::from_secs(60);

/// How long a step lasts at least: a minute.
pub const STEP_MIN: Duration = Duration::from_secs(60);

/// How long a version is watched after everybody is on it: five minutes.
pub const WATCH: Duration = Duration::from_secs(300);

/// How long the previous version stays ready after a blue-green switch: an hour.
pub const KEEP: Duration = Duration::from_secs(3600);

const fn weight(basis_points: u16) -> Weight {
    match Weight::from_basis_points(basis_points) {
        Some(weight) => weight,
        None => panic!("a default is at most 100 %"),
    }
}
