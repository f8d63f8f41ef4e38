//! Tests of what clients are told.

use std::time::Duration;

use super::{Code, Problem};
use crate::{FailureCause, InvokeFailure};

#[test]
fn retry_after_belongs_to_overload_and_has_a_default() {
    let overloaded = |after| InvokeFailure {
        retry_after: after,
        ..InvokeFailure::new(FailureCause::NodeOverloaded, "secret")
    };
    let problem = Problem::from(overloaded(None));
    assert_eq!(problem.retry_after, Some(Duration::from_secs(1)));
    assert_eq!(problem.detail, "the node is at its limits");
    let after = Some(Duration::from_secs(9));
    assert_eq!(Problem::from(overloaded(after)).retry_after, after);
    let trap = InvokeFailure { retry_after: after, ..InvokeFailure::new(FailureCause::Trap, "") };
    assert_eq!(Problem::from(trap), Code::GuestTrap.into());
}
