//! Handing the state over to another process, while this one goes on serving its table.

use std::sync::Arc;

use super::{Control, OpenError, Published, Writer, components::ComponentUses, publish_all};
use wasm_fn_store::Store;

use crate::{
    documents::{self, LoadedState},
    host::Host,
    peers::Exchange,
};

impl<H: Host, S: Store> Control<H, S> {
    /// Refuses further changes and closes the store, so that another process can open it.
    ///
    /// Waits for the change that is being committed. Later changes are refused with
    /// [`ControlError::HandedOver`](super::ControlError::HandedOver). The published table stays.
    pub async fn hand_over(&self) {
        let mut writer = self.writer.lock().await;
        writer.handed_over = true;
        self.keep_traps(&writer).await;
        self.store.release().await;
    }

    /// Takes the state back after the other process has ended, and publishes what it changed.
    ///
    /// # Errors
    /// If the store cannot be opened or read, or no table can be built from its state. Changes then stay
    /// refused, and the table stays as it is.
    pub async fn take_back(&self) -> Result<(), OpenError> {
        let mut writer = self.writer.lock().await;
        self.store.take_back().await?;
        let loaded = documents::load(&*self.store).await?;
        if loaded.head != self.journal_head().hash {
            tracing::warn!(revision = loaded.state.revision().0, "state was changed by the other process");
            self.publish_anew(&mut writer, loaded).await?;
        }
        writer.handed_over = false;
        // Rollouts stood still meanwhile.
        self.changed.notify_one();
        Ok(())
    }

    /// Publishes a state that somebody else has made of the one so far.
    pub(super) async fn publish_anew(
        &self,
        writer: &mut Writer<H>,
        loaded: LoadedState,
    ) -> Result<(), OpenError> {
        self.secrets.put(self.secrets.ring(loaded.state.data_keys())?);
        let published = publish_all(
            &self.host,
            &self.secrets,
            &self.changed,
            self.exchange.as_ref().map(Exchange::node),
            &loaded,
        )?;
        let Published { publisher, table } = published;
        self.analyses.store(publisher.analyses());
        writer.publisher = publisher;
        writer.components = ComponentUses::of(&loaded.state);
        self.table.store(Arc::new(table));
        self.show(Arc::new(loaded.state), loaded.head);
        self.keep_bases();
        Ok(())
    }
}
