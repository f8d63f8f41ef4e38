//! The function of a component that requests call: where it is exported, and that it has the type that its kind says.

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

use crate::{kind::Kind, state::State};

/// Called with a request, and where its response is to be put.
pub(crate) type Http02 = TypedFunc<(Resource<HostIncomingRequest>, Resource<HostResponseOutparam>), ()>;

/// Called with a request, and gives its response.
pub(crate) type Http03 = TypedFunc<(Resource<p3::Request>,), (Result<Resource<p3::Response>, ErrorCode>,)>;

/// Runs a command's program to its end.
pub(crate) type Command = TypedFunc<(), (Result<(), ()>,)>;

/// What is found of a component's function before there is an instance.
pub(crate) struct Handler {
    kind: Kind,
    index: ComponentExportIndex,
    /// Whether an instance had it with the type that is expected, as all of them have then.
    is_checked: AtomicBool,
}

/// The function of one instance.
#[derive(Clone, Copy)]
pub(crate) enum Export {
    Http02(Http02),
    Http03(Http03),
    Command(Command),
}

impl Handler {
    /// Finds the function of a component of this kind.
    ///
    /// # Errors
    /// It has none.
    pub(crate) fn find(kind: Kind, component: &Component) -> wasmtime::Result<Self> {
        // Any version of an interface stands for those before it.
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

    /// The function of an instance of this component.
    ///
    /// # Errors
    /// It has another type than its kind says.
    pub(crate) fn of(&self, store: &mut Store<State>, instance: Instance) -> wasmtime::Result<Export> {
        Ok(match self.kind {
            Kind::Http02 => Export::Http02(self.typed(store, instance)?),
            Kind::Http03 => Export::Http03(self.typed(store, instance)?),
            Kind::Command => Export::Command(self.typed(store, instance)?),
        })
    }

    fn typed<Params, Return>(
        &self,
        store: &mut Store<State>,
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
        // SAFETY: another instance of this component had this function with this type, which is a component's and
        // not an instance's: its kind, of which it has one, chose both.
        #[expect(unsafe_code, reason = "to compare the types again takes a hundredth of a request")]
        Ok(unsafe { TypedFunc::new_unchecked(function) })
    }
}
