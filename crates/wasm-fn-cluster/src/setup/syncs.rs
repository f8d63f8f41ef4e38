//! How the servers of a broker write to their disks, as far as they say. A client of an ordinary account is
//! not told: it is in what a server shows on its monitoring port, and in what it answers to its system
//! account.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures_util::StreamExt as _;
use serde::Deserialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use wasm_fn_queue::{BrokerError, GetCredentials};

use crate::{ClusterError, ClusterOptions, link::Nats};

/// Longest time for a monitoring port to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// For how long further servers may answer after one has.
const QUIET: Duration = Duration::from_millis(500);

/// Longest answer of a monitoring port in bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Where servers say how they write to their disks.
#[derive(Clone, Default)]
pub struct Monitors {
    /// Monitoring ports, each as `host:port`.
    pub ports: Vec<String>,
    /// Credentials of the system account.
    pub system: Option<GetCredentials>,
}

impl std::fmt::Debug for Monitors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Monitors").field("ports", &self.ports).finish_non_exhaustive()
    }
}

/// How one server writes to its disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syncs {
    /// The name of the server.
    pub server: String,
    /// Its setting.
    pub setting: SyncSetting,
}

/// When a server has what it acknowledged written to its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncSetting {
    /// Before it acknowledges it.
    Always,
    /// So much later at most.
    Every(Duration),
}

/// What servers of a broker said, and which servers there are as far as those know.
#[derive(Clone, Debug, Default)]
pub struct AskedServers {
    /// How each that was asked writes to its disk, once for each time that it was asked.
    pub syncs: Vec<Syncs>,
    /// How many servers keep messages.
    servers: usize,
    /// Their names, as far as they are known.
    names: BTreeSet<String>,
}

/// What a monitoring port shows.
#[derive(Deserialize)]
struct Varz {
    server_name: String,
    #[serde(default)]
    jetstream: Jsz,
}

/// What the system account is answered.
#[derive(Deserialize)]
struct Answer {
    server: ServerName,
    #[serde(default)]
    data: Jsz,
}

#[derive(Deserialize)]
struct ServerName {
    name: String,
}

#[derive(Default, Deserialize)]
struct Jsz {
    config: Option<JetStreamConfig>,
    /// Of several servers: the group of all that keep messages. A monitoring port and the system account call
    /// it differently.
    #[serde(alias = "meta_cluster")]
    meta: Option<MetaGroup>,
}

#[derive(Deserialize)]
struct MetaGroup {
    #[serde(default)]
    cluster_size: usize,
    /// All but the one that answers.
    #[serde(default)]
    replicas: Vec<ServerName>,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    /// Nanoseconds.
    #[serde(default)]
    sync_interval: u64,
    #[serde(default)]
    sync_always: bool,
}

impl Syncs {
    fn new(server: String, config: &JetStreamConfig) -> Self {
        let setting = match config.sync_always {
            true => SyncSetting::Always,
            false => SyncSetting::Every(Duration::from_nanos(config.sync_interval)),
        };
        Self { server, setting }
    }

    /// Why no cluster is kept there, if the server can lose what it acknowledged.
    pub fn refusal(&self) -> Option<ClusterError> {
        match self.setting {
            SyncSetting::Always => None,
            SyncSetting::Every(every) => Some(ClusterError::SyncInterval {
                server: self.server.clone(),
                found: humantime::format_duration(every).to_string(),
            }),
        }
    }
}

impl AskedServers {
    /// Why it is not known that no server of the broker can lose what it acknowledged, if it is not.
    pub fn refusal(&self) -> Option<ClusterError> {
        if let Some(rare) = self.syncs.iter().find_map(Syncs::refusal) {
            return Some(rare);
        }
        let asked: BTreeSet<_> = self.syncs.iter().map(|sync| &sync.server).collect();
        if !asked.is_empty() && asked.len() >= self.servers {
            return None;
        }
        let unasked = self.names.iter().filter(|name| !asked.contains(name)).cloned().collect();
        Some(ClusterError::Unasked { asked: asked.len(), servers: self.servers, unasked })
    }

    fn add(&mut self, server: String, told: Jsz) {
        if let Some(MetaGroup { cluster_size, replicas }) = told.meta {
            self.servers = self.servers.max(cluster_size);
            self.names.extend(replicas.into_iter().map(|server| server.name));
        }
        self.syncs.extend(told.config.map(|config| Syncs::new(server, &config)));
    }
}

/// How the servers write to their disks, as far as `monitors` tell; nothing if there is nobody to ask.
///
/// # Errors
/// Somebody who was to tell does not.
pub async fn syncs(options: &ClusterOptions, monitors: &Monitors) -> Result<AskedServers, ClusterError> {
    let mut found = AskedServers::default();
    for port in &monitors.ports {
        let varz = timeout(PATIENCE, read_port(port)).await;
        let unreadable = |reason: String| ClusterError::Refused {
            what: format!("settings at the monitoring port {port}"),
            reason,
        };
        let varz = varz.unwrap_or_else(|_| Err("no answer in time".to_owned())).map_err(unreadable)?;
        found.add(varz.server_name, varz.jetstream);
    }
    if let Some(credentials) = &monitors.system {
        ask_all(options, credentials, &mut found).await?;
    }
    Ok(found)
}

async fn read_port(port: &str) -> Result<Varz, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(port).await.map_err(text)?;
    let request = format!("GET /varz HTTP/1.0\r\nHost: {port}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(text)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await.map_err(text)?;
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.ok_or("it is no answer of HTTP")? + 4);
    let head = String::from_utf8_lossy(head);
    let status = head.split_ascii_whitespace().nth(1).unwrap_or_default();
    if status != "200" {
        return Err(format!("status {status}, expected 200"));
    }
    serde_json::from_slice(body).map_err(|error| error.to_string())
}

/// Asks all servers, over their system account.
async fn ask_all(
    options: &ClusterOptions,
    credentials: &GetCredentials,
    found: &mut AskedServers,
) -> Result<(), ClusterError> {
    let options = ClusterOptions { credentials: Arc::clone(credentials), ..options.clone() };
    let connection = Nats::open(&options).await?;
    let client = connection.client();
    let lost = |_| ClusterError::Broker(BrokerError::Disconnected);
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(|_| lost(()))?;
    let asked = client.publish_with_reply("$SYS.REQ.SERVER.PING.JSZ", inbox, "{}".into()).await;
    asked.map_err(|_| lost(()))?;
    let mut wait = PATIENCE;
    while let Ok(Some(answer)) = timeout(wait, answers.next()).await {
        wait = QUIET;
        let answer: Answer = serde_json::from_slice(&answer.payload).map_err(|error| {
            ClusterError::Malformed { what: "what a server says of JetStream", reason: error.to_string() }
        })?;
        found.add(answer.server.name, answer.data);
    }
    Ok(())
}
