//! A running guest. The task that waits for it polls it, until its deadline.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body;
use wasm_fn_core::{RunRecord, Usage, format_bytes};
use wasmtime_wasi_http::WasiBody;

use super::{
    asked::Asked,
    call::{CommandRequest, HeadSource, Returned, Run, call_02, call_03, run_command, take},
    cgi::Origin,
    deadline::Deadline,
    deferred_waker::DeferredWaker,
    request::{BodyError, Invocation, end_to_end, with_host},
};
use crate::{
    clock,
    code::handler::Export,
    fault::{Fault, trap},
    guest_host::{
        instance::{Instance, is_shortage},
        logs::{Failure, Served},
        meter::Meter,
    },
    version::{Admission, Version},
};

/// A guest that works on a request.
pub(crate) struct Guest {
    /// `None` once the guest has returned.
    run: Option<Run>,
    /// `None` for a kind of guest that wakes its task only when necessary.
    waker: Option<Arc<DeferredWaker>>,
    head: HeadSource,
    /// The instance of a 0.2 guest that exited with success. The end of its body, if it has not come yet,
    /// would seem to come with the end of the instance.
    exited: Option<Box<Instance>>,
    /// Whether the guest's core modules were linked.
    is_linked: bool,
    meter: Arc<Meter>,
    served: Served,
    asked: Asked,
    /// What the guest answered, in a stage whose requests are all logged.
    answered: Option<StatusCode>,
    started: Instant,
    deadline: Deadline,
    /// `None` for nearly all.
    record: Option<Arc<RunRecord>>,
    admission: Admission,
}

impl Guest {
    /// Gives `instance` the request. The guest runs when it is polled.
    pub(crate) fn start<B>(
        mut instance: Instance,
        invocation: Invocation<B>,
        deadline: Deadline,
        started: Instant,
        admission: Admission,
    ) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let Invocation { request, request_id, stage, client, scheme, port, effect_check, record, .. } =
            invocation;
        let is_head = request.method() == http::Method::HEAD;
        let span = record.as_ref().and_then(|run| run.guest());
        let served = Served { request_id, stage, span };
        instance.store.data_mut().serve(served, effect_check, record.as_ref(), is_head);
        // A ready instance has waited for many epochs. It should not yield before it has begun.
        instance.store.set_epoch_deadline(1);
        let (meter, is_linked) = (instance.meter.clone(), instance.is_linked);
        meter.cpu.begin(admission.version.limits().cpu);
        let asked = Asked::of(&request);
        let request = end_to_end(request);
        let waker = matches!(instance.export, Export::Http03(_)).then(Arc::default);
        let (run, head) = match instance.export {
            Export::Http02(handle) => call_02(instance, handle, scheme, with_host(request)),
            Export::Http03(handle) => call_03(instance, handle, scheme, with_host(request)),
            Export::Command(run) => {
                let version = &admission.version;
                let origin = Origin { client, scheme, port };
                match CommandRequest::new(request, origin, version.function()) {
                    Ok(request) => run_command(instance, run, request),
                    Err(refusal) => {
                        version.give_back(instance);
                        (None, HeadSource::Refused(Box::new(refusal)))
                    }
                }
            }
        };
        Self {
            run,
            waker,
            head,
            exited: None,
            is_linked,
            meter,
            served,
            asked,
            answered: None,
            started,
            deadline,
            record,
            admission,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage {
            queue_wait: self.admission.queue_wait,
            memory_peak_bytes: self.meter.memory_peak_bytes(),
            starved: self.meter.is_starved(),
        }
    }

    /// Whether the guest has returned.
    pub(super) fn has_returned(&self) -> bool {
        self.run.is_none()
    }

    /// Lets the guest run. Ready when it has returned or failed. A caller that needs more of it then calls
    /// [`poll_wait`](Self::poll_wait).
    pub(super) fn poll_run(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        let Some(run) = &mut self.run else { return Poll::Ready(Ok(())) };
        let noted = self.meter.cpu.resume();
        let polled = match &self.waker {
            Some(waker) => run.poll(&mut Context::from_waker(&waker.waker()), &noted),
            None => run.poll(cx, &noted),
        };
        let over = self.meter.cpu.pause();
        match polled {
            Poll::Ready(returned) => {
                self.run = None;
                Poll::Ready(self.finish(returned))
            }
            Poll::Pending if over => {
                self.stop();
                Poll::Ready(Err(self.report(self.cpu_exceeded())))
            }
            Poll::Pending if self.deadline.has_passed() => Poll::Ready(Err(self.time_out())),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Wakes the task when the guest can go on, and when its time is up. Ready when its time is up already,
    /// or when it exited and nothing more will come.
    pub(super) fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Fault> {
        if self.exited.is_some() {
            return Poll::Ready(self.invalid("it exited before its answer was complete".to_owned()));
        }
        if self.deadline.poll(cx).is_ready() {
            return Poll::Ready(self.time_out());
        }
        if let Some(waker) = &self.waker {
            waker.wait(cx);
        }
        Poll::Pending
    }

    /// Ends the guest because its time is up.
    fn time_out(&mut self) -> Fault {
        self.stop();
        let limit = self.version().limits().timeout;
        let had_its_time = self.deadline.left_time(self.started, limit);
        self.report(if had_its_time { Fault::Timeout { limit } } else { Fault::BeganLate { limit } })
    }

    /// Lets the guest run until its response head is there.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<WasiBody>, Fault>> {
        if let Poll::Ready(Err(fault)) = self.poll_run(cx) {
            return Poll::Ready(Err(fault));
        }
        let head = match &mut self.head {
            HeadSource::Slot(slot) => take(slot),
            HeadSource::Command(output) => match output.poll_head(cx) {
                Poll::Ready(head) => Some(head),
                Poll::Pending => None,
            },
            // The function's log is about what it did.
            HeadSource::Refused(refusal) => return Poll::Ready(Err(Fault::Refused((**refusal).clone()))),
        };
        match head {
            Some(Ok(response)) => {
                if response.status().is_server_error() {
                    let status = response.status();
                    self.log_failure(status, &format!("guest answered {status}"));
                } else if self.served.stage.logs_requests() {
                    self.answered = Some(response.status());
                }
                Poll::Ready(Ok(response))
            }
            Some(Err(reason)) => Poll::Ready(Err(self.invalid(reason))),
            None if self.has_returned() => {
                Poll::Ready(Err(self.invalid("it returned without an answer".to_owned())))
            }
            None => self.poll_wait(cx).map(Err),
        }
    }

    /// Logs that the response is invalid.
    pub(super) fn invalid(&mut self, reason: String) -> Fault {
        // It may quote the guest, and the client sees it.
        self.report(Fault::InvalidResponse { reason: self.version().secrets().mask_text(reason) })
    }

    /// Ends the guest.
    fn stop(&mut self) {
        self.run = None;
        self.meter.cpu.stop();
    }

    fn cpu_exceeded(&self) -> Fault {
        let limits = self.version().limits();
        Fault::CpuExceeded { limit: limits.cpu.unwrap_or(limits.timeout) }
    }

    fn version(&self) -> &Version {
        &self.admission.version
    }

    /// Logs why there is no response. If the node had no memory for the guest, that is the reason, whatever
    /// the guest made of it.
    fn report(&self, fault: Fault) -> Fault {
        let fault = if self.meter.is_starved() { Fault::node_overloaded() } else { fault };
        self.log_failure(fault.status(), &fault.to_string());
        fault
    }

    /// Logs that the guest has answered, and what that took.
    fn log_answer(&self, status: StatusCode, took: Duration) {
        let version = self.version();
        let request = self.asked.logged(took, version.secrets());
        let memory = format_bytes(self.meter.memory_peak_bytes());
        let text = format!("answered {status}, memory {memory}");
        version.log().push_request(version.no(), self.served, request, text);
    }

    /// Logs how the request failed, in the lines of `text`.
    fn log_failure(&self, status: StatusCode, text: &str) {
        let took = clock::now().saturating_duration_since(self.started);
        let secrets = self.version().secrets();
        let (served, request) = (self.served, self.asked.logged(took, secrets));
        let text = secrets.mask_text(text.to_owned());
        let failure = Failure { served, request, status, text: &text };
        self.version().log().push_failure(self.version().no(), failure);
    }

    fn finish(&mut self, returned: Returned) -> Result<(), Fault> {
        match returned.result {
            Ok(()) => {
                self.admission.version.check_in(returned.instance);
                Ok(())
            }
            // The guest ended itself, and said that all is well. The engine does not let it be called again.
            Err(error) if trap::is_success(&error) => {
                let mut instance = returned.instance;
                instance.uses_left = 0;
                if let Export::Http02(_) = instance.export {
                    self.exited = Some(Box::new(instance));
                } else {
                    self.admission.version.check_in(instance);
                }
                Ok(())
            }
            Err(error) => {
                // The causes include the guest's backtrace, for the owner of the function. `{error:?}` would
                // add that of the host, which helps nobody here.
                let fault = self.fault_of(&error);
                let causes = error.chain().map(ToString::to_string);
                let text = std::iter::once(fault.to_string()).chain(causes).collect::<Vec<_>>().join("\n");
                self.log_failure(fault.status(), &text);
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
        let reason = trap::reason(error, self.is_linked);
        let trap = trap::trap(error, self.is_linked, &reason);
        Fault::Trap { reason, trap }
    }

    /// Lets a guest finish by itself, until its deadline, if it has work left after its response.
    pub(super) fn detach(mut self) {
        tokio::spawn(async move {
            // A failure after the response is in the log.
            let _ = poll_fn(|cx| match self.poll_run(cx) {
                Poll::Pending => self.poll_wait(cx).map(Err),
                ended => ended,
            })
            .await;
        });
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The instance goes first, so that its place in the pool is free.
        self.stop();
        if let Some(exited) = self.exited.take() {
            self.admission.version.check_in(*exited);
        }
        let now = clock::now();
        if let Some(run) = &self.record {
            run.guest_ran(self.started, now, self.meter.memory_peak_bytes());
        }
        let service: Duration = now.saturating_duration_since(self.started);
        if let Some(status) = self.answered {
            self.log_answer(status, service);
        }
        self.admission.version.ended(service);
    }
}
