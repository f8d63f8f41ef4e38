//! The record of a bucket: what it holds, and which writes came last. Every write replaces it, in one batch
//! with what it changes, and only if it is still the one that the write was planned from. So it is what puts
//! the writes to a bucket into one order. Pure.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wasm_fn_core::Revision;
use wasm_fn_store::BucketUsage;

/// The newest format of records that this program reads, and the one that it writes.
const FORMAT: u64 = 1;

/// How many writes a record tells of.
const WRITES_MAX: usize = 16;

/// What a bucket is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BucketRecord {
    format: u64,
    /// What tells the bucket from others that had its address before.
    pub(super) id: String,
    /// The revision of the state of the node that made it.
    made: u64,
    bytes: u64,
    keys: u64,
    /// The last writes, oldest first.
    #[serde(default)]
    writes: Vec<WriteMark>,
    /// The revision of the state that has no such stage any more, once the bucket is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gone: Option<u64>,
}

/// A write that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct WriteMark {
    id: String,
    /// The number of the message with its record. The record itself cannot say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
}

/// The record of a bucket as the stream has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The number of the message; 0 if there is none.
    pub(super) sequence: u64,
    /// `None` if there is none.
    pub(super) record: Option<BucketRecord>,
}

/// What became of a write that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was made, with the record of this number.
    Made(u64),
    /// It was not made, as far as can be seen yet, and is sent again.
    Open,
    /// It was not made, and never will be.
    Overtaken,
    /// So many others came after it that nobody can tell.
    Forgotten,
}

impl Head {
    /// The record in the message with this number.
    ///
    /// # Errors
    /// Why it is none.
    pub(super) fn read(sequence: u64, payload: &[u8]) -> Result<Self, String> {
        let record: BucketRecord = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
        if record.format > FORMAT {
            return Err(format!("it has format {}, expected at most {FORMAT}", record.format));
        }
        Ok(Self { sequence, record: Some(record) })
    }

    /// The bucket, if it is there.
    pub(super) fn live(&self) -> Option<&BucketRecord> {
        self.record.as_ref().filter(|record| record.gone.is_none())
    }

    /// What the bucket holds.
    pub(super) fn usage(&self) -> BucketUsage {
        self.live().map_or_else(BucketUsage::default, BucketRecord::usage)
    }

    /// The record that follows, after the write called `write`, with which the bucket holds `usage`. A bucket
    /// that is not there gets the id `new_id`; `None` if the state of the node at `revision` may have a stage
    /// that is gone.
    pub(super) fn next(
        &self,
        write: &str,
        usage: BucketUsage,
        revision: Revision,
        new_id: impl FnOnce() -> String,
    ) -> Option<BucketRecord> {
        let mut next = match &self.record {
            Some(record) if record.gone.is_none() => record.clone(),
            Some(record) if record.gone.is_some_and(|gone| revision.0 < gone) => return None,
            _ => BucketRecord {
                format: FORMAT,
                id: new_id(),
                made: revision.0,
                bytes: 0,
                keys: 0,
                writes: Vec::new(),
                gone: None,
            },
        };
        if let Some(last) = next.writes.last_mut() {
            last.sequence = Some(self.sequence);
        }
        next.writes.push(WriteMark { id: write.to_owned(), sequence: None });
        let surplus = next.writes.len().saturating_sub(WRITES_MAX);
        next.writes.drain(..surplus);
        (next.bytes, next.keys) = (usage.bytes, usage.keys);
        Some(next)
    }

    /// The record of the bucket once it is deleted, since the state has not had its stage since `gone`;
    /// `None` if it is not there, or was made later.
    pub(super) fn deleted(&self, gone: Revision) -> Option<BucketRecord> {
        let record = self.live().filter(|record| record.made <= gone.0)?;
        Some(BucketRecord { gone: Some(gone.0), bytes: 0, keys: 0, writes: Vec::new(), ..record.clone() })
    }

    /// What became of the write called `write`, which was to follow the record with the number `planned`.
    pub(super) fn fate(&self, write: &str, planned: u64) -> Fate {
        if self.sequence == planned {
            return Fate::Open;
        }
        let Some(record) = &self.record else { return Fate::Forgotten };
        let mut writes = record.writes.iter();
        if let Some(mark) = writes.clone().find(|mark| mark.id == write) {
            return Fate::Made(mark.sequence.unwrap_or(self.sequence));
        }
        // What followed it is there, and is another.
        let tells_all = writes.any(|mark| mark.sequence == Some(planned))
            || planned == 0 && record.gone.is_none() && record.writes.len() < WRITES_MAX;
        if tells_all { Fate::Overtaken } else { Fate::Forgotten }
    }
}

impl BucketRecord {
    /// What the bucket holds.
    pub(super) fn usage(&self) -> BucketUsage {
        BucketUsage { bytes: self.bytes, keys: self.keys }
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        serde_json::to_vec(self).expect("a struct of texts and numbers is JSON").into()
    }
}

#[cfg(test)]
mod tests;
