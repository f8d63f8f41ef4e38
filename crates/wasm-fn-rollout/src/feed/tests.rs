//! Tests of the order of beginnings: what is taken when, once, and under which stretch.

use std::{
    sync::atomic::AtomicU64,
    thread,
    time::{Duration, Instant},
};

use wasm_fn_core::{Outcome, Weight};

use super::{EPOCHS_MAX, Ending, Feed, FeedTicket, Lane, Stretch, Voices, WAIT_MAX, cluster, sample};
use crate::{
    Arm, Bad, Baseline, Class, Counts, Event, Evidence, Gate, GateSpec, Group, SideLimits, Signal,
    Thresholds, Verdict, Waiting,
};

mod median;

#[expect(clippy::disallowed_methods, reason = "an instant to count from: none can be made otherwise")]
fn start() -> Instant {
    Instant::now()
}

fn weight(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

fn stretch(no: u32, share: u16) -> Stretch {
    let share = weight(share);
    Stretch { no, share, baseline_share: share.min(share.complement()), begins_step: true, by_cohort: false }
}

fn thresholds() -> Thresholds {
    let limits = SideLimits { canary: Duration::from_millis(12), baseline: Duration::from_millis(10) };
    Thresholds { slow_above: Some(limits), ..Thresholds::default() }
}

/// A feed of a gate with `baseline`, in a stretch of its own, and the moment at which that began.
struct Fed {
    feed: Feed,
    start: Instant,
}

impl Fed {
    fn new(baseline: Baseline, share: u16) -> Self {
        let gate = Gate::new(GateSpec::default(), 1, baseline).unwrap();
        Self { feed: Feed::new(gate, stretch(1, share), thresholds()), start: start() }
    }

    fn beside(share: u16) -> Self {
        Self::new(Baseline::Concurrent(Box::default()), share)
    }

    fn at(&self, millis: u64) -> Instant {
        self.start + Duration::from_millis(millis)
    }

    /// A request of `arm` begins.
    fn begin(&self, arm: Arm, millis: u64) -> FeedTicket {
        self.feed.begin(1, arm, None, self.at(millis))
    }

    /// That of `ticket` ends.
    fn end(&self, ticket: FeedTicket, outcome: Outcome, millis: u64) -> bool {
        self.feed.end(ticket, &self.ending(outcome, 1, millis))
    }

    fn ending(&self, outcome: Outcome, latency_millis: u64, millis: u64) -> Ending {
        let latency = Duration::from_millis(latency_millis);
        Ending { outcome, latency, memory_peak_bytes: 0, user: None, at: self.at(millis) }
    }

    /// One that begins and ends.
    fn whole(&self, arm: Arm, outcome: Outcome, millis: u64) {
        let ticket = self.begin(arm, millis);
        self.end(ticket, outcome, millis);
    }

    fn evidence(&self, millis: u64) -> Evidence {
        self.feed.ask(self.at(millis), Gate::evidence)
    }

    fn taken(&self, millis: u64) -> Counts {
        self.feed.ask(self.at(millis), |gate| *gate.canary())
    }
}

fn failed(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Fail(_))
}

#[test]
fn fast_failures_do_not_count_before_the_slow_successes_that_began_earlier() {
    let fed = Fed::beside(1_000);
    let slow = fed.begin(Arm::Canary, 0);
    for _ in 0..20 {
        assert_eq!(fed.taken(0).requests, 0);
        let ticket = fed.begin(Arm::Canary, 1);
        assert!(!fed.end(ticket, Outcome::Trap, 2));
    }
    assert!(!failed(&fed.feed.verdict()), "the first has not ended");
    assert!(fed.end(slow, Outcome::Success, 3_000));
    assert_eq!((fed.taken(3_000).requests, fed.taken(3_000).bad(Event::FailedAtAll)), (21, Bad::each(20)));
    assert!(failed(&fed.feed.verdict()));
}

#[test]
fn the_gate_learns_with_the_last_end_that_it_waited_for() {
    let fed = Fed::beside(1_000);
    let [first, second] = [fed.begin(Arm::Stable, 0), fed.begin(Arm::Stable, 0)];
    fed.whole(Arm::Canary, Outcome::Trap, 0);
    assert!(!fed.end(second, Outcome::Success, 5));
    assert!(fed.end(first, Outcome::Success, 6));
    assert_eq!(fed.feed.ask(fed.at(6), Gate::evidence).stable.requests, 2);
}

#[test]
fn a_request_is_waited_for_thirty_seconds_and_let_go() {
    let fed = Fed::beside(1_000);
    let hanging = fed.begin(Arm::Canary, 0);
    for _ in 0..20 {
        fed.whole(Arm::Canary, Outcome::Trap, 10);
    }
    let wait = u64::try_from(WAIT_MAX.as_millis()).unwrap();
    assert!(!failed(&fed.feed.ask(fed.at(wait), Gate::verdict)));
    assert!(failed(&fed.feed.ask(fed.at(wait + 10), Gate::verdict)), "nobody waits for ever");
    let taken = fed.taken(wait + 10);
    assert_eq!((taken.requests, taken.bad(Event::FailedAtAll)), (21, Bad::each(20)));
    // Good in the end: it is counted already.
    assert!(!fed.end(hanging, Outcome::Success, wait + 20));
    assert_eq!(fed.taken(wait + 20).requests, 21);
}

#[test]
fn a_bad_response_that_comes_too_late_counts_as_a_hit_and_as_no_request() {
    let fed = Fed::beside(1_000);
    let late: Vec<_> = (0..8).map(|_| fed.begin(Arm::Canary, 0)).collect();
    fed.whole(Arm::Canary, Outcome::Trap, 0);
    assert_eq!(fed.taken(31_000).requests, 9);
    for ticket in &late {
        assert!(fed.end(*ticket, Outcome::Timeout, 60_000));
    }
    let taken = fed.taken(60_000);
    assert_eq!((taken.requests, taken.bad(Event::FailedAtAll)), (9, Bad::each(9)));
    assert!(failed(&fed.feed.verdict()));
}

#[test]
fn what_ends_after_its_place_went_to_another_epoch_is_not_counted_there() {
    let fed = Fed::beside(1_000);
    let late = fed.begin(Arm::Canary, 0);
    fed.whole(Arm::Canary, Outcome::Trap, 0);
    assert_eq!(fed.taken(31_000).requests, 2);
    for epoch in 0..u64::from(3 * EPOCHS_MAX) {
        fed.whole(Arm::Stable, Outcome::Trap, 31_001 + epoch);
    }
    // As many epochs later one is under way in the same place.
    let open = fed.begin(Arm::Stable, 40_000);
    assert!(!fed.end(late, Outcome::Success, 40_001));
    fed.whole(Arm::Stable, Outcome::Trap, 40_002);
    let before = fed.evidence(40_003).stable.requests;
    fed.end(open, Outcome::Success, 40_004);
    assert_eq!(fed.evidence(40_004).stable.requests, before + 2);
}

#[test]
fn epochs_that_are_waited_for_have_a_bound_and_lose_nothing() {
    let fed = Fed::beside(1_000);
    let hanging = fed.begin(Arm::Stable, 0);
    for _ in 0..10 * EPOCHS_MAX {
        fed.whole(Arm::Canary, Outcome::Trap, 1);
    }
    assert_eq!(fed.taken(2).requests, 0);
    fed.end(hanging, Outcome::Success, 3);
    let taken = fed.taken(3);
    assert_eq!((taken.requests, taken.bad(Event::FailedAtAll).requests), (640, 640));
}

#[test]
fn requests_under_a_stretch_that_is_over_count_under_its_share() {
    let fed = Fed::beside(100);
    let before: Vec<_> = (0..8).map(|_| fed.begin(Arm::Canary, 0)).collect();
    fed.feed.begin_stretch(stretch(2, 5_000), thresholds(), fed.at(1));
    for ticket in before {
        fed.end(ticket, Outcome::ServerError, 2);
    }
    // Eight in a row are no wonder at a half, and are at a hundredth.
    assert!(failed(&fed.feed.ask(fed.at(3), Gate::verdict)));
    let fed = Fed::beside(100);
    fed.feed.begin_stretch(stretch(2, 5_000), thresholds(), fed.at(1));
    for _ in 0..8 {
        let ticket = fed.feed.begin(2, Arm::Canary, None, fed.at(1));
        fed.end(ticket, Outcome::ServerError, 2);
    }
    assert!(!failed(&fed.feed.ask(fed.at(3), Gate::verdict)));
    assert_eq!(fed.taken(3).requests, 8);
}

#[test]
fn requests_that_begin_under_another_stretch_are_left_out() {
    let fed = Fed::beside(1_000);
    for other in [0, 2, 7] {
        let ticket = fed.feed.begin(other, Arm::Canary, None, fed.at(0));
        assert!(!fed.end(ticket, Outcome::Trap, 1));
    }
    assert_eq!((fed.taken(2).requests, fed.feed.begun(Arm::Canary)), (0, 0));
}

#[test]
fn a_step_begins_with_the_first_request_under_its_stretch() {
    let fed = Fed::beside(1_000);
    (0..5).for_each(|_| fed.whole(Arm::Canary, Outcome::Success, 0));
    let hanging = fed.begin(Arm::Canary, 0);
    assert_eq!(fed.feed.ask(fed.at(1), Gate::step_requests), 0, "one is waited for");
    fed.feed.begin_stretch(stretch(2, 5_000), thresholds(), fed.at(2));
    let ticket = fed.feed.begin(2, Arm::Canary, None, fed.at(3));
    fed.end(ticket, Outcome::Success, 4);
    fed.end(hanging, Outcome::Success, 5);
    assert_eq!(fed.feed.ask(fed.at(6), Gate::step_requests), 1);
    assert_eq!(fed.taken(6).requests, 7);
    let same = Stretch { begins_step: false, ..stretch(3, 5_000) };
    fed.feed.begin_stretch(same, thresholds(), fed.at(7));
    let ticket = fed.feed.begin(3, Arm::Canary, None, fed.at(8));
    fed.end(ticket, Outcome::Success, 9);
    assert_eq!(fed.feed.ask(fed.at(10), Gate::step_requests), 2, "a table of the same step goes on with it");
}

#[test]
fn a_step_that_a_feed_begins_with_is_one() {
    let fed = Fed::beside(1_000);
    for request in 0..50 {
        fed.whole(Arm::Canary, Outcome::Success, request);
        fed.whole(Arm::Stable, Outcome::Trap, request);
        assert_eq!(fed.feed.ask(fed.at(request), Gate::step_requests), request + 1);
    }
}

#[test]
fn a_stretch_begins_also_when_every_epoch_is_waited_for() {
    let fed = Fed::beside(1_000);
    let hanging = fed.begin(Arm::Canary, 0);
    for _ in 0..2 * EPOCHS_MAX {
        fed.whole(Arm::Canary, Outcome::Trap, 1);
    }
    fed.feed.begin_stretch(stretch(2, 5_000), thresholds(), fed.at(2));
    let ticket = fed.feed.begin(2, Arm::Canary, None, fed.at(3));
    fed.end(ticket, Outcome::Success, 4);
    fed.end(hanging, Outcome::Success, 5);
    assert_eq!(fed.feed.ask(fed.at(6), Gate::step_requests), 1);
    assert_eq!(fed.taken(6).requests, u64::from(2 * EPOCHS_MAX) + 2);
}

#[test]
fn what_says_nothing_of_its_version_is_no_request() {
    let fed = Fed::beside(1_000);
    for outcome in [Outcome::Shed, Outcome::Cancelled, Outcome::Internal] {
        (0..100).for_each(|_| fed.whole(Arm::Canary, outcome, 0));
    }
    fed.whole(Arm::Canary, Outcome::Success, 1);
    assert_eq!(fed.taken(2).requests, 1);
}

#[test]
fn each_arm_is_held_to_its_own_limit() {
    let fed = Fed::beside(1_000);
    for (arm, slow_after) in [(Arm::Canary, 12), (Arm::Baseline, 10), (Arm::Cohort, 12)] {
        for millis in [slow_after, slow_after + 1] {
            let ticket = fed.begin(arm, 0);
            fed.feed.end(ticket, &fed.ending(Outcome::Success, millis, 20));
        }
    }
    let ticket = fed.begin(Arm::Stable, 0);
    fed.feed.end(ticket, &fed.ending(Outcome::Success, 500, 600));
    let evidence = fed.evidence(700);
    for counts in [evidence.canary, evidence.baseline, evidence.cohort] {
        assert_eq!((counts.requests, counts.bad(Event::Slow)), (2, Bad::each(1)));
    }
    assert_eq!(evidence.stable.bad(Event::Slow), evidence.baseline.bad(Event::Slow));
}

#[test]
fn a_client_that_left_counts_when_it_had_waited_too_long() {
    let fed = Fed::beside(1_000);
    for latency in [12, 13] {
        let ticket = fed.begin(Arm::Canary, 0);
        fed.feed.end(ticket, &fed.ending(Outcome::Cancelled, latency, 20));
    }
    let taken = fed.taken(30);
    assert_eq!((taken.requests, taken.bad(Event::Slow)), (1, Bad::each(1)));
}

#[test]
fn requests_are_held_to_what_was_known_when_they_began() {
    let fed = Fed::beside(1_000);
    let before = fed.begin(Arm::Canary, 0);
    let limits = SideLimits { canary: Duration::from_secs(2), baseline: Duration::from_secs(1) };
    fed.feed.hold_to(Thresholds { slow_above: Some(limits), ..thresholds() }, fed.at(1));
    let after = fed.begin(Arm::Canary, 2);
    for ticket in [before, after] {
        fed.feed.end(ticket, &fed.ending(Outcome::Success, 100, 200));
    }
    assert_eq!(fed.taken(300).bad(Event::Slow), Bad::each(1));
}

/// Hits of the canary's slow responses against the past.
fn slow_hits(fed: &Fed, millis: u64) -> u64 {
    let checks = fed.feed.ask(fed.at(millis), Gate::state).checks;
    let latency =
        |check: &&crate::CheckState| (check.group, check.signal) == (Group::Placed, Signal::Latency);
    checks.iter().find(latency).unwrap().runs[0].hits
}

#[test]
fn slow_responses_of_one_second_are_one_hit_against_the_past() {
    let past = Counts::of(10_000).with(Event::Slow, Bad::each(60));
    let fed = Fed::new(Baseline::Past(past), 10_000);
    // A machine that stands still: all that is under way is slow, and so is what begins shortly after.
    let under_way: Vec<_> = (0..50).map(|_| fed.begin(Arm::Canary, 0)).collect();
    for ticket in under_way {
        fed.feed.end(ticket, &fed.ending(Outcome::Success, 500, 500));
    }
    for later in (500..1_400).step_by(100) {
        let ticket = fed.begin(Arm::Canary, later);
        fed.feed.end(ticket, &fed.ending(Outcome::Success, 50, later + 50));
    }
    assert_eq!(slow_hits(&fed, 1_450), 1);
    assert_eq!(fed.taken(1_450).bad(Event::Slow), Bad::each(59), "people are shown all of them");
    let again = 500 + u64::try_from(cluster::LENGTH.as_millis()).unwrap();
    let ticket = fed.begin(Arm::Canary, again + 500);
    fed.feed.end(ticket, &fed.ending(Outcome::Success, 50, again + 550));
    assert_eq!(slow_hits(&fed, again + 600), 2);
}

#[test]
fn failures_in_a_cluster_count_each() {
    let past = Counts::of(10_000).with(Event::FailedAtAll, Bad::each(1));
    let fed = Fed::new(Baseline::Past(past), 10_000);
    let ticket = fed.begin(Arm::Canary, 0);
    fed.feed.end(ticket, &fed.ending(Outcome::Success, 50, 50));
    (0..10).for_each(|_| fed.whole(Arm::Canary, Outcome::Trap, 60));
    assert!(failed(&fed.feed.ask(fed.at(70), Gate::verdict)));
}

/// Bits that look as random as those of a key's hash (the finaliser of SplitMix64).
fn hash(user: u64) -> u64 {
    let bits = user.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[test]
fn draws_and_different_users_are_voices() {
    // So many of a half that all fail are found.
    let waits_for = |fed: &Fed| match fed.feed.ask(fed.at(10), Gate::verdict) {
        Verdict::Wait(waiting) => waiting.voices,
        _ => None,
    };
    let with = |users: &[u64]| {
        let fed = Fed::beside(5_000);
        (0..200).for_each(|_| fed.whole(Arm::Stable, Outcome::Success, 0));
        for user in users.iter().cycle().take(200) {
            let ticket = fed.feed.begin(1, Arm::Canary, Some(hash(*user)), fed.at(1));
            fed.end(ticket, Outcome::Success, 2);
        }
        fed
    };
    let few = waits_for(&with(&[1, 2]));
    assert!(matches!(few, Some((2, needed)) if needed > 10), "{few:?}");
    let many: Vec<_> = (0..200).collect();
    assert_eq!(waits_for(&with(&many)), None);
    let fed = with(&[1, 2]);
    (0..200).for_each(|_| fed.whole(Arm::Canary, Outcome::Success, 3));
    assert_eq!(waits_for(&fed), None, "those that drew their version are voices too");
}

#[test]
fn voices_of_a_step_are_those_of_its_own_requests() {
    let fed = Fed::beside(5_000);
    let begin = |no, user| fed.feed.begin(no, Arm::Canary, Some(hash(user)), fed.at(0));
    let before: Vec<_> = (0..50).map(|user| begin(1, user)).collect();
    fed.feed.begin_stretch(stretch(2, 5_000), thresholds(), fed.at(1));
    // Heard while the step before is not taken yet.
    let after: Vec<_> = (0..4).map(|user| begin(2, user)).collect();
    before.into_iter().chain(after).for_each(|ticket| _ = fed.end(ticket, Outcome::Success, 2));
    for _ in 0..200 {
        for arm in [Arm::Canary, Arm::Stable] {
            let ticket = fed.feed.begin(2, arm, Some(hash(0)), fed.at(3));
            fed.end(ticket, Outcome::Success, 4);
        }
    }
    let verdict = fed.feed.ask(fed.at(5), Gate::verdict);
    assert!(matches!(verdict, Verdict::Wait(Waiting { voices: Some((4, _)), .. })), "{verdict:?}");
}

#[test]
fn voices_are_counted_about_right_and_forgotten() {
    for users in [0, 1, 3, 20, 100] {
        let voices = Voices::default();
        for user in 0..users {
            (0..3).for_each(|_| voices.hear(hash(user)));
        }
        let count = voices.count();
        assert!(count.abs_diff(users) <= 1 + users / 5, "{users} users, {count} heard");
        voices.forget();
        assert_eq!(voices.count(), 0);
    }
    let voices = Voices::default();
    (0..100_000).for_each(|user| voices.hear(hash(user)));
    assert!((256..2_000).contains(&voices.count()));
}

/// A feed that holds samples to a median of 4 ms, in a stretch at `share` whose canary has 1.2 times as long.
fn with_median(baseline: Baseline, share: u16) -> Fed {
    let fed = Fed::new(baseline, share);
    fed.feed.hold_to(median(Duration::from_millis(4)), fed.start);
    fed
}

fn median(time: Duration) -> Thresholds {
    let median_above = Some(SideLimits { canary: time.mul_f64(1.2), baseline: time });
    Thresholds { median_above, ..Thresholds::default() }
}

#[test]
fn tickets_are_numbers_and_any_number_is_a_ticket() {
    let fed = with_median(Baseline::Concurrent(Box::default()), 1_000);
    for arm in [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort] {
        let ticket = fed.begin(arm, 0);
        let same = FeedTicket::from_bits(ticket.to_bits());
        assert_eq!(same, ticket);
        assert!(same.lane().is_some_and(|lane| lane.arm().0 == arm));
        assert_eq!(same.is_sampled(), matches!(arm, Arm::Canary | Arm::Baseline));
    }
    for bits in [0, 0xff, u64::MAX, 0x0100] {
        assert!(!fed.end(FeedTicket::from_bits(bits), Outcome::Trap, 1), "{bits}");
    }
    assert_eq!(fed.feed.begun(Arm::Canary), 1);
}

#[test]
fn begun_is_what_has_begun_taken_or_not() {
    let fed = Fed::beside(1_000);
    (0..5).for_each(|_| fed.whole(Arm::Canary, Outcome::Success, 0));
    assert_eq!(fed.taken(1).requests, 5);
    let under_way = fed.begin(Arm::Canary, 2);
    fed.whole(Arm::Canary, Outcome::Trap, 3);
    assert_eq!(fed.feed.begun(Arm::Canary), 7);
    fed.end(under_way, Outcome::Success, 4);
    assert_eq!((fed.taken(5).requests, fed.feed.begun(Arm::Canary)), (7, 7));
    assert_eq!(fed.feed.begun(Arm::Stable), 0);
}

#[test]
fn every_request_of_many_threads_is_taken_once() {
    const THREADS: u64 = 4;
    const EACH: u64 = 5_000;
    let fed = with_median(Baseline::Concurrent(Box::default()), 5_000);
    let bad = AtomicU64::new(0);
    let arms = [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort];
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (fed, bad) = (&fed, &bad);
            scope.spawn(move || {
                let mut open: Vec<Option<FeedTicket>> = vec![None; 7];
                for request in 0..EACH {
                    let millis = request / 10;
                    let arm = arms[usize::try_from((request + number) % 4).unwrap()];
                    let place = usize::try_from(request % 7).unwrap();
                    let fails = (request * 31 + number).is_multiple_of(5);
                    let outcome = if fails { Outcome::Trap } else { Outcome::Success };
                    // Each ends seven requests after it began.
                    let ticket = fed.begin(arm, millis);
                    if let Some(ended) = open[place].replace(ticket) {
                        fed.end(ended, outcome, millis);
                        bad.fetch_add(u64::from(fails), std::sync::atomic::Ordering::Relaxed);
                    }
                    if request % 100 == number {
                        fed.evidence(millis);
                    }
                }
                open.into_iter()
                    .flatten()
                    .for_each(|ticket| _ = fed.end(ticket, Outcome::Success, EACH / 10));
            });
        }
    });
    let evidence = fed.evidence(EACH / 10 + 1);
    let all = evidence.canary.and(&evidence.stable).and(&evidence.cohort);
    assert_eq!(all.requests, THREADS * EACH);
    assert_eq!(all.sampled, sample::SAMPLED_MAX, "all begin in one second");
    let trap = Event::Failed(Class::Trap);
    assert_eq!(all.bad(trap).requests, bad.into_inner());
    for lane in Lane::ALL {
        assert!(
            fed.feed.slots.iter().all(|slot| slot.counted(lane) <= THREADS * EACH),
            "no count below nothing"
        );
    }
}

#[test]
fn stretches_that_change_under_many_threads_keep_every_count() {
    let fed = Fed::beside(5_000);
    let counted = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            let (fed, counted) = (&fed, &counted);
            scope.spawn(move || {
                for request in 0..6_000_u32 {
                    let no = 1 + request / 2_000;
                    let ticket = fed.feed.begin(no, Arm::Stable, None, fed.at(1));
                    counted
                        .fetch_add(u64::from(ticket.lane().is_some()), std::sync::atomic::Ordering::Relaxed);
                    let outcome = if request % 9 == 0 { Outcome::Trap } else { Outcome::Success };
                    fed.end(ticket, outcome, 1);
                }
            });
        }
        for no in 2..4 {
            fed.feed.begin_stretch(stretch(no, 5_000), thresholds(), fed.at(1));
        }
    });
    assert_eq!(fed.evidence(2).stable.requests, counted.into_inner());
}
