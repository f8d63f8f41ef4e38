//! A node's part in a cluster: owns the connection, and gives everything that is done over it.

mod options;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use wasm_fn_core::Digest;
use wasm_fn_queue::BrokerError;
use wasm_fn_store::{EmbeddedInbox, EmbeddedStore, InboxLimits, StoreError};

pub use self::options::{ClusterOptions, GetTls, LEASE_DEFAULT, LEASE_MAX, LEASE_MIN, LOG_KEEP_DEFAULT};
use crate::{
    Chain, ClusterBuckets, ClusterError, ClusterRecord, Collected, Collection, ComponentError, Components,
    Contact, Leases, Messages, Questions, Replica, ReplicatedStore, StreamHealth,
    components::Bucket,
    events::{SharedInbox, SharedInboxOptions},
    health,
    leases::{Keeper, Place},
    link::{Connector, Link, LinkOptions, Nats},
    names::Names,
    snapshots::{SnapshotError, Snapshots},
    store::StoreOptions,
};

/// For how long a node that leaves waits for the broker.
const LEAVE_WAIT: Duration = Duration::from_secs(3);

/// A node's part in a cluster. Everything ends when the last clone is dropped.
#[derive(Clone, Debug)]
pub struct Cluster {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    options: Arc<ClusterOptions>,
    names: Names,
    instance: String,
    link: Link,
    contact: Contact,
    leases: Leases,
    place: watch::Receiver<Place>,
    messages: Messages,
    questions: Questions,
    components: Components,
    stop: CancellationToken,
    _end: DropGuard,
}

impl Cluster {
    /// Takes part, on the current tokio runtime, as soon as the broker is there, and again whenever it is.
    ///
    /// # Errors
    /// An option has no sense.
    pub fn start(options: ClusterOptions) -> Result<Self, ClusterError> {
        Self::start_over(options, Arc::new(Nats))
    }

    /// The same over connections that `connector` makes.
    ///
    /// # Errors
    /// An option has no sense.
    pub fn start_over(options: ClusterOptions, connector: Arc<dyn Connector>) -> Result<Self, ClusterError> {
        if !(LEASE_MIN..=LEASE_MAX).contains(&options.lease) {
            let found = humantime::format_duration(options.lease).to_string();
            return Err(ClusterError::Option { option: "lease", found, expected: "from 1s to 60s" });
        }
        if options.brokers.is_empty() {
            let (found, expected) = ("0".to_owned(), "at least 1");
            return Err(ClusterError::Option { option: "number of brokers", found, expected });
        }
        let (names, options) = (Names::new(&options.cluster), Arc::new(options));
        let (stop, lease) = (CancellationToken::new(), options.lease);
        let instance = format!("{:032x}", rand::random::<u128>());
        let link = LinkOptions { options: Arc::clone(&options), names: names.clone(), connector };
        let link = Link::start(link, stop.clone());
        let contact = Contact::start(lease, stop.clone());
        let leases = Leases::start(stop.clone());
        let keeper = Keeper {
            leases: leases.clone(),
            link: link.clone(),
            contact: contact.clone(),
            names: names.clone(),
            instance: instance.clone(),
            name: options.node.to_string(),
            lease,
        };
        tokio::spawn(keeper.run(stop.clone()));
        let messages = Messages::start(
            link.clone(),
            names.clone(),
            options.node.clone(),
            instance.clone(),
            options.program.clone(),
            stop.clone(),
        );
        let questions = Questions::start(link.clone(), names.clone(), instance.clone(), stop.clone());
        let components = Components::new(link.clone(), Bucket::new(&names));
        let place = leases.place();
        let _end = stop.clone().drop_guard();
        let inner = Inner {
            options,
            names,
            instance,
            link,
            contact,
            leases,
            place,
            messages,
            questions,
            components,
            stop,
            _end,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Waits until the node has its place in the cluster. While the broker cannot be reached it goes on
    /// waiting: a node serves from its replica meanwhile.
    ///
    /// # Errors
    /// What keeps the node out until somebody changes something: the broker's or the cluster's settings,
    /// another cluster, another node of this name.
    pub async fn joined(&self) -> Result<ClusterRecord, ClusterError> {
        let session = self.inner.link.settled().await?;
        let mut place = self.inner.place.clone();
        let found = place.wait_for(|place| *place != Place::Unknown).await;
        match found.map(|place| *place) {
            Ok(Place::NameTaken) => Err(ClusterError::NameTaken { node: self.inner.options.node.clone() }),
            _ => Ok(session.record().clone()),
        }
    }

    /// What keeps the node out at present, if anything does.
    pub fn fault(&self) -> Option<ClusterError> {
        if *self.inner.place.borrow() == Place::NameTaken {
            return Some(ClusterError::NameTaken { node: self.inner.options.node.clone() });
        }
        self.inner.link.fault()
    }

    /// How the broker's servers are, for each of the cluster's streams, the log first.
    ///
    /// # Errors
    /// There is no connection, or no answer.
    pub async fn health(&self) -> Result<Vec<StreamHealth>, ClusterError> {
        let link = &self.inner.link;
        let fault = || link.fault().unwrap_or(ClusterError::Broker(BrokerError::Disconnected));
        health::read(&link.session().ok_or_else(fault)?, &self.inner.names).await
    }

    /// What tells this process from others of the same node.
    pub fn instance(&self) -> &str {
        &self.inner.instance
    }

    /// Whether the node is in touch with the cluster. It is never without a [store](Self::store), since
    /// nobody knows how far it is.
    pub fn contact(&self) -> &Contact {
        &self.inner.contact
    }

    /// The leases.
    pub fn leases(&self) -> &Leases {
        &self.inner.leases
    }

    /// Messages between nodes.
    pub fn messages(&self) -> &Messages {
        &self.inner.messages
    }

    /// Questions between nodes.
    pub fn questions(&self) -> &Questions {
        &self.inner.questions
    }

    /// The components.
    pub fn components(&self) -> &Components {
        &self.inner.components
    }

    /// What functions keep, for a node: it uses them only while it is in touch.
    pub fn buckets(&self) -> ClusterBuckets {
        let Inner { link, names, contact, .. } = &*self.inner;
        ClusterBuckets::new(link.clone(), names, Some(contact.clone()))
    }

    /// What functions keep, for who has no [store](Self::store), so that nothing tells whether it is in
    /// touch.
    pub fn buckets_without_state(&self) -> ClusterBuckets {
        ClusterBuckets::new(self.inner.link.clone(), &self.inner.names, None)
    }

    /// The store whose commits are the cluster's, with `replica` as this node's copy of it. It
    /// takes its part of the events if it `takes` any. A node has one.
    ///
    /// # Errors
    /// The replica cannot be read.
    pub async fn store<R: Replica>(
        &self,
        replica: R,
        chain: Arc<dyn Chain>,
    ) -> Result<ReplicatedStore<R>, StoreError> {
        let Inner { link, contact, leases, messages, names, options, stop, .. } = &*self.inner;
        ReplicatedStore::start(StoreOptions {
            replica,
            chain,
            link: link.clone(),
            contact: contact.clone(),
            messages: messages.clone(),
            leases: leases.clone(),
            snapshots: self.snapshots(),
            names: names.clone(),
            lease: options.lease,
            log_keep: options.log_keep,
            stop: stop.child_token(),
        })
        .await
    }

    /// The inbox that all nodes have in common, with `replica` as this node's copy of it. The node takes its
    /// part of the events if it `takes` any. A node has one inbox.
    ///
    /// # Errors
    /// The replica cannot be read.
    pub async fn inbox(&self, replica: InboxReplica, takes: bool) -> Result<SharedInbox, StoreError> {
        let InboxReplica { inbox: replica, folder, limits } = replica;
        let Inner { link, contact, leases, components, names, options, instance, stop, .. } = &*self.inner;
        SharedInbox::start(SharedInboxOptions {
            replica,
            folder,
            limits,
            takes,
            process: instance.clone(),
            link: link.clone(),
            contact: contact.clone(),
            leases: leases.clone(),
            components: components.clone(),
            names: names.clone(),
            lease: options.lease,
            stop: stop.child_token(),
        })
        .await
    }

    /// Gives a node without state the newest snapshot of the cluster's, or what the cluster began with: a
    /// store in `data_dir`, for an [`EmbeddedStore`] to open, whose records follow each other. Nothing is
    /// done where there is one, or where the cluster began with nothing and has no snapshot yet.
    ///
    /// # Errors
    /// The broker cannot be used, or does not have it; it is not what it should be; the directory cannot be
    /// written.
    pub async fn restore(&self, data_dir: &Path, chain: &dyn Chain) -> Result<(), RestoreError> {
        let session = self.inner.link.settled().await?;
        let path = data_dir.join(EmbeddedStore::FILE);
        if tokio::fs::try_exists(&path).await.map_err(|source| ComponentError::File { path, source })? {
            return Ok(());
        }
        let snapshots = self.snapshots();
        let newest = snapshots.newest(&session).await?.map(|newest| newest.base);
        let Some(base) = newest.or_else(|| session.record().base.clone()) else { return Ok(()) };
        // The file has its name only when it is whole.
        let received = snapshots.receive(&session, &base, data_dir).await?;
        received.verify(chain, None).await?;
        Ok(received.install(data_dir).await?)
    }

    /// Deletes the components that were not `needed`, nor put, for `grace`, as far as `collection` has seen.
    /// Snapshots are needed, too, and whoever asks need not know them.
    ///
    /// # Errors
    /// The broker does not do it. What was deleted is deleted.
    pub async fn collect(
        &self,
        collection: &mut Collection,
        mut needed: HashSet<Digest>,
        grace: Duration,
    ) -> Result<Collected, RestoreError> {
        let session = self.inner.link.settled().await?;
        let newest = self.snapshots().newest(&session).await?.map(|newest| newest.base);
        for base in newest.iter().chain(&session.record().base) {
            needed.insert(base.snapshot()?);
        }
        Ok(self.inner.components.collect(collection, &needed, grace).await?)
    }

    #[cfg(test)]
    pub(crate) fn link(&self) -> &Link {
        &self.inner.link
    }

    fn snapshots(&self) -> Snapshots {
        Snapshots::new(Bucket::new(&self.inner.names))
    }

    /// Begins to leave for good: others decide in its place, and do not wait for it. They get its triggers as
    /// soon as they have nothing in flight here.
    pub fn retire(&self) {
        self.inner.messages.set_quiet(true);
        self.inner.leases.retire();
    }

    /// Leaves the cluster for a while, for another process of the same node to take its place: gives back all
    /// leases, and its name. The [store](Self::store) is released apart from that.
    pub async fn leave(&self) {
        self.inner.messages.set_quiet(true);
        self.inner.leases.set_member(false, LEAVE_WAIT).await;
        if let Some(session) = self.inner.link.session() {
            let _ = timeout(LEAVE_WAIT, session.flush()).await;
        }
    }

    /// Takes its place again after [`leave`](Self::leave).
    pub async fn rejoin(&self) {
        self.inner.messages.set_quiet(false);
        self.inner.leases.set_member(true, LEAVE_WAIT).await;
    }
}

/// A node's copy of the inbox that all nodes have in common.
#[derive(Clone)]
pub struct InboxReplica {
    /// The copy.
    pub inbox: EmbeddedInbox,
    /// The folder that it is in.
    pub folder: PathBuf,
    /// The limits that it was opened with: the same on every node.
    pub limits: InboxLimits,
}

/// Why what is kept beside the log cannot be had or cared for.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The cluster cannot be used.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Its state cannot be had.
    #[error("{0}")]
    State(String),
}

impl From<ComponentError> for RestoreError {
    fn from(error: ComponentError) -> Self {
        Self::State(error.to_string())
    }
}

impl From<SnapshotError> for RestoreError {
    fn from(error: SnapshotError) -> Self {
        Self::State(error.to_string())
    }
}
