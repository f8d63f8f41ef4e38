//! Reads certificates and keys again when their files change, and warns of certificates that end.
//!
//! Open connections keep what they have. Files that cannot be used change nothing, so whoever writes them may
//! do so one after the other.

use std::{
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{expiry::EndWarnings, listener::ListenerTls};

/// How often the files are looked at. A change is read once a second look finds no further one.
const EVERY: Duration = Duration::from_secs(1);

/// What tells a file from an earlier one at the same path, links followed. `None` if there is none.
pub(super) type Stamp = Option<FileStamp>;

/// Device, inode, size, and the time of the last change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileStamp(u64, u64, u64, i64, i64);

/// The files of one listener, as they were seen.
pub(super) struct Watched {
    tls: ListenerTls,
    /// What the current configuration, or the latest warning, is made of.
    read: Vec<Stamp>,
    seen: Vec<Stamp>,
    ends: EndWarnings,
}

/// Keeps the configurations of `listeners` those of their files, until it is dropped.
pub(crate) async fn keep_current(listeners: Vec<ListenerTls>) {
    let mut watched: Vec<_> = listeners.into_iter().map(Watched::new).collect();
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !watched.is_empty() {
        ticks.tick().await;
        // Looking at a file on a slow disk must not hold a thread that serves.
        let looked = tokio::task::spawn_blocking(move || {
            for watched in &mut watched {
                watched.look();
                watched.warn(system_time());
            }
            watched
        });
        match looked.await {
            Ok(back) => watched = back,
            Err(_) => return,
        }
    }
}

impl Watched {
    pub(super) fn new(tls: ListenerTls) -> Self {
        Self { read: tls.stamps.clone(), seen: tls.stamps.clone(), ends: EndWarnings::default(), tls }
    }

    /// Reads the files again if they have changed and change no more. Blocks.
    pub(super) fn look(&mut self) {
        let now: Vec<_> = self.tls.files.paths().map(stamp).collect();
        let settled = now == self.seen;
        self.seen = now;
        if !settled || self.seen == self.read {
            return;
        }
        self.read.clone_from(&self.seen);
        match self.tls.reload(system_time()) {
            Ok(()) => tracing::info!(files = %self.shown(), "certificates were reloaded"),
            Err(error) => tracing::warn!(%error, "certificates were not reloaded, the earlier ones stay"),
        }
    }

    /// Warns of certificates that end.
    fn warn(&mut self, now: SystemTime) {
        for warning in self.ends.due(&**self.tls.shown.load(), now) {
            tracing::warn!("{warning}");
        }
    }

    fn shown(&self) -> String {
        let files = self.tls.files.paths().map(|path| path.display().to_string());
        files.collect::<Vec<_>>().join(" ")
    }
}

/// Looks at the file at `path`. Blocks.
pub(super) fn stamp(path: &Path) -> Stamp {
    let found = std::fs::metadata(path).ok()?;
    Some(FileStamp(found.dev(), found.ino(), found.size(), found.mtime(), found.mtime_nsec()))
}

/// The time now.
#[expect(clippy::disallowed_methods, reason = "whether a certificate is valid depends on the system's clock")]
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}
