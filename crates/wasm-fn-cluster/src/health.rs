//! How the broker's servers are, as the leaders of a cluster's streams see them.

use std::time::Duration;

use crate::{
    ClusterError,
    link::{Session, StreamInfo},
    names::Names,
};

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// How one of a cluster's streams is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamHealth {
    /// The name of the stream.
    pub stream: String,
    /// The number of its last message. That of the log is the cluster's revision.
    pub last: u64,
    /// Its size.
    pub bytes: u64,
    /// The servers that have it, its leader first.
    pub servers: Vec<ServerHealth>,
}

/// How a server is that has a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHealth {
    /// The name of the server.
    pub name: String,
    /// Whether it leads.
    pub is_leader: bool,
    /// Whether it has everything that the leader has. One that has not cannot stand in for it.
    pub is_current: bool,
    /// Whether it is not there.
    pub is_offline: bool,
    /// How many entries it is behind the leader.
    pub lag: u64,
}

/// How all streams of a cluster are, its log first.
pub(crate) async fn read(session: &Session, names: &Names) -> Result<Vec<StreamHealth>, ClusterError> {
    let mut streams = Vec::new();
    let shown = [&names.log, &names.coordination, &names.events, &names.components, &names.values];
    for stream in shown {
        let gone = || ClusterError::Stream { stream: stream.to_string() };
        let info = session.stream(stream, PATIENCE).await?.ok_or_else(gone)?;
        streams.push(StreamHealth {
            stream: stream.to_string(),
            last: info.state.last,
            bytes: info.state.bytes,
            servers: servers(session, info),
        });
    }
    Ok(streams)
}

fn servers(session: &Session, info: StreamInfo) -> Vec<ServerHealth> {
    let leads = |name| ServerHealth { name, is_leader: true, is_current: true, is_offline: false, lag: 0 };
    let Some(cluster) = info.cluster else { return vec![leads(session.server())] };
    let replicas = cluster.replicas.into_iter().map(|replica| ServerHealth {
        name: replica.name,
        is_leader: false,
        is_current: replica.current,
        is_offline: replica.offline,
        lag: replica.lag,
    });
    cluster.leader.map(leads).into_iter().chain(replicas).collect()
}
