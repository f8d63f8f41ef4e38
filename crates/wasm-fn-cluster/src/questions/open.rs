//! The questions that wait for their answers, and the parts of answers that are here. There is a bound to
//! both.

use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Bytes, BytesMut};
use tokio::sync::oneshot;

use super::{ANSWER_BYTES_MAX, PART_BYTES_MAX};

/// Questions that are open at most.
pub(super) const OPEN_MAX: usize = 1024;

/// Bytes of parts of answers at most.
pub(super) const BYTES_MAX: usize = 64 << 20;

/// Parts of one answer at most.
const PARTS_MAX: usize = ANSWER_BYTES_MAX.div_ceil(PART_BYTES_MAX);

/// Which part of an answer something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) number: usize,
    pub(super) count: usize,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.count)
    }
}

impl FromStr for Part {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (number, count) = text.split_once('/').ok_or(())?;
        let part = Self { number: number.parse().map_err(|_| ())?, count: count.parse().map_err(|_| ())? };
        if part.number < part.count && part.count <= PARTS_MAX { Ok(part) } else { Err(()) }
    }
}

/// The questions that are open.
#[derive(Clone, Debug, Default)]
pub(super) struct Open(Arc<Mutex<Questions>>);

#[derive(Debug, Default)]
struct Questions {
    open: BTreeMap<String, Awaited>,
    bytes: usize,
}

#[derive(Debug)]
struct Awaited {
    /// The process that was asked.
    of: String,
    /// How many parts the answer has, once one is here.
    count: Option<usize>,
    parts: BTreeMap<usize, Bytes>,
    whole: oneshot::Sender<Bytes>,
}

/// A question that is open as long as this is there.
#[derive(Debug)]
pub(super) struct Asked {
    open: Open,
    id: String,
    whole: oneshot::Receiver<Bytes>,
}

impl Open {
    /// Opens the question `id` to the process `of`; `None` if too many are open, or it is.
    pub(super) fn open(&self, id: &str, of: &str) -> Option<Asked> {
        let mut questions = self.questions();
        if questions.open.len() >= OPEN_MAX || questions.open.contains_key(id) {
            return None;
        }
        let (whole, receiver) = oneshot::channel();
        let awaited = Awaited { of: of.to_owned(), count: None, parts: BTreeMap::new(), whole };
        questions.open.insert(id.to_owned(), awaited);
        Some(Asked { open: self.clone(), id: id.to_owned(), whole: receiver })
    }

    /// Takes a part of the answer to the question `id` from the process `from`. One that nobody waits for is
    /// passed over, as is one that is here; a question whose answer has no room is given up.
    pub(super) fn take(&self, id: &str, from: &str, part: Part, body: Bytes) {
        let mut questions = self.questions();
        let Questions { open, bytes } = &mut *questions;
        let Some(awaited) = open.get_mut(id).filter(|awaited| awaited.of == from) else { return };
        let count = *awaited.count.get_or_insert(part.count);
        if count != part.count || awaited.parts.contains_key(&part.number) {
            return;
        }
        if body.len() > PART_BYTES_MAX || *bytes + body.len() > BYTES_MAX {
            questions.close(id);
            return;
        }
        *bytes += body.len();
        awaited.parts.insert(part.number, body);
        if awaited.parts.len() == count
            && let Some(awaited) = questions.close(id)
        {
            let mut whole = BytesMut::new();
            awaited.parts.values().for_each(|part| whole.extend_from_slice(part));
            // Whoever asked may have gone.
            let _ = awaited.whole.send(whole.freeze());
        }
    }

    fn questions(&self) -> MutexGuard<'_, Questions> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Questions {
    fn close(&mut self, id: &str) -> Option<Awaited> {
        let awaited = self.open.remove(id)?;
        self.bytes -= awaited.parts.values().map(Bytes::len).sum::<usize>();
        Some(awaited)
    }
}

impl Asked {
    /// Waits for the whole answer; `None` if it was given up.
    pub(super) async fn whole(mut self) -> Option<Bytes> {
        (&mut self.whole).await.ok()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.open.questions().close(&self.id);
    }
}

#[cfg(test)]
mod tests;
