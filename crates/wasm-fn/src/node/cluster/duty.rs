//! Which node of a cluster has the schedules tick: the one with their lease.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::sync::watch;
use wasm_fn_control::peers::Peers as _;
use wasm_fn_delivery::Duty;
use wasm_fn_events::Timestamp;

use super::{super::host::NodeControl, peers::SCHEDULES, sharing::Sharing};

/// The duty of the node that `sharing` is of. What was due while no node had the lease is due here.
pub(in crate::node) fn duty(sharing: &Arc<Sharing>, control: &Arc<NodeControl>) -> watch::Receiver<Duty> {
    let (sender, duty) = watch::channel(Duty::Off);
    let (mut leases, gap) = (sharing.peers().leases(), sharing.peers().lease());
    let control = Arc::downgrade(control);
    tokio::spawn(async move {
        loop {
            let Some(now_ms) = control.upgrade().map(|control| control.now().0) else { return };
            let next = next(&leases.borrow_and_update(), *sender.borrow(), now_ms, gap);
            sender.send_if_modified(|duty| std::mem::replace(duty, next) != next);
            let ended = tokio::select! {
                changed = leases.changed() => changed.is_err(),
                () = sender.closed() => true,
            };
            if ended {
                return;
            }
        }
    });
    duty
}

/// The duty after `before`, with these `leases`, at `now_ms`.
fn next(leases: &BTreeSet<String>, before: Duty, now_ms: u64, gap: Duration) -> Duty {
    match (leases.contains(SCHEDULES), before) {
        (false, _) => Duty::Off,
        (true, Duty::From(from)) => Duty::From(from),
        (true, Duty::Off) => {
            let gap_ms = u64::try_from(gap.as_millis()).unwrap_or(u64::MAX);
            Duty::From(Timestamp::from_unix_ms(now_ms.saturating_sub(gap_ms)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_tick_with_their_lease_from_when_nobody_had_it() {
        let (none, some) = (BTreeSet::new(), BTreeSet::from([SCHEDULES.to_owned()]));
        let gap = Duration::from_secs(5);
        assert_eq!(next(&none, Duty::Off, 90_000, gap), Duty::Off);
        let on = next(&some, Duty::Off, 90_000, gap);
        assert_eq!(on, Duty::From(Timestamp::from_unix_ms(85_000)));
        assert_eq!(next(&some, on, 95_000, gap), on, "a lease that is kept changes nothing");
        assert_eq!(next(&none, on, 99_000, gap), Duty::Off);
    }
}
