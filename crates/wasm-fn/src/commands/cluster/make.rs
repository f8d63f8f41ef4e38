//! Makes a cluster: empty, or from the state of a node that was alone.

use std::path::{Path, PathBuf};

use serde::Serialize;
use wasm_fn_cluster::{
    BaseSource, Cluster, ClusterError, ClusterOptions, InboxSource, InitOptions, InitReport, Made, Monitors,
    SyncSetting, init as make,
};
use wasm_fn_control::{stored_state, verify_journal};
use wasm_fn_core::NodeName;
use wasm_fn_store::{
    Blobs, EmbeddedBuckets, EmbeddedInbox, EmbeddedStore, Inbox as _, InboxLimits, Store as _,
};

use super::{super::DONE, values};
use crate::{
    args,
    config::Membership,
    fault::Fault,
    node::{ClusterKey, cluster_options, sha256_of},
    output::Output,
};

/// What was made.
#[derive(Debug, Serialize)]
struct Ready {
    cluster: String,
    /// `new`, or `there` if it was made before.
    made: &'static str,
    replicas: u8,
    /// The revision that it begins with.
    revision: u64,
    /// The file with the key.
    key: PathBuf,
    /// How each server of the broker says that it writes to its disk.
    servers: Vec<Server>,
}

#[derive(Debug, Serialize)]
struct Server {
    name: String,
    sync_interval: String,
}

/// The name under which a command connects.
fn client_name() -> NodeName {
    "wasm-fn-cli".parse().expect("it is a name")
}

pub(super) async fn init(args: args::ClusterInit, output: Output) -> Result<u8, Fault> {
    let error = "the cluster was not made";
    let membership = membership(&args, error)?;
    let key = prepare_key(&membership, None, error)?;
    let report = made(&args, &membership, &key, (None, None), error).await?;
    key.keep(&report, error)?;
    finish(&membership, &report, output)
}

pub(super) async fn import(args: args::ClusterImport, output: Output) -> Result<u8, Fault> {
    let args::ClusterImport { init: args, from } = args;
    let error = "the state was not imported";
    let membership = membership(&args, error)?;
    let failed = |cause: String| Fault::new("import", error, cause);
    if !from.join(EmbeddedStore::FILE).exists() {
        return Err(failed(format!(
            "{} holds no state, expected the data directory of a node",
            from.display()
        )));
    }
    let store = EmbeddedStore::open(&from).map_err(|cause| failed(cause.to_string()))?;
    let head = verify_journal(&store, None).await.map_err(|cause| failed(cause.to_string()))?;
    let state = stored_state(&store).await.map_err(|cause| failed(cause.to_string()))?;
    let key = prepare_key(&membership, Some(&from), error)?;
    // The copy is beside the original, where there is room for it.
    let copy = tempfile::tempdir_in(&from).map_err(|cause| failed(cause.to_string()))?;
    let last = store.load().await.map_err(|cause| failed(cause.to_string()))?.last;
    let base = match last {
        None => None,
        Some(record) => {
            store.copy(copy.path().to_owned(), || {}).await.map_err(|cause| failed(cause.to_string()))?;
            let path = copy.path().join(EmbeddedStore::FILE);
            let digest = sha256_of(&path).map_err(|cause| failed(cause.to_string()))?;
            Some(BaseSource { record, path, digest })
        }
    };
    let inbox = inbox_of(&from, copy.path()).await.map_err(|cause| failed(format!("events: {cause:#}")))?;
    let report = made(&args, &membership, &key, (base, inbox), error).await?;
    if report.record.base_revision() != head.revision {
        let cause = format!("the cluster is there, and does not begin with revision {}", head.revision);
        return Err(failed(cause).help("give the new cluster another name"));
    }
    key.keep(&report, error)?;
    let versions = state.functions().flat_map(|(_, function)| function.versions.values());
    let components: std::collections::BTreeSet<_> = versions.map(|version| version.build.digest).collect();
    let options =
        cluster_options(&membership, client_name(), None).map_err(|cause| failed(cause.to_string()))?;
    let cluster = Cluster::start(options).map_err(|cause| failed(cause.to_string()))?;
    for component in components {
        let path = from.join(Blobs::FOLDER).join(component.to_string());
        let put = cluster.components().put(component, &path).await;
        put.map_err(|cause| failed(format!("component {component}: {cause}")))?;
    }
    if from.join(EmbeddedBuckets::FILE).exists() {
        let dir = from.clone();
        let buckets = tokio::task::spawn_blocking(move || EmbeddedBuckets::open(&dir)).await;
        let buckets = buckets.expect("opening does not panic").map_err(|cause| failed(cause.to_string()))?;
        let keys = values::copy(&buckets, &cluster.buckets_without_state()).await;
        let keys = keys.map_err(|cause| failed(format!("buckets: {cause}")))?;
        output.talk(&format!("{keys} keys of buckets are in the cluster"));
    }
    finish(&membership, &report, output)
}

/// The events of the node whose data directory is `from`, as a file in `folder`.
async fn inbox_of(from: &Path, folder: &Path) -> anyhow::Result<Option<InboxSource>> {
    if !from.join(EmbeddedInbox::FILE).exists() {
        return Ok(None);
    }
    let open = |folder: &Path| {
        let folder = folder.to_owned();
        tokio::task::spawn_blocking(move || EmbeddedInbox::open(&folder, InboxLimits::STANDARD))
    };
    let inbox = open(from).await??;
    inbox.copy(folder.to_owned(), || {}).await?;
    inbox.release().await;
    let copy = open(folder).await??;
    // It may be of a node of another cluster.
    copy.leave_log().await?;
    copy.release().await;
    let path = folder.join(EmbeddedInbox::FILE);
    let (digest, bytes) = (sha256_of(&path)?, path.metadata()?.len());
    Ok(Some(InboxSource { path, digest, bytes }))
}

fn membership(args: &args::ClusterInit, error: &'static str) -> Result<Membership, Fault> {
    let resolved = Membership::resolve(args.membership.clone(), Default::default(), &args.data_dir);
    let resolved = resolved.map_err(|cause| Fault::new("invalid-config", error, cause))?;
    resolved.ok_or_else(|| {
        Fault::new("invalid-config", error, "found no broker, expected --cluster nats://HOST:PORT")
    })
}

/// A key that has its file only once the cluster is there.
enum Key {
    There(ClusterKey),
    New { key: ClusterKey, path: PathBuf },
}

impl Key {
    /// Writes the file, unless the cluster was there before: then its nodes have another key.
    fn keep(self, report: &InitReport, error: &'static str) -> Result<(), Fault> {
        match self {
            Self::There(_) => Ok(()),
            Self::New { path, .. } if report.made == Made::There => {
                let cause = format!("the cluster is there, and {} is not, expected its key", path.display());
                let help =
                    "copy the key from where the cluster was made or from a node, or choose another name";
                Err(Fault::new("cluster-key", error, cause).help(help))
            }
            Self::New { key, path } => {
                key.write(&path).map_err(|cause| Fault::new("cluster-key", error, cause))
            }
        }
    }
}

/// The key that is there, else that of the node whose data directory is `from`, else a new one.
fn prepare_key(membership: &Membership, from: Option<&Path>, error: &'static str) -> Result<Key, Fault> {
    let path = membership.key.clone();
    let failed = |cause| Fault::new("cluster-key", error, cause);
    if path.exists() {
        let there = ClusterKey::read(&path).map_err(failed)?;
        let is_same = from.is_none_or(|from| ClusterKey::of_node(from).is_ok_and(|own| own == there));
        if !is_same {
            let cause = format!(
                "{} holds another key than the node, expected no file or the same key",
                path.display()
            );
            return Err(Fault::new("cluster-key", error, cause));
        }
        return Ok(Key::There(there));
    }
    let key = match from {
        Some(from) => ClusterKey::of_node(from),
        None => ClusterKey::make(
            path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")),
        ),
    };
    Ok(Key::New { key: key.map_err(failed)?, path })
}

async fn made(
    args: &args::ClusterInit,
    membership: &Membership,
    key: &Key,
    (base, inbox): (Option<BaseSource>, Option<InboxSource>),
    error: &'static str,
) -> Result<InitReport, Fault> {
    let options = cluster_options(membership, client_name(), None);
    let options = options.map_err(|cause| Fault::caused("cluster", error, &cause))?;
    let (known, fingerprint) = match key {
        Key::There(key) => (Some(key.fingerprint()), key.fingerprint()),
        // A cluster that is there has another, which is said in the end.
        Key::New { key, .. } => (None, key.fingerprint()),
    };
    let options = ClusterOptions { key: known, ..options };
    let monitors = Monitors { ports: args.monitor.clone(), system: None };
    if !args.accept_unknown_sync {
        let asked =
            wasm_fn_cluster::syncs(&options, &monitors).await.map_err(|cause| refused(cause, error))?;
        if let Some(cause) = asked.refusal() {
            return Err(refused(cause, error));
        }
    }
    let (replicas, key) = (args.replicas, Some(fingerprint));
    let wanted = InitOptions { replicas, key, base, inbox, components_bytes_max: None, monitors };
    make(&options, &wanted).await.map_err(|cause| refused(cause, error))
}

fn refused(cause: ClusterError, error: &'static str) -> Fault {
    let help = match &cause {
        ClusterError::SyncInterval { .. } => {
            Some("set `sync_interval: always` in the `jetstream` block of each server")
        }
        ClusterError::Unasked { .. } => Some(
            "name the monitoring ports of all its servers with `--monitor HOST:PORT`, or accept it with \
             `--accept-unknown-sync`",
        ),
        _ => None,
    };
    let fault = Fault::new("cluster", error, cause);
    match help {
        Some(help) => fault.help(help),
        None => fault,
    }
}

fn setting(setting: SyncSetting) -> String {
    match setting {
        SyncSetting::Always => "always".to_owned(),
        SyncSetting::Every(time) => humantime::format_duration(time).to_string(),
    }
}

fn finish(membership: &Membership, report: &InitReport, output: Output) -> Result<u8, Fault> {
    let ready = Ready {
        cluster: membership.name.to_string(),
        made: match report.made {
            Made::New => "new",
            Made::There => "there",
        },
        replicas: report.record.replicas,
        revision: report.record.base_revision().0,
        key: membership.key.clone(),
        servers: report
            .syncs
            .iter()
            .map(|sync| Server { name: sync.server.clone(), sync_interval: setting(sync.setting) })
            .collect(),
    };
    output.data(&ready, |ready| {
        let Ready { cluster, made, replicas, revision, key, .. } = ready;
        format!("{cluster}: {made}, replicas {replicas}, revision {revision}, key {}", key.display())
    })?;
    output.talk("copy the key to each node; whoever has it can make tokens and read secrets");
    let brokers: Vec<_> = membership.brokers.iter().map(|broker| broker.as_str()).collect();
    let name = &membership.name;
    let key = membership.key.display();
    let serve =
        format!("wasm-fn serve --cluster {} --cluster-name {name} --cluster-key {key}", brokers.join(","));
    output.next(&[(serve, "start a node of it")]);
    Ok(DONE)
}
