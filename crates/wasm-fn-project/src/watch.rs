//! Watches a project's files by the system's events.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    time::Duration,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{CreateKind, ModifyKind},
};

/// How long no file must change before a change is told. Editors write a file in several steps.
const SETTLED: Duration = Duration::from_millis(20);

/// Most events that wait. Where more come, one of them stands for all.
const EVENTS_MAX: usize = 1024;

/// Folders that hold what was built or downloaded, or what is a tool's own.
const IGNORED: [&str; 9] =
    [".git", ".venv", ".wasm-fn", "__pycache__", "dist", "node_modules", "target", "wasm-fn-data", ".idea"];

/// Watches a folder until it is dropped.
pub struct Watch {
    // The thread ends when this is dropped: it holds the only sender.
    _watcher: std::sync::Arc<std::sync::Mutex<RecommendedWatcher>>,
}

/// Why a folder is not watched.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be watched: {error}", folder.display())]
pub struct NotWatched {
    /// The folder.
    pub folder: PathBuf,
    /// Why.
    pub error: notify::Error,
}

impl Watch {
    /// Watches `folder` and all below it, without folders of what was built. `changed` is called from a
    /// thread after files have changed, with one of them. `ignored` are files in it that the build writes.
    ///
    /// # Errors
    /// The system refuses, for example because too many folders are watched.
    pub fn start(
        folder: &Path,
        ignored: &[PathBuf],
        changed: impl FnMut(&Path) + Send + 'static,
    ) -> Result<Self, NotWatched> {
        let failed = |error| NotWatched { folder: folder.to_owned(), error };
        let folder = folder.canonicalize().map_err(|error| failed(error.into()))?;
        let (sender, events) = sync_channel(EVENTS_MAX);
        let watcher = notify::recommended_watcher(move |event| tell(&sender, event)).map_err(failed)?;
        let watcher = std::sync::Arc::new(std::sync::Mutex::new(watcher));
        let filter =
            Filter { root: folder.clone(), ignored: ignored.iter().map(|path| folder.join(path)).collect() };
        add(&watcher, &filter, &folder).map_err(failed)?;
        let weak = std::sync::Arc::downgrade(&watcher);
        std::thread::spawn(move || {
            follow(&events, &filter, changed, |new| {
                if let Some(watcher) = weak.upgrade() {
                    // A folder that is gone again needs no watch.
                    let _ = add(&watcher, &filter, new);
                }
            });
        });
        Ok(Self { _watcher: watcher })
    }
}

/// Hands over `event`. Where too many wait, one that waits stands for it.
fn tell(sender: &SyncSender<Event>, event: notify::Result<Event>) {
    // An error is about events that were lost: something has changed.
    let event = event.unwrap_or_else(|_| Event::new(EventKind::Any));
    match sender.try_send(event) {
        Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {}
    }
}

/// Which changes count.
struct Filter {
    root: PathBuf,
    /// Files that the build writes.
    ignored: Vec<PathBuf>,
}

impl Filter {
    fn counts(&self, path: &Path) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else { return false };
        let ignored = |part: &std::ffi::OsStr| IGNORED.iter().any(|name| part == *name);
        // Editors' own files beside the one that is edited.
        let own = path.file_name().map(|name| name.to_string_lossy()).is_some_and(|name| {
            name.ends_with('~') || name.ends_with(".swp") || name.ends_with(".swx") || name == "4913"
        });
        !own && !below.iter().any(ignored) && !self.ignored.iter().any(|ignored| path == ignored)
    }
}

/// Watches `folder` and the folders below it that count. A link is not followed.
fn add(watcher: &std::sync::Mutex<RecommendedWatcher>, filter: &Filter, folder: &Path) -> notify::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut watcher = watcher.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        drop(watcher);
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        let below =
            entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        folders.extend(below.map(|entry| entry.path()).filter(|path| filter.counts(path)));
    }
    Ok(())
}

/// Tells of changes until the sender of `events` is gone.
fn follow(
    events: &Receiver<Event>,
    filter: &Filter,
    mut changed: impl FnMut(&Path),
    mut new_folder: impl FnMut(&Path),
) {
    let mut pending: Option<PathBuf> = None;
    loop {
        let event = match &pending {
            None => events.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(_) => events.recv_timeout(SETTLED),
        };
        match (event, pending.take()) {
            (Ok(event), before) => {
                let found = change(&event, filter, &mut new_folder);
                pending = before.or(found);
            }
            (Err(RecvTimeoutError::Timeout), Some(path)) => changed(&path),
            (Err(RecvTimeoutError::Timeout), None) => {}
            (Err(RecvTimeoutError::Disconnected), _) => return,
        }
    }
}

/// The file that `event` says has changed, if one counts.
fn change(event: &Event, filter: &Filter, new_folder: &mut impl FnMut(&Path)) -> Option<PathBuf> {
    let counts = match event.kind {
        // Opened, read, closed: not changed.
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    };
    if !counts {
        return None;
    }
    if event.paths.is_empty() {
        return Some(filter.root.clone());
    }
    let path = event.paths.iter().find(|path| filter.counts(path))?;
    let appears =
        matches!(event.kind, EventKind::Create(CreateKind::Folder) | EventKind::Modify(ModifyKind::Name(_)));
    for path in event.paths.iter().filter(|path| appears && filter.counts(path) && path.is_dir()) {
        new_folder(path);
    }
    Some(path.clone())
}

#[cfg(test)]
mod tests;
