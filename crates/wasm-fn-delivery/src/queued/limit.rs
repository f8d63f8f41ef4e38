//! How many messages of a queue are worth having in progress. Pure.

/// A limit that follows what the node can take: a message that it refuses halves it, and the messages that it
/// takes raise it by one for each time that the limit is used up (additive increase, multiplicative decrease;
/// Chiu and Jain, 1989).
#[derive(Debug)]
pub(super) struct AdaptiveLimit {
    max: usize,
    // Invariant: from 1 to `max`.
    limit: f64,
    /// Messages that must be taken before the next refusal counts: those that began under the limit before
    /// tell nothing new.
    grace: usize,
}

impl AdaptiveLimit {
    /// A limit of `max` at most, where it begins.
    pub(super) fn new(max: usize) -> Self {
        let max = max.max(1);
        Self { max, limit: as_f64(max), grace: 0 }
    }

    pub(super) fn get(&self) -> usize {
        // It is from 1 to a number of messages.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to `max`")]
        let limit = self.limit as usize;
        limit.clamp(1, self.max)
    }

    /// The node took a message.
    pub(super) fn succeeded(&mut self) {
        self.grace = self.grace.saturating_sub(1);
        self.limit = (self.limit + 1.0 / self.limit).min(as_f64(self.max));
    }

    /// The node refused a message.
    pub(super) fn refused(&mut self) {
        if self.grace > 0 {
            self.grace -= 1;
            return;
        }
        self.grace = self.get().saturating_sub(1);
        self.limit = (self.limit / 2.0).max(1.0);
    }
}

fn as_f64(count: usize) -> f64 {
    // Concurrency is at most a thousand.
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

#[cfg(test)]
mod tests;
