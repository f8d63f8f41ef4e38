//! What nodes tell by themselves: streams that are opened again when they end. A node of a version without
//! streams is asked again and again instead.

use std::{collections::BTreeMap, time::Duration};

use serde::de::DeserializeOwned;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wasm_fn_api as api;

use crate::{
    client::{Client, ClientError, Lines},
    commands::functions,
};

/// How often a node without streams is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The stream of all functions, put together.
pub(in crate::commands) struct Functions<'a> {
    events: Events<'a>,
    /// Whether the list is complete. Until then, the last one is shown.
    complete: bool,
    known: BTreeMap<String, Known>,
    /// Functions of which the stream has told since it was opened.
    told: Vec<String>,
    revision: u64,
    asking: Asking,
}

/// One function.
#[derive(Clone, Debug)]
pub(in crate::commands) struct Known {
    pub(in crate::commands) summary: api::FunctionSummary,
    /// Of the last ten seconds with requests, of all stages the largest, milliseconds.
    pub(in crate::commands) latency_p50_ms: Option<f64>,
    pub(in crate::commands) latency_p99_ms: Option<f64>,
}

/// The stream of one function.
pub(in crate::commands) struct Statuses<'a> {
    events: Events<'a>,
    client: &'a Client,
    path: String,
    asking: Asking,
}

/// When a node without streams is asked next; `None` as long as none is known to be without.
#[derive(Default)]
struct Asking(Option<Interval>);

/// Events of one address.
struct Events<'a> {
    client: &'a Client,
    path: String,
    lines: Option<Lines>,
    /// Whether the open stream has told something.
    told: bool,
}

/// What a stream has told.
enum Told<T> {
    /// The first event after it was opened.
    First(T),
    /// Another one.
    More(T),
}

impl Asking {
    /// Begins, if `error` says that the node has no stream. Otherwise gives it back.
    fn begin(&mut self, error: ClientError) -> Result<(), ClientError> {
        match error {
            ClientError::Refused(problem) if problem.code == "not-found" => {
                let mut ticks = interval(ASK_EVERY);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                self.0 = Some(ticks);
                Ok(())
            }
            error => Err(error),
        }
    }

    /// Waits until the node is to be asked; `false` at once if it has streams.
    async fn is_due(&mut self) -> bool {
        match &mut self.0 {
            Some(ticks) => {
                ticks.tick().await;
                true
            }
            None => false,
        }
    }
}

impl<'a> Events<'a> {
    fn new(client: &'a Client, path: String) -> Self {
        Self { client, path, lines: None, told: false }
    }

    /// The next event. A stream that has ended is opened again; one that ends without an event is an error,
    /// after which this may be called again later.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Told<T>, ClientError> {
        loop {
            let lines = match &mut self.lines {
                Some(lines) => lines,
                None => {
                    self.told = false;
                    self.lines.insert(self.client.events(&self.path).await?)
                }
            };
            match lines.next().await {
                Ok(Some(event)) if std::mem::replace(&mut self.told, true) => return Ok(Told::More(event)),
                Ok(Some(event)) => return Ok(Told::First(event)),
                Ok(None) => {
                    self.lines = None;
                    // A node that hands over ends its streams, and the next one takes them.
                    if !self.told {
                        return Err(self.client.ended("the stream has no events"));
                    }
                }
                Err(error) => {
                    self.lines = None;
                    return Err(error);
                }
            }
        }
    }
}

impl<'a> Functions<'a> {
    pub(in crate::commands) fn new(client: &'a Client) -> Self {
        Self {
            events: Events::new(client, "/v1/watch".to_owned()),
            complete: false,
            known: BTreeMap::new(),
            told: Vec::new(),
            revision: 0,
            asking: Asking::default(),
        }
    }

    /// Waits until there is something new, and all functions are known. Returns the names of those that
    /// changed.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(in crate::commands) async fn next(&mut self) -> Result<Vec<String>, ClientError> {
        loop {
            if self.asking.is_due().await {
                let is_first = !self.complete;
                let changed = self.compare(functions::all(self.events.client, None).await?);
                if is_first || !changed.is_empty() {
                    return Ok(changed);
                }
                continue;
            }
            let told = match self.events.next::<api::FunctionChanges>().await {
                Ok(told) => told,
                Err(error) => {
                    self.asking.begin(error)?;
                    continue;
                }
            };
            let changes = match told {
                Told::First(changes) => {
                    // What was deleted meanwhile is not told of.
                    self.told.clear();
                    self.complete = false;
                    changes
                }
                Told::More(changes) => changes,
            };
            if let Some(changed) = self.take(changes) {
                return Ok(changed);
            }
        }
    }

    /// Takes `changes`. Returns the names of all that changed, unless more follows at once.
    fn take(&mut self, changes: api::FunctionChanges) -> Option<Vec<String>> {
        let api::FunctionChanges { revision, more, functions, removed, traffic, nodes: _ } = changes;
        self.revision = revision;
        for name in removed {
            self.known.remove(&name);
            self.told.push(name);
        }
        for summary in functions {
            let name = summary.function.clone();
            let before = self.known.remove(&name);
            let (p50, p99) =
                before.map_or((None, None), |known| (known.latency_p50_ms, known.latency_p99_ms));
            let known = Known { summary, latency_p50_ms: p50, latency_p99_ms: p99 };
            self.known.insert(name.clone(), known);
            self.told.push(name);
        }
        for numbers in traffic {
            let Some(known) = self.known.get_mut(&numbers.function) else { continue };
            let stage = known.summary.stages.iter_mut().find(|stage| stage.stage == numbers.stage);
            if let Some(stage) = stage {
                (stage.requests, stage.failures) = (numbers.requests, numbers.failures);
            }
            (known.latency_p50_ms, known.latency_p99_ms) = (numbers.latency_p50_ms, numbers.latency_p99_ms);
            self.told.push(numbers.function);
        }
        if more {
            return None;
        }
        let mut told = std::mem::take(&mut self.told);
        told.sort_unstable();
        told.dedup();
        if !std::mem::replace(&mut self.complete, true) {
            self.known.retain(|name, _| told.binary_search(name).is_ok());
        }
        Some(told)
    }

    /// Takes `list` in place of what is known. Returns the names of all that differ.
    fn compare(&mut self, list: api::FunctionList) -> Vec<String> {
        let before = std::mem::take(&mut self.known);
        let is_first = !std::mem::replace(&mut self.complete, true);
        self.revision = list.revision;
        let known = |summary: api::FunctionSummary| {
            let name = summary.function.clone();
            (name, Known { summary, latency_p50_ms: None, latency_p99_ms: None })
        };
        self.known = list.functions.into_iter().map(known).collect();
        let is_new = |(name, now): &(&String, &Known)| {
            is_first || before.get(*name).is_none_or(|before| before.summary != now.summary)
        };
        let gone = before.keys().filter(|name| !self.known.contains_key(*name));
        let mut changed: Vec<_> =
            self.known.iter().filter(is_new).map(|(name, _)| name).chain(gone).cloned().collect();
        changed.sort_unstable();
        changed
    }

    /// All functions, by name.
    pub(in crate::commands) fn known(&self) -> impl Iterator<Item = &Known> + Clone {
        self.known.values()
    }

    /// All functions, as `GET /v1/functions` lists them.
    pub(in crate::commands) fn list(&self) -> api::FunctionList {
        let functions = self.known.values().map(|known| known.summary.clone()).collect();
        api::FunctionList { revision: self.revision, functions, more: false, nodes: Vec::new() }
    }
}

impl<'a> Statuses<'a> {
    pub(in crate::commands) fn new(client: &'a Client, function: &str) -> Self {
        let path = format!("/v1/functions/{function}");
        let events = Events::new(client, format!("{path}/watch"));
        Self { events, client, path, asking: Asking::default() }
    }

    /// Waits until the status of the function is another one, or may be, if the node does not tell.
    ///
    /// # Errors
    /// There is no such function, or the node does not answer. After an error that is passing, this may be
    /// called again later.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(in crate::commands) async fn next(&mut self) -> Result<api::FunctionStatus, ClientError> {
        loop {
            if self.asking.is_due().await {
                return self.client.get(&self.path).await;
            }
            match self.events.next().await {
                Ok(Told::First(event) | Told::More(event)) => {
                    return match event {
                        api::FunctionEvent::Status { status } => Ok(*status),
                        // The node's own words, unless the function is there again.
                        api::FunctionEvent::Deleted { .. } => self.client.get(&self.path).await,
                    };
                }
                Err(error) => self.asking.begin(error)?,
            }
        }
    }
}

#[cfg(test)]
mod tests;
