//! A database file that this process may have to wait for, because another one still has it open.

use std::{sync::Arc, thread, time::Duration};

use tokio::sync::watch;

use crate::{
    StoreError,
    embedded::group_commit::{DatabaseFile, GroupCommit},
};

/// How often to look whether the file is free. The other process cannot tell.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The writer of a file, once it is open. Clones wait for the same file.
#[derive(Clone)]
pub(super) struct Opening {
    opened: watch::Receiver<Option<Opened>>,
}

type Opened = Result<GroupCommit, Arc<StoreError>>;

impl Opening {
    /// A file that is open.
    pub(super) fn opened(group: GroupCommit) -> Self {
        let (_, opened) = watch::channel(Some(Ok(group)));
        Self { opened }
    }

    /// A file that `open` opens once it is in use no more, if that is within `patience`.
    pub(super) fn once_free(
        file: DatabaseFile,
        patience: Duration,
        open: fn(DatabaseFile) -> Result<GroupCommit, StoreError>,
    ) -> Self {
        let (sender, opened) = watch::channel(None);
        let looks = patience.as_millis() / LOOK_EVERY.as_millis();
        let look = move || {
            for looked in 0..=looks {
                match open(file.clone()) {
                    // Nobody waits for a file that nobody uses any more.
                    Err(StoreError::InUse(_)) if looked < looks && !sender.is_closed() => {
                        thread::sleep(LOOK_EVERY);
                    }
                    opened => {
                        sender.send_replace(Some(opened.map_err(Arc::new)));
                        return;
                    }
                }
            }
        };
        // If there is no thread for it, the sender is gone, which operations notice.
        if let Err(error) = thread::Builder::new().name("store-opener".to_owned()).spawn(look) {
            tracing::error!(%error, "buckets are not opened");
        }
        Self { opened }
    }

    /// Waits until the file is open.
    ///
    /// # Errors
    /// It could not be opened.
    pub(super) async fn wait(&self) -> Result<GroupCommit, StoreError> {
        if let Some(opened) = &*self.opened.borrow() {
            return Self::of(opened);
        }
        let mut opened = self.opened.clone();
        match opened.wait_for(Option::is_some).await {
            Ok(opened) => opened.as_ref().map_or_else(|| Err(ended()), Self::of),
            Err(_) => Err(ended()),
        }
    }

    fn of(opened: &Opened) -> Result<GroupCommit, StoreError> {
        opened.clone().map_err(|error| error.again(super::EmbeddedBuckets::FILE.as_ref()))
    }
}

/// The error if nothing opens the file.
fn ended() -> StoreError {
    let reason = "nothing opens it".to_owned();
    StoreError::Database { path: super::EmbeddedBuckets::FILE.into(), reason }
}
