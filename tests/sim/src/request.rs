//! The life of one request, as the server lives it: choose, invoke, shield, count, tell the trial.

use std::{
    future::pending,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use http::{HeaderMap, HeaderValue};
use siphasher::sip::SipHasher13;
use tokio::time::{Instant, sleep, sleep_until};
use wasm_fn_control::state::{StageKey, State};
use wasm_fn_core::{Outcome, Point, Revision, Side, Sticky, VersionNo, VersionRef, Weight};
use wasm_fn_router::{
    Chosen, HeldVersion, Observation, ObservationTicket, Reason, RequestAttributes, RouteTable,
    TrafficObserver,
};

use crate::{
    dice::Dice,
    guest::{End, Guest, Running},
    model::{self, Token, rollout_at, stage_at},
    node::Plane,
    scenario::Scenario,
    world::World,
};

/// What a client sends.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) key: StageKey,
    pub(crate) user: Option<u64>,
    pub(crate) beta: bool,
    pub(crate) asked: Option<VersionRef>,
    /// What it draws, first and then.
    pub(crate) points: [Point; 2],
    /// How long the request holds its table before it chooses by it.
    pub(crate) ponders: Duration,
    /// How long the client waits for an answer before it leaves, and whether it has sent all of its request
    /// by then.
    pub(crate) patience: Option<(Duration, bool)>,
}

impl Ask {
    /// What a client of the function at `key` sends.
    pub(crate) fn draw(key: StageKey, scenario: &Scenario, dice: &mut Dice) -> Self {
        let user = (scenario.users > 0 && dice.chance(0.9)).then(|| dice.within(1..=scenario.users));
        let asked = dice
            .chance(0.03)
            .then(|| dice.pick(&[VersionRef::Canary, VersionRef::Latest, VersionRef::Stable]));
        let ponders_ms = if dice.chance(0.05) { dice.within(1..=300) } else { 0 };
        Self {
            key,
            user,
            beta: dice.chance(scenario.beta),
            asked,
            points: [dice.bits(), dice.bits()].map(Point::from_bits),
            ponders: Duration::from_millis(ponders_ms),
            patience: dice
                .chance(scenario.leave)
                .then(|| (Duration::from_millis(dice.within(1..=6000)), dice.chance(0.8))),
        }
    }
}

/// One invocation of one version, counted once, however it ends.
struct Invocation {
    world: Arc<World>,
    key: StageKey,
    id: u64,
    /// Those of the table that chose, and of the one that was published then.
    revisions: (Revision, Revision),
    entry: HeldVersion<Arc<Guest>>,
    part: Option<Part>,
    ticket: ObservationTicket,
    token: Option<Token>,
    arrived: Instant,
    counted: bool,
}

/// What a piece of work came to.
enum Cut<T> {
    Done(T),
    /// Its canary was recalled.
    Recalled,
    /// The client left.
    Left,
}

/// What [`wasm_fn_router::Assignment`] tells, kept for later.
#[derive(Clone)]
struct Part {
    trial: Arc<dyn TrafficObserver>,
    told: wasm_fn_router::Assignment,
    side: Side,
    user: Option<u64>,
    shield: Option<(HeldVersion<Arc<Guest>>, Duration)>,
}

/// A request that was accepted and has no answer yet.
struct Accepted {
    world: Arc<World>,
    id: u64,
    answered: bool,
}

/// Lives through one request.
pub(crate) async fn live(plane: Arc<Plane>, ask: Ask) {
    let world = Arc::clone(&plane.world);
    let table = plane.tables.load_full();
    if !ask.ponders.is_zero() {
        sleep(ask.ponders).await;
    }
    let accepted = Accepted::new(&world);
    let answer = match choose(&world, &plane.tables.load(), &table, &ask, accepted.id) {
        Ok(Some(first)) => {
            let timeout = first.entry.target.timeout();
            Some(run(first, timeout, &ask).await)
        }
        Ok(None) => None,
        Err(what) => {
            world.fault(what);
            None
        }
    };
    accepted.answer(answer);
}

/// Chooses by `table`, and compares the choice with what the journal's state says.
fn choose(
    world: &Arc<World>,
    newest: &RouteTable<Arc<Guest>>,
    table: &RouteTable<Arc<Guest>>,
    ask: &Ask,
    id: u64,
) -> Result<Option<Invocation>, String> {
    let path = format!("/{}", ask.key.0);
    let mut headers = HeaderMap::new();
    if let Some(user) = ask.user {
        headers.insert("user", HeaderValue::from(user));
    }
    if ask.beta {
        headers.insert("beta", HeaderValue::from_static("1"));
    }
    let mut inner = world.lock();
    let state = inner.model.state(table.revision()).map(|state| State::clone(state)).unwrap_or_default();
    let found = table.find(None, &path);
    let stored = stage_at(&state, &ask.key);
    if found.is_some() != stored.is_some() {
        return Err(format!("r{}: {path} is found: {}", table.revision().0, found.is_some()));
    }
    let Some(stage) = found else { return Ok(None) };
    let attributes =
        RequestAttributes { headers: &headers, query: None, client: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let mut points = ask.points.into_iter();
    let draw = || points.next().expect("no request draws a third time");
    let Ok(chosen) = stage.choose(&attributes, ask.asked, draw) else {
        let there = ask.asked.is_some_and(|asked| state.resolve(&ask.key.0, &ask.key.1, asked).is_ok());
        return if there { Err(format!("{:?} is not in the table", ask.asked)) } else { Ok(None) };
    };
    let expected = expected(&state, ask)?;
    let rollout = rollout_at(&state, &ask.key);
    let withheld = chosen.reason == Reason::Withheld;
    let found = chosen.version.no;
    let fits = match rollout {
        Some(rollout) if withheld => expected == rollout.canary && found == rollout.base,
        _ => !withheld && found == expected,
    };
    if !fits {
        return Err(format!(
            "request {id} is answered by {found} ({:?}), expected {expected}",
            chosen.reason
        ));
    }
    let free = chosen.reason != Reason::Override;
    let part = owned(&chosen);
    if let Some(part) = part.as_ref().filter(|part| free && part.side == Side::Canary) {
        let now_ms = inner.now();
        inner.model.placed(table.revision(), &ask.key, &part.trial, (newest.revision(), now_ms))?;
        let started_ms = rollout.map_or(0, |rollout| rollout.started_ms);
        inner.requests.pending.insert(id, Some((ask.key.0.clone(), started_ms)));
    }
    let by_cohort = rollout.is_some_and(|rollout| {
        rollout.phase.place().is_some_and(|place| rollout.spec.plan().is_by_cohort(place))
    });
    let reason_of =
        if by_cohort && chosen.reason == Reason::Cohort { "step by cohort" } else { reason(chosen.reason) };
    *inner.happened.entry(reason_of).or_default() += 1;
    inner.say(format_args!("request {id} r{} {} {:?}", table.revision().0, found, chosen.reason));
    drop(inner);
    let entry = chosen.version.hold();
    Ok(Some(Invocation::new(world, &ask.key, id, (table.revision(), newest.revision()), entry, part)))
}

/// The version that `state` means for `ask`, before any withholding.
fn expected(state: &State, ask: &Ask) -> Result<VersionNo, String> {
    let stage = stage_at(state, &ask.key).ok_or("a stage that the journal has not")?;
    if let Some(asked) = ask.asked {
        return state.resolve(&ask.key.0, &ask.key.1, asked).map_err(|error| error.to_string());
    }
    let function = state.function(&ask.key.0).map_err(|error| error.to_string())?;
    let config = function.versions.get(&stage.stable).map(|version| &version.build.config);
    let config = config.ok_or("a stable version that the journal has not")?;
    let key = ask.user.filter(|_| config.sticky != Sticky::None).map(|user| user.to_string());
    let bits = key.map(|key| {
        let [low, high] = stage.salt.0;
        SipHasher13::new_with_keys(low, high).hash(key.as_bytes())
    });
    let mut draws = ask.points.into_iter();
    let mut draw = || draws.next().unwrap_or(ask.points[0]);
    if let Some(canary) = stage.canary().filter(|_| ask.beta) {
        for rule in &config.cohorts {
            let place =
                stage.moving().and_then(|rollout| Some((rollout.spec.plan(), rollout.phase.place()?)));
            let share = match (place, &rule.name) {
                (Some((plan, place)), Some(name)) => plan.cohort_share(place, name),
                _ => Weight::FULL,
            };
            let is_part = share != Weight::ZERO && share != Weight::FULL;
            let within = |point: Point| point.place() < share.basis_points();
            if share == Weight::FULL
                || is_part
                    && within(bits.map_or_else(&mut draw, |bits| Point::from_bits(bits.rotate_left(32))))
            {
                return Ok(canary);
            }
        }
    }
    Ok(stage.split.pick(bits.map_or_else(draw, Point::from_bits)))
}

/// The word for `reason`.
fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Override => "override",
        Reason::Cohort => "cohort",
        Reason::Sticky => "sticky",
        Reason::Draw => "draw",
        Reason::Withheld => "withheld",
    }
}

fn owned(chosen: &Chosen<'_, Arc<Guest>>) -> Option<Part> {
    let part = chosen.assignment?;
    let version = chosen.version.hold();
    Some(Part {
        trial: Arc::clone(version.observer()?),
        told: part,
        side: part.side,
        user: part.user,
        shield: part.fallback_after.and_then(|after| Some((version.fallback()?, after))),
    })
}

/// Runs the version that was chosen, and the one behind it where the shield says so; gives who answered, and
/// how.
async fn run(first: Invocation, timeout: Duration, ask: &Ask) -> (VersionNo, Outcome) {
    let part = first.part.clone();
    let no = first.entry.no;
    let shield = part.as_ref().and_then(|part| part.shield.clone());
    let limit = shield.as_ref().map_or(timeout, |(_, after)| *after);
    let canary = part.as_ref().filter(|part| part.side == Side::Canary);
    let leaves = ask.patience.map(|(patience, _)| first.arrived + patience);
    let head = Arc::clone(&first.entry.target).invoke(ask.user, ask.beta, limit);
    let end = match cut(canary, leaves, head).await {
        Cut::Recalled => {
            first.world.happened("recalled");
            End::dropped(first.arrived.elapsed())
        }
        Cut::Left => return leave(first, ask),
        Cut::Done(Ok(running)) if !running.has_failed() || shield.is_none() => {
            return (no, body(first, canary, leaves, running).await);
        }
        Cut::Done(Ok(running)) => running.end(Outcome::ServerError),
        Cut::Done(Err(end)) => end,
    };
    let outcome = end.ended.outcome;
    let Some((entry, _)) = shield.filter(|_| !end.effect) else {
        first.count(&end, false);
        return (no, outcome);
    };
    let (no, target) = (entry.no, Arc::clone(&entry.target));
    first.world.happened("shielded");
    let rest = timeout.saturating_sub(first.arrived.elapsed());
    // Nothing placed it on stable, so it says nothing of the shares.
    let second = Invocation::new(&first.world, &first.key, first.id, first.revisions, entry, None);
    first.count(&end, false);
    match cut(None, leaves, target.invoke(ask.user, ask.beta, rest)).await {
        Cut::Done(Ok(running)) => (no, body(second, None, leaves, running).await),
        Cut::Done(Err(end)) => {
            second.count(&end, false);
            (no, end.ended.outcome)
        }
        Cut::Left | Cut::Recalled => leave(second, ask),
    }
}

/// The client leaves before there is an answer.
fn leave(invocation: Invocation, ask: &Ask) -> (VersionNo, Outcome) {
    let (no, end) = (invocation.entry.no, End::dropped(invocation.arrived.elapsed()));
    invocation.world.happened("abandoned");
    invocation.count(&end, ask.patience.is_some_and(|(_, sent)| sent));
    (no, end.ended.outcome)
}

/// Sends the body.
async fn body(
    invocation: Invocation,
    canary: Option<&Part>,
    leaves: Option<Instant>,
    running: Running,
) -> Outcome {
    let end = match cut(canary, leaves, running.finish()).await {
        Cut::Done(end) => end,
        Cut::Recalled | Cut::Left => End::dropped(invocation.arrived.elapsed()),
    };
    invocation.count(&end, false);
    end.ended.outcome
}

/// What `work` comes to, unless the canary is recalled or the client leaves before.
async fn cut<T>(canary: Option<&Part>, leaves: Option<Instant>, work: impl Future<Output = T>) -> Cut<T> {
    let recalled = async {
        match canary {
            Some(canary) => canary.trial.recalled().await,
            None => pending().await,
        }
    };
    let left = async {
        match leaves {
            Some(leaves) => sleep_until(leaves).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        () = recalled => Cut::Recalled,
        () = left => Cut::Left,
        done = work => Cut::Done(done),
    }
}

impl Invocation {
    fn new(
        world: &Arc<World>,
        key: &StageKey,
        id: u64,
        revisions: (Revision, Revision),
        entry: HeldVersion<Arc<Guest>>,
        part: Option<Part>,
    ) -> Self {
        let (world, key) = (Arc::clone(world), key.clone());
        let arrived = Instant::now();
        let token = {
            let mut inner = world.lock();
            inner.requests.invocations += 1;
            let (now_ms, timeout) = (inner.now(), entry.target.timeout());
            part.as_ref().and_then(|part| inner.model.begins(revisions, &key, &part.told, now_ms, timeout))
        };
        let begin = |part: &Part| part.trial.request_began(&part.told, arrived.into_std());
        let ticket = part.as_ref().map(begin).unwrap_or_default();
        Self { world, key, id, revisions, entry, part, ticket, token, arrived, counted: false }
    }

    /// It ended like this; `abandoned` by its client before there was an answer or not.
    fn count(mut self, end: &End, abandoned: bool) {
        self.counted = true;
        self.entry.tally.record(end.ended);
        if let Some(trap) = &end.trap {
            self.entry.tally.trapped(trap.fingerprint);
        }
        let mut inner = self.world.lock();
        let function = &self.key.0;
        let outcome = end.ended.outcome;
        inner.requests.tally(function, self.entry.no, outcome);
        inner.requests.pending.entry(self.id).and_modify(|canary| *canary = None);
        if let Some(token) = &self.token {
            let now_ms = inner.now();
            inner.model.ends(token, &model::End { outcome, latency: end.ended.latency, abandoned }, now_ms);
        }
        inner.say(format_args!("request {} {} ends: {outcome}", self.id, self.entry.no));
        drop(inner);
        self.hear(end, abandoned);
    }

    fn hear(&self, end: &End, abandoned: bool) {
        let Some(part) = &self.part else { return };
        part.trial.request_ended(&Observation {
            ticket: self.ticket,
            side: part.side,
            placement: part.told.placement,
            record: end.ended,
            abandoned,
            at: Instant::now().into_std(),
            user: part.user,
            request_id: u128::from(self.id),
            trap: end.trap.as_ref(),
        });
    }
}

impl Drop for Invocation {
    fn drop(&mut self) {
        if !self.counted {
            let end = End::dropped(Duration::ZERO);
            self.entry.tally.record(end.ended);
            self.world.lock().requests.tally(&self.key.0, self.entry.no, end.ended.outcome);
        }
    }
}

impl Accepted {
    fn new(world: &Arc<World>) -> Self {
        let id = world.lock().requests.accept();
        Self { world: Arc::clone(world), id, answered: false }
    }

    fn answer(mut self, answer: Option<(VersionNo, Outcome)>) {
        self.answered = true;
        let mut inner = self.world.lock();
        let answered = inner.requests.answer(self.id);
        inner.held(answered);
        if let Some((by, outcome)) = answer {
            inner.say(format_args!("request {} is answered by {by}: {outcome}", self.id));
        }
    }
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        // The node died; the client sees its connection close. No line: the order of drops is nobody's.
        let mut inner = self.world.lock();
        let answered = inner.requests.answer(self.id);
        if !inner.crashed || answered.is_err() {
            inner.fault(format!("request {} was dropped by a node that lives", self.id));
        }
    }
}
