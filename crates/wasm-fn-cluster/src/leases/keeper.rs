//! Keeps the node's place in the table: beats, takes what is free, and takes out who is gone.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt as _;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Leases, Orders, Place,
    table::{Table, Watched, Wish},
};
use crate::{
    Contact,
    contact::{patience, usable},
    link::{AskError, EXPECTED_LAST_OF_SUBJECT, Link, Session, Subscription, is_overtaken},
    names::Names,
};

/// Beats in the time of a lease.
const BEATS: u32 = 5;

/// How often the table is written anew when other nodes write at the same time.
const TRIES: u32 = 16;

/// The longest wait before the next try.
const TRY_WAIT_MAX: Duration = Duration::from_millis(40);

/// The header of a table in which a lease is free that was not.
const FREES: &str = "Wasm-Fn-Frees";

/// Keeps the node's place in the table.
pub(crate) struct Keeper {
    pub(crate) leases: Leases,
    pub(crate) link: Link,
    pub(crate) contact: Contact,
    pub(crate) names: Names,
    /// The id of the process.
    pub(crate) instance: String,
    /// The node's name.
    pub(crate) name: String,
    pub(crate) lease: Duration,
}

/// What the task knows.
struct Keeping {
    keeper: Keeper,
    orders: watch::Receiver<Orders>,
    watched: Watched<Instant>,
    /// The number of the newest table that was seen.
    sequence: u64,
    /// The greatest fence that was seen.
    fence: u64,
    /// From when on it may take what is free, while others are there. A table that is older than one seen
    /// before, as after a broker's loss, may not show what another node still counts on.
    settled: Instant,
    /// The same while nobody else is there.
    settled_alone: Instant,
    answered: Instant,
}

/// Why a round came to nothing.
enum RoundError {
    Unanswered(AskError),
    /// It cannot go on like that.
    Refused(String),
    /// Others were always sooner.
    Contended,
}

impl Keeper {
    /// Keeps it until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let now = Instant::now();
        let mut keeping = Keeping {
            orders: self.leases.shared.orders.subscribe(),
            watched: Watched::default(),
            sequence: 0,
            fence: 0,
            settled: now + self.lease,
            settled_alone: now,
            answered: now,
            keeper: self,
        };
        let mut number = 0;
        loop {
            let session = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                session = keeping.keeper.link.session_after(number) => session,
            };
            number = session.number();
            let now = Instant::now();
            keeping.answered = now;
            if number > 1 {
                keeping.unsettle(now);
            }
            let reason = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                reason = session.ended() => reason,
                reason = keeping.keep(&session) => reason,
            };
            keeping.keeper.contact.missing(&reason);
            session.end(reason);
        }
    }
}

impl Keeping {
    /// Keeps the place over one connection, until that is of no use.
    async fn keep(&mut self, session: &Session) -> String {
        let mut told = match session.subscribe(&self.keeper.names.leases).await {
            Ok(told) => told,
            Err(error) => return error.to_string(),
        };
        loop {
            let orders = self.orders.borrow_and_update().clone();
            let is_done = *self.keeper.leases.shared.place.borrow() == Place::NameTaken
                || (!orders.is_member && *self.keeper.leases.shared.place.borrow() == Place::Left);
            if !is_done {
                match self.round(session, &orders).await {
                    Ok(()) => self.answered = Instant::now(),
                    Err(RoundError::Contended) => self.keeper.contact.missing(
                        "table of leases was always written by others, or the broker does not finish to write it",
                    ),
                    Err(RoundError::Refused(reason)) => {
                        tracing::warn!(reason, "node has no place in the table of leases");
                        self.keeper.contact.missing(reason);
                    }
                    Err(RoundError::Unanswered(error)) => {
                        self.keeper.contact.missing(error.to_string());
                        if error == AskError::Lost || self.answered.elapsed() > self.keeper.lease {
                            return error.to_string();
                        }
                    }
                }
            }
            if let Err(reason) = self.wait(&mut told, &orders).await {
                return reason;
            }
        }
    }

    /// Waits until the table is to be written again.
    async fn wait(&mut self, told: &mut Subscription, orders: &Orders) -> Result<(), String> {
        let beat = self.keeper.lease / BEATS;
        let next = Instant::now() + beat.mul_f64(0.9 + 0.2 * self.keeper.link.draw());
        // A node that is gone is taken out in time, and not with the next beat.
        let gone = self.watched.next_gone(&self.keeper.instance, self.keeper.lease);
        let next = gone.map_or(next, |gone| next.min(gone.max(Instant::now() + TRY_WAIT_MAX)));
        loop {
            tokio::select! {
                biased;
                () = sleep_until(next) => return Ok(()),
                changed = self.orders.changed() => {
                    return changed.map_err(|_| "nobody wants leases any more".to_owned());
                }
                message = told.next() => {
                    let message = message.ok_or("connection to the broker was lost")?;
                    let frees = message.headers.get(FREES).is_some();
                    if frees && !(orders.wanted.is_empty() && orders.spread.is_empty()) {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn unsettle(&mut self, now: Instant) {
        (self.settled, self.settled_alone) = (now + self.keeper.lease, now + self.keeper.lease);
    }

    /// Reads the table and writes it anew.
    async fn round(&mut self, session: &Session, orders: &Orders) -> Result<(), RoundError> {
        for _ in 0..TRIES {
            if self.try_round(session, orders).await? {
                return Ok(());
            }
            sleep(TRY_WAIT_MAX.mul_f64(self.keeper.link.draw())).await;
        }
        Err(RoundError::Contended)
    }

    /// Returns whether nobody else wrote the table in between.
    async fn try_round(&mut self, session: &Session, orders: &Orders) -> Result<bool, RoundError> {
        let Keeper { names, instance, lease, .. } = &self.keeper;
        let (instance, lease) = (instance.clone(), *lease);
        let kept = session.last_of(&names.coordination, &names.leases, patience(lease)).await;
        let kept = kept.map_err(RoundError::Unanswered)?;
        let (sequence, table) = match &kept {
            Some(kept) => (kept.sequence, Table::read(&kept.payload).map_err(RoundError::Refused)?),
            None => (0, Table::default()),
        };
        let now = Instant::now();
        if sequence < self.sequence {
            self.unsettle(now);
        }
        (self.sequence, self.fence) = (sequence, self.fence.max(table.fence));
        self.watched.see(&table, now);
        // What the table does not show is not had, whoever lost it.
        let own = table.leases_of(&instance);
        self.keeper.leases.change(|held| held.leases.retain(|name, fence| own.get(name) == Some(fence)));
        let place = self.place(&table, now);
        let is_member = orders.is_member && place != Place::NameTaken;
        let is_alone = table.nodes.keys().all(|other| *other == instance);
        let settled = if is_alone { self.settled_alone } else { self.settled };
        let gone = self.watched.gone(&instance, lease, now);
        let next = table.next(&Wish {
            instance: &instance,
            name: &self.keeper.name,
            beat: rand::random(),
            is_member,
            is_retiring: orders.is_retiring,
            wanted: &orders.wanted,
            spread: &orders.spread,
            yielded: &orders.yielded,
            gone: &gone,
            may_take: now >= settled,
            fence: self.fence,
        });
        self.write(session, sequence, &table, next, if is_member { place } else { self.end(place) }).await
    }

    /// What a node without a place is.
    fn end(&self, place: Place) -> Place {
        if place == Place::NameTaken { place } else { Place::Left }
    }

    /// Writes `next` in place of `table`, which has the number `sequence`.
    async fn write(
        &mut self,
        session: &Session,
        sequence: u64,
        table: &Table,
        next: Table,
        place: Place,
    ) -> Result<bool, RoundError> {
        let leases = self.keeper.leases.clone();
        let own = next.leases_of(&self.keeper.instance);
        // What is given back is not had from before anybody can know.
        leases.change(|held| held.leases.retain(|name, _| own.contains_key(name)));
        let mut headers = vec![(EXPECTED_LAST_OF_SUBJECT, sequence.to_string())];
        if table.frees(&next) {
            headers.push((FREES, "1".to_owned()));
        }
        let sent = Instant::now();
        let subject = &self.keeper.names.leases;
        match session.put(subject, &headers, next.write().into(), patience(self.keeper.lease)).await {
            Ok(Ok(taken)) => {
                (self.sequence, self.fence) = (taken.sequence, next.fence);
                let until = sent + usable(self.keeper.lease);
                leases.change(|held| {
                    let orders = self.orders.borrow();
                    held.until = held.until.max(Some(until));
                    // What is not wanted since then is given back with the next table.
                    held.leases = own.into_iter().filter(|(name, _)| orders.want(name)).collect();
                });
                let surplus = next.surplus(&self.keeper.instance, &self.orders.borrow().spread);
                leases.shared.surplus.send_if_modified(|told| {
                    let is_new = *told != surplus;
                    *told = surplus;
                    is_new
                });
                self.keeper.contact.written(sent);
                leases.settle(place);
                Ok(true)
            }
            Ok(Err(error)) if is_overtaken(&error) => Ok(false),
            Ok(Err(error)) if error.code() == 503 => {
                Err(RoundError::Unanswered(AskError::Answer(error.to_string())))
            }
            Ok(Err(error)) => {
                Err(RoundError::Refused(format!("broker refused the table of leases: {error}")))
            }
            Err(error) => Err(RoundError::Unanswered(error)),
        }
    }

    /// Whether the node has its name to itself. Of two, the one that entered later gives way, if the other
    /// one is seen to beat.
    fn place(&self, table: &Table, now: Instant) -> Place {
        let Keeper { instance, name, lease, .. } = &self.keeper;
        let Some(me) = table.nodes.get(instance) else {
            // It enters now, after all that are there.
            return if self.older(table, u64::MAX).is_empty() { Place::Own } else { Place::Unknown };
        };
        let mut place = Place::Own;
        for other in self.older(table, me.entered) {
            match self.watched.beats(&other) {
                Some((true, _)) => {
                    tracing::error!(node = %name, "another node with the same name is in the cluster");
                    return Place::NameTaken;
                }
                Some((false, since)) if now < since + *lease / 2 => place = Place::Unknown,
                _ => {}
            }
        }
        place
    }

    /// The other nodes with the same name that entered before `entered`.
    fn older(&self, table: &Table, entered: u64) -> BTreeSet<String> {
        let Keeper { instance, name, .. } = &self.keeper;
        let same = table
            .nodes
            .iter()
            .filter(|(other, node)| *other != instance && node.name == *name && node.entered < entered);
        same.map(|(other, _)| other.clone()).collect()
    }
}
