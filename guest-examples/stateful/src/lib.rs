//! Keeps state in buckets. The end of the path says what to do: `/increment/KEY` adds 1 at once, `/cas/KEY`
//! adds 1 by comparing and swapping until that succeeds, `/get/KEY` answers a value, `/set/KEY?value=TEXT`
//! sets one, `/delete/KEY` deletes one, `/list/all` answers all keys in lines, `/batch/KEY` sets, reads and
//! deletes three keys that begin with KEY, `/long/N` sets a key of N bytes, and `/twice/KEY` tries to swap what
//! has changed. `?bucket=NAME` names the bucket; without it, it is the one that is called `default`. If the
//! variable `TRAP` is `after`, it traps once it has done that.
//!
//! An error is answered with 500 and its text.

use wasip2::cli::environment::get_environment;
use wasip2::exports::http::incoming_handler::Guest;
use wasip2::http::types::{Fields, IncomingRequest, OutgoingBody, OutgoingResponse, ResponseOutparam};

wit_bindgen::generate!({ path: "wit", world: "stateful", generate_all });

use wasi::keyvalue0_2_0_draft::{atomics, batch, store};
use wasi::keyvalue0_2_0_draft2::{atomics as atomics2, batch as batch2, store as store2};

struct Stateful;

wasip2::http::proxy::export!(Stateful);

impl Guest for Stateful {
    fn handle(request: IncomingRequest, out: ResponseOutparam) {
        let target = request.path_with_query().unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let parameter = |wanted| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value).unwrap_or_default()
        };
        // Whatever route the function has, what it is asked is at the end.
        let mut parts = path.rsplit('/');
        let (last, before) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let (status, text) = match answer(before, last, parameter("bucket"), parameter("value")) {
            Ok(text) => (200, text),
            Err(error) => (500, error),
        };
        if get_environment().iter().any(|(name, value)| name == "TRAP" && value == "after") {
            panic!("told to trap");
        }
        respond(out, status, &text);
    }
}

fn answer(command: &str, key: &str, bucket: &str, value: &str) -> Result<String, String> {
    let open = || store::open(bucket).map_err(said);
    let open2 = || store2::open(bucket).map_err(said2);
    match command {
        "increment" => Ok(atomics::increment(&open()?, key, 1).map_err(said)?.to_string()),
        "decrement" => Ok(atomics2::increment(&open2()?, key, -1).map_err(said2)?.to_string()),
        "cas" => compare_and_swap(&open2()?, key),
        "get" => {
            let found = open()?.get(key).map_err(said)?;
            let again = open2()?.get(key).map_err(said2)?;
            assert_eq!(found.is_some(), open()?.exists(key).map_err(said)? || again.is_some());
            found.map_or_else(|| Err("no such key".to_owned()), text)
        }
        "set" => open()?.set(key, value.as_bytes()).map(|()| "set".to_owned()).map_err(said),
        "long" => {
            let bytes = key.parse::<usize>().map_err(|error| error.to_string())?;
            open()?.set(&"k".repeat(bytes), b"v").map(|()| "set".to_owned()).map_err(said)
        }
        "large" => {
            let bytes = key.parse::<usize>().map_err(|error| error.to_string())?;
            open()?.set("large", &vec![b'v'; bytes]).map(|()| "set".to_owned()).map_err(said)
        }
        "delete" => open()?.delete(key).map(|()| "deleted".to_owned()).map_err(said),
        "list" => list(&open()?, &open2()?),
        "batch" => batches(&open()?, &open2()?, key),
        "twice" => twice(&open2()?, key),
        _ => Err("there is no such command".to_owned()),
    }
}

fn text(value: Vec<u8>) -> Result<String, String> {
    String::from_utf8(value).map_err(|_| "the value is no text".to_owned())
}

fn compare_and_swap(bucket: &store2::Bucket, key: &str) -> Result<String, String> {
    let mut cas = atomics2::Cas::new(bucket, key).map_err(said2)?;
    loop {
        let current = cas.current().map_err(said2)?.map(text).transpose()?;
        let count = current.map_or(Ok(0), |text| text.parse::<u64>()).map_err(|error| error.to_string())?;
        let next = (count + 1).to_string();
        match atomics2::swap(cas, next.as_bytes()) {
            Ok(()) => return Ok(next),
            Err(atomics2::CasError::CasFailed(newer)) => cas = newer,
            Err(atomics2::CasError::StoreError(error)) => return Err(said2(error)),
        }
    }
}

/// Reads a value, changes it behind the handle's back, and tries to swap it.
fn twice(bucket: &store2::Bucket, key: &str) -> Result<String, String> {
    let cas = atomics2::Cas::new(bucket, key).map_err(said2)?;
    cas.current().map_err(said2)?;
    bucket.set(key, b"changed").map_err(said2)?;
    let again = cas.current().map_err(said2);
    match atomics2::swap(cas, b"swapped") {
        Ok(()) => Err("swapped, though it had changed".to_owned()),
        Err(atomics2::CasError::StoreError(error)) => Err(said2(error)),
        Err(atomics2::CasError::CasFailed(newer)) => {
            let now = newer.current().map_err(said2)?.map(text).transpose()?;
            Ok(format!("{} {}", again.is_err(), now.unwrap_or_default()))
        }
    }
}

fn list(bucket: &store::Bucket, bucket2: &store2::Bucket) -> Result<String, String> {
    let (mut keys, mut cursor) = (Vec::new(), None);
    loop {
        let page = bucket.list_keys(cursor).map_err(said)?;
        keys.extend(page.keys);
        cursor = page.cursor;
        if cursor.is_none() {
            break;
        }
    }
    let mut keys2 = bucket2.list_keys(None).map_err(said2)?.keys;
    keys.sort();
    keys2.sort();
    assert!(keys.starts_with(&keys2) || keys2.len() >= 1000);
    Ok(keys.join("\n"))
}

fn batches(bucket: &store::Bucket, bucket2: &store2::Bucket, prefix: &str) -> Result<String, String> {
    let keys = ["a", "b", "c"].map(|end| format!("{prefix}{end}")).to_vec();
    let pairs: Vec<_> = keys.iter().map(|key| (key.clone(), key.clone().into_bytes())).collect();
    batch::set_many(bucket, &pairs).map_err(said)?;
    bucket.delete(&keys[1]).map_err(said)?;
    let found = batch::get_many(bucket, &keys).map_err(said)?;
    let found2 = batch2::get_many(bucket2, &keys).map_err(said2)?;
    assert_eq!(found, found2);
    batch2::set_many(bucket2, &pairs[..1]).map_err(said2)?;
    batch2::delete_many(bucket2, &keys[..1]).map_err(said2)?;
    batch::delete_many(bucket, &keys).map_err(said)?;
    let shown = found.into_iter().map(|found| match found {
        Some((key, value)) => Ok(format!("{key}={}", text(value)?)),
        None => Ok("none".to_owned()),
    });
    Ok(shown.collect::<Result<Vec<_>, String>>()?.join(" "))
}

fn said(error: store::Error) -> String {
    match error {
        store::Error::NoSuchStore => "no such store".to_owned(),
        store::Error::AccessDenied => "access denied".to_owned(),
        store::Error::Other(reason) => reason,
    }
}

fn said2(error: store2::Error) -> String {
    match error {
        store2::Error::NoSuchStore => "no such store".to_owned(),
        store2::Error::AccessDenied => "access denied".to_owned(),
        store2::Error::Other(reason) => reason,
    }
}

fn respond(out: ResponseOutparam, status: u16, text: &str) {
    let response = OutgoingResponse::new(Fields::new());
    response.set_status_code(status).expect("the status is valid");
    let body = response.body().expect("the body is taken once");
    ResponseOutparam::set(out, Ok(response));
    let stream = body.write().expect("the stream is taken once");
    for chunk in text.as_bytes().chunks(4096) {
        // A client that is gone reads nothing.
        let _ = stream.blocking_write_and_flush(chunk);
    }
    drop(stream);
    let _ = OutgoingBody::finish(body, None);
}
