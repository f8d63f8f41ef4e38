//! `wasi:config/store`: how a guest reads its secrets. It has nothing else.

use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Linker, Lower},
};

use super::state::GuestState;

/// The interface's name. It is the newest version that toolchains have.
pub(crate) const CONFIG_STORE: &str = "wasi:config/store@0.2.0-rc.1";

/// The interface's error.
#[derive(ComponentType, Lower)]
#[component(variant)]
#[expect(dead_code, reason = "the values are at hand, so reading one cannot fail")]
enum Error {
    #[component(name = "upstream")]
    Upstream(String),
    #[component(name = "io")]
    Io(String),
}

/// Links the interface.
///
/// The copies of values that are made here are not overwritten: the guest's own copy is not either, before
/// its memory is reset.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    let mut store = linker.instance(CONFIG_STORE)?;
    store.func_wrap("get", |store: StoreContextMut<'_, GuestState>, (key,): (String,)| {
        let value = store.data().secrets().get(&key).map(|value| value.expose().to_owned());
        Ok((Ok::<_, Error>(value),))
    })?;
    store.func_wrap("get-all", |store: StoreContextMut<'_, GuestState>, (): ()| {
        let secrets = store.data().secrets().iter();
        let all: Vec<_> =
            secrets.map(|(name, value)| (name.to_string(), value.expose().to_owned())).collect();
        Ok((Ok::<_, Error>(all),))
    })
}
