//! What must hold of a node at every moment, and what its journal must say.

use std::sync::Arc;

use wasm_fn_control::{Control, host::Host, state::State};
use wasm_fn_core::{Outcome, Revision};
use wasm_fn_router::RouteTable;
use wasm_fn_store::{JournalRange, Store};

use crate::{
    guest::{Guest, Node},
    host::SimHost,
    world::World,
};

/// What is charged to a version: nothing that the node or a client did.
const FAULTS_OF_VERSIONS: [Outcome; 5] =
    [Outcome::ServerError, Outcome::Trap, Outcome::Timeout, Outcome::OutOfMemory, Outcome::InvalidResponse];

/// Looks at what is published, which was at `revision` before, and who runs.
pub(crate) fn at_node<S: Store>(
    world: &World,
    control: &Control<SimHost, S>,
    node: &Node,
    revision: &mut Revision,
) where
    SimHost: Host<Version = Arc<Guest>>,
{
    let table = control.tables().load_full();
    let state = control.state();
    let checked = node.check();
    let mut inner = world.lock();
    inner.held(checked);
    if table.revision() == *revision {
        return;
    }
    if table.revision() < *revision {
        inner.fault(format!("r{} is published after r{}", table.revision().0, revision.0));
    }
    *revision = table.revision();
    let compared = inner.model.compare(&table);
    inner.held(compared);
    if inner.model.state(*revision).is_some_and(|stored| *stored != state) {
        inner.fault(format!("the journal's changes do not give the state of r{}", revision.0));
    }
    drop(inner);
    at_tallies(world, &table);
}

/// Whether what is published counts what was answered, whatever was published meanwhile.
pub(crate) fn at_tallies(world: &World, table: &RouteTable<Arc<Guest>>) {
    let mut inner = world.lock();
    for stage in table.stages() {
        for version in stage.versions() {
            let none = [0; Outcome::ALL.len()];
            let own = inner.requests.tallied.get(&(stage.function().clone(), version.no)).unwrap_or(&none);
            let found = version.tally.snapshot();
            let failures: u64 = FAULTS_OF_VERSIONS.iter().map(|outcome| own[outcome.index()]).sum();
            if found.counts() != own || found.failures() != failures {
                let what = format!("{} of {} has {found:?}, expected {own:?}", version.no, stage.function());
                inner.fault(what);
                return;
            }
        }
    }
}

/// Reads the whole journal again, whose state `store` keeps.
pub(crate) async fn back<S: Store>(world: &World, control: &Control<SimHost, S>, store: &impl Store) {
    let all = JournalRange { function: None, before: None, limit: usize::MAX };
    let Ok(entries) = control.journal(all).await else {
        return world.fault("the journal cannot be read".to_owned());
    };
    let stored = match wasm_fn_control::stored_state(store).await {
        Ok(stored) => stored,
        Err(error) => return world.fault(error.to_string()),
    };
    let mut state = State::default();
    for entry in entries.iter().rev() {
        state.apply(&entry.change, &entry.meta());
    }
    if state != stored || state != *control.state() {
        let revision = state.revision().0;
        world.fault(format!("replaying the journal gives another state than that of r{revision}"));
    }
    if let Err(error) = control.verify_journal(None).await {
        world.fault(error.to_string());
    }
    at_tallies(world, &control.tables().load());
}

/// Checks what a life leaves: nobody waits for an answer, and each run of a version was counted once.
pub(crate) fn at_accounts(world: &World) {
    let mut inner = world.lock();
    let pending = inner.requests.pending.len();
    if pending > 0 {
        inner.fault(format!("{pending} requests were never answered"));
    }
    let tallied: u64 = inner.requests.tallied.values().flatten().sum();
    let invocations = inner.requests.invocations;
    if tallied != invocations {
        inner.fault(format!("{tallied} ends were counted, expected {invocations}"));
    }
}
