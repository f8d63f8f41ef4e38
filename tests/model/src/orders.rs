//! All orders in which threads can see the numbers that vouch for a guest: what another thread may have
//! written is never vouched for.

use loom::sync::{
    Arc, Mutex,
    atomic::{AtomicU64 as LoomNumber, Ordering::Relaxed},
};

use crate::vouching::{Counts, SharedNumber, note};

impl SharedNumber for LoomNumber {
    fn get(&self) -> u64 {
        self.load(Relaxed)
    }

    fn set(&self, number: u64) {
        self.store(number, Relaxed);
    }

    fn increment(&self) {
        self.fetch_add(1, Relaxed);
    }
}

/// The threads, by their numbers.
const HOME: u64 = 1;
const AWAY: u64 = 2;
const ELSEWHERE: u64 = 3;

/// A guest that got its memory on the thread that makes it.
struct Guest {
    thread: LoomNumber,
    began: Counts,
    /// Whether it wrote to a page that no guest before had written to: the thread that it ran on faulted.
    has_written: bool,
}

impl Guest {
    fn new(moves: &LoomNumber, here: u64, faults: u64) -> Self {
        let began = Counts { thread: here, faults: Some(faults), moves: moves.get() };
        Self { thread: LoomNumber::new(here), began, has_written: false }
    }

    fn run(&mut self, moves: &LoomNumber, here: u64, faults: &mut u64) {
        note(&self.thread, moves, here);
        self.has_written = true;
        *faults += 1;
    }

    /// Ends on a thread with this number and so many faults.
    fn end(self, moves: &LoomNumber, here: u64, faults: u64) {
        let now = Counts { thread: here, faults: Some(faults), moves: moves.get() };
        assert!(!self.has_written || !self.began.vouch(now), "a page is left");
    }
}

/// Where a guest is handed over.
type Place = Arc<Mutex<Option<Guest>>>;

fn put(place: &Place, guest: Guest) {
    *place.lock().unwrap() = Some(guest);
}

fn take(place: &Place) -> Option<Guest> {
    place.lock().unwrap().take()
}

#[test]
fn a_guest_that_another_thread_ran_is_never_vouched_for() {
    loom::model(|| {
        let (moves, place) = (Arc::new(LoomNumber::new(0)), Place::default());
        let guest = Guest::new(&moves, HOME, 7);
        put(&place, guest);
        let away = {
            let (moves, place) = (moves.clone(), place.clone());
            loom::thread::spawn(move || {
                // It has faulted as often as the other thread.
                let mut faults = 6;
                if let Some(mut guest) = take(&place) {
                    guest.run(&moves, AWAY, &mut faults);
                    put(&place, guest);
                }
            })
        };
        // It comes back as it is: nobody runs it here.
        if let Some(guest) = take(&place) {
            guest.end(&moves, HOME, 7);
        }
        away.join().unwrap();
        if let Some(guest) = take(&place) {
            guest.end(&moves, HOME, 7);
        }
    });
}

#[test]
fn a_guest_that_goes_on_where_it_began_after_another_thread_is_never_vouched_for() {
    loom::model(|| {
        let (moves, place) = (Arc::new(LoomNumber::new(0)), Place::default());
        put(&place, Guest::new(&moves, HOME, 7));
        let away = {
            let (moves, place) = (moves.clone(), place.clone());
            loom::thread::spawn(move || {
                let mut faults = 0;
                if let Some(mut guest) = take(&place) {
                    guest.run(&moves, AWAY, &mut faults);
                    put(&place, guest);
                }
            })
        };
        away.join().unwrap();
        let guest = take(&place).unwrap();
        note(&guest.thread, &*moves, HOME);
        guest.end(&moves, HOME, 7);
    });
}

#[test]
fn a_guest_that_ends_on_another_thread_is_never_vouched_for_whatever_others_do() {
    loom::model(|| {
        let (moves, place) = (Arc::new(LoomNumber::new(0)), Place::default());
        put(&place, Guest::new(&moves, HOME, 7));
        // Another guest moves meanwhile.
        let elsewhere = {
            let moves = moves.clone();
            loom::thread::spawn(move || {
                let mut guest = Guest::new(&moves, HOME, 0);
                guest.run(&moves, ELSEWHERE, &mut 0);
                guest.end(&moves, ELSEWHERE, 0);
            })
        };
        let away = {
            let (moves, place) = (moves.clone(), place.clone());
            loom::thread::spawn(move || {
                let mut faults = 6;
                let mut guest = take(&place).unwrap();
                guest.run(&moves, AWAY, &mut faults);
                guest.end(&moves, AWAY, faults);
            })
        };
        away.join().unwrap();
        elsewhere.join().unwrap();
    });
}

#[test]
fn a_guest_that_stayed_is_vouched_for_if_none_moved() {
    loom::model(|| {
        let moves = LoomNumber::new(3);
        let guest = Guest::new(&moves, HOME, 7);
        note(&guest.thread, &moves, HOME);
        assert!(guest.began.vouch(Counts { thread: HOME, faults: Some(7), moves: moves.get() }));
        assert!(!guest.began.vouch(Counts { thread: HOME, faults: Some(8), moves: moves.get() }));
        assert!(!guest.began.vouch(Counts { thread: HOME, faults: None, moves: moves.get() }));
    });
}
