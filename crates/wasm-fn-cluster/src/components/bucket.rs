//! An object store as NATS lays it out (ADR-20): the chunks of an object are the messages of a subject of
//! their own, and one message, which replaces the one before, says which subject that is.

use std::{path::Path, time::Duration};

use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
};
use wasm_fn_core::Digest;

use super::ComponentError;
use crate::{
    link::{Api, EXPECTED_LAST_OF_SUBJECT, is_overtaken},
    names::Names,
};

/// Bytes of a chunk. With the broker's encoding a whole answer stays below its usual limit of 1 MiB.
const CHUNK_BYTES: usize = 256 << 10;

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The header by which a message replaces all before it with its subject.
const ROLLUP: (&str, &str) = ("Nats-Rollup", "sub");

/// The bucket of a cluster's components.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    name: String,
    stream: String,
}

/// What says where an object is.
#[derive(Debug, Serialize, Deserialize)]
struct Info {
    name: String,
    bucket: String,
    nuid: String,
    size: u64,
    chunks: u64,
    #[serde(default)]
    digest: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    deleted: bool,
    #[serde(default)]
    mtime: String,
}

/// What an object's subject has at present.
struct Found {
    /// The number of the message that says it; 0 if there is none.
    sequence: u64,
    info: Option<Info>,
}

impl Bucket {
    pub(crate) fn new(names: &Names) -> Self {
        Self { name: names.bucket.to_string(), stream: names.components.to_string() }
    }

    pub(crate) async fn put(&self, api: &Api, digest: Digest, path: &Path) -> Result<(), ComponentError> {
        let found = self.find(api, digest).await?;
        if found.info.is_some() {
            return Ok(());
        }
        let failed = |source| ComponentError::File { path: path.to_owned(), source };
        let bytes = tokio::fs::metadata(path).await.map_err(failed)?.len();
        let nuid = format!("{:032x}", rand::random::<u128>());
        match self.put_chunks(api, digest, path, &nuid, bytes).await {
            Ok(info) => self.publish(api, digest, &info, found.sequence, bytes).await,
            Err(error) => {
                self.discard(api, &nuid).await;
                Err(error)
            }
        }
    }

    async fn put_chunks(
        &self,
        api: &Api,
        digest: Digest,
        path: &Path,
        nuid: &str,
        bytes: u64,
    ) -> Result<Info, ComponentError> {
        let failed = |source| ComponentError::File { path: path.to_owned(), source };
        let mut file = File::open(path).await.map_err(failed)?;
        let (subject, mut hash) = (self.chunks(nuid), Sha256::new());
        let (mut size, mut chunks, chunk_bytes) = (0, 0, CHUNK_BYTES.min(api.payload_max()));
        loop {
            let mut chunk = Vec::with_capacity(chunk_bytes);
            let part = u64::try_from(chunk_bytes).unwrap_or(u64::MAX);
            let read = (&mut file).take(part).read_to_end(&mut chunk).await.map_err(failed)?;
            if read == 0 {
                break;
            }
            hash.update(&chunk);
            (size, chunks) = (size + read as u64, chunks + 1);
            let taken = api.put(&subject, &[], chunk.into(), PATIENCE).await;
            taken
                .map_err(ComponentError::unanswered)?
                .map_err(|error| ComponentError::refused(&error, bytes))?;
        }
        let found = Digest(hash.finalize().into());
        if found != digest {
            return Err(ComponentError::Digest { found, expected: digest });
        }
        Ok(self.info(digest, nuid, size, chunks))
    }

    /// Says where an object is, unless somebody said so since the message with the number `sequence`.
    async fn publish(
        &self,
        api: &Api,
        digest: Digest,
        info: &Info,
        sequence: u64,
        bytes: u64,
    ) -> Result<(), ComponentError> {
        let error = match self.say(api, digest, info, sequence).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => error,
            // It may be there, and then needs its chunks.
            Err(error) => return Err(ComponentError::unanswered(error)),
        };
        self.discard(api, &info.nuid).await;
        if is_overtaken(&error) && self.contains(api, digest).await? {
            return Ok(());
        }
        Err(ComponentError::refused(&error, bytes))
    }

    pub(crate) async fn get(&self, api: &Api, digest: Digest, path: &Path) -> Result<(), ComponentError> {
        let got = self.get_chunks(api, digest, path).await;
        if got.is_err() {
            // It is there only if it is whole.
            let _ = tokio::fs::remove_file(path).await;
        }
        got
    }

    async fn get_chunks(&self, api: &Api, digest: Digest, path: &Path) -> Result<(), ComponentError> {
        let missing = || ComponentError::Missing { digest };
        let info = self.find(api, digest).await?.info.ok_or_else(missing)?;
        let failed = |source| ComponentError::File { path: path.to_owned(), source };
        let mut file = File::create(path).await.map_err(failed)?;
        let (subject, mut hash) = (self.chunks(&info.nuid), Sha256::new());
        let (mut size, mut next) = (0, 1);
        while size < info.size {
            let kept = api.next_of(&self.stream, &subject, next, PATIENCE).await;
            let kept = kept.map_err(ComponentError::unanswered)?.ok_or_else(missing)?;
            size += kept.payload.len() as u64;
            next = kept.sequence + 1;
            hash.update(&kept.payload);
            file.write_all(&kept.payload).await.map_err(failed)?;
        }
        file.sync_all().await.map_err(failed)?;
        let found = Digest(hash.finalize().into());
        if found != digest {
            return Err(ComponentError::Digest { found, expected: digest });
        }
        Ok(())
    }

    pub(crate) async fn contains(&self, api: &Api, digest: Digest) -> Result<bool, ComponentError> {
        Ok(self.find(api, digest).await?.info.is_some())
    }

    pub(crate) async fn delete(&self, api: &Api, digest: Digest) -> Result<(), ComponentError> {
        let found = self.find(api, digest).await?;
        let Some(info) = found.info else { return Ok(()) };
        let nuid = info.nuid.clone();
        let gone = Info { deleted: true, size: 0, chunks: 0, digest: String::new(), ..info };
        let said = self.say(api, digest, &gone, found.sequence).await;
        match said.map_err(ComponentError::unanswered)? {
            Ok(_) => {
                self.discard(api, &nuid).await;
                Ok(())
            }
            Err(error) => Err(ComponentError::refused(&error, 0)),
        }
    }

    /// What the broker has of a component.
    async fn find(&self, api: &Api, digest: Digest) -> Result<Found, ComponentError> {
        let subject = self.subject(digest);
        let kept = api.last_of(&self.stream, &subject, PATIENCE).await.map_err(ComponentError::unanswered)?;
        let Some(kept) = kept else { return Ok(Found { sequence: 0, info: None }) };
        let info: Info = serde_json::from_slice(&kept.payload).map_err(|error| ComponentError::Broker {
            reason: format!("what it has of {digest} cannot be read: {error}"),
        })?;
        Ok(Found { sequence: kept.sequence, info: Some(info).filter(|info| !info.deleted) })
    }

    async fn say(
        &self,
        api: &Api,
        digest: Digest,
        info: &Info,
        sequence: u64,
    ) -> Result<Result<(), async_nats::jetstream::Error>, crate::link::AskError> {
        let text: Bytes = serde_json::to_vec(info).expect("a struct of texts and numbers is JSON").into();
        let headers = [(ROLLUP.0, ROLLUP.1.to_owned()), (EXPECTED_LAST_OF_SUBJECT, sequence.to_string())];
        let taken = api.put(&self.subject(digest), &headers, text, PATIENCE).await?;
        Ok(taken.map(|_| ()))
    }

    /// Deletes the chunks of an object that nobody refers to. If that fails they only take room.
    async fn discard(&self, api: &Api, nuid: &str) {
        let (what, question) =
            (format!("STREAM.PURGE.{}", self.stream), serde_json::json!({ "filter": self.chunks(nuid) }));
        let asked = api.ask::<serde_json::Value>(&what, &question, PATIENCE).await;
        if !matches!(asked, Ok(Ok(_))) {
            tracing::debug!(nuid, "chunks of a component are left on the broker");
        }
    }

    fn info(&self, digest: Digest, nuid: &str, size: u64, chunks: u64) -> Info {
        Info {
            name: digest.to_string(),
            bucket: self.name.clone(),
            nuid: nuid.to_owned(),
            size,
            chunks,
            digest: format!("SHA-256={}", BASE64_URL_SAFE.encode(digest.0)),
            deleted: false,
            // What tools write where they know no time.
            mtime: "0001-01-01T00:00:00Z".to_owned(),
        }
    }

    fn chunks(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.name)
    }

    fn subject(&self, digest: Digest) -> String {
        format!("$O.{}.M.{}", self.name, BASE64_URL_SAFE.encode(digest.to_string()))
    }
}
