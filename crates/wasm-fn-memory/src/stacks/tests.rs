//! Facts about stacks: they are apart, come again, and are given back.

use std::collections::HashSet;

use super::*;

const BYTES: usize = 64 << 10;

#[test]
fn stacks_are_apart_and_come_again() {
    let stacks = Stacks::new(3, BYTES).unwrap();
    let live: Vec<_> = (0..3).map(|_| stacks.new_stack(BYTES, false).unwrap()).collect();
    let starts: HashSet<_> = live.iter().map(|stack| stack.range().start).collect();
    assert_eq!(starts.len(), 3);
    for stack in &live {
        let range = stack.range();
        assert_eq!((range.len(), stack.top().addr()), (BYTES, range.end));
        assert_eq!(stack.guard_range().end.addr(), range.start);
        assert!(live.iter().all(|other| {
            let below = other.guard_range().start.addr();
            other.range() == range || other.range().end <= range.start - page_bytes() || range.end <= below
        }));
    }
    let refused = stacks.new_stack(BYTES, false).err().unwrap();
    assert!(refused.is::<NoStack>(), "{refused}");
    drop(live);
    assert!(starts.contains(&stacks.new_stack(BYTES, false).unwrap().range().start));
}

#[test]
fn a_stack_that_is_not_as_asked_is_refused() {
    let stacks = Stacks::new(1, BYTES).unwrap();
    assert!(stacks.new_stack(BYTES + 1, false).is_err());
    assert!(stacks.new_stack(BYTES, true).is_err());
    assert!(stacks.new_stack(BYTES, false).is_ok());
}

#[test]
fn free_stacks_are_given_back_and_live_ones_are_not() {
    let stacks = Stacks::new(2, BYTES).unwrap();
    let [live, free] = [(); 2].map(|()| stacks.new_stack(BYTES, false).unwrap());
    let (live_at, free_at) = (live.range(), free.range());
    let bytes = [7; 16];
    for stack in [&live_at, &free_at] {
        stacks.shared.area.write(&(stack.start..stack.start + bytes.len()), &bytes);
    }
    drop(free);
    stacks.decommit().unwrap();
    let read = |at: &Range<usize>| {
        // SAFETY: both are open, and nobody writes there.
        unsafe { ptr::with_exposed_provenance::<u8>(at.start).read_volatile() }
    };
    assert_eq!((read(&live_at), read(&free_at)), (7, 0));
    drop(live);
}

#[test]
fn more_than_there_are_addresses_is_refused() {
    assert!(Stacks::new(usize::MAX / BYTES, BYTES).is_err());
    assert!(Stacks::new(1 << 40, BYTES).is_err());
}
