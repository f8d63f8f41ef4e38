//! Makes a cluster on a broker, and checks that what is there is one.

mod init;
mod record;
mod settings;
mod syncs;

use std::time::Duration;

use wasm_fn_queue::BrokerError;

use self::settings::{Spec, coordination, differing, events, log};
pub use self::{
    init::{BaseSource, InboxSource, InitOptions, InitReport, Made, init, init_over},
    record::{Base, ClusterRecord},
    syncs::{AskedServers, Monitors, SyncSetting, Syncs, syncs},
};
use crate::{ClusterError, ClusterOptions, link::Api, names::Names};

/// The oldest server that takes batches of messages, which writes to buckets are.
pub const SERVER_VERSION_MIN: (u32, u32) = (2, 12);

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest time for each answer to a question that is asked again: a stream that has no leader answers
/// nothing.
const CHECK_PATIENCE: Duration = Duration::from_secs(1);

/// Checks that the broker has the cluster of `options`, made as it has to be. Returns its record. What is not
/// answered is asked again, without end.
pub(crate) async fn check(
    api: &Api,
    names: &Names,
    options: &ClusterOptions,
) -> Result<ClusterRecord, ClusterError> {
    loop {
        match check_once(api, names, options).await {
            Err(ClusterError::Broker(BrokerError::Silent)) => {}
            checked => return checked,
        }
    }
}

async fn check_once(
    api: &Api,
    names: &Names,
    options: &ClusterOptions,
) -> Result<ClusterRecord, ClusterError> {
    let cluster = &options.cluster;
    let missing = || ClusterError::Missing { cluster: cluster.clone() };
    let record = record::read(api, names, CHECK_PATIENCE).await?.ok_or_else(missing)?;
    record.check(options)?;
    let replicas = record.replicas;
    for spec in [log(names, replicas, None), coordination(names, replicas), events(names, replicas)] {
        check_stream(api, &spec).await?;
    }
    check_stream(api, &settings::components(names, replicas, None)).await?;
    let values = check_stream(api, &settings::values(names, replicas)).await;
    values.map_err(|error| match error {
        ClusterError::Stream { stream } => ClusterError::LaterStream { stream },
        error => error,
    })?;
    Ok(record)
}

/// Checks that the stream of `spec` is there and has its settings.
async fn check_stream(api: &Api, spec: &Spec) -> Result<(), ClusterError> {
    let stream = spec.stream.as_ref();
    let gone = || ClusterError::Stream { stream: stream.to_owned() };
    let info = api.stream(stream, CHECK_PATIENCE).await?.ok_or_else(gone)?;
    differing(spec, &info.config).map_or(Ok(()), Err)
}
