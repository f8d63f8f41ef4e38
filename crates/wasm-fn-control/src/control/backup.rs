//! Backups of a node that goes on serving and changing.

use std::{collections::HashSet, fs::File, path::PathBuf, sync::Arc};

use tokio::sync::oneshot;
use wasm_fn_core::{Digest, Revision};
use wasm_fn_store::{EmbeddedStore, Pin, Store};

use super::{BACKUPS_MAX, Control, ControlError};
use crate::host::Host;

/// The state at one revision, with its components. Nothing in it changes or goes away before it is dropped.
#[derive(Debug)]
pub struct Backup {
    /// The revision.
    pub revision: Revision,
    /// How many functions there are.
    pub functions: u64,
    /// A copy of the state's file. It has no name any more.
    pub state: File,
    /// The components of all versions, by digest, and their files.
    pub components: Vec<(Digest, PathBuf)>,
    _pins: Vec<Pin>,
    // Dropped last: the pins are gone when somebody hears of it.
    _ended: oneshot::Sender<()>,
}

impl<H: Host, S: Store> Control<H, S> {
    /// Copies the state as it is now. Changes wait only until the copy has begun.
    ///
    /// # Errors
    /// Too many backups are under way; another process has the state; the store or the disk fails.
    pub async fn backup(self: &Arc<Self>) -> Result<Backup, ControlError> {
        let busy = ControlError::Busy { what: "backups", found: BACKUPS_MAX };
        let place = Arc::clone(&self.backups).try_acquire_owned().map_err(|_| busy)?;
        let blobs = Arc::clone(&self.blobs);
        let scratch = tokio::task::spawn_blocking(move || blobs.scratch()).await;
        let scratch = scratch.map_err(|_| ControlError::Interrupted)??;

        let writer = self.writer.lock().await;
        if writer.handed_over {
            return Err(ControlError::HandedOver);
        }
        let state = self.state();
        let mut components: Vec<_> = writer.components.all().collect();
        components.sort_unstable_by_key(|digest| digest.0);
        // Pinned before a later change can make one of them unused.
        let pins = components.iter().map(|&digest| self.blobs.pin(digest)).collect();
        let (began, mut begins) = oneshot::channel();
        let copy = self.store.copy(scratch.path().to_owned(), move || {
            // Nobody waits for the beginning of a copy that is already made.
            let _ = began.send(());
        });
        let mut copy = std::pin::pin!(copy);
        let copied = tokio::select! {
            copied = &mut copy => Some(copied),
            // Without a beginning, the copy has failed and says why.
            _ = &mut begins => None,
        };
        drop(writer);
        match copied {
            Some(copied) => copied?,
            None => copy.await?,
        }

        let path = scratch.path().join(EmbeddedStore::FILE);
        let state_file = tokio::task::spawn_blocking(move || {
            let file = File::open(path);
            drop(scratch);
            file
        });
        let state_file = state_file.await.map_err(|_| ControlError::Interrupted)??;
        let (ended, ends) = oneshot::channel::<()>();
        let (control, backed_up) = (Arc::downgrade(self), components.clone());
        tokio::spawn(async move {
            // Its sender is only ever dropped.
            let _ = ends.await;
            drop(place);
            if let Some(control) = control.upgrade() {
                control.collect_unused(backed_up).await;
            }
        });
        let components = components.into_iter().map(|digest| (digest, self.blobs.path(digest)));
        Ok(Backup {
            revision: state.revision(),
            functions: state.functions().count() as u64,
            state: state_file,
            components: components.collect(),
            _pins: pins,
            _ended: ended,
        })
    }

    /// Removes those of `components` that would have been removed but for a pin. What was uploaded again
    /// since then may be about to be deployed, and stays.
    async fn collect_unused(&self, components: Vec<Digest>) {
        let writer = self.writer.lock().await;
        if writer.handed_over {
            return;
        }
        let unused: HashSet<_> =
            components.into_iter().filter(|&digest| !writer.components.contains(digest)).collect();
        if let Err(error) = self.blobs.collect_spared(unused).await {
            tracing::warn!(%error, "unused components were not removed");
        }
    }
}
