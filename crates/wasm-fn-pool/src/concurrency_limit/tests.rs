//! Facts about `limit`.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    sync::{
        atomic::{AtomicU32, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

const NEVER: Duration = Duration::MAX;
const NOW: Duration = Duration::from_secs(100);

/// A waiter that writes its name down when it is woken.
#[derive(Debug)]
struct Named {
    name: u32,
    woken: Rc<RefCell<Vec<u32>>>,
    gone: Rc<Cell<bool>>,
}

impl Wake for Named {
    fn wake(self) -> bool {
        if !self.gone.get() {
            self.woken.borrow_mut().push(self.name);
        }
        !self.gone.get()
    }
}

/// A limit and who was woken so far.
struct Fixture {
    limit: ConcurrencyLimit<Named>,
    woken: Rc<RefCell<Vec<u32>>>,
}

impl Fixture {
    /// With every place taken.
    fn full(limit: u32, queue_max: u32) -> Self {
        let fixture = Self { limit: ConcurrencyLimit::new(limit, queue_max), woken: Rc::default() };
        (0..limit).for_each(|_| assert!(fixture.limit.try_acquire()));
        fixture
    }

    fn named(&self, name: u32) -> Named {
        Named { name, woken: Rc::clone(&self.woken), gone: Rc::default() }
    }

    fn queue(&self, name: u32, deadline: Duration) -> QueueTicket {
        match self.limit.wait(deadline, self.named(name)) {
            Wait::Queued(ticket) => ticket,
            other => panic!("{other:?}, expected a ticket"),
        }
    }

    #[track_caller]
    fn check(&self, running: u32, waiting: u32, woken: &[u32]) {
        assert_eq!((self.limit.running(), self.limit.waiting()), (running, waiting));
        assert_eq!(lock(&self.limit.queue).waiters.len(), waiting as usize);
        assert_eq!(*self.woken.borrow(), woken);
    }
}

#[test]
fn as_many_enter_as_may_run() {
    let limit = ConcurrencyLimit::<Named>::new(2, 0);
    assert!(limit.try_acquire() && limit.try_acquire());
    assert!(!limit.try_acquire());
    limit.release(NOW);
    assert!(limit.try_acquire());
    limit.release(NOW);
    limit.release(NOW);
    assert_eq!((limit.running(), limit.waiting()), (0, 0));
}

#[test]
fn waiters_get_places_in_their_order() {
    let fixture = Fixture::full(2, 9);
    let _tickets: Vec<_> = (1..=3).map(|name| fixture.queue(name, NEVER)).collect();
    fixture.check(2, 3, &[]);
    fixture.limit.release(NOW);
    fixture.check(2, 2, &[1]);
    fixture.limit.release(NOW);
    fixture.limit.release(NOW);
    fixture.check(2, 0, &[1, 2, 3]);
    fixture.limit.release(NOW);
    fixture.check(1, 0, &[1, 2, 3]);
}

#[test]
fn a_place_that_somebody_waits_for_is_handed_over_only() {
    let fixture = Fixture::full(2, 9);
    assert!(fixture.limit.try_release());
    fixture.check(1, 0, &[]);
    assert!(fixture.limit.try_acquire());
    let _ticket = fixture.queue(1, NEVER);
    assert!(!fixture.limit.try_release());
    fixture.check(2, 1, &[]);
}

#[test]
fn newcomers_do_not_overtake() {
    let fixture = Fixture::full(1, 9);
    let _first = fixture.queue(1, NEVER);
    assert!(!fixture.limit.try_acquire());
    let _second = fixture.queue(2, NEVER);
    fixture.limit.release(NOW);
    assert!(!fixture.limit.try_acquire());
    fixture.check(1, 1, &[1]);
}

#[test]
fn a_place_freed_meanwhile_is_found_by_who_would_wait() {
    let fixture = Fixture::full(1, 0);
    assert!(!fixture.limit.try_acquire());
    fixture.limit.release(NOW);
    assert!(matches!(fixture.limit.wait(NEVER, fixture.named(1)), Wait::Acquired(Named { name: 1, .. })));
    fixture.check(1, 0, &[]);
}

#[test]
fn no_more_wait_than_may() {
    let fixture = Fixture::full(1, 2);
    let first = fixture.queue(1, NEVER);
    let _second = fixture.queue(2, NEVER);
    assert!(matches!(fixture.limit.wait(NEVER, fixture.named(3)), Wait::Full(Named { name: 3, .. })));
    assert!(fixture.limit.cancel(first));
    let _fourth = fixture.queue(4, NEVER);
    fixture.check(1, 2, &[]);
    let none = Fixture::full(1, 0);
    assert!(matches!(none.limit.wait(NEVER, none.named(1)), Wait::Full(_)));
}

#[test]
fn waiters_past_their_deadline_are_skipped() {
    let fixture = Fixture::full(1, 9);
    let second = Duration::from_secs(1);
    let _tickets = [
        fixture.queue(1, NOW - second),
        fixture.queue(2, Duration::ZERO),
        fixture.queue(3, NOW),
        fixture.queue(4, NEVER),
    ];
    fixture.limit.release(NOW);
    fixture.check(1, 1, &[3]);
    fixture.limit.release(NOW + second);
    fixture.check(1, 0, &[3, 4]);
}

#[test]
fn a_queue_of_expired_waiters_frees_the_place() {
    let fixture = Fixture::full(1, 9);
    let _tickets = [fixture.queue(1, Duration::ZERO), fixture.queue(2, Duration::ZERO)];
    fixture.limit.release(NOW);
    fixture.check(0, 0, &[]);
    assert!(fixture.limit.try_acquire());
}

#[test]
fn waiters_that_are_gone_pass_their_place_on() {
    let fixture = Fixture::full(1, 9);
    let waiter = fixture.named(1);
    let gone = Rc::clone(&waiter.gone);
    assert!(matches!(fixture.limit.wait(NEVER, waiter), Wait::Queued(_)));
    let _second = fixture.queue(2, NEVER);
    gone.set(true);
    fixture.limit.release(NOW);
    fixture.check(1, 0, &[2]);
}

#[test]
fn cancelled_waiters_leave_nothing_behind() {
    let fixture = Fixture::full(1, 3);
    for name in 0..10_000 {
        let ticket = fixture.queue(name, NEVER);
        assert!(fixture.limit.cancel(ticket));
    }
    fixture.check(1, 0, &[]);
}

#[test]
fn a_woken_waiter_cannot_be_cancelled() {
    let fixture = Fixture::full(1, 3);
    let ticket = fixture.queue(1, NEVER);
    fixture.limit.release(NOW);
    assert!(!fixture.limit.cancel(ticket));
    fixture.check(1, 0, &[1]);
}

#[test]
fn cancelling_in_the_middle_keeps_the_order() {
    let fixture = Fixture::full(1, 9);
    let mut tickets: Vec<_> = (1..=4).map(|name| fixture.queue(name, NEVER)).collect();
    assert!(fixture.limit.cancel(tickets.remove(1)));
    (0..3).for_each(|_| fixture.limit.release(NOW));
    fixture.check(1, 0, &[1, 3, 4]);
}

#[test]
fn a_limit_of_zero_lets_one_through() {
    let limit = ConcurrencyLimit::<Named>::new(0, 0);
    assert!(limit.try_acquire());
    assert!(!limit.try_acquire());
}

#[test]
fn whoever_holds_much_is_beyond_its_share_before_the_limit_is_reached() {
    for (limit, running, own, within) in [
        (24, 20, 21, true),
        (24, 21, 22, false),
        (24, 22, 7, true),
        (24, 22, 8, false),
        (24, 23, 2, false),
        (24, 23, 1, true),
        (24, 24, 1, true),
        (7, 6, 7, true),
        (1, 0, 1, true),
    ] {
        let fixture = Fixture::full(running, 0);
        let tested = ConcurrencyLimit { limit, ..fixture.limit };
        assert_eq!(tested.has_share(own), within, "{own} of {limit}, {running} taken");
    }
}

#[test]
fn clients_are_asked_to_stay_away_as_long_as_the_queue_takes() {
    let fixture = Fixture::full(2, 99);
    let second = Duration::from_secs(1);
    assert_eq!(fixture.limit.retry_after(Duration::ZERO), second);
    let _tickets: Vec<_> = (0..19).map(|name| fixture.queue(name, NEVER)).collect();
    assert_eq!(fixture.limit.retry_after(second), 10 * second);
    assert_eq!(fixture.limit.retry_after(Duration::MAX), 60 * second);
}

#[test]
fn random_use_agrees_with_a_naive_queue() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let (limit, queue_max) = (random.random_range(1..4), random.random_range(0..5));
        let fixture = Fixture { limit: ConcurrencyLimit::new(limit, queue_max), woken: Rc::default() };
        // The same as it is told: a counter, a queue of names with deadlines, and who was woken.
        let (mut running, mut queue, mut woken) = (0, VecDeque::<(u32, Duration)>::new(), Vec::new());
        let mut tickets = Vec::new();
        for name in 0..200 {
            let now = Duration::from_secs(name.into());
            match random.random_range(0..4) {
                0 | 1 if running < limit && queue.is_empty() => {
                    assert!(fixture.limit.try_acquire(), "seed {seed}");
                    running += 1;
                }
                0 | 1 => {
                    assert!(!fixture.limit.try_acquire(), "seed {seed}");
                    let deadline = now + Duration::from_secs(random.random_range(0..30));
                    match fixture.limit.wait(deadline, fixture.named(name)) {
                        Wait::Queued(ticket) => tickets.push((name, ticket)),
                        Wait::Full(_) => assert_eq!(queue.len(), queue_max as usize, "seed {seed}"),
                        Wait::Acquired(_) => panic!("seed {seed}: entered a full limit"),
                    }
                    if queue.len() < queue_max as usize {
                        queue.push_back((name, deadline));
                    }
                }
                2 if running > 0 => {
                    fixture.limit.release(now);
                    while queue.front().is_some_and(|&(_, deadline)| deadline < now) {
                        queue.pop_front();
                    }
                    match queue.pop_front() {
                        Some((name, _)) => woken.push(name),
                        None => running -= 1,
                    }
                }
                3 if !tickets.is_empty() => {
                    let (name, ticket) = tickets.swap_remove(random.random_range(0..tickets.len()));
                    let queued = queue.iter().any(|&(queued, _)| queued == name);
                    assert_eq!(fixture.limit.cancel(ticket), queued, "seed {seed}");
                    queue.retain(|&(queued, _)| queued != name);
                }
                _ => {}
            }
            fixture.check(running, u32::try_from(queue.len()).unwrap(), &woken);
        }
    }
}

/// A waiter in another thread.
struct Remote(SyncSender<()>);

impl Wake for Remote {
    fn wake(self) -> bool {
        self.0.send(()).is_ok()
    }
}

/// Enters, at once or woken; whoever `gives_up` does not wait. Whether it has a place.
fn enter(limit: &ConcurrencyLimit<Remote>, gives_up: bool) -> bool {
    if limit.try_acquire() {
        return true;
    }
    let (sender, receiver) = sync_channel(1);
    match limit.wait(NEVER, Remote(sender)) {
        Wait::Acquired(_) => true,
        Wait::Full(_) => false,
        Wait::Queued(ticket) if gives_up => !limit.cancel(ticket) && woken(&receiver),
        Wait::Queued(_) => woken(&receiver),
    }
}

fn woken(receiver: &Receiver<()>) -> bool {
    receiver.recv_timeout(Duration::from_secs(60)).expect("no waiter is lost");
    true
}

#[test]
fn threads_lose_no_waiter_and_no_place() {
    const LIMIT: u32 = 2;
    let limit = ConcurrencyLimit::<Remote>::new(LIMIT, 3);
    let inside = AtomicU32::new(0);
    let served = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                for turn in 0..3000 {
                    if enter(&limit, turn % 5 == 0) {
                        assert!(inside.fetch_add(1, Relaxed) < LIMIT);
                        assert!(limit.running() <= LIMIT && limit.waiting() <= 3);
                        served.fetch_add(1, Relaxed);
                        inside.fetch_sub(1, Relaxed);
                        limit.release(NOW);
                    }
                }
            });
        }
    });
    assert_eq!((limit.running(), limit.waiting()), (0, 0));
    assert!(served.into_inner() > 0);
}
