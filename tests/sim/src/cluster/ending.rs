//! The end of a run: everything is mended, and what there is has to be as it should.

use std::io;

use serde_json::Value;
use wasm_fn_core::Revision;

use super::{AGAIN_MS, COMMITS, LONG_TURN_MS, SETTLES_MS, Sim};

impl Sim {
    /// Lets everything end that is under way, and looks at what there is.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let until_ms = self.now_ms + SETTLES_MS;
        while self.now_ms < until_ms && !self.has_failed() {
            self.turn(LONG_TURN_MS)?;
        }
        let head = self.truth.head();
        if !self.lost {
            // A short lease ends now and then.
            self.becomes(AGAIN_MS, |stands| stands.is_in_touch && stands.revision == head)?;
        }
        if self.has_failed() {
            return Ok(());
        }
        if self.lost {
            self.look_at_loss();
        } else {
            self.look_at_end();
        }
        for member in &mut self.members {
            member.look_back();
            member.kill();
        }
        self.has_failed();
        Ok(())
    }

    /// All nodes have one state, which is the broker's, and everything that was ever durable is in it.
    fn look_at_end(&mut self) {
        let (head, last) = (self.truth.head(), self.truth.last());
        let mut found = Vec::new();
        for member in &self.members {
            let Some(stands) = member.stands() else { continue };
            let name = member.name();
            if let Some(fault) = stands.fault {
                found.push(format!("{name}: {fault}"));
            } else if !stands.is_in_touch {
                found.push(format!("{name} is out of touch, though nothing is in its way"));
            } else if stands.revision != head || *stands.state != last {
                found.push(format!("{name} is at r{}, expected r{}", stands.revision.0, head.0));
            }
        }
        let kept = self.network.read(|broker| {
            broker.payloads(COMMITS).map(|(at, payload)| (at, payload.clone())).collect::<Vec<_>>()
        });
        if kept.last().map_or(0, |kept| kept.0) != head.0 {
            found.push(format!("the broker has {} changes, expected {}", kept.len(), head.0));
        }
        for (at, payload) in kept {
            let kept: Value = serde_json::from_slice(&payload).unwrap_or_default();
            let record = self.truth.record(Revision(at));
            if kept.get("record").and_then(Value::as_str) != record.as_deref() {
                found.push(format!("the broker has another change of r{at} than the nodes"));
            }
        }
        if let Some(what) = found.into_iter().next() {
            self.fail(what);
        }
    }

    /// The broker has lost what some node has: whoever has it says so, and nobody obeys.
    fn look_at_loss(&mut self) {
        let has = self.network.read(|broker| broker.payloads(COMMITS).last().map_or(0, |it| it.0));
        let mut found = None;
        for member in &self.members {
            let Some(stands) = member.stands() else { continue };
            let is_ahead = stands.revision.0 > has;
            let names = stands.fault.as_ref().is_some_and(|fault| fault.contains("differs"));
            if stands.is_in_touch || (is_ahead && !names) {
                found = Some(format!(
                    "{} is at r{}, the broker lost what is behind r{has}, and it says {:?}; in touch: {}",
                    member.name(),
                    stands.revision.0,
                    stands.fault,
                    stands.is_in_touch
                ));
            }
        }
        if let Some(what) = found {
            self.fail(what);
        }
    }
}
