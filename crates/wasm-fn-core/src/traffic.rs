//! Who gets which version.

mod cohort;
mod order;
mod side;
mod split;
mod weight;

pub use cohort::{CohortError, CohortRule, Condition, Role, Source, Sticky, StickyError};
pub use order::{ORDER_HEADER_BYTES_MAX, OrderedBy, OrderedByError};
pub use side::Side;
pub use split::{SplitError, TrafficSplit};
pub use weight::{Point, Weight, WeightError, percent};
