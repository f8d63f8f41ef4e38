//! How many messages were asked for and did not come yet. Pure.

use std::time::Duration;

use serde::Serialize;

/// How long the broker keeps a request for messages.
const EXPIRES: Duration = Duration::from_secs(30);

/// How often the broker says that it has none. After three times of silence it is gone.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// For how long a broker may be silent that was asked for messages.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Messages in one request at most.
const BATCH_MAX: usize = 1000;

/// The messages that were asked for and did not come yet.
#[derive(Debug, Default)]
pub(crate) struct Pulls {
    outstanding: usize,
}

/// What the broker said instead of a message (NATS, "JetStream wire API Reference", and ADR-37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    /// It is there, and has none.
    Heartbeat,
    /// A request is over, with this many messages that did not come; `None` if it does not say.
    Over {
        /// Messages that were asked for and do not come.
        missing: Option<usize>,
    },
    /// The consumer or its stream is gone, or somebody else took its place.
    Gone,
}

/// A request for messages.
#[derive(Serialize)]
struct Request {
    batch: usize,
    /// Nanoseconds.
    expires: u64,
    /// Nanoseconds.
    idle_heartbeat: u64,
}

impl Pulls {
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// How many messages to ask for while `in_progress` are, with `room` for so many. One request is on its
    /// way at a time, and a second once half of the room is free.
    pub(crate) fn wanted(&self, room: usize, in_progress: usize) -> usize {
        let free = room.saturating_sub(in_progress + self.outstanding).min(BATCH_MAX);
        if self.outstanding == 0 || free >= room.div_ceil(2) { free } else { 0 }
    }

    /// Asks for `batch` messages: the payload of the request.
    pub(crate) fn ask(&mut self, batch: usize) -> Vec<u8> {
        self.outstanding += batch;
        let ns = |time: Duration| u64::try_from(time.as_nanos()).expect("they are seconds");
        let request = Request { batch, expires: ns(EXPIRES), idle_heartbeat: ns(HEARTBEAT) };
        serde_json::to_vec(&request).expect("a struct of numbers is JSON")
    }

    /// A message came.
    pub(crate) fn came(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// A request is over, with messages `missing`. If that is not known, so are all of them.
    pub(crate) fn over(&mut self, missing: Option<usize>) {
        self.outstanding = self.outstanding.saturating_sub(missing.unwrap_or(self.outstanding));
    }
}

impl Status {
    /// Reads a status with its text and how many messages are pending of the request.
    pub(crate) fn read(code: u16, text: &str, missing: Option<usize>) -> Self {
        let text = text.to_ascii_lowercase();
        match code {
            100 => Self::Heartbeat,
            409 if text.contains("deleted") || text.contains("push based") => Self::Gone,
            503 => Self::Gone,
            _ => Self::Over { missing },
        }
    }
}

#[cfg(test)]
mod tests;
