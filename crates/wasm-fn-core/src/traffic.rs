//! Who gets which version.

mod cohort;
mod side;
mod split;
mod weight;

pub use cohort::{CohortError, CohortRule, Condition, Role, Source, Sticky, StickyError};
pub use side::Side;
pub use split::{SplitError, TrafficSplit};
pub use weight::{Point, Weight, WeightError, percent};
