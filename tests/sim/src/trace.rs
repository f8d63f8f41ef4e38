//! What happened, line by line: kept when somebody is going to read it, hashed always.

use std::{fmt, fmt::Write as _, hash::Hasher as _};

use siphasher::sip::SipHasher13;

/// The lines of one run.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    hasher: SipHasher13,
    line: String,
    kept: Option<Vec<String>>,
    lines: u64,
}

impl Trace {
    /// Nothing yet; `keep` the lines, or only their hash.
    pub(crate) fn new(keep: bool) -> Self {
        Self { kept: keep.then(Vec::new), ..Self::default() }
    }

    /// Adds a line that happened at `now_ms`, at `place`, which may be empty.
    pub(crate) fn say(&mut self, now_ms: u64, place: &str, what: fmt::Arguments<'_>) {
        self.line.clear();
        // Writing to a string cannot fail.
        let _ = write!(self.line, "{:>9.3} ", now_ms as f64 / 1000.0);
        if !place.is_empty() {
            let _ = write!(self.line, "{place} ");
        }
        let _ = self.line.write_fmt(what);
        self.hasher.write(self.line.as_bytes());
        self.hasher.write_u8(b'\n');
        self.lines += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(self.line.clone());
        }
    }

    /// The hash of all lines.
    pub(crate) fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// How many lines there are.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// The lines, if they were kept.
    pub(crate) fn into_kept(self) -> Vec<String> {
        self.kept.unwrap_or_default()
    }
}
