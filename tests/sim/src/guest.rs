//! Guests that pretend, admitted and pooled by the real thing, as the runtime does it.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::{
    sync::oneshot,
    time::{Instant, sleep_until, timeout},
};
use wasm_fn_core::{Digest, FunctionName, Limits, Outcome, Trap, VersionNo};
use wasm_fn_pool::{
    Checkout, ConcurrencyLimit, Pool, PoolOptions, QueueTicket, Slots, StartPermit, Wait, Wake,
};
use wasm_fn_router::InvocationRecord;

use crate::{scenario::Act, world::World};

/// How often the sizes of pools follow the load.
const RESIZE_EVERY: Duration = Duration::from_millis(100);

/// Instances of a version that wait ready at most.
const WARM_MAX: usize = 50;

/// The thread of all instances: the simulation has one.
const THREAD: u64 = 1;

/// How long a guest takes to start, as its pool is told.
const START: Duration = Duration::from_millis(1);

/// Time without requests after which a version keeps no instance.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// The node as guests share it.
pub(crate) struct Node {
    pub(crate) world: Arc<World>,
    gate: ConcurrencyLimit<Waiter>,
    slots: Arc<Slots>,
    alive: Arc<AtomicUsize>,
    guests: Mutex<Vec<Weak<Guest>>>,
    start: Instant,
}

/// A version that can be invoked.
pub(crate) struct Guest {
    pub(crate) function: FunctionName,
    pub(crate) no: VersionNo,
    digest: Digest,
    limits: Limits,
    pool: Pool<Instance>,
    gate: ConcurrencyLimit<Waiter>,
    served: AtomicU64,
    resized: Mutex<Duration>,
    node: Arc<Node>,
}

/// A request that waits for a place.
struct Waiter(oneshot::Sender<()>);

struct Instance {
    _permit: StartPermit,
    _alive: Alive,
    uses_left: u32,
}

/// Counts instances apart from their permits.
struct Alive(Arc<AtomicUsize>);

/// The right to run; given on when dropped.
struct Place {
    guest: Arc<Guest>,
    queue_wait: Duration,
}

/// A guest whose head is there.
pub(crate) struct Running {
    place: Place,
    instance: Instance,
    act: Act,
    arrived: Instant,
    began: Instant,
    deadline: Instant,
}

/// How an invocation ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) ended: InvocationRecord,
    pub(crate) trap: Option<Trap>,
    /// It did something that must not be done twice.
    pub(crate) effect: bool,
}

impl Wake for Waiter {
    fn wake(self) -> bool {
        self.0.send(()).is_ok()
    }
}

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.guest.node.now();
        self.guest.node.gate.release(now);
        self.guest.gate.release(now);
    }
}

impl Node {
    pub(crate) fn new(world: Arc<World>) -> Arc<Self> {
        let scenario = &world.scenario;
        Arc::new(Self {
            gate: ConcurrencyLimit::new(scenario.running_max, scenario.running_max),
            slots: Arc::new(Slots::new(scenario.instances_max)),
            alive: Arc::default(),
            guests: Mutex::default(),
            start: Instant::now(),
            world,
        })
    }

    /// A handle on a version.
    pub(crate) fn guest(
        self: &Arc<Self>,
        function: &FunctionName,
        no: VersionNo,
        digest: Digest,
        limits: &Limits,
    ) -> Arc<Guest> {
        let pool = Pool::new(PoolOptions {
            slots: Arc::clone(&self.slots),
            floor: 1,
            ceiling: WARM_MAX.min(limits.concurrency as usize),
            idle_after: IDLE_AFTER,
        });
        // Guests that start slowly: instances of others are not made ahead.
        pool.record_starts(1, START);
        let guest = Arc::new(Guest {
            function: function.clone(),
            no,
            digest,
            limits: limits.clone(),
            pool,
            gate: ConcurrencyLimit::new(limits.concurrency, limits.queue),
            served: AtomicU64::new(0),
            resized: Mutex::default(),
            node: Arc::clone(self),
        });
        let mut guests = self.guests();
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(Arc::downgrade(&guest));
        guest
    }

    /// Checks that nobody runs or lives who may not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (alive, used, max) = (self.alive.load(Relaxed), self.slots.used(), self.slots.max());
        if alive > max || used > max || alive != used {
            return Err(format!(
                "{alive} instances live with {used} permits, expected as many, at most {max}"
            ));
        }
        let limit = self.world.scenario.running_max;
        if self.gate.running() > limit {
            return Err(format!(
                "{} requests run on the node, expected at most {limit}",
                self.gate.running()
            ));
        }
        let guests: Vec<_> = self.guests().iter().filter_map(Weak::upgrade).collect();
        let pooled: usize = guests.iter().map(|guest| guest.pool.live()).sum();
        if pooled > used {
            return Err(format!("pools hold {pooled} instances, expected at most {used}"));
        }
        for guest in guests {
            let (running, limit) = (guest.gate.running(), guest.limits.concurrency);
            if running > limit {
                return Err(format!("{running} requests run on {}, expected at most {limit}", guest.no));
            }
        }
        Ok(())
    }

    /// What the node makes of a request at the moment, of its own fault.
    fn fault(&self) -> Option<Outcome> {
        let now_ms = self.world.now_ms();
        let burst = self.world.scenario.bursts.iter().find(|burst| burst.lasts.contains(&now_ms))?;
        let fails = self.world.lock().dice.chance(burst.share);
        if fails {
            self.world.happened("fault of the node");
        }
        fails.then_some(burst.outcome)
    }

    /// Gives up a ready instance of some version; false when there is none.
    fn reclaim(&self) -> bool {
        let guests: Vec<_> = self.guests().iter().filter_map(Weak::upgrade).collect();
        guests.iter().any(|guest| guest.pool.reclaim().is_some())
    }

    fn guests(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Guest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl Guest {
    /// How long a request may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.limits.timeout
    }

    /// What a check is answered.
    pub(crate) fn check_status(&self) -> StatusCode {
        self.node.world.scenario.behaviour(self.digest).check_status
    }

    /// Runs one invocation until its head is there.
    ///
    /// # Errors
    /// How it ended before that.
    pub(crate) async fn invoke(
        self: Arc<Self>,
        user: Option<u64>,
        beta: bool,
        limit: Duration,
    ) -> Result<Running, End> {
        let arrived = Instant::now();
        let shed = |queue_wait| End::of(Outcome::Shed, arrived, queue_wait, None);
        let fault = self.node.fault();
        if fault == Some(Outcome::Shed) {
            return Err(shed(Duration::ZERO));
        }
        let place = Arc::clone(&self).admit(arrived).await.ok_or_else(|| shed(arrived.elapsed()))?;
        let instance = self.instance().ok_or_else(|| shed(place.queue_wait))?;
        let world = &self.node.world;
        let act = world.scenario.behaviour(self.digest).act(
            self.served.fetch_add(1, Relaxed),
            world.scenario.is_cursed(user),
            beta,
            &mut world.lock().dice,
        );
        let (began, deadline) = (Instant::now(), arrived + limit);
        let running = Running { place, instance, act, arrived, began, deadline };
        if let Some(fault) = fault {
            return Err(running.end(fault));
        }
        let head = began + Duration::from_millis(act.head_ms);
        sleep_until(if act.outcome == Outcome::Timeout && !act.late { deadline } else { head.min(deadline) })
            .await;
        if Instant::now() >= deadline {
            return Err(running.end(Outcome::Timeout));
        }
        let early = !act.late && !matches!(act.outcome, Outcome::Success | Outcome::ServerError);
        if early { Err(running.end(act.outcome)) } else { Ok(running) }
    }

    fn instance(&self) -> Option<Instance> {
        let mut checkout = self.pool.checkout(THREAD);
        if matches!(checkout, Checkout::Full) && self.node.reclaim() {
            checkout = self.pool.checkout(THREAD);
        }
        match checkout {
            Checkout::Warm(instance) => Some(instance),
            Checkout::Cold(permit) => Some(self.start(permit)),
            Checkout::Full => None,
        }
    }

    fn start(&self, permit: StartPermit) -> Instance {
        Instance { _permit: permit, _alive: Alive::new(&self.node.alive), uses_left: self.limits.reuse }
    }

    /// An invocation has ended, and its instance is free or gone.
    fn ended(&self, service: Duration) {
        self.pool.record(service);
        let now = self.node.now();
        {
            let mut resized = self.resized.lock().unwrap_or_else(PoisonError::into_inner);
            if now >= *resized + RESIZE_EVERY {
                *resized = now;
                drop(self.pool.resize(now, self.gate.running() as usize));
            }
        }
        while let Some(permit) = self.pool.refill() {
            drop(self.pool.check_in(THREAD, self.start(permit)));
        }
    }

    /// Waits for a place in the version's and then in the node's queue.
    async fn admit(self: Arc<Self>, arrived: Instant) -> Option<Place> {
        let wait_max = self.limits.queue_wait.min(self.limits.timeout);
        let own = enter(&self.gate, &self.node, wait_max).await?;
        let mut held = HeldGate { guest: Some(self) };
        let guest = held.guest.as_ref().expect("given away only below");
        let nodes = enter(&guest.node.gate, &guest.node, wait_max).await?;
        let guest = held.guest.take().expect("given away only here");
        let at_once = own == Entry::AtOnce && nodes == Entry::AtOnce;
        Some(Place { guest, queue_wait: if at_once { Duration::ZERO } else { arrived.elapsed() } })
    }
}

impl Running {
    /// Whether the head says that the guest failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.act.outcome == Outcome::ServerError
    }

    /// Runs it to its end.
    pub(crate) async fn finish(self) -> End {
        let complete = Instant::now() + Duration::from_millis(self.act.body_ms);
        sleep_until(complete.min(self.deadline)).await;
        let outcome = if Instant::now() >= self.deadline { Outcome::Timeout } else { self.act.outcome };
        self.end(outcome)
    }

    /// It has ended like this.
    pub(crate) fn end(self, outcome: Outcome) -> End {
        let Self { place, mut instance, act, arrived, began, .. } = self;
        instance.uses_left = instance.uses_left.saturating_sub(1);
        if matches!(outcome, Outcome::Success | Outcome::ServerError) && instance.uses_left > 0 {
            drop(place.guest.pool.check_in(THREAD, instance));
        } else {
            drop(instance);
        }
        place.guest.ended(began.elapsed());
        End::of(outcome, arrived, place.queue_wait, Some(act))
    }
}

impl End {
    fn of(outcome: Outcome, arrived: Instant, queue_wait: Duration, act: Option<Act>) -> Self {
        let trap = act.filter(|_| outcome == Outcome::Trap).map(|act| Trap {
            fingerprint: act.fingerprint,
            backtrace: format!("trap {} in a guest that pretends", act.fingerprint).into(),
        });
        let memory_peak_bytes = act.map_or(0, |act| act.memory_bytes);
        let ended = InvocationRecord { outcome, latency: arrived.elapsed(), queue_wait, memory_peak_bytes };
        Self { ended, trap, effect: act.is_some_and(|act| act.effect) }
    }

    /// An invocation that was dropped.
    pub(crate) fn dropped(latency: Duration) -> Self {
        let ended = InvocationRecord {
            outcome: Outcome::Cancelled,
            latency,
            queue_wait: Duration::ZERO,
            memory_peak_bytes: 0,
        };
        Self { ended, trap: None, effect: false }
    }
}

/// The version's gate, entered while the node's is awaited.
struct HeldGate {
    guest: Option<Arc<Guest>>,
}

impl Drop for HeldGate {
    fn drop(&mut self) {
        if let Some(guest) = &self.guest {
            guest.gate.release(guest.node.now());
        }
    }
}

/// How a gate was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    AtOnce,
    AfterWaiting,
}

/// Enters `gate`, waiting at most `wait_max`; `None` when it is full or too slow.
async fn enter(gate: &ConcurrencyLimit<Waiter>, node: &Node, wait_max: Duration) -> Option<Entry> {
    if gate.try_acquire() {
        return Some(Entry::AtOnce);
    }
    let (sender, receiver) = oneshot::channel();
    match gate.wait(node.now() + wait_max, Waiter(sender)) {
        Wait::Acquired(_) => Some(Entry::AtOnce),
        Wait::Full(_) => None,
        Wait::Queued(ticket) => {
            let mut waiting = Waiting { gate, node, ticket: Some(ticket), receiver };
            let woken = timeout(wait_max, &mut waiting.receiver).await;
            matches!(woken, Ok(Ok(()))).then(|| {
                waiting.ticket = None;
                Entry::AfterWaiting
            })
        }
    }
}

/// A place in a queue; left when dropped, and a place won meanwhile is given on.
struct Waiting<'a> {
    gate: &'a ConcurrencyLimit<Waiter>,
    node: &'a Node,
    /// `None` once the place was taken up.
    ticket: Option<QueueTicket>,
    receiver: oneshot::Receiver<()>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.receiver.close();
            if !self.gate.cancel(ticket) && self.receiver.try_recv().is_ok() {
                self.gate.release(self.node.now());
            }
        }
    }
}
