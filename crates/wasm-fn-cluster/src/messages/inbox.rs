//! Messages that nobody has taken yet. There is a bound, and behind it the oldest are lost.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::NodeMessage;

/// Messages that wait at most.
const MESSAGES_MAX: usize = 4096;

/// Bytes that wait at most.
const BYTES_MAX: usize = 32 << 20;

/// Messages that nobody has taken yet.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    came: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    messages: VecDeque<NodeMessage>,
    bytes: usize,
    lost: u64,
}

impl Inbox {
    pub(super) fn put(&self, message: NodeMessage) {
        let mut waiting = self.waiting();
        waiting.bytes += message.body.len();
        waiting.messages.push_back(message);
        while waiting.messages.len() > MESSAGES_MAX || waiting.bytes > BYTES_MAX {
            let oldest = waiting.messages.pop_front();
            waiting.bytes -= oldest.map_or(0, |oldest| oldest.body.len());
            waiting.lost += 1;
        }
        drop(waiting);
        self.came.notify_one();
    }

    pub(super) async fn take(&self) -> NodeMessage {
        loop {
            {
                let mut waiting = self.waiting();
                if let Some(message) = waiting.messages.pop_front() {
                    waiting.bytes -= message.body.len();
                    return message;
                }
            }
            self.came.notified().await;
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.waiting().lost
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Nothing panics while holding the lock.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
