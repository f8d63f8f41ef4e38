//! `wasm-fn kv`.

use std::io::{self, Read as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Method;
use wasm_fn_api as api;

use super::{DONE, connect};
use crate::{
    args::{self, KvCommand},
    fault::Fault,
    output::{Output, visible},
};

/// Most bytes to read of a value. No bucket takes more.
const VALUE_BYTES_MAX: u64 = 8 << 20;

pub(super) async fn run(args: args::Kv, output: Output) -> Result<u8, Fault> {
    match args.command {
        KvCommand::Get(args) => get(args, output).await,
        KvCommand::Put(args) => put(args, output).await,
        KvCommand::List(args) => list(args, output).await,
        KvCommand::Delete(args) => delete(args, output).await,
    }
}

impl args::KvPlace {
    fn path(&self, what: &str) -> String {
        let Self { function, stage, bucket, .. } = self;
        format!("/v1/functions/{function}/stages/{stage}/buckets/{bucket}/{what}")
    }
}

async fn get(args: args::KvOne, output: Output) -> Result<u8, Fault> {
    let args::KvOne { place, key } = args;
    let client = connect(&place.connection)?;
    let failed =
        || format!("the value of {key:?} in `{}` of `{}` was not read", place.bucket, place.function);
    let query = api::BucketKeyQuery { key: key.clone() };
    let found = client.query(Method::GET, &place.path("value"), &query).await;
    let found: api::BucketValueView = found.map_err(|error| error.fault(failed()))?;
    if output.is_json() {
        output.data(&found, |_| String::new())?;
        return Ok(DONE);
    }
    let bytes = match (found.value, found.value_base64) {
        (Some(text), _) => text.into_bytes(),
        (None, encoded) => BASE64_STANDARD
            .decode(encoded.unwrap_or_default())
            .map_err(|error| Fault::new("unexpected-answer", failed(), error))?,
    };
    output.bytes(&bytes)?;
    Ok(DONE)
}

async fn put(args: args::KvPut, output: Output) -> Result<u8, Fault> {
    let args::KvPut { place, key, value } = args;
    let failed = || format!("the value of {key:?} in `{}` of `{}` was not set", place.bucket, place.function);
    let value = match value {
        Some(text) => Bytes::from(text),
        None => standard_input().map_err(|error| Fault::new("unreadable-value", failed(), error))?,
    };
    let client = connect(&place.connection)?;
    let query = api::BucketKeyQuery { key: key.clone() };
    let set = client.put(&place.path("value"), &query, value).await;
    let set: api::BucketKeyChanged = set.map_err(|error| error.fault(failed()))?;
    output.data(&set, |set| {
        let revision = set.revision.unwrap_or_default();
        format!("{} in {} of {} is set (revision {revision})", shown(&set.key), set.bucket, set.function)
    })?;
    Ok(DONE)
}

fn standard_input() -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(VALUE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > VALUE_BYTES_MAX {
        let error = "there are more than 8 MiB, expected at most as much as a bucket takes for a value";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes.into())
}

async fn list(args: args::KvList, output: Output) -> Result<u8, Fault> {
    let args::KvList { place, prefix, after, limit } = args;
    let client = connect(&place.connection)?;
    let query = api::BucketKeysQuery { prefix, after, limit: Some(limit) };
    let page = client.query(Method::GET, &place.path("keys"), &query).await;
    let page: api::BucketKeyList = page.map_err(|error| {
        error.fault(format!("the keys in `{}` of `{}` cannot be listed", place.bucket, place.function))
    })?;
    if !page.keys.is_empty() || output.is_json() {
        output.data(&page, |page| page.keys.iter().map(|key| shown(key)).collect::<Vec<_>>().join("\n"))?;
    }
    let api::BucketKeyList { keys_used, keys_max, bytes_used, bytes_max, .. } = &page;
    output.talk(&format!(
        "{} in {} has {keys_used} of {keys_max} keys and {bytes_used} of {bytes_max} bytes",
        place.bucket, place.stage
    ));
    if let Some(last) = page.keys.last().filter(|_| page.more) {
        output.talk(&format!("there are more: pass --after {}", shown(last)));
    }
    Ok(DONE)
}

async fn delete(args: args::KvOne, output: Output) -> Result<u8, Fault> {
    let args::KvOne { place, key } = args;
    let client = connect(&place.connection)?;
    let query = api::BucketKeyQuery { key: key.clone() };
    let deleted = client.query(Method::DELETE, &place.path("value"), &query).await;
    let deleted: api::BucketKeyChanged = deleted.map_err(|error| {
        error.fault(format!("{key:?} in `{}` of `{}` was not deleted", place.bucket, place.function))
    })?;
    output.data(&deleted, |deleted| {
        format!("{} in {} of {} is deleted", shown(&deleted.key), deleted.bucket, deleted.function)
    })?;
    Ok(DONE)
}

/// `key` as a word on one line: in quotes if it would not be one otherwise.
fn shown(key: &str) -> String {
    let is_word = !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || c == '"');
    let shown = visible(key);
    if is_word && shown == key { shown } else { format!("{key:?}") }
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn keys_are_one_word_each() {
        for (key, text) in
            [("a/b", "a/b"), ("", "\"\""), ("a b", "\"a b\""), ("a\nb", "\"a\\nb\""), ("ä", "ä")]
        {
            assert_eq!(shown(key), text);
        }
        assert_eq!(shown("\u{1b}[2J"), "\"\\u{1b}[2J\"");
    }
}
