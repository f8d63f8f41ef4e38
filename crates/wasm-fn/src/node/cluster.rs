//! The cluster that a node is in: its store, its peers, and what they tell each other about components.
//!
//! How a broker is spoken to is not known here, nor what a change or a gate is.

mod asking;
mod collecting;
mod inbox;
mod key;
mod peers;
mod sharing;
mod store;
mod view;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use sha2::{Digest as _, Sha256};
use wasm_fn_cluster::{Chain, Cluster, ClusterOptions, GetTls};
use wasm_fn_control::journal::Entry;
use wasm_fn_core::{Digest, NodeName};
use wasm_fn_queue::BrokerCredentials;
use wasm_fn_store::{EmbeddedStore, Record, Store as _};

use crate::{
    config::{ClusterPlace, Membership},
    tls,
};

pub(super) use asking::Asking;
pub(super) use collecting::collect;
pub(crate) use inbox::NodeInbox;
pub(crate) use key::ClusterKey;
pub(super) use peers::ClusterPeers;
pub(super) use sharing::{Sharing, complete};
pub(super) use store::NodeStore;
pub(super) use view::{present, source};

/// The file in the data directory that tells which cluster its state is of.
const ID_FILE: &str = "cluster.id";

/// How long a node that has a state waits for the broker before it serves what it has.
const BROKER_WAIT: Duration = Duration::from_secs(5);

/// How a broker is connected to, by `membership`, from the node called `node`. Blocks.
pub(crate) fn options(
    membership: &Membership,
    node: NodeName,
    cluster_id: Option<String>,
) -> anyhow::Result<ClusterOptions> {
    let creds = membership.creds.clone();
    Ok(ClusterOptions {
        brokers: membership.brokers.clone(),
        cluster: membership.name.clone(),
        node,
        program: env!("CARGO_PKG_VERSION").to_owned(),
        // The file is read each time, so that it can be replaced.
        credentials: Arc::new(move || creds.as_deref().map(credentials).transpose()),
        tls: certificates(membership)?,
        // Whoever starts the node says where its broker is.
        addresses: Arc::new(|_| Ok(())),
        lease: membership.lease,
        log_keep: membership.log_keep,
        cluster_id,
        key: None,
    })
}

/// The certificates of `membership`, read each time, so that they can be renewed. Blocks.
fn certificates(membership: &Membership) -> anyhow::Result<GetTls> {
    let (ca, certificate) = (membership.ca.clone(), membership.certificate.clone());
    let read = move || tls::public_or(ca.as_deref(), certificate.as_ref(), tls::system_time()).map(Arc::new);
    let latest = ArcSwap::new(read().context("TLS of the broker")?);
    Ok(Arc::new(move || {
        match read() {
            Ok(config) => latest.store(config),
            // They may be being written.
            Err(error) => {
                tracing::warn!(%error, "certificates for the broker were not read again, the earlier ones stay");
            }
        }
        latest.load_full()
    }))
}

fn credentials(file: &Path) -> Result<BrokerCredentials, String> {
    let failed = |reason: String| format!("credentials of the broker in {}: {reason}", file.display());
    let text = fs::read_to_string(file).map_err(|error| failed(error.to_string()))?;
    BrokerCredentials::parse(&text).map_err(|error| failed(error.to_string()))
}

/// Checks that one record of the journal follows another.
pub(crate) struct JournalChain;

impl Chain for JournalChain {
    fn verify(&self, previous: Option<&Record>, next: &Record) -> Result<(), String> {
        Entry::verify_next(previous.map(|record| &*record.text), &next.text)
            .map_err(|error| error.to_string())
    }
}

/// A node's part in a cluster, and its store.
pub(super) struct Joined {
    pub(super) cluster: Cluster,
    pub(super) store: NodeStore,
}

/// Takes the place of a node in its cluster, by its `key`, with the state in `data_dir`. A node that has no
/// state yet waits until it has that of the cluster.
///
/// # Errors
/// The state is of another cluster or of none; the cluster refuses the node.
pub(super) async fn join(place: &ClusterPlace, key: &ClusterKey, data_dir: &Path) -> anyhow::Result<Joined> {
    let id = read_id(data_dir)?;
    let is_new = !data_dir.join(EmbeddedStore::FILE).exists();
    let membership = &place.membership;
    let options = options(membership, place.node.clone(), id.clone())?;
    let cluster = Cluster::start(ClusterOptions { key: Some(key.fingerprint()), ..options })?;
    let name = &membership.name;
    if is_new {
        tracing::info!(cluster = %name, "waiting for the state of the cluster");
        cluster
            .restore(data_dir, &JournalChain)
            .await
            .with_context(|| format!("the state of cluster {name}"))?;
    }
    let dir = data_dir.to_owned();
    let replica = tokio::task::spawn_blocking(move || EmbeddedStore::open(&dir)).await??;
    if !is_new && id.is_none() {
        let revision = replica.load().await?.revision;
        anyhow::ensure!(
            revision.0 == 0,
            "{} has the state of a node that was alone, at revision {revision}, expected an empty directory or one \
             of cluster {name}: take its state into a new cluster with `wasm-fn cluster import`",
            data_dir.display(),
        );
    }
    let store = cluster.store(replica, Arc::new(JournalChain)).await?;
    let joined = async {
        let record = cluster.joined().await?;
        let mut contact = cluster.contact().watch();
        let caught_up = |state: &wasm_fn_cluster::ContactState| *state == wasm_fn_cluster::ContactState::In;
        // The sender is in the cluster.
        let _ = contact.wait_for(caught_up).await;
        Ok::<_, wasm_fn_cluster::ClusterError>(record)
    };
    let record = if is_new || id.is_none() {
        Some(joined.await?)
    } else {
        tokio::time::timeout(BROKER_WAIT, joined).await.ok().transpose()?
    };
    match record {
        Some(record) => {
            if id.is_none() {
                write_id(data_dir, &record.id).context("the id of the cluster")?;
            }
            tracing::info!(cluster = %name, node = %place.node, "node is in the cluster");
        }
        None => tracing::warn!(
            cluster = %name,
            "the broker is not there: the node serves the state that it has, and sends nobody to a canary"
        ),
    }
    Ok(Joined { store: NodeStore::Member(store, cluster.clone()), cluster })
}

/// The SHA-256 of the file at `path`. Blocks.
pub(crate) fn sha256_of(path: &Path) -> io::Result<Digest> {
    let (mut file, mut hasher, mut piece) = (File::open(path)?, Sha256::new(), vec![0; 64 << 10]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            bytes => hasher.update(&piece[..bytes]),
        }
    }
}

/// The id of the cluster that the state in `data_dir` is of.
fn read_id(data_dir: &Path) -> anyhow::Result<Option<String>> {
    let path = data_dir.join(ID_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some(text.trim().to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
    }
}

fn write_id(data_dir: &Path, id: &str) -> io::Result<()> {
    let draft: PathBuf = data_dir.join(format!("{ID_FILE}.part"));
    fs::write(&draft, format!("{id}\n"))?;
    fs::rename(&draft, data_dir.join(ID_FILE))?;
    File::open(data_dir)?.sync_all()
}
