//! An object store as NATS lays it out (ADR-20): the chunks of an object are the messages of a subject of
//! their own, and one message, which replaces the one before, says which subject that is.

use std::{
    collections::{BTreeMap, HashSet},
    path::Path,
    time::Duration,
};

use async_nats::jetstream;
use base64::{Engine as _, prelude::BASE64_URL_SAFE};
use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::Instant,
};
use wasm_fn_core::Digest;

use super::ComponentError;
use crate::{
    link::{Api, AskError, EXPECTED_LAST_OF_SUBJECT, Kept, is_overtaken},
    names::Names,
};

/// Bytes of a chunk. With the leader's encoding a whole answer stays below its usual limit of 1 MiB.
const CHUNK_BYTES: usize = 256 << 10;

/// Chunks that are under way at a time: less than what a connection takes in before it waits.
const CHUNKS_AT_ONCE: u64 = 8;

/// Longest time for each answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long to wait for others who write a component at the same time.
const AGAIN: Duration = Duration::from_millis(20);

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
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
}

/// A text that the bucket has under a name, in an object without chunks.
pub(crate) struct Text {
    /// The number of the message that says it; 0 if there is none.
    pub(crate) sequence: u64,
    pub(crate) text: Option<String>,
}

/// Under what an object without chunks has its text.
const TEXT: &str = "text";

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

    /// Puts a component. One that is there is said to be there once more, so that whoever was about to delete
    /// it sees that it is wanted.
    pub(crate) async fn put(&self, api: &Api, digest: Digest, path: &Path) -> Result<(), ComponentError> {
        let name = digest.to_string();
        let (until, mut overtaken) = (Instant::now() + PATIENCE, None);
        while Instant::now() < until {
            let found = self.find(api, &name).await?;
            let said = match &found.info {
                // Somebody else has said so since this began.
                Some(_) if overtaken.is_some_and(|before| found.sequence > before) => return Ok(()),
                Some(info) => {
                    let said = self.say(api, info, found.sequence).await;
                    said.map_err(ComponentError::unanswered)?
                }
                None => self.put_new(api, digest, path, found.sequence).await?,
            };
            match said {
                Ok(()) => return Ok(()),
                Err(error) if is_overtaken(&error) => {
                    // What they write may take a while to be there.
                    overtaken = Some(found.sequence);
                    tokio::time::sleep(AGAIN).await;
                }
                Err(error) => return Err(ComponentError::refused(&error, size(found.info.as_ref()))),
            }
        }
        Err(ComponentError::Broker { reason: format!("others write {digest} at the same time") })
    }

    /// Puts a component that is not there, unless somebody says something of it after the message with the
    /// number `sequence`.
    async fn put_new(
        &self,
        api: &Api,
        digest: Digest,
        path: &Path,
        sequence: u64,
    ) -> Result<Result<(), jetstream::Error>, ComponentError> {
        let failed = |source| ComponentError::File { path: path.to_owned(), source };
        let bytes = tokio::fs::metadata(path).await.map_err(failed)?.len();
        let nuid = format!("{:032x}", rand::random::<u128>());
        let info = match self.put_chunks(api, digest, path, &nuid, bytes).await {
            Ok(info) => info,
            Err(error) => {
                self.discard(api, &nuid).await;
                return Err(error);
            }
        };
        match self.say(api, &info, sequence).await {
            Ok(Ok(())) => Ok(Ok(())),
            Ok(Err(error)) => {
                self.discard(api, &nuid).await;
                if is_overtaken(&error) {
                    Ok(Err(error))
                } else {
                    Err(ComponentError::refused(&error, bytes))
                }
            }
            // It may be there, and then needs its chunks.
            Err(error) => Err(ComponentError::unanswered(error)),
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
        let mut read = async || {
            let mut chunk = Vec::with_capacity(chunk_bytes);
            let part = u64::try_from(chunk_bytes).unwrap_or(u64::MAX);
            (&mut file).take(part).read_to_end(&mut chunk).await.map_err(failed)?;
            Ok::<_, ComponentError>(Bytes::from(chunk))
        };
        let mut chunk = read().await?;
        while !chunk.is_empty() {
            hash.update(&chunk);
            (size, chunks) = (size + chunk.len() as u64, chunks + 1);
            let next = read().await?;
            // The stream takes them in their order. So it has all before one that it says it has, but those
            // that it has refused; they are counted at the end.
            if next.is_empty() || chunks % CHUNKS_AT_ONCE == 0 {
                let taken = api.put(&subject, &[], chunk, PATIENCE).await;
                taken
                    .map_err(ComponentError::unanswered)?
                    .map_err(|error| ComponentError::refused(&error, bytes))?;
            } else {
                api.publish(&subject, &[], chunk).await.map_err(ComponentError::unanswered)?;
            }
            chunk = next;
        }
        let found = Digest(hash.finalize().into());
        if found != digest {
            return Err(ComponentError::Digest { found, expected: digest });
        }
        let kept = api.count(&self.stream, &subject, PATIENCE).await.map_err(ComponentError::unanswered)?;
        if kept != chunks {
            let reason = format!("it has {kept} of {chunks} pieces of {digest}");
            return Err(ComponentError::Broker { reason });
        }
        Ok(self.info(digest, nuid, size, chunks))
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
        let info = self.find(api, &digest.to_string()).await?.info.ok_or_else(missing)?;
        let failed = |source| ComponentError::File { path: path.to_owned(), source };
        let mut file = File::create(path).await.map_err(failed)?;
        let (subject, mut hash) = (self.chunks(&info.nuid), Sha256::new());
        let (mut size, mut next) = (0, 1);
        while size < info.size {
            for chunk in self.some_chunks(api, &subject, next).await?.ok_or_else(missing)? {
                size += chunk.payload.len() as u64;
                next = chunk.sequence + 1;
                hash.update(&chunk.payload);
                file.write_all(&chunk.payload).await.map_err(failed)?;
            }
        }
        file.sync_all().await.map_err(failed)?;
        let found = Digest(hash.finalize().into());
        if found != digest {
            return Err(ComponentError::Digest { found, expected: digest });
        }
        Ok(())
    }

    /// The next chunks, from the message with the number `next` on, in their order, at least one; `None` if
    /// there is none. Any server may have told them, since they are verified by the digest of all.
    async fn some_chunks(
        &self,
        api: &Api,
        subject: &str,
        next: u64,
    ) -> Result<Option<Vec<Kept>>, ComponentError> {
        // They follow one another, unless something else was put at the same time. Each question is answered
        // with the first chunk from its number on, so none is left out.
        let questions = next..next.saturating_add(CHUNKS_AT_ONCE);
        let answers = questions.map(|from| api.any_next_of(&self.stream, subject, from, PATIENCE));
        let mut chunks = Vec::<Kept>::new();
        for answer in join_all(answers).await {
            // A server that lags knows less, and the chunks after those may come from one that does not.
            let Ok(Some(chunk)) = answer else { break };
            if chunks.last().is_none_or(|last| last.sequence < chunk.sequence) {
                chunks.push(chunk);
            }
        }
        if chunks.is_empty() {
            let chunk = api.next_of(&self.stream, subject, next, PATIENCE).await;
            return Ok(chunk.map_err(ComponentError::unanswered)?.map(|chunk| vec![chunk]));
        }
        Ok(Some(chunks))
    }

    pub(crate) async fn contains(&self, api: &Api, digest: Digest) -> Result<bool, ComponentError> {
        Ok(self.find(api, &digest.to_string()).await?.info.is_some())
    }

    pub(crate) async fn delete(&self, api: &Api, digest: Digest) -> Result<(), ComponentError> {
        let found = self.find(api, &digest.to_string()).await?;
        let Some(info) = found.info else { return Ok(()) };
        match self.delete_found(api, info, found.sequence).await? {
            Ok(()) => Ok(()),
            Err(error) => Err(ComponentError::refused(&error, 0)),
        }
    }

    /// Deletes the object that `info` is of, unless somebody says something of it after the message with the
    /// number `sequence`.
    async fn delete_found(
        &self,
        api: &Api,
        info: Info,
        sequence: u64,
    ) -> Result<Result<(), jetstream::Error>, ComponentError> {
        let nuid = info.nuid.clone();
        let gone = Info { deleted: true, size: 0, chunks: 0, digest: String::new(), ..info };
        let said = self.say(api, &gone, sequence).await.map_err(ComponentError::unanswered)?;
        if said.is_ok() {
            self.discard(api, &nuid).await;
        }
        Ok(said)
    }

    /// The text under `name`.
    pub(crate) async fn text(&self, api: &Api, name: &str) -> Result<Text, ComponentError> {
        let Found { sequence, info } = self.find(api, name).await?;
        Ok(Text { sequence, text: info.and_then(|mut info| info.metadata.remove(TEXT)) })
    }

    /// Puts `text` under `name`, unless somebody did after the message with the number `sequence`. Returns
    /// whether it was put.
    pub(crate) async fn put_text(
        &self,
        api: &Api,
        name: &str,
        text: String,
        sequence: u64,
    ) -> Result<bool, ComponentError> {
        let nothing = Digest(Sha256::digest([]).into());
        let metadata = BTreeMap::from([(TEXT.to_owned(), text)]);
        let nuid = format!("{:032x}", rand::random::<u128>());
        let info = Info { name: name.to_owned(), metadata, ..self.info(nothing, &nuid, 0, 0) };
        match self.say(api, &info, sequence).await.map_err(ComponentError::unanswered)? {
            Ok(()) => Ok(true),
            Err(error) if is_overtaken(&error) => Ok(false),
            Err(error) => Err(ComponentError::refused(&error, 0)),
        }
    }

    /// What the broker has under `name`.
    async fn find(&self, api: &Api, name: &str) -> Result<Found, ComponentError> {
        let subject = self.subject(name);
        let kept = api.last_of(&self.stream, &subject, PATIENCE).await.map_err(ComponentError::unanswered)?;
        let Some(kept) = kept else { return Ok(Found { sequence: 0, info: None }) };
        let info: Info = serde_json::from_slice(&kept.payload).map_err(|error| ComponentError::Broker {
            reason: format!("what it has of {name} cannot be read: {error}"),
        })?;
        Ok(Found { sequence: kept.sequence, info: Some(info).filter(|info| !info.deleted) })
    }

    /// Says what an object is, unless somebody said something of it after the message with the number
    /// `sequence`.
    async fn say(
        &self,
        api: &Api,
        info: &Info,
        sequence: u64,
    ) -> Result<Result<(), jetstream::Error>, AskError> {
        let text: Bytes = serde_json::to_vec(info).expect("a struct of texts and numbers is JSON").into();
        let headers = [(ROLLUP.0, ROLLUP.1.to_owned()), (EXPECTED_LAST_OF_SUBJECT, sequence.to_string())];
        let taken = api.put(&self.subject(&info.name), &headers, text, PATIENCE).await?;
        Ok(taken.map(|_| ()))
    }

    /// The names of all objects, those that are gone included.
    pub(super) async fn names(&self, api: &Api) -> Result<HashSet<String>, ComponentError> {
        let prefix = format!("$O.{}.M.", self.name);
        let subjects = api.all_subjects(&self.stream, &format!("{prefix}>"), PATIENCE).await;
        let subjects = subjects.map_err(ComponentError::unanswered)?;
        let name = |subject: String| {
            let name = BASE64_URL_SAFE.decode(subject.strip_prefix(&prefix)?).ok()?;
            String::from_utf8(name).ok()
        };
        Ok(subjects.into_iter().filter_map(name).collect())
    }

    /// The ids of all chunks.
    pub(super) async fn chunk_ids(&self, api: &Api) -> Result<HashSet<String>, ComponentError> {
        let prefix = self.chunks("");
        let subjects = api.all_subjects(&self.stream, &format!("{prefix}>"), PATIENCE).await;
        let subjects = subjects.map_err(ComponentError::unanswered)?;
        let id = |subject: String| subject.strip_prefix(&prefix).map(str::to_owned);
        Ok(subjects.into_iter().filter_map(id).collect())
    }

    /// The id of the chunks of the object `name`, if there is one.
    pub(super) async fn chunks_of(&self, api: &Api, name: &str) -> Result<Option<String>, ComponentError> {
        Ok(self.find(api, name).await?.info.map(|info| info.nuid))
    }

    /// The number of the message that says what a component is, or that it is gone.
    pub(super) async fn sequence(&self, api: &Api, digest: Digest) -> Result<u64, ComponentError> {
        Ok(self.find(api, &digest.to_string()).await?.sequence)
    }

    /// Deletes a component, or the message that says that it is gone, unless anything was said of it after
    /// the message with the number `sequence`. Returns whether a component was deleted.
    pub(super) async fn collect(
        &self,
        api: &Api,
        digest: Digest,
        sequence: u64,
    ) -> Result<bool, ComponentError> {
        let name = digest.to_string();
        let found = self.find(api, &name).await?;
        if found.sequence != sequence {
            return Ok(false);
        }
        let Some(info) = found.info else {
            // A message that comes meanwhile has a later number, and stays.
            let question = json!({ "filter": self.subject(&name), "seq": sequence + 1 });
            let asked = api.ask::<Value>(&format!("STREAM.PURGE.{}", self.stream), &question, PATIENCE).await;
            let purged = asked.map_err(ComponentError::unanswered)?;
            return purged.map(|_| false).map_err(|error| ComponentError::refused(&error, 0));
        };
        match self.delete_found(api, info, sequence).await? {
            Ok(()) => Ok(true),
            Err(error) if is_overtaken(&error) => Ok(false),
            Err(error) => Err(ComponentError::refused(&error, 0)),
        }
    }

    /// Deletes the chunks of an object that nobody refers to. If that fails they only take room.
    pub(super) async fn discard(&self, api: &Api, nuid: &str) {
        let (what, question) =
            (format!("STREAM.PURGE.{}", self.stream), json!({ "filter": self.chunks(nuid) }));
        let asked = api.ask::<Value>(&what, &question, PATIENCE).await;
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
            metadata: BTreeMap::new(),
        }
    }

    fn chunks(&self, nuid: &str) -> String {
        format!("$O.{}.C.{nuid}", self.name)
    }

    fn subject(&self, name: &str) -> String {
        format!("$O.{}.M.{}", self.name, BASE64_URL_SAFE.encode(name))
    }
}

fn size(info: Option<&Info>) -> u64 {
    info.map_or(0, |info| info.size)
}
