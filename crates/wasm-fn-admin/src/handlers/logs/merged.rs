//! The lines of several nodes, in the order of their times.
//!
//! Lines come in rounds: what is new on each node is gathered, sorted, and sent. A line that was written
//! while a round was under way waits for the next, since another node may have an earlier one that was not
//! gathered yet; no line waits longer than that, whatever clocks say.

mod gathered;

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::NodeName;
use wasm_fn_store::Store;

use self::gathered::{Gathered, lines_of};
use super::Reader;
use crate::{
    ApiError,
    nodes::{Others, PATIENCE},
};

/// How often the other nodes are asked while a log is followed.
const EVERY: Duration = Duration::from_millis(500);

/// Reads the logs of several nodes.
pub(super) struct MergedReader<H: Host, S> {
    /// Reads those of this node, if they are wanted. It also knows what ends the answer.
    own: Reader<H, S>,
    /// The one other node whose lines are wanted; all nodes if there is none.
    only: Option<NodeName>,
    others: Others,
    path: String,
    query: api::LogsQuery,
    follow: bool,
    /// What was read of each other node.
    read: BTreeMap<NodeName, u64>,
    gathered: Gathered,
    began: bool,
}

impl<H: Host, S: Store> MergedReader<H, S> {
    /// Reads what `query` asks for: of the `only` one among `others`, or of all of them and what `own` reads.
    ///
    /// # Errors
    /// The query counts lines of no node in particular.
    pub(super) fn new(
        own: Reader<H, S>,
        only: Option<NodeName>,
        others: Others,
        query: api::LogsQuery,
    ) -> Result<Self, ApiError> {
        if query.after > 0 && only.is_none() {
            let detail =
                "found after without node, expected both: each node of a cluster numbers its own lines";
            return Err(ApiError::invalid_request(detail));
        }
        let (path, follow) = (format!("/v1/functions/{}/logs", own.function), query.follow);
        let read = only.iter().map(|only| (only.clone(), query.after)).collect();
        let query = api::LogsQuery { follow: false, node: None, ..query };
        let gathered = Gathered::default();
        Ok(Self { own, only, others, path, query, follow, read, gathered, began: false })
    }

    pub(super) async fn next(mut self) -> Option<(api::LogEvent, Self)> {
        loop {
            if let Some(event) = self.gathered.pop() {
                return Some((event, self));
            }
            if self.began && !self.follow {
                return None;
            }
            if self.began && !self.own.pause(EVERY).await {
                return None;
            }
            if !self.own.may_go_on() {
                return None;
            }
            self.began = true;
            self.gather().await;
        }
    }

    /// Gathers what is new on all nodes.
    async fn gather(&mut self) {
        let began_ms = self.own.control.now().0;
        let Some(cluster) = self.others.cluster().cloned() else { return };
        let wanted = |name: &NodeName| self.only.as_ref().is_none_or(|only| only == name);
        let asked = cluster.others().into_iter().filter(|other| wanted(&other.name)).map(async |other| {
            let after = self.read.get(&other.name).copied().unwrap_or(0);
            let answer = match other.silent {
                Some(reason) => Err(reason),
                None => self.ask(&other.name, after).await,
            };
            (other.name, answer)
        });
        let answers = join_all(asked).await;
        for (node, answer) in answers {
            let name = node.to_string();
            match answer {
                Ok(events) => {
                    let newest = self.gathered.take(&name, events);
                    let read = self.read.entry(node).or_default();
                    *read = newest.max(*read);
                }
                Err(reason) => self.gathered.miss(&name, reason),
            }
        }
        if self.only.is_none() {
            let lines = self.own.read_all();
            self.gathered.take(cluster.node().as_str(), lines);
        }
        self.gathered.sort(self.follow.then_some(began_ms));
    }

    async fn ask(&self, node: &NodeName, after: u64) -> Result<Vec<api::LogEvent>, String> {
        let query = api::LogsQuery { after, ..self.query.clone() };
        let query = serde_urlencoded::to_string(query).map_err(|error| error.to_string())?;
        let body = self.others.ask_one(node.clone(), format!("{}?{query}", self.path), PATIENCE).await?;
        lines_of(&body)
    }
}
