//! Links `wasi:keyvalue` in the two drafts that toolchains have.
//!
//! `0.2.0-draft` is the one of wasmtime; `0.2.0-draft2` adds compare-and-swap, and its cursors are texts.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::{
    StoreContextMut,
    component::{ComponentType, Lift, Linker, LinkerInstance, Lower, Resource, ResourceType},
};

use super::{BucketFailure, BucketFuture, BucketKeys, BucketSwap, GuestBucket, find, not_named};
use crate::guest_host::{
    logs::{GuestLogStream, Served},
    state::GuestState,
};

const PACKAGE: &str = "wasi:keyvalue/";
const DRAFT: &str = "0.2.0-draft";
const DRAFT2: &str = "0.2.0-draft2";
const INTERFACES: [&str; 3] = ["atomics", "batch", "store"];

/// Whether the linker defines this interface.
pub(crate) fn is_offered(name: &str) -> bool {
    let parts = name.strip_prefix(PACKAGE).and_then(|rest| rest.split_once('@'));
    parts.is_some_and(|(interface, version)| {
        INTERFACES.contains(&interface) && [DRAFT, DRAFT2].contains(&version)
    })
}

/// An open bucket.
struct OpenBucket(Arc<dyn GuestBucket>);

/// A comparison to come.
struct Cas {
    bucket: Arc<dyn GuestBucket>,
    key: String,
    /// The revision that is expected.
    revision: Option<u64>,
    /// Whether the guest has seen the value of that revision. It is not kept here: a guest may hold thousands
    /// of these.
    is_seen: bool,
}

/// The package's error.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum Error {
    #[component(name = "no-such-store")]
    NoSuchStore,
    #[component(name = "access-denied")]
    AccessDenied,
    #[component(name = "other")]
    Other(String),
}

impl From<BucketFailure> for Error {
    fn from(failure: BucketFailure) -> Self {
        Self::Other(failure.reason)
    }
}

/// The error of `swap`.
#[derive(ComponentType, Lift, Lower)]
#[component(variant)]
enum CasError {
    #[component(name = "store-error")]
    StoreError(Error),
    #[component(name = "cas-failed")]
    CasFailed(Resource<Cas>),
}

/// The answer to `list-keys`.
#[derive(ComponentType, Lower)]
#[component(record)]
struct KeyResponse {
    keys: Vec<String>,
    cursor: Option<u64>,
}

/// The same in the second draft.
#[derive(ComponentType, Lower)]
#[component(record)]
struct KeyResponse2 {
    keys: Vec<String>,
    cursor: Option<String>,
}

type Store<'a> = StoreContextMut<'a, GuestState>;

/// What a function of these interfaces returns.
type Returned<T> = wasmtime::Result<(Result<T, Error>,)>;

/// Links the interfaces.
pub(crate) fn add_to_linker(linker: &mut Linker<GuestState>) -> wasmtime::Result<()> {
    for version in [DRAFT, DRAFT2] {
        let mut store = linker.instance(&format!("{PACKAGE}store@{version}"))?;
        link_store(&mut store)?;
        if version == DRAFT {
            link_listing(&mut store)?
        } else {
            link_listing2(&mut store)?
        }
        link_batch(&mut linker.instance(&format!("{PACKAGE}batch@{version}"))?)?;
    }
    link_increment(&mut linker.instance(&format!("{PACKAGE}atomics@{DRAFT}"))?)?;
    link_atomics2(&mut linker.instance(&format!("{PACKAGE}atomics@{DRAFT2}"))?)
}

/// The bucket of a handle.
fn bucket(store: &Store<'_>, handle: &Resource<OpenBucket>) -> wasmtime::Result<Arc<dyn GuestBucket>> {
    Ok(Arc::clone(&store.data().table.get(handle)?.0))
}

/// The bucket of a handle, to write to.
fn writable(
    store: &Store<'_>,
    handle: &Resource<OpenBucket>,
) -> wasmtime::Result<Result<Arc<dyn GuestBucket>, Error>> {
    let bucket = bucket(store, handle)?;
    Ok(if store.data().may_have_effect() { Ok(bucket) } else { Err(Error::AccessDenied) })
}

/// What `bucket` answers to what it was `asked`. If the node is at fault for a failure or for a long wait,
/// it is noted, so that nobody charges the guest with what comes of it.
fn answer<'b, T: Send>(
    store: &Store<'_>,
    bucket: &Arc<dyn GuestBucket>,
    mut asked: BucketFuture<'b, T>,
) -> impl Future<Output = Result<T, BucketFailure>> + Send + use<'b, T> {
    let (meter, usual_wait) = (Arc::clone(&store.data().meter), bucket.usual_wait());
    async move {
        let soon = match usual_wait {
            None => Ok(asked.as_mut().await),
            Some(wait) => tokio::time::timeout(wait, &mut asked).await,
        };
        let answered = match soon {
            Ok(answered) => answered,
            Err(_) => {
                let before = meter.miss_state(true);
                let answered = asked.await;
                meter.miss_state(before);
                answered
            }
        };
        if answered.as_ref().is_err_and(|failure| failure.is_of_node) {
            meter.miss_state(true);
        }
        answered
    }
}

/// Opens the bucket that `identifier` stands for.
fn open(mut store: Store<'_>, (identifier,): (String,)) -> Returned<Resource<OpenBucket>> {
    let state = store.data_mut();
    // What runs before a request belongs to nobody, and must not keep anything.
    if state.served() == Served::NOTHING {
        return Ok((Err(Error::AccessDenied),));
    }
    let Some(found) = find(state.buckets(), &identifier) else {
        let text = state.secrets().mask_text(not_named(state.buckets(), &identifier));
        state.log(GuestLogStream::Host, text);
        return Ok((Err(Error::NoSuchStore),));
    };
    let opened = OpenBucket(Arc::clone(found));
    Ok((state.table.push(opened).map_err(|error| Error::Other(error.to_string())),))
}

fn link_store(store: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    store.func_wrap("open", open)?;
    store.resource("bucket", ResourceType::host::<OpenBucket>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<OpenBucket>::new_own(handle))?;
        Ok(())
    })?;
    store.func_wrap_async(
        "[method]bucket.get",
        |store: Store<'_>, (handle, key): (Resource<OpenBucket>, String)| {
            Box::new(async move {
                let bucket = bucket(&store, &handle)?;
                let found = answer(&store, &bucket, bucket.get(key)).await;
                let value = found.map(|found| found.map(|found| Vec::<u8>::from(found.value)));
                Ok((value.map_err(Error::from),))
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.exists",
        |store: Store<'_>, (handle, key): (Resource<OpenBucket>, String)| {
            Box::new(async move {
                let bucket = bucket(&store, &handle)?;
                Ok((answer(&store, &bucket, bucket.exists(key)).await.map_err(Error::from),))
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.set",
        |store: Store<'_>, (handle, key, value): (Resource<OpenBucket>, String, Vec<u8>)| {
            Box::new(async move {
                Ok((match writable(&store, &handle)? {
                    Ok(bucket) => {
                        answer(&store, &bucket, bucket.set(key, value.into())).await.map_err(Error::from)
                    }
                    Err(denied) => Err(denied),
                },))
            })
        },
    )?;
    store.func_wrap_async(
        "[method]bucket.delete",
        |store: Store<'_>, (handle, key): (Resource<OpenBucket>, String)| {
            Box::new(async move {
                Ok((match writable(&store, &handle)? {
                    Ok(bucket) => answer(&store, &bucket, bucket.delete(key)).await.map_err(Error::from),
                    Err(denied) => Err(denied),
                },))
            })
        },
    )
}

fn link_listing(store: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |store: Store<'_>, (handle, cursor): (Resource<OpenBucket>, Option<u64>)| {
            Box::new(async move {
                let bucket = bucket(&store, &handle)?;
                let page = answer(&store, &bucket, bucket.list_keys(cursor)).await;
                let page = page.map(|(keys, cursor): BucketKeys| KeyResponse { keys, cursor });
                Ok((page.map_err(Error::from),))
            })
        },
    )
}

fn link_listing2(store: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    store.func_wrap_async(
        "[method]bucket.list-keys",
        |store: Store<'_>, (handle, cursor): (Resource<OpenBucket>, Option<String>)| {
            Box::new(async move {
                let bucket = bucket(&store, &handle)?;
                let cursor = cursor.map(|text| text.parse::<u64>()).transpose();
                let Ok(cursor) = cursor else {
                    let reason = "cursor is none that `list-keys` returned".to_owned();
                    return Ok((Err(Error::Other(reason)),));
                };
                let page = answer(&store, &bucket, bucket.list_keys(cursor)).await;
                let page = page.map(|(keys, cursor): BucketKeys| KeyResponse2 {
                    keys,
                    cursor: cursor.map(|cursor| cursor.to_string()),
                });
                Ok((page.map_err(Error::from),))
            })
        },
    )
}

fn link_batch(batch: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    batch.func_wrap_async(
        "get-many",
        |store: Store<'_>, (handle, keys): (Resource<OpenBucket>, Vec<String>)| {
            Box::new(async move {
                let bucket = bucket(&store, &handle)?;
                let found = answer(&store, &bucket, bucket.get_many(keys)).await;
                let entry = |(key, value): (String, Bytes)| (key, Vec::<u8>::from(value));
                let entries = |found: Vec<Option<_>>| -> Vec<Option<(String, Vec<u8>)>> {
                    found.into_iter().map(|found| found.map(entry)).collect()
                };
                Ok((found.map(entries).map_err(Error::from),))
            })
        },
    )?;
    batch.func_wrap_async(
        "set-many",
        |store: Store<'_>, (handle, entries): (Resource<OpenBucket>, Vec<(String, Vec<u8>)>)| {
            Box::new(async move {
                let values = entries.into_iter().map(|(key, value)| (key, value.into())).collect();
                Ok((match writable(&store, &handle)? {
                    Ok(bucket) => answer(&store, &bucket, bucket.set_many(values)).await.map_err(Error::from),
                    Err(denied) => Err(denied),
                },))
            })
        },
    )?;
    batch.func_wrap_async(
        "delete-many",
        |store: Store<'_>, (handle, keys): (Resource<OpenBucket>, Vec<String>)| {
            Box::new(async move {
                Ok((match writable(&store, &handle)? {
                    Ok(bucket) => {
                        answer(&store, &bucket, bucket.delete_many(keys)).await.map_err(Error::from)
                    }
                    Err(denied) => Err(denied),
                },))
            })
        },
    )
}

fn link_increment(atomics: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    atomics.func_wrap_async(
        "increment",
        |store: Store<'_>, (handle, key, delta): (Resource<OpenBucket>, String, u64)| {
            Box::new(async move {
                Ok((match writable(&store, &handle)? {
                    Ok(bucket) => {
                        answer(&store, &bucket, bucket.add_unsigned(key, delta)).await.map_err(Error::from)
                    }
                    Err(denied) => Err(denied),
                },))
            })
        },
    )
}

fn link_atomics2(atomics: &mut LinkerInstance<'_, GuestState>) -> wasmtime::Result<()> {
    atomics.func_wrap_async(
        "increment",
        |store: Store<'_>, (handle, key, delta): (Resource<OpenBucket>, String, i64)| {
            Box::new(async move {
                Ok((match writable(&store, &handle)? {
                    Ok(bucket) => {
                        answer(&store, &bucket, bucket.add_signed(key, delta)).await.map_err(Error::from)
                    }
                    Err(denied) => Err(denied),
                },))
            })
        },
    )?;
    atomics.resource("cas", ResourceType::host::<Cas>(), |mut store, handle| {
        store.data_mut().table.delete(Resource::<Cas>::new_own(handle))?;
        Ok(())
    })?;
    atomics.func_wrap_async(
        "[static]cas.new",
        |mut store: Store<'_>, (handle, key): (Resource<OpenBucket>, String)| {
            Box::new(async move {
                let bucket = bucket(&store, &handle)?;
                let found = match answer(&store, &bucket, bucket.get(key.clone())).await {
                    Ok(found) => found,
                    Err(failure) => return Ok((Err(failure.into()),)),
                };
                let revision = found.map(|found| found.revision);
                Ok((hold(&mut store, Cas { bucket, key, revision, is_seen: false }),))
            })
        },
    )?;
    atomics.func_wrap_async("[method]cas.current", |store: Store<'_>, (cas,): (Resource<Cas>,)| {
        Box::new(async move { current(store, cas).await })
    })?;
    atomics.func_wrap_async("swap", |store: Store<'_>, (cas, value): (Resource<Cas>, Vec<u8>)| {
        Box::new(async move { swap(store, cas, value).await })
    })
}

fn hold(store: &mut Store<'_>, cas: Cas) -> Result<Resource<Cas>, Error> {
    store.data_mut().table.push(cas).map_err(|error| Error::Other(error.to_string()))
}

/// Reads the value that the guest is to change. From then on that is the one that is expected.
async fn current(mut store: Store<'_>, handle: Resource<Cas>) -> Returned<Option<Vec<u8>>> {
    let Cas { bucket, key, .. } = store.data().table.get(&handle)?;
    let (bucket, key) = (Arc::clone(bucket), key.clone());
    let found = match answer(&store, &bucket, bucket.get(key)).await {
        Ok(found) => found,
        Err(failure) => return Ok((Err(failure.into()),)),
    };
    let cas = store.data_mut().table.get_mut(&handle)?;
    let revision = found.as_ref().map(|found| found.revision);
    if cas.is_seen && cas.revision != revision {
        let reason = "the value has changed since it was read by this handle: swap it to get a new handle";
        return Ok((Err(Error::Other(reason.to_owned())),));
    }
    (cas.revision, cas.is_seen) = (revision, true);
    Ok((Ok(found.map(|found| found.value.into())),))
}

async fn swap(
    mut store: Store<'_>,
    handle: Resource<Cas>,
    value: Vec<u8>,
) -> wasmtime::Result<(Result<(), CasError>,)> {
    let Cas { bucket, key, revision, .. } = store.data_mut().table.delete(handle)?;
    if !store.data().may_have_effect() {
        return Ok((Err(CasError::StoreError(Error::AccessDenied)),));
    }
    let asked = bucket.swap(key.clone(), revision, value.into());
    let swapped = match answer(&store, &bucket, asked).await {
        Ok(BucketSwap::Swapped) => Ok(()),
        Ok(BucketSwap::Unexpected(revision)) => {
            match hold(&mut store, Cas { bucket, key, revision, is_seen: false }) {
                Ok(cas) => Err(CasError::CasFailed(cas)),
                Err(error) => Err(CasError::StoreError(error)),
            }
        }
        Err(failure) => Err(CasError::StoreError(failure.into())),
    };
    Ok((swapped,))
}
