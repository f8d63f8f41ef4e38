//! Facts about the queue, and a machine of a few threads on which guests take turns.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::*;

/// Who was given a turn and has not taken it up, in order.
type Woken = Rc<RefCell<VecDeque<usize>>>;

/// A waiter that puts its number among the woken, unless it is gone.
#[derive(Debug)]
struct Guest {
    number: usize,
    woken: Woken,
    gone: Rc<Cell<bool>>,
}

impl Wake for Guest {
    fn wake(self) -> bool {
        if !self.gone.get() {
            self.woken.borrow_mut().push_back(self.number);
        }
        !self.gone.get()
    }
}

fn guest(number: usize, woken: &Woken) -> Guest {
    Guest { number, woken: Rc::clone(woken), gone: Rc::default() }
}

fn burst(millis: u64) -> Burst {
    let mut burst = Burst::default();
    burst.add(Duration::from_millis(millis));
    burst
}

#[test]
fn what_is_short_stands_back_for_nobody_and_what_is_free_needs_no_turn() {
    assert!(Burst::default().is_short());
    assert!(!burst(1).is_short());
    assert!(!burst(5).needs_turn());
    assert!(burst(6).needs_turn());
}

#[test]
fn computing_adds_up_over_short_waits() {
    let mut busy = Burst::default();
    for _ in 0..10 {
        busy.add(Duration::from_millis(4));
        busy.rest();
    }
    busy.add(Duration::from_millis(4));
    assert!(busy.needs_turn());
}

#[test]
fn an_hour_of_computing_is_forgotten_after_two_waits() {
    let mut long = burst(3_600_000);
    long.rest();
    assert!(long.needs_turn());
    long.rest();
    assert!(!long.needs_turn());
}

#[test]
fn turn_is_passed_to_the_first_who_waits_and_comes_back_after_all_others() {
    let woken = Woken::default();
    let queue = RunQueue::new(1, 10);
    assert!(queue.try_take());
    let tickets: Vec<_> = (1..4).map(|number| queue.wait(guest(number, &woken))).collect();
    assert!(tickets.iter().all(|wait| matches!(wait, Wait::Queued(_))));
    let mut holder = 0;
    let mut order = Vec::new();
    for _ in 0..8 {
        assert!(queue.pass(guest(holder, &woken)).is_some());
        holder = woken.borrow_mut().pop_front().unwrap();
        assert!(woken.borrow().is_empty(), "one turn, and two have it");
        order.push(holder);
    }
    assert_eq!(order, [1, 2, 3, 0, 1, 2, 3, 0]);
}

#[test]
fn turn_is_kept_when_nobody_can_take_it() {
    let woken = Woken::default();
    let queue = RunQueue::new(1, 1);
    assert!(queue.try_take());
    // Nobody waits.
    queue.release();
    assert!(queue.try_take());
    assert!(!queue.is_contended());
    // As many wait as may.
    let ticket = queue.wait(guest(1, &woken));
    assert!(matches!(ticket, Wait::Queued(_)));
    assert_eq!(queue.pass(guest(0, &woken)), None);
    assert!(woken.borrow().is_empty());
    assert_eq!((queue.taken(), queue.waiting()), (1, 1));
    queue.release();
    assert_eq!(woken.borrow().front(), Some(&1));
}

#[test]
fn passing_when_a_turn_is_free_takes_no_second_one() {
    let woken = Woken::default();
    let queue = RunQueue::new(2, 10);
    assert!(queue.try_take());
    assert_eq!(queue.pass(guest(0, &woken)), None);
    assert_eq!(queue.taken(), 1);
}

#[test]
fn who_has_left_gets_no_turn() {
    let woken = Woken::default();
    let queue = RunQueue::new(1, 10);
    assert!(queue.try_take());
    let left = guest(1, &woken);
    let gone = Rc::clone(&left.gone);
    let Wait::Queued(cancelled) = queue.wait(guest(0, &woken)) else { panic!("a turn was free") };
    assert!(matches!(queue.wait(left), Wait::Queued(_)));
    assert!(matches!(queue.wait(guest(2, &woken)), Wait::Queued(_)));
    assert!(queue.cancel(cancelled));
    gone.set(true);
    queue.release();
    assert_eq!(*woken.borrow(), [2]);
    assert_eq!((queue.taken(), queue.waiting()), (1, 0));
}

/// One guest on the machine.
#[derive(Debug, Default)]
struct Job {
    /// Slices that it needs yet.
    left: u32,
    burst: Burst,
    has_turn: bool,
    ticket: Option<QueueTicket>,
    arrived: u32,
    /// Slices that it was given.
    given: u32,
    ended: Option<u32>,
}

/// Threads that run guests slice by slice, those first that did not stand back.
struct Machine {
    threads: u32,
    queue: RunQueue<Guest>,
    jobs: Vec<Job>,
    ready: VecDeque<usize>,
    /// Stood back: run when nobody is ready.
    back: VecDeque<usize>,
    woken: Woken,
    now: u32,
}

impl Machine {
    fn new(threads: u32) -> Self {
        let queue = RunQueue::new(threads, 1000);
        let (jobs, ready, back) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Self { threads, queue, jobs, ready, back, woken: Woken::default(), now: 0 }
    }

    fn arrive(&mut self, slices: u32) -> usize {
        self.jobs.push(Job { left: slices, arrived: self.now, ..Job::default() });
        self.ready.push_back(self.jobs.len() - 1);
        self.jobs.len() - 1
    }

    /// A guest's client leaves: it waits for nothing any more.
    fn cancel(&mut self, number: usize) {
        self.ready.retain(|&other| other != number);
        self.back.retain(|&other| other != number);
        let job = &mut self.jobs[number];
        job.ended = Some(self.now);
        let woken = self.woken.borrow().contains(&number);
        self.woken.borrow_mut().retain(|&other| other != number);
        if job.ticket.take().is_some_and(|ticket| !self.queue.cancel(ticket)) {
            assert!(woken, "neither waits nor was woken");
            self.queue.release();
        }
        if std::mem::take(&mut job.has_turn) {
            self.queue.release();
        }
    }

    /// One slice on every thread.
    fn slice(&mut self) {
        while let Some(number) = self.woken.borrow_mut().pop_front() {
            let job = &mut self.jobs[number];
            (job.has_turn, job.ticket) = (true, None);
            self.back.push_back(number);
        }
        self.ready.append(&mut self.back);
        let threads = self.ready.len().min(self.threads as usize);
        let running: Vec<_> = self.ready.drain(..threads).collect();
        self.now += 1;
        let mut on_turns = 0;
        for number in running {
            let job = &mut self.jobs[number];
            on_turns += u32::from(job.has_turn);
            assert!(!job.burst.needs_turn() || job.has_turn, "{job:?} computes without a turn");
            job.left = job.left.saturating_sub(1);
            job.given += 1;
            if job.left == 0 {
                job.ended = Some(self.now);
                if std::mem::take(&mut job.has_turn) {
                    self.queue.release();
                }
                continue;
            }
            job.burst.add(Duration::from_millis(1));
            self.stand_back(number);
        }
        assert!(on_turns <= self.threads && self.queue.taken() <= self.threads);
        // No thread will be idle while somebody waits to compute.
        if self.queue.waiting() > 0 {
            assert_eq!(self.queue.taken(), self.threads);
        }
    }

    fn stand_back(&mut self, number: usize) {
        let waiter = guest(number, &self.woken);
        let job = &mut self.jobs[number];
        if !job.burst.needs_turn() || job.has_turn && !self.queue.is_contended() {
            self.back.push_back(number);
        } else if job.has_turn {
            job.ticket = self.queue.pass(waiter);
            job.has_turn = job.ticket.is_none();
            if job.has_turn {
                self.back.push_back(number);
            }
        } else {
            match self.queue.wait(waiter) {
                Wait::Queued(ticket) => job.ticket = Some(ticket),
                Wait::Acquired(_) => {
                    job.has_turn = true;
                    self.back.push_back(number);
                }
                Wait::Full(_) => panic!("more wait than there are"),
            }
        }
    }
}

#[test]
fn short_requests_wait_for_no_more_than_those_that_have_a_turn() {
    for hogs in [1, 8, 100] {
        let mut machine = Machine::new(2);
        let hogs: Vec<_> = (0..hogs).map(|_| machine.arrive(u32::MAX)).collect();
        // They use up what is free.
        (0..1000).for_each(|_| machine.slice());
        let mut waits = Vec::new();
        for _ in 0..100 {
            let hello = machine.arrive(1);
            while machine.jobs[hello].ended.is_none() {
                machine.slice();
            }
            waits.push(machine.now - machine.jobs[hello].arrived);
        }
        assert!(waits.iter().all(|&slices| slices <= 2), "{waits:?} beside {} hogs", hogs.len());
    }
}

#[test]
fn guests_that_compute_for_ever_get_equal_shares_of_all_threads() {
    let mut machine = Machine::new(2);
    let hogs: Vec<_> = (0..8).map(|_| machine.arrive(u32::MAX)).collect();
    (0..10_000).for_each(|_| machine.slice());
    let given: Vec<_> = hogs.iter().map(|&hog| machine.jobs[hog].given).collect();
    assert_eq!(given.iter().sum::<u32>(), 20_000);
    assert!(given.iter().all(|given| given.abs_diff(2500) <= 5), "{given:?}");
}

#[test]
fn no_turn_is_lost_whoever_comes_and_goes() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut machine = Machine::new(random.random_range(1..=4));
        for _ in 0..2000 {
            if random.random_bool(0.2) {
                machine.arrive(random.random_range(1..40));
            }
            if random.random_bool(0.1) && !machine.jobs.is_empty() {
                let number = random.random_range(0..machine.jobs.len());
                if machine.jobs[number].ended.is_none() {
                    machine.cancel(number);
                }
            }
            machine.slice();
        }
        let arrived = machine.jobs.len();
        for _ in 0..100 * arrived {
            if machine.jobs.iter().all(|job| job.ended.is_some()) {
                break;
            }
            machine.slice();
        }
        let unfinished = machine.jobs.iter().filter(|job| job.ended.is_none()).count();
        assert_eq!(unfinished, 0, "seed {seed}: {unfinished} of {arrived} guests never end");
        assert_eq!((machine.queue.taken(), machine.queue.waiting()), (0, 0), "seed {seed}");
    }
}
