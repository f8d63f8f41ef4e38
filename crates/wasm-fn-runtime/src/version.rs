//! A version at work: who may run, which instance serves, what is kept ready.

use std::{
    future::ready,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use arc_swap::Guard;
use bytes::Bytes;
use futures_util::future::Either;
use http::Response;
use http_body::Body;
use tokio::sync::{Notify, oneshot};
use wasm_fn_core::{Digest, FunctionConfig, FunctionName, Limits, VersionNo};
use wasm_fn_pool::{Checkout, ConcurrencyLimit, Pool, PoolOptions, StartPermit, Wait, Wake, share_max};
use wasm_fn_thread::thread_number;

use crate::{
    code::{Code, ForVersion, NoCode},
    component::{Mapped, PrepareError},
    fault::{Failed, Fault, Usage},
    in_place::in_place,
    instance::{Instance, Mould},
    invocation::{Deadline, Guest, Invocation, RequestBodyError, ResponseBody},
    logs::LogRing,
    retired::Retired,
    runtime::Node,
};

/// How long a version whose pool is passive is left alone. To look at one takes two microseconds where thousands serve,
/// for it is in no cache then; and its requests do the same whatever comes of it, but for load that has just risen.
const PASSIVE_REST: Duration = Duration::from_secs(1);

/// Which version of which function.
#[derive(Clone, Debug)]
pub struct VersionSpec {
    /// Its function.
    pub function: FunctionName,
    /// Its number.
    pub version: VersionNo,
    /// Its component.
    pub digest: Digest,
    /// Its configuration.
    pub config: FunctionConfig,
}

/// A version that can be invoked. Costs little until it is: its code is loaded when it is called, and given up
/// when it has not been called for a while.
///
/// Its fields lie in this order, those that every request touches first and together: where thousands of versions
/// serve, one is in no cache when its request comes, which then waits for each of its lines.
#[repr(C)]
pub struct Version {
    mould: Arc<Mould>,
    pub(crate) code: Arc<Code>,
    node: Arc<Node>,
    /// Whether the node looks after its pool at the moment.
    tended: AtomicBool,
    /// Whether a task refills its pool.
    refilling: AtomicBool,
    pub(crate) gate: ConcurrencyLimit<Waiter>,
    pub(crate) pool: Pool<Instance>,
    /// Tells that task that the pool has fewer than it wants, or wants none.
    short: Notify,
    function: FunctionName,
}

/// A request that waits for a place, or a guest that waits for a turn.
pub(crate) struct Waiter(pub(crate) oneshot::Sender<()>);

impl Wake for Waiter {
    fn wake(self) -> bool {
        self.0.send(()).is_ok()
    }
}

/// The right to run on this node, of this version; given on when dropped.
pub(crate) struct Place {
    pub(crate) version: Arc<Version>,
    pub(crate) queue_wait: Duration,
}

impl Drop for Place {
    fn drop(&mut self) {
        let node = &self.version.node;
        for gate in [&node.gate, &self.version.gate] {
            // The clock is for those who wait.
            if !gate.try_release() {
                gate.release(node.now());
            }
        }
    }
}

impl Version {
    /// The version of `spec` by `code`, which is its component's.
    pub(crate) fn new(node: Arc<Node>, code: Arc<Code>, spec: VersionSpec, log: Arc<LogRing>) -> Self {
        let VersionSpec { function, version, config, .. } = spec;
        let mould = Arc::new(node.mould(version, config, log));
        let limits = &mould.limits;
        let pool = Pool::new(PoolOptions {
            slots: node.slots.clone(),
            floor: 1,
            ceiling: node.options.warm_max.min(limits.concurrency as usize),
            idle_after: node.options.idle_after,
        });
        // Those beyond its share of the node wait here, where they are in nobody else's way.
        let gate = ConcurrencyLimit::new(limits.concurrency.min(share_max(node.gate.limit())), limits.queue);
        let (tended, refilling) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { mould, code, node, tended, refilling, gate, pool, short: Notify::new(), function }
    }

    pub(crate) fn no(&self) -> VersionNo {
        self.mould.surroundings.version
    }

    /// Its component.
    pub fn component(&self) -> Digest {
        self.code.digest()
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.mould.limits
    }

    pub(crate) fn log(&self) -> &LogRing {
        &self.mould.surroundings.log
    }

    /// An invocation has ended, and its instance is free or gone.
    pub(crate) fn ended(self: &Arc<Self>, service: Duration) {
        self.pool.record(service);
        self.keep_ready();
    }

    /// Runs one invocation, within what is left of the version's timeout since it arrived.
    ///
    /// Most requests have their place and their instance in this call, so that what is returned is small. The
    /// future polls the guest until its response head is known; the body polls it further.
    ///
    /// # Errors
    /// When no place was free in time, when its code has to be compiled first, or the guest failed before its response
    /// head; without starting it when no time is left.
    ///
    /// # Cancel safety
    /// Dropping the future or the body ends the guest and frees its place.
    pub fn invoke<B>(
        self: Arc<Self>,
        invocation: Invocation<B>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Failed>> + Send + 'static
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let began = invocation.began;
        let end = invocation.arrived + self.limits().timeout;
        let admitted = if began < end { self.admit_at_once() } else { Err(self) };
        let instance = admitted.as_ref().ok().and_then(|place| place.version.instance_at_once());
        match (admitted, instance) {
            (Ok(place), Some(Ok(instance))) => {
                let deadline = Deadline::new(end);
                Either::Left(Guest::start(instance, invocation, deadline, began, place).respond())
            }
            (_, Some(Err(fault))) => {
                Either::Right(Either::Left(ready(Err(Failed { fault, usage: Usage::default() }))))
            }
            (admitted, _) => {
                let waiting = in_place(|| Self::invoke_waiting(admitted, invocation, began, end));
                Either::Right(Either::Right(waiting))
            }
        }
    }

    /// [`invoke`](Self::invoke) of a request that has to wait for a place or for its instance, or comes too late.
    #[expect(clippy::disallowed_methods, reason = "deadlines are wall-clock time")]
    async fn invoke_waiting<B>(
        admitted: Result<Place, Arc<Self>>,
        invocation: Invocation<B>,
        began: Instant,
        end: Instant,
    ) -> Result<Response<ResponseBody>, Failed>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let place = match admitted {
            Ok(place) => place,
            Err(version) => {
                let left = end.saturating_duration_since(began);
                if left.is_zero() {
                    return Err(Failed { fault: Fault::node_overloaded(), usage: Usage::default() });
                }
                version.admit(began, left).await.map_err(|fault| Failed {
                    fault,
                    usage: Usage { queue_wait: began.elapsed(), ..Usage::default() },
                })?
            }
        };
        let started = if place.queue_wait.is_zero() { began } else { Instant::now() };
        let mut deadline = Deadline::new(end);
        let instance = place.version.instance(&mut deadline).await.map_err(|fault| {
            let usage = Usage { queue_wait: place.queue_wait, ..Usage::default() };
            Failed { fault, usage }
        })?;
        Guest::start(instance, invocation, deadline, started, place).respond().await
    }

    /// Loads the code, so that the next request need not.
    ///
    /// # Errors
    /// When the component cannot be loaded or compiled.
    ///
    /// # Cancel safety
    /// The load goes on for others.
    pub async fn load(&self) -> Result<(), PrepareError> {
        self.mapped().await.map(drop)
    }

    /// Compiles the component if the cache has nothing of it, as after an upgrade that brings another engine.
    ///
    /// # Errors
    /// When the component cannot be compiled.
    pub async fn compile(&self) -> Result<(), PrepareError> {
        self.node.compile(self.code.clone(), self.whom()).await
    }

    /// Whether the code is loaded.
    pub fn is_loaded(&self) -> bool {
        self.code.get().is_some()
    }

    /// Keeps at least one instance ready until `until`, however idle the version is; the last call counts.
    ///
    /// Loads the code first if need be, in a task of its own: it must be called within the runtime. The node
    /// may take the instance for another version's request when it has no other, and then makes it anew.
    pub fn keep_warm(self: &Arc<Self>, until: Instant) {
        self.pool.keep_until(self.node.time(until));
        let version = self.clone();
        tokio::spawn(async move {
            match version.load().await {
                Ok(()) => version.look_after(),
                Err(error) => tracing::warn!(version = %version.no(), %error, "version is not kept warm"),
            }
        });
    }

    /// Instances that wait ready.
    pub fn ready(&self) -> usize {
        self.pool.ready()
    }

    /// Requests that found an instance ready.
    pub fn warm_starts(&self) -> u64 {
        self.pool.warm_starts()
    }

    /// Requests that had to wait for an instance to be made.
    pub fn cold_starts(&self) -> u64 {
        self.pool.cold_starts()
    }

    async fn mapped(&self) -> Result<Arc<Mapped>, PrepareError> {
        self.node.codes.load(&self.code, self.node.now(), Some(self.whom()), Arc::new(|_| {})).await
    }

    fn whom(&self) -> ForVersion {
        ForVersion { function: self.function.clone(), version: self.no() }
    }

    /// An instance for a request without a wait: a ready one, or one made now where that takes no time, or why it did
    /// not start. `None`, and nothing is counted, when the request has to wait for one.
    #[expect(clippy::disallowed_methods, reason = "starts take wall-clock time")]
    fn instance_at_once(self: &Arc<Self>) -> Option<Result<Instance, Fault>> {
        if let Some(instance) = self.pool.take_ready(thread_number()) {
            return Some(Ok(instance));
        }
        let permit = self.pool.start_quick()?;
        self.look_after();
        let (began, mapped) = (Instant::now(), self.code.get());
        let started = self.mould.instantiate_at_once(mapped.as_ref()?, permit)?;
        self.pool.record_cold_start(began.elapsed());
        Some(started)
    }

    /// An instance for this request: a ready one, or one made now.
    #[expect(clippy::disallowed_methods, reason = "deadlines are wall-clock time")]
    async fn instance(self: &Arc<Self>, deadline: &mut Deadline) -> Result<Instance, Fault> {
        let mut checkout = self.pool.checkout(thread_number());
        // A version's stock gives way to another's request.
        if matches!(checkout, Checkout::Full) && self.node.reclaim() {
            checkout = self.pool.checkout(thread_number());
        }
        let permit = match checkout {
            Checkout::Warm(instance) => return Ok(instance),
            Checkout::Cold(permit) => permit,
            Checkout::Full => return Err(Fault::node_overloaded()),
        };
        // Before the code is looked at: from here on it counts as used.
        self.look_after();
        let mut mapped = self.code.get();
        if mapped.is_none() {
            let load = self.node.codes.load_compiled(&self.code, self.node.now(), || self.whom());
            let loaded = deadline.limit(pin!(load)).await.ok_or_else(Fault::not_ready)?;
            let loaded = loaded.map_err(|none| match none {
                NoCode::Compiling => Fault::not_ready(),
                NoCode::Failed(error) if error.is_busy() => Fault::not_ready(),
                NoCode::Failed(error) => Fault::Internal { reason: error.to_string() },
            })?;
            deadline.begin(Instant::now(), self.limits().timeout);
            mapped = Guard::from_inner(Some(loaded));
        }
        let mapped = mapped.as_ref().expect("loaded above, if it was not before");
        let start = pin!(self.mould.instantiate(mapped, permit));
        // A guest that is not there yet is not what took too long.
        deadline.limit(pin!(self.timed(start))).await.unwrap_or_else(|| Err(Fault::node_overloaded()))
    }

    /// Waits for the start of an instance, and tells the pool how long it took.
    ///
    /// The future that makes an instance is large: it stays where it was made.
    #[expect(clippy::disallowed_methods, reason = "starts take wall-clock time")]
    async fn timed<F: Future>(&self, start: Pin<&mut F>) -> F::Output {
        let began = Instant::now();
        let started = start.await;
        self.pool.record_starts(1, began.elapsed());
        started
    }

    /// Takes back an instance that has served, for another request when it may serve one.
    pub(crate) fn check_in(self: &Arc<Self>, mut instance: Instance) {
        instance.uses_left = instance.uses_left.saturating_sub(1);
        if instance.uses_left > 0 {
            instance.meter.forget_refusals();
            drop(self.pool.check_in(thread_number(), instance));
        } else {
            Retired::put(self, instance);
        }
    }

    /// The instances whose places `permits` are have been taken down: others follow, when requests are about to come.
    #[expect(clippy::disallowed_methods, reason = "starts take wall-clock time")]
    pub(crate) fn follow(self: &Arc<Self>, permits: impl Iterator<Item = StartPermit>) {
        let (began, mut started, mapped) = (Instant::now(), 0, self.code.get());
        for permit in permits {
            let Some((permit, mapped)) = self.pool.replace(permit).zip(mapped.as_ref()) else { continue };
            match self.mould.instantiate_at_once(mapped, permit) {
                Some(Ok(instance)) => drop(self.pool.check_in(thread_number(), instance)),
                Some(Err(fault)) => tracing::debug!(%fault, "no instance follows"),
                None => tracing::debug!("no instance follows: it does not start at once"),
            }
            started += 1;
        }
        if started > 0 {
            self.pool.record_starts(started, began.elapsed());
        }
        self.keep_ready();
    }

    /// Gives up a ready instance, so that its slot is free; false when there is none.
    pub(crate) fn reclaim(&self) -> bool {
        self.pool.reclaim().is_some()
    }

    /// Has the pool follow the load from now on, and the code stay loaded as long as it does.
    fn look_after(self: &Arc<Self>) {
        // Reading first keeps the cache line shared between cores.
        if !self.tended.load(Ordering::Relaxed) && !self.tended.swap(true, Ordering::Relaxed) {
            self.code.begin_use();
            self.node.tend(self.clone());
        }
    }

    /// Has the pool looked after, and refilled when it ran low.
    fn keep_ready(self: &Arc<Self>) {
        self.look_after();
        if self.pool.is_short() {
            if self.refilling.load(Ordering::Relaxed) || self.refilling.swap(true, Ordering::Relaxed) {
                self.short.notify_one();
            } else {
                tokio::spawn(self.clone().refill());
            }
        }
    }

    /// Makes instances whenever the pool has fewer than it wants, until it wants none.
    ///
    /// One task for as long as there is load: a task for each instance would cost more than it does.
    async fn refill(self: Arc<Self>) {
        loop {
            while let Some(permit) = self.pool.refill() {
                let mapped = self.code.get();
                let Some(mapped) = &*mapped else { break };
                let start = pin!(self.mould.instantiate_in_time(mapped, permit));
                match self.timed(start).await {
                    Ok(instance) => drop(self.pool.check_in(thread_number(), instance)),
                    Err(fault) => {
                        tracing::debug!(%fault, "no instance made ahead");
                        break;
                    }
                }
            }
            if self.pool.target() == 0 {
                break;
            }
            self.short.notified().await;
        }
        self.refilling.store(false, Ordering::Relaxed);
    }

    /// Lets the pool's size follow the load; returns for how long it may be left alone then, or `None` when there is
    /// nothing left to look after.
    pub(crate) fn tend(self: &Arc<Self>, now: Duration) -> Option<Duration> {
        drop(self.pool.resize(now, self.gate.running() as usize));
        let rest = if self.pool.is_passive() { PASSIVE_REST } else { Duration::ZERO };
        if self.pool.target() > 0 {
            self.keep_ready();
            return Some(rest);
        }
        // Nothing is made any more.
        self.short.notify_one();
        if self.pool.live() > 0 {
            return Some(rest);
        }
        // A request that comes now is looked after again. Whoever began meanwhile, or asked to be kept warm, found
        // that it was looked after, so it is.
        self.tended.store(false, Ordering::SeqCst);
        let wanted = self.pool.is_kept(now) || self.pool.live() > 0;
        if wanted && !self.tended.swap(true, Ordering::SeqCst) {
            return Some(Duration::ZERO);
        }
        self.code.end_use(now);
        None
    }

    /// A place, when none has to be waited for; the version itself otherwise.
    fn admit_at_once(self: Arc<Self>) -> Result<Place, Arc<Self>> {
        if !self.gate.try_acquire() {
            return Err(self);
        }
        let node = &self.node;
        if node.gate.has_share(self.gate.running()) && node.gate.try_acquire() {
            return Ok(Place { version: self, queue_wait: Duration::ZERO });
        }
        self.gate.release(node.now());
        Err(self)
    }

    /// Waits for a place in the version's and then in the node's queue.
    async fn admit(self: Arc<Self>, began: Instant, left: Duration) -> Result<Place, Fault> {
        let wait_max = self.limits().queue_wait.min(left);
        let retry_after = Duration::from_secs(1).max(wait_max);
        let own = enter(&self.gate, &self.node, wait_max).await;
        if matches!(own, Entry::Refused) {
            return Err(Fault::FunctionOverloaded { retry_after });
        }
        let node = self.node.clone();
        let running = self.gate.running();
        let held = HeldGate { version: Some(self) };
        if !node.gate.has_share(running) {
            return Err(Fault::FunctionOverloaded { retry_after });
        }
        let nodes = enter(&node.gate, &node, wait_max).await;
        if matches!(nodes, Entry::Refused) {
            return Err(Fault::NodeOverloaded { retry_after });
        }
        let at_once = matches!((own, nodes), (Entry::AtOnce, Entry::AtOnce));
        Ok(held.into_place(if at_once { Duration::ZERO } else { began.elapsed() }))
    }
}

/// The version's gate, entered while the node's is awaited.
struct HeldGate {
    version: Option<Arc<Version>>,
}

impl HeldGate {
    /// Both gates are entered.
    fn into_place(mut self, queue_wait: Duration) -> Place {
        Place { version: self.version.take().expect("given away only here"), queue_wait }
    }
}

impl Drop for HeldGate {
    fn drop(&mut self) {
        if let Some(version) = &self.version {
            version.gate.release(version.node.now());
        }
    }
}

/// How a gate was passed.
enum Entry {
    AtOnce,
    AfterWaiting,
    Refused,
}

/// Enters `gate`, waiting at most `wait_max`; refused when it is full or too slow.
async fn enter(gate: &ConcurrencyLimit<Waiter>, node: &Node, wait_max: Duration) -> Entry {
    if gate.try_acquire() {
        return Entry::AtOnce;
    }
    let (sender, receiver) = oneshot::channel();
    match gate.wait(node.now() + wait_max, Waiter(sender)) {
        Wait::Acquired(_) => Entry::AtOnce,
        Wait::Full(_) => Entry::Refused,
        Wait::Queued(ticket) => {
            let mut waiting = Waiting { gate, node, ticket: Some(ticket), receiver };
            let woken = tokio::time::timeout(wait_max, &mut waiting.receiver).await;
            if matches!(woken, Ok(Ok(()))) {
                waiting.ticket = None;
                Entry::AfterWaiting
            } else {
                Entry::Refused
            }
        }
    }
}

/// A place in a queue; left when dropped, and a place won meanwhile is given on.
struct Waiting<'a> {
    gate: &'a ConcurrencyLimit<Waiter>,
    node: &'a Node,
    /// `None` once the place was taken up.
    ticket: Option<wasm_fn_pool::QueueTicket>,
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
