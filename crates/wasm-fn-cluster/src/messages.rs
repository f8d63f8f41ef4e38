//! Messages between nodes, and who is there. They may be late, lost, doubled or out of order.

mod inbox;
mod presence;

use std::{fmt, sync::Arc, time::Duration};

use async_nats::HeaderMap;
use bytes::Bytes;
use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
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

/// How long a node listens to others over a new connection before it takes what the broker says: those that
/// it was not heard by lately answer at once.
const INTRODUCTION: Duration = Duration::from_millis(250);

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
    /// The number of the connection over which others have heard of this node, and told of themselves.
    introduced: watch::Sender<u64>,
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
        let introduced = watch::channel(0).0;
        let shared = Arc::new(Shared { link, names, node, instance, program, inbox, presence, introduced });
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

    /// Waits until the nodes that are there could tell what they have, over `session`.
    pub(crate) async fn introduced(&self, session: &Session) {
        let mut introduced = self.shared.introduced.subscribe();
        // This has the sender.
        let _ = introduced.wait_for(|number| *number >= session.number()).await;
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
        let mut introduction = std::pin::pin!(sleep(INTRODUCTION));
        let mut is_introduced = false;
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => self.tell_presence(),
                () = &mut introduction, if !is_introduced => {
                    is_introduced = true;
                    self.shared.introduced.send_replace(session.number());
                }
                message = heard.next() => {
                    let Some(message) = message else { return };
                    self.take(message);
                }
            }
        }
    }

    fn tell_presence(&self) {
        if let Some(own) = self.shared.presence.own(&self.shared.program) {
            self.send(Some(HERE), own);
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
            Some(HERE) => {
                // Whoever is back may not know what this node has.
                if self.shared.presence.heard(from, instance, &message.payload, Instant::now()) {
                    self.tell_presence();
                }
            }
            Some(LEAVING) => self.shared.presence.left(instance),
            Some(_) => {}
        }
    }
}
