//! Which of two events of a trigger is the later one.

use crate::Timestamp;

/// Where an event stands among those of its trigger. Services deliver events late, twice and in another order
/// than they happened, so the order in which they came is only the last resort.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventOrder {
    /// When it came for the first time.
    pub received: Timestamp,
    /// When it happened, where the service says it.
    pub happened: Option<Timestamp>,
    /// The commit that it is about.
    pub commit: Option<String>,
    /// The commit before it.
    pub before: Option<String>,
}

impl EventOrder {
    /// Whether it happened before `other`: `other` begins with its commit; else, the service says so; else,
    /// it came earlier.
    ///
    /// Two pushes can each begin with the commit of the other, as one that takes the other back does. Then
    /// their commits say nothing.
    pub fn is_before(&self, other: &Self) -> bool {
        let leads = |first: &Self, then: &Self| first.commit.is_some() && first.commit == then.before;
        match (leads(self, other), leads(other, self)) {
            (true, false) => true,
            (false, true) => false,
            (true, true) | (false, false) => match (self.happened, other.happened) {
                (Some(own), Some(theirs)) if own != theirs => own < theirs,
                _ => self.received < other.received,
            },
        }
    }
}
