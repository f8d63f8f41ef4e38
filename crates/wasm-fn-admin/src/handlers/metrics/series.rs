//! The bound on the series of versions. Versions beyond it are summed up as `other`.
//!
//! A version that has series of its own keeps them as long as it is there: a series that comes and goes looks
//! like a counter that was reset. For the same reason, `other` keeps what versions counted that are gone.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use super::{labels::Subject, numbers::Numbers};

/// Which versions have series of their own.
#[derive(Debug, Default)]
pub(crate) struct SeriesBound(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    own: HashSet<Subject>,
    /// The others, as they were read last.
    folded: HashMap<Subject, Numbers>,
    /// What all of them ever counted.
    other: Numbers,
}

/// A version, as read now.
pub(super) struct Found {
    pub(super) subject: Subject,
    /// Whether a rollout moves to the version, or it is stable: such versions come first.
    pub(super) is_current: bool,
    pub(super) numbers: Numbers,
}

/// The versions by the bound.
pub(super) struct Bounded {
    /// Those with series of their own.
    pub(super) own: Vec<Found>,
    /// The sum of the others; `None` if there never was one.
    pub(super) other: Option<Numbers>,
    /// How many others there are.
    pub(super) others: usize,
}

impl SeriesBound {
    /// Gives versions of `found` series of their own, as long as all of them together have at most
    /// `series_max`, and sums up the others.
    pub(super) fn apply(&self, found: Vec<Found>, series_max: usize) -> Bounded {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Known { own, folded, other } = &mut *known;
        let there: HashSet<&Subject> = found.iter().map(|version| &version.subject).collect();
        own.retain(|subject| there.contains(subject));
        folded.retain(|subject, _| there.contains(subject));
        drop(there);
        let (mut bounded, mut fresh) = (Vec::with_capacity(found.len().min(series_max)), Vec::new());
        let mut series = 0;
        for version in found {
            if own.contains(&version.subject) {
                series += version.numbers.series();
                bounded.push(version);
            } else {
                fresh.push(version);
            }
        }
        // Those without series keep that, or `other` would lose what it counted of them.
        fresh.sort_by_key(|version| (folded.contains_key(&version.subject), !version.is_current));
        for version in fresh {
            let more = version.numbers.series();
            let fits = series + more + Numbers::SERIES_MAX <= series_max;
            if fits && !folded.contains_key(&version.subject) {
                series += more;
                own.insert(version.subject.clone());
                bounded.push(version);
            } else {
                let before = folded.entry(version.subject).or_default();
                other.add_growth(&version.numbers, before);
                *before = version.numbers;
            }
        }
        let others = folded.len();
        let other = (others > 0 || !other.is_empty()).then(|| other.clone());
        Bounded { own: bounded, other, others }
    }
}
