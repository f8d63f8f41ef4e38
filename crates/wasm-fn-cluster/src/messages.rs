//! Messages between nodes, and who is there. They may be late, lost, doubled or out of order.

mod inbox;
mod presence;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use wasm_fn_core::{NodeName, Revision};

pub use self::presence::Member;
use self::{inbox::Inbox, presence::Presence};
use crate::{
    link::{BrokerMessage, Link, Session},
    names::Names,
};

/// How often a node says that it is there.
const PRESENCE_EVERY: Duration = Duration::from_secs(1);

/// Longest message in bytes.
pub const MESSAGE_BYTES_MAX: usize = 512 << 10;

/// Longest text in bytes that a node tells with its presence.
pub const PRESENCE_TEXT_BYTES_MAX: usize = 4 << 10;

/// The header with the name of the node that sent a message.
const NODE: &str = "Wasm-Fn-Node";

/// The header with the id of the process that sent it.
const INSTANCE: &str = "Wasm-Fn-Instance";

/// The header that says what it is, if it is not from node to node.
const KIND: &str = "Wasm-Fn-Kind";

const HERE: &str = "here";
const LEAVING: &str = "leaving";

/// A message of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeMessage {
    /// Which node sent it.
    pub from: NodeName,
    /// What it sent.
    pub body: Bytes,
}

/// Messages between nodes, and who is there.
#[derive(Clone)]
pub struct Messages {
    shared: Arc<Shared>,
}

struct Shared {
    link: Link,
    names: Names,
    node: NodeName,
    instance: String,
    program: String,
    inbox: Inbox,
    presence: Presence,
}

impl fmt::Debug for Messages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { node, instance, .. } = &*self.shared;
        f.debug_struct("Messages").field("node", node).field("instance", instance).finish_non_exhaustive()
    }
}

impl Messages {
    /// Hears and tells, on the current tokio runtime, until `stop`.
    pub(crate) fn start(
        link: Link,
        names: Names,
        node: NodeName,
        instance: String,
        program: String,
        stop: CancellationToken,
    ) -> Self {
        let (inbox, presence) = (Inbox::default(), Presence::default());
        let shared = Arc::new(Shared { link, names, node, instance, program, inbox, presence });
        let messages = Self { shared };
        let running = messages.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = running.run() => {}
            }
        });
        messages
    }

    /// Sends `body` to all other nodes. It does not wait. What cannot be sent is lost, as is what has more
    /// than [`MESSAGE_BYTES_MAX`] bytes.
    pub fn tell(&self, body: Bytes) {
        let bytes = body.len();
        if bytes > MESSAGE_BYTES_MAX {
            tracing::warn!(bytes, "message to other nodes is too long, and is not sent");
            return;
        }
        self.send(None, body);
    }

    /// Waits for the next message of another node. If nobody keeps up, the oldest are lost.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub async fn hear(&self) -> NodeMessage {
        self.shared.inbox.take().await
    }

    /// How many messages of other nodes were lost because nobody took them.
    pub fn lost(&self) -> u64 {
        self.shared.inbox.lost()
    }

    /// Sets what this node tells of itself every second. Of `text`, [`PRESENCE_TEXT_BYTES_MAX`] bytes are
    /// told at most: a longer one is told as none.
    pub fn present(&self, revision: Revision, text: String) {
        let text = if text.len() > PRESENCE_TEXT_BYTES_MAX { String::new() } else { text };
        self.shared.presence.set_own(revision, text);
    }

    /// Sets what the node's replica has, which others are told, too.
    pub(crate) fn set_head(&self, head: Revision) {
        self.shared.presence.set_head(head);
    }

    /// The node whose replica is the furthest of those that were heard in the last minute, and how far it is.
    pub(crate) fn furthest(&self) -> Option<(NodeName, Revision)> {
        self.shared.presence.furthest(Instant::now())
    }

    /// The other processes of the cluster that were heard of in the last minute.
    pub fn members(&self) -> Vec<Member> {
        self.shared.presence.members(Instant::now())
    }

    /// Tells others that this node leaves, and nothing after that until `is_quiet` is false again.
    pub(crate) fn set_quiet(&self, is_quiet: bool) {
        self.shared.presence.set_quiet(is_quiet);
        if is_quiet {
            self.send(Some(LEAVING), Bytes::new());
        }
    }

    fn send(&self, kind: Option<&str>, body: Bytes) {
        let Shared { link, names, node, instance, .. } = &*self.shared;
        let Some(session) = link.session() else { return };
        let mut headers = HeaderMap::new();
        headers.insert(NODE, node.as_str());
        headers.insert(INSTANCE, instance.as_str());
        if let Some(kind) = kind {
            headers.insert(KIND, kind);
        }
        if !session.tell(&names.peers, headers, body) {
            tracing::debug!("message to other nodes was not sent");
        }
    }

    async fn run(&self) {
        let mut number = 0;
        loop {
            let session = self.shared.link.session_after(number).await;
            number = session.number();
            tokio::select! {
                biased;
                _ = session.ended() => {}
                () = self.attend(&session) => {}
            }
        }
    }

    async fn attend(&self, session: &Session) {
        let Ok(mut heard) = session.subscribe(&self.shared.names.peers).await else { return };
        let mut ticks = interval(PRESENCE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    if let Some(own) = self.shared.presence.own(&self.shared.program) {
                        self.send(Some(HERE), own);
                    }
                }
                message = heard.next() => {
                    let Some(message) = message else { return };
                    self.take(message);
                }
            }
        }
    }

    /// Takes a message. What no node sends is passed over.
    fn take(&self, message: BrokerMessage) {
        let header = |name: &str| Some(message.headers.get(name)?.as_str());
        let (Some(from), Some(instance)) = (header(NODE), header(INSTANCE)) else { return };
        if instance == self.shared.instance {
            return;
        }
        let Ok(from) = from.parse::<NodeName>() else { return };
        match header(KIND) {
            None => self.shared.inbox.put(NodeMessage { from, body: message.payload }),
            Some(HERE) => self.shared.presence.heard(from, instance, &message.payload, Instant::now()),
            Some(LEAVING) => self.shared.presence.left(instance),
            Some(_) => {}
        }
    }
}
