//! Invokes a version: a request is admitted, gets an instance, and runs.

use std::{future::ready, pin::pin, sync::Arc, time::Instant};

use arc_swap::Guard;
use bytes::Bytes;
use futures_util::future::Either;
use http::Response;
use http_body::Body;
use wasm_fn_core::{RunRecord, Usage};
use wasm_fn_pool::{Checkout, StartPermit};
use wasm_fn_thread::thread_number;

use super::{Admission, Version};
use crate::{
    clock,
    code::cache::CodeUnavailable,
    fault::{Fault, InvocationError},
    guest_host::instance::Instance,
    in_place::in_place,
    invocation::{
        body::ResponseBody,
        deadline::Deadline,
        guest::Guest,
        request::{BodyError, Invocation},
    },
};

impl Version {
    /// Runs one invocation, within what is left of the version's timeout since the request arrived.
    ///
    /// Most requests get their place and their instance in this call, so the returned future is small. The
    /// future polls the guest until its response head is known. Polling the body runs the rest.
    ///
    /// # Errors
    /// No place was free in time, the code must be compiled first, no time was left to start the guest, or
    /// the guest failed before its response head.
    ///
    /// # Cancel safety
    /// Dropping the future or the body ends the guest and frees its place.
    pub fn invoke<B>(
        self: Arc<Self>,
        invocation: Invocation<B>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, InvocationError>> + Send + 'static
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let began = invocation.began;
        let end = invocation.arrived + self.limits().timeout;
        let admitted = if began < end { self.admit_at_once() } else { Err(self) };
        let (place, record) = (admitted.as_ref().ok(), invocation.record.as_deref());
        let instance = place.and_then(|admission| admission.version.instance_at_once(record));
        match (admitted, instance) {
            (Ok(admission), Some(Ok(instance))) => {
                let deadline = Deadline::new(end);
                Either::Left(Guest::start(instance, invocation, deadline, began, admission).respond())
            }
            (_, Some(Err(fault))) => {
                Either::Right(Either::Left(ready(Err(InvocationError { fault, usage: Usage::default() }))))
            }
            (admitted, _) => {
                let waiting = in_place(|| Self::invoke_waiting(admitted, invocation, began, end));
                Either::Right(Either::Right(waiting))
            }
        }
    }

    /// [`invoke`](Self::invoke) for a request that has to wait for a place or an instance, or that comes too
    /// late.
    async fn invoke_waiting<B>(
        admitted: Result<Admission, Arc<Self>>,
        invocation: Invocation<B>,
        began: Instant,
        end: Instant,
    ) -> Result<Response<ResponseBody>, InvocationError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BodyError>,
    {
        let admission = match admitted {
            Ok(admission) => admission,
            Err(version) => {
                let left = end.saturating_duration_since(began);
                if left.is_zero() {
                    return Err(InvocationError { fault: Fault::node_overloaded(), usage: Usage::default() });
                }
                let admitted = version.admit(began, left).await;
                if let Some(run) = &invocation.record {
                    run.queued(began, clock::now());
                }
                admitted.map_err(|fault| InvocationError {
                    fault,
                    usage: Usage { queue_wait: began.elapsed(), ..Usage::default() },
                })?
            }
        };
        let started = if admission.queue_wait.is_zero() { began } else { clock::now() };
        let mut deadline = Deadline::new(end);
        let instance = admission.version.instance(&mut deadline, invocation.record.as_deref()).await;
        let instance = instance.map_err(|fault| {
            let usage = Usage { queue_wait: admission.queue_wait, ..Usage::default() };
            InvocationError { fault, usage }
        })?;
        Guest::start(instance, invocation, deadline, started, admission).respond().await
    }

    /// An instance for a request that does not wait: a ready one, or one that is made now if that is quick,
    /// or why it did not start. Returns `None`, and counts nothing, when the request has to wait for an
    /// instance.
    fn instance_at_once(self: &Arc<Self>, record: Option<&RunRecord>) -> Option<Result<Instance, Fault>> {
        if let Some(instance) = self.pool.take_ready(thread_number()) {
            return Some(Ok(instance));
        }
        let permit = self.pool.start_quick()?;
        self.ensure_maintained();
        let (began, loaded) = (clock::now(), self.code.get());
        let started = self.template.instantiate_at_once(loaded.as_ref()?, permit)?;
        self.pool.record_cold_start(began.elapsed());
        if let Some(run) = record {
            run.instance_started(began, clock::now());
        }
        Some(started)
    }

    /// An instance for a request: a ready one, or one that is made now.
    async fn instance(
        self: &Arc<Self>,
        deadline: &mut Deadline,
        record: Option<&RunRecord>,
    ) -> Result<Instance, Fault> {
        let mut checkout = self.pool.checkout(thread_number());
        // A request comes before ready instances of other versions.
        if matches!(checkout, Checkout::Full) && self.node.reclaim() {
            checkout = self.pool.checkout(thread_number());
        }
        let permit = match checkout {
            Checkout::Warm(instance) => return Ok(instance),
            Checkout::Cold(permit) => permit,
            Checkout::Full => return Err(Fault::node_overloaded()),
        };
        let began = record.map(|_| clock::now());
        let started = self.start(permit, deadline).await;
        if let (Some(run), Some(began)) = (record, began) {
            run.instance_started(began, clock::now());
        }
        started
    }

    /// Starts an instance, with the right to do so.
    async fn start(
        self: &Arc<Self>,
        permit: StartPermit,
        deadline: &mut Deadline,
    ) -> Result<Instance, Fault> {
        // This comes before the look at the code, which counts as used from here on.
        self.ensure_maintained();
        let mut loaded = self.code.get();
        if loaded.is_none() {
            let load = self.node.codes.load_compiled(&self.code, self.node.now(), || self.whom());
            let component = deadline.limit(pin!(load)).await.ok_or_else(Fault::not_ready)?;
            let component = component.map_err(|none| match none {
                CodeUnavailable::Compiling => Fault::not_ready(),
                CodeUnavailable::Failed(error) if error.is_busy() => Fault::not_ready(),
                CodeUnavailable::Failed(error) => Fault::Internal { reason: error.to_string() },
            })?;
            deadline.begin(clock::now(), self.limits().timeout);
            loaded = Guard::from_inner(Some(component));
        }
        let loaded = loaded.as_ref().expect("loaded above, if it was not before");
        let start = pin!(self.template.instantiate(loaded, permit));
        // The time is not charged to a guest that has not started.
        deadline.limit(pin!(self.timed(start))).await.unwrap_or_else(|| Err(Fault::node_overloaded()))
    }
}
