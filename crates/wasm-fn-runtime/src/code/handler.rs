//! The handler of a component: the exported function that requests call.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use wasmtime::{
    Store,
    component::{
        Component, ComponentExportIndex, ComponentNamedList, Func, Instance, Lift, Lower, Resource, TypedFunc,
    },
};
use wasmtime_wasi_http::{
    p2::types::{HostIncomingRequest, HostResponseOutparam},
    p3::{self, bindings::http::types::ErrorCode},
};

use super::kind::Kind;
use crate::guest_host::state::GuestState;

/// Takes a request, and the place for its response.
pub(crate) type Http02Func = TypedFunc<(Resource<HostIncomingRequest>, Resource<HostResponseOutparam>), ()>;

/// Takes a request, and returns its response.
pub(crate) type Http03Func =
    TypedFunc<(Resource<p3::Request>,), (Result<Resource<p3::Response>, ErrorCode>,)>;

/// Runs the program of a command.
pub(crate) type CommandFunc = TypedFunc<(), (Result<(), ()>,)>;

/// The handler of a component.
pub(crate) struct Handler {
    kind: Kind,
    index: ComponentExportIndex,
    /// Whether the type was checked in some instance. All others have the same type then.
    is_checked: AtomicBool,
}

/// The handler of one instance.
#[derive(Clone, Copy)]
pub(crate) enum Export {
    Http02(Http02Func),
    Http03(Http03Func),
    Command(CommandFunc),
}

impl Handler {
    /// Finds the handler of a component of this kind.
    ///
    /// # Errors
    /// The component has none.
    pub(crate) fn find(kind: Kind, component: &Component) -> wasmtime::Result<Self> {
        // A version of an interface also stands for later compatible ones.
        let (interface, function) = match kind {
            Kind::Http02 => ("wasi:http/incoming-handler@0.2.0", "handle"),
            Kind::Http03 => ("wasi:http/handler@0.3.0", "handle"),
            Kind::Command => ("wasi:cli/run@0.2.0", "run"),
        };
        let found = component
            .get_export_index(None, interface)
            .and_then(|interface| component.get_export_index(Some(&interface), function));
        let index =
            found.ok_or_else(|| wasmtime::format_err!("no function `{function}` in `{interface}`"))?;
        Ok(Self { kind, index, is_checked: AtomicBool::new(false) })
    }

    /// The handler of an instance of this component.
    ///
    /// # Errors
    /// It does not have the type of its kind.
    pub(crate) fn of(&self, store: &mut Store<GuestState>, instance: Instance) -> wasmtime::Result<Export> {
        Ok(match self.kind {
            Kind::Http02 => Export::Http02(self.typed(store, instance)?),
            Kind::Http03 => Export::Http03(self.typed(store, instance)?),
            Kind::Command => Export::Command(self.typed(store, instance)?),
        })
    }

    fn typed<Params, Return>(
        &self,
        store: &mut Store<GuestState>,
        instance: Instance,
    ) -> wasmtime::Result<TypedFunc<Params, Return>>
    where
        Params: ComponentNamedList + Lower,
        Return: ComponentNamedList + Lift,
    {
        if !self.is_checked.load(Relaxed) {
            let typed = instance.get_typed_func(store, self.index)?;
            self.is_checked.store(true, Relaxed);
            return Ok(typed);
        }
        let function: Option<Func> = instance.get_func(store, self.index);
        let function = function.ok_or_else(|| wasmtime::format_err!("the function is gone"))?;
        // SAFETY: this function had this type in another instance of the component. The type belongs to the
        // component, and its kind determines both.
        #[expect(unsafe_code, reason = "comparing the types again would take a hundredth of a request")]
        Ok(unsafe { TypedFunc::new_unchecked(function) })
    }
}
