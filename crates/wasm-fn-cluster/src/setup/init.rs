//! Makes a cluster.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_nats::jetstream::ErrorCode;
use serde_json::Value;
use wasm_fn_core::Digest;
use wasm_fn_queue::BrokerError;
use wasm_fn_store::Record;

use super::{
    Base, ClusterRecord, Monitors, PATIENCE, Syncs, record,
    settings::{Spec, components, coordination, differing, events, log, values},
    syncs,
};
use crate::{
    ClusterError, ClusterOptions,
    components::Bucket,
    events::begin_with,
    link::{Api, Connector, EXPECTED_LAST_OF_SUBJECT, Nats, StreamInfo, is_overtaken},
    names::Names,
};

/// Which numbers of replicas have a majority worth having.
const REPLICAS: [u8; 3] = [1, 3, 5];

/// How a cluster is made.
#[derive(Clone, Debug)]
pub struct InitOptions {
    /// How many servers keep each message: 1, 3 or 5.
    pub replicas: u8,
    /// The fingerprint of the key that its nodes are to have.
    pub key: Option<String>,
    /// What the log goes on from; `None` to begin with nothing.
    pub base: Option<BaseSource>,
    /// The inbox to begin with; `None` to begin with an empty one.
    pub inbox: Option<InboxSource>,
    /// Bytes of components at most; `None` for what the broker has room for.
    pub components_bytes_max: Option<u64>,
    /// Where the broker says how it writes to its disks.
    pub monitors: Monitors,
}

/// A state to begin from.
#[derive(Clone, Debug)]
pub struct BaseSource {
    /// The last record of the state.
    pub record: Record,
    /// A file with a store at that record's revision.
    pub path: PathBuf,
    /// The SHA-256 of the file.
    pub digest: Digest,
}

/// An inbox to begin with.
#[derive(Clone, Debug)]
pub struct InboxSource {
    /// A file with an inbox that is of no log.
    pub path: PathBuf,
    /// The SHA-256 of the file.
    pub digest: Digest,
    /// The size of the file.
    pub bytes: u64,
}

/// What [`init`] found or made.
#[derive(Clone, Debug)]
pub struct InitReport {
    /// Whether the cluster was there.
    pub made: Made,
    /// What the cluster is.
    pub record: ClusterRecord,
    /// How the servers write to their disks, as far as they say. Where this is empty it is not known whether
    /// they lose what they acknowledged.
    pub syncs: Vec<Syncs>,
}

/// Whether a cluster was there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It was not, and now is.
    New,
    /// It was, as it is asked for.
    There,
}

/// Makes the cluster of `options` on its broker, unless it is there as `wanted`.
///
/// # Errors
/// The broker cannot be used or says that it syncs rarely; something is there that differs, which is named.
pub async fn init(options: &ClusterOptions, wanted: &InitOptions) -> Result<InitReport, ClusterError> {
    let syncs = syncs(options, &wanted.monitors).await?.syncs;
    if let Some(rare) = syncs.iter().find_map(Syncs::refusal) {
        return Err(rare);
    }
    let (made, record) = init_over(&Nats, options, wanted).await?;
    Ok(InitReport { made, record, syncs })
}

/// Makes the cluster of `options` on a broker that `connector` knows, unless it is there as `wanted`. Does
/// not ask how the broker writes.
///
/// # Errors
/// The broker cannot be used; something is there that differs, which is named.
pub async fn init_over(
    connector: &dyn Connector,
    options: &ClusterOptions,
    wanted: &InitOptions,
) -> Result<(Made, ClusterRecord), ClusterError> {
    if !REPLICAS.contains(&wanted.replicas) {
        let (found, expected) = (wanted.replicas.to_string(), "1, 3 or 5");
        return Err(ClusterError::Option { option: "number of replicas", found, expected });
    }
    let connection = connector.connect(options).await?;
    let api = Api::new(Arc::clone(&connection));
    let names = Names::new(&options.cluster);
    let made = make(&api, &names, options, wanted);
    tokio::select! {
        biased;
        // What is not permitted is told here, and is never answered.
        error = connection.lost() => Err(ClusterError::Broker(error)),
        made = made => made,
    }
}

async fn make(
    api: &Api,
    names: &Names,
    options: &ClusterOptions,
    wanted: &InitOptions,
) -> Result<(Made, ClusterRecord), ClusterError> {
    if let Some(there) = record::read(api, names, PATIENCE).await? {
        let there = same(there, options, wanted)?;
        // An earlier program made clusters without these.
        for spec in [values(names, there.replicas), events(names, there.replicas)] {
            make_stream(api, &spec).await?;
        }
        return Ok((Made::There, there));
    }
    let InitOptions { replicas, key, base, inbox, components_bytes_max, .. } = wanted;
    let base_revision = base.as_ref().map_or(0, |base| base.record.revision.0);
    let first = base.as_ref().map(|_| base_revision + 1);
    let info = make_stream(api, &log(names, *replicas, first)).await?;
    if info.state.last != base_revision {
        return Err(ClusterError::Setting {
            stream: names.log.to_string(),
            setting: "last message".to_owned(),
            found: info.state.last.to_string(),
            expected: format!("{base_revision}, since there is no record of a cluster with this log"),
        });
    }
    make_stream(api, &components(names, *replicas, *components_bytes_max)).await?;
    make_stream(api, &values(names, *replicas)).await?;
    make_stream(api, &events(names, *replicas)).await?;
    make_stream(api, &coordination(names, *replicas)).await?;
    if let Some(InboxSource { path, digest, bytes }) = inbox {
        put_file(api, names, "events", *digest, path).await?;
        begin_with(api, names, *digest, *bytes).await?;
    }
    let base = match base {
        Some(BaseSource { record, path, digest }) => {
            put_file(api, names, "snapshot of the state", *digest, path).await?;
            Some(Base::new(record, *digest))
        }
        None => None,
    };
    let record = ClusterRecord::new(&options.cluster, *replicas, key.clone(), base);
    let text = serde_json::to_vec(&record).map_err(|error| ClusterError::Malformed {
        what: "record of the cluster",
        reason: error.to_string(),
    })?;
    let headers = [(EXPECTED_LAST_OF_SUBJECT, "0".to_owned())];
    match api.put(&names.record, &headers, text.into(), PATIENCE).await? {
        Ok(_) => Ok((Made::New, record)),
        // Somebody else made it at the same time.
        Err(error) if is_overtaken(&error) => {
            let there = record::read(api, names, PATIENCE).await?;
            let there = there.ok_or(ClusterError::Missing { cluster: options.cluster.clone() })?;
            same(there, options, wanted).map(|there| (Made::There, there))
        }
        Err(error) => {
            Err(ClusterError::Refused { what: "record of the cluster".to_owned(), reason: error.to_string() })
        }
    }
}

/// Puts a file that the cluster begins with.
async fn put_file(
    api: &Api,
    names: &Names,
    what: &str,
    digest: Digest,
    path: &Path,
) -> Result<(), ClusterError> {
    let put = Bucket::new(names).put(api, digest, path).await;
    put.map_err(|error| ClusterError::Refused { what: what.to_owned(), reason: error.to_string() })
}

/// The cluster that is there, if it is as `wanted`.
fn same(
    there: ClusterRecord,
    options: &ClusterOptions,
    wanted: &InitOptions,
) -> Result<ClusterRecord, ClusterError> {
    there.check(options)?;
    let differs = |setting, found: String, expected: String| ClusterError::Differs {
        cluster: options.cluster.clone(),
        setting,
        found,
        expected,
    };
    if there.replicas != wanted.replicas {
        return Err(differs("replicas", there.replicas.to_string(), wanted.replicas.to_string()));
    }
    let base = wanted.base.as_ref().map_or(0, |base| base.record.revision.0);
    if there.base_revision().0 != base {
        return Err(differs("first revision", there.base_revision().to_string(), base.to_string()));
    }
    Ok(there)
}

/// Makes the stream of `spec`, unless it is there with the same settings.
async fn make_stream(api: &Api, spec: &Spec) -> Result<StreamInfo, ClusterError> {
    let stream = spec.stream.as_ref();
    if let Some(info) = api.stream(stream, PATIENCE).await? {
        return differing(spec, &info.config).map_or(Ok(info), Err);
    }
    let mut config = spec.config.clone();
    config.extend(spec.initial.clone());
    config.insert("name".to_owned(), Value::from(stream));
    let made = api.ask(&format!("STREAM.CREATE.{stream}"), &Value::Object(config), PATIENCE).await?;
    let info: StreamInfo = made.map_err(|error: async_nats::jetstream::Error| match error.error_code() {
        ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT => {
            ClusterError::Broker(BrokerError::NoJetStream)
        }
        _ => ClusterError::Refused { what: format!("stream {stream}"), reason: error.to_string() },
    })?;
    differing(spec, &info.config).map_or(Ok(info), Err)
}
