//! What `wasm-fn top` knows, and what keys do.

use std::{cmp::Ordering, collections::BTreeMap};

use wasm_fn_api as api;

use super::draw::{self, FUNCTION_FRAME, LIST_FRAME};
use crate::args::TopSort;

/// Functions whose details are asked for at a time. Those on the screen come first, the others in turn.
const DETAILS_MAX: usize = 32;

/// Time without a request after which a function is idle, milliseconds.
const IDLE_MS: u64 = 2500;

/// Time between two readings from which on their difference is a rate, milliseconds.
const RATE_MIN_MS: u64 = 500;

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// A letter, digit or sign.
    Char(char),
    Enter,
    Escape,
    Backspace,
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    /// Ends the program wherever it is pressed: Ctrl-C.
    Interrupt,
}

/// What a key asks of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    /// Draw again.
    Draw,
    /// End.
    Quit,
}

/// One function, as the node lists it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    pub(crate) function: String,
    /// Requests since the node started.
    pub(crate) requests: u64,
    /// Failures among them that are charged to a version.
    pub(crate) failures: u64,
    /// Of the last ten seconds with requests, milliseconds.
    pub(crate) latency_p50_ms: Option<f64>,
    pub(crate) latency_p99_ms: Option<f64>,
    /// What is being rolled out: `v2 10%`, `v3@staging`.
    pub(crate) canaries: Vec<String>,
}

/// What to ask the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// To tell of the function that is open.
    Open(String),
    /// For the status of some functions.
    Details(Vec<String>),
}

/// What was last heard of a function.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Row {
    pub(super) function: String,
    /// Requests since the node started, and when that was read, Unix milliseconds.
    total: u64,
    failed: u64,
    read_ms: u64,
    /// Requests a second between the last two readings that differ; `None` after the first.
    pub(super) requests: Option<f64>,
    /// Failures a second that are charged to a version.
    pub(super) errors: Option<f64>,
    /// Of the last ten seconds with requests, milliseconds.
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) canaries: Vec<String>,
    pub(super) details: Details,
}

/// What only the status of a function says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Details {
    /// When it was read, Unix milliseconds; 0 if it was not.
    read_ms: u64,
    /// Live instances of all versions.
    pub(super) instances: Option<u64>,
    /// Largest memory of one invocation, of all versions, bytes.
    pub(super) memory: Option<u64>,
}

/// What is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum View {
    /// All functions.
    List,
    /// One of them.
    Function {
        name: String,
        /// `None` until the node has answered.
        status: Option<Box<api::FunctionStatus>>,
        /// Lines that are scrolled off the top.
        scrolled: usize,
        /// Whether it was deleted.
        deleted: bool,
    },
}

/// Everything that a picture depends on.
#[derive(Clone, Debug)]
pub(crate) struct Top {
    /// The node's address.
    pub(super) node: String,
    pub(super) rows: BTreeMap<String, Row>,
    pub(super) sort: TopSort,
    pub(super) filter: String,
    /// Whether letters go into the filter.
    pub(super) typing: bool,
    /// The function under the cursor, which keeps it when the order changes.
    selected: Option<String>,
    pub(super) view: View,
    /// Why the node does not answer.
    pub(super) away: Option<String>,
    pub(super) now_ms: u64,
    /// Whether anything was heard yet.
    pub(super) heard: bool,
    /// Rows of the list that fit, as of the last picture.
    page: usize,
    pub(super) colours: bool,
}

impl Top {
    /// Before anything is known of the functions of `node`.
    pub(crate) fn new(node: String, filter: String, sort: TopSort, colours: bool) -> Self {
        Self {
            node,
            rows: BTreeMap::new(),
            sort,
            filter,
            typing: false,
            selected: None,
            view: View::List,
            away: None,
            now_ms: 0,
            heard: false,
            page: 1,
            colours,
        }
    }

    /// Takes what the node said of all functions at `now_ms`.
    pub(crate) fn listed(&mut self, functions: Vec<Listed>, now_ms: u64) {
        (self.now_ms, self.away, self.heard) = (now_ms, None, true);
        let mut before = std::mem::take(&mut self.rows);
        for listed in functions {
            let Listed { function, requests, failures, latency_p50_ms, latency_p99_ms, canaries } = listed;
            let mut row = before.remove(&function).unwrap_or_default();
            row.count(requests, failures, now_ms);
            (row.p50_ms, row.p99_ms, row.canaries) = (latency_p50_ms, latency_p99_ms, canaries);
            row.function.clone_from(&function);
            self.rows.insert(function, row);
        }
    }

    /// Takes the status of one function.
    pub(crate) fn told(&mut self, told: api::FunctionStatus, now_ms: u64) {
        (self.now_ms, self.away) = (now_ms, None);
        if let Some(row) = self.rows.get_mut(&told.function) {
            row.details = Details::of(&told, now_ms);
        }
        if let View::Function { name, status, .. } = &mut self.view
            && *name == told.function
        {
            *status = Some(Box::new(told));
        }
    }

    /// Takes that the function `name` is gone.
    pub(crate) fn gone(&mut self, name: &str) {
        self.rows.remove(name);
        if let View::Function { name: open, deleted, .. } = &mut self.view
            && open == name
        {
            *deleted = true;
        }
    }

    /// Takes that the node does not answer, and why.
    pub(crate) fn away(&mut self, why: String) {
        self.away = Some(why);
    }

    /// What to ask the node: to tell of the function that is open, else for the status of those on the
    /// screen, then of those that it was asked for longest ago.
    pub(crate) fn wanted(&self) -> Wanted {
        if let View::Function { name, .. } = &self.view {
            return Wanted::Open(name.clone());
        }
        let shown = self.shown();
        let on_screen = shown.iter().skip(self.first(&shown)).take(self.page.min(DETAILS_MAX));
        let mut wanted: Vec<_> = on_screen.map(|row| row.function.clone()).collect();
        let mut others: Vec<_> = self.rows.values().filter(|row| !wanted.contains(&row.function)).collect();
        others.sort_by_key(|row| row.details.read_ms);
        let left = DETAILS_MAX - wanted.len();
        wanted.extend(others.into_iter().take(left).map(|row| row.function.clone()));
        Wanted::Details(wanted)
    }

    /// Does what `key` means here.
    pub(crate) fn key(&mut self, key: Key) -> Do {
        if key == Key::Interrupt {
            return Do::Quit;
        }
        match &mut self.view {
            View::Function { scrolled, .. } => match key {
                Key::Char('q') => return Do::Quit,
                Key::Escape | Key::Enter | Key::Backspace => self.view = View::List,
                Key::Up => *scrolled = scrolled.saturating_sub(1),
                Key::Down => *scrolled += 1,
                Key::PageUp => *scrolled = scrolled.saturating_sub(10),
                Key::PageDown => *scrolled += 10,
                Key::Home => *scrolled = 0,
                _ => {}
            },
            View::List if self.typing => self.type_filter(key),
            View::List => return self.list_key(key),
        }
        Do::Draw
    }

    fn type_filter(&mut self, key: Key) {
        match key {
            Key::Char(c) => self.filter.push(c),
            Key::Backspace => drop(self.filter.pop()),
            Key::Enter => self.typing = false,
            Key::Escape => {
                self.filter.clear();
                self.typing = false;
            }
            _ => {}
        }
    }

    fn list_key(&mut self, key: Key) -> Do {
        match key {
            Key::Char('q') => return Do::Quit,
            Key::Char('/') => self.typing = true,
            Key::Escape => self.filter.clear(),
            Key::Char('n') => self.sort = TopSort::Name,
            Key::Char('r') => self.sort = TopSort::Requests,
            Key::Char('e') => self.sort = TopSort::Errors,
            Key::Char('5') => self.sort = TopSort::P50,
            Key::Char('9') => self.sort = TopSort::P99,
            Key::Char('i') => self.sort = TopSort::Instances,
            Key::Char('m') => self.sort = TopSort::Memory,
            Key::Up | Key::Char('k') => self.step(-1),
            Key::Down | Key::Char('j') => self.step(1),
            Key::PageUp => self.step(-self.jump()),
            Key::PageDown => self.step(self.jump()),
            Key::Home => self.step(isize::MIN),
            Key::End => self.step(isize::MAX),
            Key::Enter => {
                let shown = self.shown();
                let Some(name) = shown.get(self.cursor(&shown)).map(|row| row.function.clone()) else {
                    return Do::Draw;
                };
                self.selected = Some(name.clone());
                self.view = View::Function { name, status: None, scrolled: 0, deleted: false };
            }
            _ => {}
        }
        Do::Draw
    }

    fn jump(&self) -> isize {
        isize::try_from(self.page).unwrap_or(1)
    }

    /// Moves the cursor by `rows`, as far as there are rows.
    fn step(&mut self, rows: isize) {
        let shown = self.shown();
        let to = self.cursor(&shown).saturating_add_signed(rows).min(shown.len().saturating_sub(1));
        self.selected = shown.get(to).map(|row| row.function.clone());
    }

    /// The functions that the filter leaves, sorted.
    pub(super) fn shown(&self) -> Vec<&Row> {
        let mut shown: Vec<_> =
            self.rows.values().filter(|row| row.function.contains(&self.filter)).collect();
        // Rows with the same value stay sorted by name.
        shown.sort_by(|a, b| self.order(a, b));
        shown
    }

    fn order(&self, a: &Row, b: &Row) -> Ordering {
        let largest = |a: Option<f64>, b: Option<f64>| b.unwrap_or(-1.0).total_cmp(&a.unwrap_or(-1.0));
        match self.sort {
            TopSort::Name => Ordering::Equal,
            TopSort::Requests => largest(a.requests, b.requests),
            TopSort::Errors => largest(a.errors, b.errors)
                .then_with(|| largest(Some(a.failed_part()), Some(b.failed_part()))),
            TopSort::P50 => largest(a.p50_ms, b.p50_ms),
            TopSort::P99 => largest(a.p99_ms, b.p99_ms),
            TopSort::Instances => b.details.instances.cmp(&a.details.instances),
            TopSort::Memory => b.details.memory.cmp(&a.details.memory),
        }
    }

    /// Where the cursor is among `shown`.
    pub(super) fn cursor(&self, shown: &[&Row]) -> usize {
        let selected = self.selected.as_ref();
        let found = selected.and_then(|name| shown.iter().position(|row| row.function == *name));
        found.unwrap_or_default()
    }

    /// The first of the rows `shown` on the screen: the cursor is on the screen, too.
    pub(super) fn first(&self, shown: &[&Row]) -> usize {
        (self.cursor(shown) + 1).saturating_sub(self.page)
    }

    /// Takes how many lines the picture has.
    pub(crate) fn fits(&mut self, height: u16) {
        self.page = usize::from(height.saturating_sub(LIST_FRAME)).max(1);
        if let View::Function { status: Some(status), .. } = &self.view {
            let hidden = draw::function(status, self).lines.len();
            let hidden = hidden.saturating_sub(usize::from(height.saturating_sub(FUNCTION_FRAME)));
            if let View::Function { scrolled, .. } = &mut self.view {
                *scrolled = (*scrolled).min(hidden);
            }
        }
    }
}

impl Wanted {
    /// The function that is open, if one is.
    pub(crate) fn open(&self) -> Option<&str> {
        match self {
            Self::Open(name) => Some(name),
            Self::Details(_) => None,
        }
    }
}

impl Row {
    /// Takes the numbers since the node started, as read at `now_ms`.
    fn count(&mut self, total: u64, failed: u64, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.read_ms);
        if self.read_ms == 0 {
            (self.total, self.failed, self.read_ms) = (total, failed, now_ms);
        } else if total == self.total && failed == self.failed {
            // Nodes tell of busy functions in turn if there are many: only then is it idle.
            if passed >= IDLE_MS {
                (self.requests, self.errors, self.read_ms) = (Some(0.0), Some(0.0), now_ms);
            }
        } else if passed >= RATE_MIN_MS {
            let seconds = passed as f64 / 1e3;
            // A node that has started anew counts from zero.
            let rate = |now: u64, before: u64| now.checked_sub(before).map(|more| more as f64 / seconds);
            (self.requests, self.errors) = (rate(total, self.total), rate(failed, self.failed));
            (self.total, self.failed, self.read_ms) = (total, failed, now_ms);
        }
    }

    /// The part of all requests since the node started that failed.
    fn failed_part(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.failed as f64 / self.total as f64 }
    }
}

impl Details {
    fn of(status: &api::FunctionStatus, now_ms: u64) -> Self {
        let versions = || status.stages.iter().flat_map(|stage| &stage.versions);
        Self {
            read_ms: now_ms,
            instances: Some(versions().map(|version| version.instances).sum()),
            memory: versions().map(|version| version.tally.memory_peak_bytes).max(),
        }
    }
}

#[cfg(test)]
mod tests;
