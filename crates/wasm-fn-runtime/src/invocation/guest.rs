//! The running guest: polled by whoever waits for it, under its deadline.

use std::{
    future::{Future, poll_fn},
    net::IpAddr,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::Response;
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Sleep;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;
use wasmtime_wasi_http::{
    WasiBody, WasiHttpView,
    p2::bindings::http::types::{ErrorCode, Scheme},
    p3,
};

use super::{Invocation, RequestBodyError, for_guest, knock::Knock};
use crate::{
    cgi::{self, CgiInput, CgiOutput},
    fault::{Fault, Usage},
    handler::{Command, Export, Http02, Http03},
    in_place::in_place,
    instance::{Instance, is_shortage},
    state::{Meter, State},
    trapped,
    version::{Place, Version},
};

type Head = Result<Response<WasiBody>, String>;

/// Where the guest puts its response head; read after each poll of the guest, so nobody is woken.
type HeadSlot = Arc<Mutex<Option<Head>>>;

/// What is left when a guest has returned.
struct Ended {
    instance: Instance,
    result: wasmtime::Result<()>,
}

type Run = Pin<Box<dyn Future<Output = Ended> + Send>>;

enum HeadSource {
    Slot(HeadSlot),
    Command { output: CgiOutput, collected: BytesMut },
}

/// One guest at work on one request.
pub(crate) struct Guest {
    /// `None` once it has returned.
    run: Option<Run>,
    /// `None` when its kind wakes its task only for what the task has to see.
    knock: Option<Arc<Knock>>,
    head: HeadSource,
    meter: Arc<Meter>,
    request_id: u128,
    started: Instant,
    deadline: Deadline,
    place: Place,
}

/// The moment at which an invocation is cut off.
pub(crate) struct Deadline {
    at: Instant,
    /// Whether it was near when there was code to run.
    is_short: bool,
    /// Made when the guest first waits: most never do.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    pub(crate) fn new(at: Instant) -> Self {
        Self { at, is_short: false, timer: None }
    }

    /// The work that it limits to `limit` can begin at `from`, and not before.
    pub(crate) fn begin(&mut self, from: Instant, limit: Duration) {
        self.is_short = !self.leaves(from, limit);
    }

    /// Whether work that begins at `from` has nearly all of its `limit`: nine tenths.
    fn leaves(&self, from: Instant, limit: Duration) -> bool {
        self.at.saturating_duration_since(from) >= limit.mul_f64(0.9)
    }

    /// Waits for `work`, but no longer than until the moment; `None` then.
    pub(crate) async fn limit<F: Future>(&mut self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => self.poll(cx).map(|()| None),
        })
        .await
    }

    /// Ready when the moment has passed; otherwise the task is woken then.
    ///
    /// The clock is read as well as the timer: a guest that never waits keeps the timers' driver
    /// from running.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_passed() {
            return Poll::Ready(());
        }
        let at = self.at;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
        timer.as_mut().poll(cx)
    }

    #[expect(clippy::disallowed_methods, reason = "the deadline is wall-clock time")]
    fn has_passed(&self) -> bool {
        Instant::now() >= self.at
    }
}

impl Guest {
    /// Gives `instance` the request; it runs when polled.
    pub(crate) fn start<B>(
        mut instance: Instance,
        invocation: Invocation<B>,
        deadline: Deadline,
        started: Instant,
        place: Place,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<RequestBodyError>,
    {
        let (request_id, client) = (invocation.request_id, invocation.client);
        let state = instance.store.data_mut();
        state.wasi.serve(request_id);
        state.egress.serve(invocation.effects);
        // A pre-made instance has waited for many epochs; it shall not yield before it has begun.
        instance.store.set_epoch_deadline(1);
        let meter = instance.meter.clone();
        meter.cpu.begin(place.version.limits().cpu);
        let request = for_guest(invocation.request);
        let slot = HeadSlot::default();
        let knock = matches!(instance.export, Export::Http03(_)).then(Arc::default);
        // A box for each kind, so that none is as large as the largest.
        let (run, head): (Run, _) = match instance.export {
            Export::Http02(handle) => {
                (in_place(|| run_02(instance, handle, request, slot.clone())), HeadSource::Slot(slot))
            }
            Export::Http03(handle) => {
                (in_place(|| run_03(instance, handle, request, slot.clone())), HeadSource::Slot(slot))
            }
            Export::Command(run) => run_command(instance, run, request, client),
        };
        Self { run: Some(run), knock, head, meter, request_id, started, deadline, place }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            queue_wait: self.place.queue_wait,
            memory_peak_bytes: self.meter.memory_peak_bytes(),
            starved: self.meter.is_starved(),
        }
    }

    /// Whether the guest has returned.
    pub(super) fn has_returned(&self) -> bool {
        self.run.is_none()
    }

    /// Lets the guest run; ready when it has returned or failed. Whoever waits then for what it has not done yet
    /// calls [`poll_wait`](Self::poll_wait).
    pub(super) fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(run) = &mut self.run else { return Poll::Ready(Ok(())) };
        self.meter.cpu.resume();
        let polled = match &self.knock {
            Some(knock) => run.as_mut().poll(&mut Context::from_waker(&knock.waker())),
            None => run.as_mut().poll(cx),
        };
        let over = self.meter.cpu.pause();
        match polled {
            Poll::Ready(ended) => {
                self.run = None;
                Poll::Ready(self.settle(ended))
            }
            Poll::Pending if over => {
                self.stop();
                Poll::Ready(Err(self.report(self.cpu_exceeded())))
            }
            Poll::Pending if self.deadline.has_passed() => Poll::Ready(Err(self.time_out())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Has the task woken when the guest can go on, and when its time is up; ready when that is so already.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if self.deadline.poll(cx).is_ready() {
            return Poll::Ready(self.time_out());
        }
        if let Some(knock) = &self.knock {
            knock.wait(cx);
        }
        Poll::Pending
    }

    /// Cuts the guest off.
    fn time_out(&mut self) -> Fault {
        self.stop();
        let limit = self.version().limits().timeout;
        let had_its_time = !self.deadline.is_short && self.deadline.leaves(self.started, limit);
        self.report(if had_its_time { Fault::Timeout { limit } } else { Fault::BeganLate { limit } })
    }

    /// Lets the guest run until its response head is there.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<WasiBody>, Fault>> {
        if let Poll::Ready(Err(fault)) = self.poll_run(cx) {
            return Poll::Ready(Err(fault));
        }
        let head = match &mut self.head {
            HeadSource::Slot(slot) => take(slot),
            HeadSource::Command { output, collected } => match cgi::poll_head(output, collected, cx) {
                Poll::Ready(head) => Some(head.map(|response| {
                    response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
                })),
                Poll::Pending => None,
            },
        };
        match head {
            Some(Ok(response)) => Poll::Ready(Ok(response)),
            Some(Err(reason)) => Poll::Ready(Err(self.invalid(reason))),
            None if self.has_returned() => {
                Poll::Ready(Err(self.invalid("it returned without an answer".to_owned())))
            }
            None => self.poll_wait(cx).map(Err),
        }
    }

    /// The response is not one: says so in the log.
    pub(super) fn invalid(&mut self, reason: String) -> Fault {
        self.report(Fault::InvalidResponse { reason })
    }

    /// Ends the guest where it is.
    fn stop(&mut self) {
        self.run = None;
        self.meter.cpu.stop();
    }

    fn cpu_exceeded(&self) -> Fault {
        let limits = self.version().limits();
        Fault::CpuExceeded { limit: limits.cpu.unwrap_or(limits.timeout) }
    }

    fn version(&self) -> &Version {
        &self.place.version
    }

    /// Says in the log why there is no answer. When the node had no memory for the guest, it is that, whatever the guest
    /// made of it.
    fn report(&self, fault: Fault) -> Fault {
        let fault = if self.meter.is_starved() { Fault::node_overloaded() } else { fault };
        self.version().log().push_failure(self.version().no(), self.request_id, &fault.to_string());
        fault
    }

    fn settle(&mut self, ended: Ended) -> Result<(), Fault> {
        match ended.result {
            Ok(()) => {
                self.place.version.check_in(ended.instance);
                Ok(())
            }
            Err(error) => {
                // The guest's backtrace, which is among the causes, is for the function's owner; the
                // host's own, which `{error:?}` would add, is for nobody here.
                let fault = self.fault_of(&error);
                let causes = error.chain().map(ToString::to_string);
                let text = std::iter::once(fault.to_string()).chain(causes).collect::<Vec<_>>().join("\n");
                self.version().log().push_failure(self.version().no(), self.request_id, &text);
                Err(fault)
            }
        }
    }

    fn fault_of(&self, error: &wasmtime::Error) -> Fault {
        if self.meter.cpu.is_over() {
            return self.cpu_exceeded();
        }
        if let Some(fault) = self.meter.refusal(self.version().limits().memory_bytes) {
            return fault;
        }
        if is_shortage(error) {
            return Fault::node_overloaded();
        }
        let reason = trapped::reason(error);
        let trap = trapped::trap(error, &reason);
        Fault::Trap { reason, trap }
    }

    /// Lets a guest that has work left after its response finish by itself, until its deadline.
    pub(super) fn detach(mut self) {
        tokio::spawn(async move {
            // A failure after the response is in the log, under the request's id.
            let _ = poll_fn(|cx| match self.poll_run(cx) {
                Poll::Pending => self.poll_wait(cx).map(Err),
                ended => ended,
            })
            .await;
        });
    }
}

impl Drop for Guest {
    #[expect(clippy::disallowed_methods, reason = "service time is wall-clock time")]
    fn drop(&mut self) {
        // The instance goes first, so that the pool sees its place free.
        self.stop();
        let service: Duration = Instant::now().saturating_duration_since(self.started);
        self.place.version.ended(service);
    }
}

fn take(slot: &HeadSlot) -> Option<Head> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn put(slot: &HeadSlot, head: Head) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(head);
}

async fn run_02(
    mut instance: Instance,
    handle: Http02,
    request: http::Request<WasiBody>,
    slot: HeadSlot,
) -> Ended {
    let result = handle_02(&mut instance.store, handle, request, slot).await;
    Ended { instance, result }
}

async fn run_03(
    mut instance: Instance,
    handle: Http03,
    request: http::Request<WasiBody>,
    slot: HeadSlot,
) -> Ended {
    let result = handle_03(&mut instance.store, handle, request, slot).await;
    Ended { instance, result }
}

async fn handle_02(
    store: &mut Store<State>,
    handle: Http02,
    request: http::Request<WasiBody>,
    slot: HeadSlot,
) -> wasmtime::Result<()> {
    let mut http = store.data_mut().http();
    let request = http.new_incoming_request(Scheme::Http, request)?;
    let out = http.new_response_outparam_from_callback(move |response| {
        put(&slot, response.map_err(|code: ErrorCode| format!("it answered with the error {code:?}")));
    })?;
    handle.call_async(store, (request, out)).await
}

async fn handle_03(
    store: &mut Store<State>,
    handle: Http03,
    request: http::Request<WasiBody>,
    slot: HeadSlot,
) -> wasmtime::Result<()> {
    let (request, request_io) = p3::Request::from_http(store.data_mut().http().hooks, request);
    let request = store.data_mut().table.push(request)?;
    store
        .run_concurrent(async move |accessor| {
            let head = match handle.call_concurrent(accessor, (request,)).await?.0 {
                Ok(response) => Ok(accessor.with(|mut store| {
                    let response = store.data_mut().table.delete(response)?;
                    response.into_http(store, request_io)
                })?),
                Err(code) => Err(format!("it answered with the error {code:?}")),
            };
            put(&slot, head);
            // The guest's tasks write the body after it has answered.
            poll_fn(|cx| accessor.poll_no_interesting_tasks(cx)).await;
            Ok(())
        })
        .await
        .flatten()
}

fn run_command(
    mut instance: Instance,
    run: Command,
    request: http::Request<WasiBody>,
    client: Option<IpAddr>,
) -> (Run, HeadSource) {
    let (parts, body) = request.into_parts();
    let output = CgiOutput::default();
    let state = instance.store.data_mut();
    state.make_for_command(&cgi::variables(&parts, client), CgiInput::new(body), output.clone());
    let head = HeadSource::Command { output: output.clone(), collected: BytesMut::new() };
    let run = async move {
        let result = run.call_async(&mut instance.store, ()).await;
        output.close();
        Ended { instance, result: result.and_then(|(returned,)| exit_status(returned)) }
    };
    (Box::pin(run), head)
}

fn exit_status(returned: Result<(), ()>) -> wasmtime::Result<()> {
    returned.map_err(|()| wasmtime::Error::from(I32Exit(1)))
}
