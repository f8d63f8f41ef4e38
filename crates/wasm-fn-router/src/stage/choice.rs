//! A stage's specification, prepared so that a request only looks up and compares.

use std::{collections::HashSet, net::IpAddr, ops::Range, sync::Arc, time::Duration};

use foldhash::fast::FixedState;
use http::HeaderName;
use siphasher::sip::SipHasher13;
use smallvec::SmallVec;
use wasm_fn_core::{Point, Source, Sticky, Weight};

use super::{Reason, StageProblem, VersionEntry};
use crate::{RequestAttributes, Salt, TrafficObserver, request_attributes::Lookup};

/// The request header whose value is the sticky key of any stage. It comes before the stage's own key.
pub static KEY_HEADER: HeaderName = HeaderName::from_static("wasm-fn-key");

/// Everything that a choice reads, in one block: a stage that nobody has asked for in a while is in no cache,
/// and its request then waits for memory once. Only what few stages have lies elsewhere.
#[repr(C)]
pub(super) struct Choice<V> {
    /// Newest version first.
    pub(super) shares: SmallVec<[CumulativeShare; 2]>,
    pub(super) cohorts: Box<[CohortMatcher]>,
    pub(super) comparison: Option<Comparison>,
    pub(super) sticky: StickyKey,
    pub(super) salt: Salt,
    // Invariant: sorted by number, each once, not empty; every index of the stage is within. The baseline
    // comes last.
    pub(super) versions: SmallVec<[VersionEntry<V>; 2]>,
}

/// The version that a request gets by its sticky key or by a draw.
pub(super) struct Lot {
    pub(super) index: usize,
    /// The place of its point.
    pub(super) place: u16,
    pub(super) reason: Reason,
    /// The hash of the sticky key.
    pub(super) key: Option<u64>,
}

/// The points of a version: from the end of the share before it up to `end`.
#[derive(Clone, Copy)]
pub(super) struct CumulativeShare {
    pub(super) end: u16,
    pub(super) version: u32,
}

/// A [`ComparisonSpec`](super::ComparisonSpec), prepared.
pub(super) struct Comparison {
    pub(super) observer: Arc<dyn TrafficObserver>,
    pub(super) canary: Option<usize>,
    pub(super) fallback: usize,
    pub(super) fallback_after: Option<Duration>,
    /// The points of the baseline, among those of the fallback.
    pub(super) baseline: Range<u16>,
}

/// A [`Sticky`], prepared.
pub(super) enum StickyKey {
    None,
    Value(Lookup),
    ClientAddress,
}

/// A cohort rule, prepared.
pub(super) struct CohortMatcher {
    lookup: Lookup,
    values: HashSet<Box<[u8]>, FixedState>,
    value_bytes_max: usize,
    share: Weight,
    /// `None` for the canary's rule while there is no canary.
    pub(super) version: Option<usize>,
}

impl<V> Choice<V> {
    /// The hash of the request's sticky key, if it has one. An empty value is no key.
    pub(super) fn sticky_bits(&self, request: &RequestAttributes<'_>) -> Option<u64> {
        let hash = |key: &[u8]| {
            let [low, high] = self.salt.0;
            SipHasher13::new_with_keys(low, high).hash(key)
        };
        if let Some(key) = request.headers.get(&KEY_HEADER).filter(|key| !key.is_empty()) {
            return Some(hash(key.as_bytes()));
        }
        match &self.sticky {
            StickyKey::None => None,
            StickyKey::Value(lookup) => {
                lookup.value(request).filter(|key| !key.is_empty()).map(|key| hash(&key))
            }
            StickyKey::ClientAddress => Some(match request.client.to_canonical() {
                IpAddr::V4(address) => hash(&address.octets()),
                IpAddr::V6(address) => hash(&address.octets()),
            }),
        }
    }

    /// The first rule that applies to `request`, and the rule that places it.
    pub(super) fn rules(
        &self,
        request: &RequestAttributes<'_>,
        draw: &mut impl FnMut() -> Point,
    ) -> (Option<&CohortMatcher>, Option<&CohortMatcher>) {
        let mut point = None;
        let mut applies = |cohort: &&CohortMatcher| {
            cohort.matches(request)
                && (cohort.share == Weight::FULL || {
                    let point = *point.get_or_insert_with(|| match self.sticky_bits(request) {
                        // This takes the other half of the hash. Users that a cohort leaves out are placed
                        // like all others, so their place in the cohort must not determine their place in the
                        // split.
                        Some(bits) => Point::from_bits(bits.rotate_left(32)),
                        None => draw(),
                    });
                    point.place() < cohort.share.basis_points()
                })
        };
        let rule = self.cohorts.iter().find(&mut applies);
        // Without a canary its rule places nobody, but later rules may.
        let by_rule = match rule {
            Some(rule) if rule.version.is_none() => {
                self.cohorts.iter().filter(|cohort| cohort.version.is_some()).find(&mut applies)
            }
            rule => rule,
        };
        (rule, by_rule)
    }

    /// Places `request` by its sticky key, or by a draw if it has none.
    pub(super) fn lot(&self, request: &RequestAttributes<'_>, draw: impl FnOnce() -> Point) -> Lot {
        let key = self.sticky_bits(request);
        let (point, reason) = match key {
            Some(bits) => (Point::from_bits(bits), Reason::Sticky),
            None => (draw(), Reason::Draw),
        };
        Lot { index: self.pick(point), place: point.place(), reason, key }
    }

    /// Index of the version that owns `point`: the same as
    /// [`TrafficSplit::pick`](wasm_fn_core::TrafficSplit::pick), without the search.
    fn pick(&self, point: Point) -> usize {
        let owner = self.shares.iter().find(|share| point.place() < share.end);
        owner.expect("the last share ends at the number of points").version as usize
    }
}

impl StickyKey {
    pub(super) fn new(sticky: &Sticky) -> Result<Self, StageProblem> {
        Ok(match sticky {
            Sticky::None => Self::None,
            Sticky::Key(source) => Self::Value(lookup(source)?),
            Sticky::ClientAddress => Self::ClientAddress,
        })
    }
}

impl CohortMatcher {
    pub(super) fn new(lookup: Lookup, values: Vec<String>, share: Weight, version: Option<usize>) -> Self {
        let value_bytes_max = values.iter().map(String::len).max().unwrap_or(0);
        let values = values.into_iter().map(|value| value.into_bytes().into()).collect();
        Self { lookup, values, value_bytes_max, share, version }
    }

    fn matches(&self, request: &RequestAttributes<'_>) -> bool {
        self.lookup
            .value(request)
            .is_some_and(|value| value.len() <= self.value_bytes_max && self.values.contains(&*value))
    }
}

/// Prepares `source` for lookups.
///
/// # Errors
/// It names a header that cannot exist.
pub(super) fn lookup(source: &Source) -> Result<Lookup, StageProblem> {
    Lookup::new(source).ok_or_else(|| StageProblem::Header(source.name().to_owned()))
}

/// The points of a baseline with `share`: those of version `fallback` that are farthest from the canary's.
pub(super) fn baseline_points(
    shares: &[CumulativeShare],
    canary: Option<usize>,
    fallback: usize,
    share: Weight,
) -> Range<u16> {
    let position = |version: usize| shares.iter().position(|share| share.version as usize == version);
    let Some(at) = position(fallback) else { return 0..0 };
    let start = at.checked_sub(1).map_or(0, |before| shares[before].end);
    let end = shares[at].end;
    let points = share.basis_points().min(end - start);
    if canary.and_then(position).is_some_and(|canary| canary > at) {
        start..start + points
    } else {
        end - points..end
    }
}
