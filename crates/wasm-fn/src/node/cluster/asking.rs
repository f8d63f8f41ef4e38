//! Asks other nodes what only they know, and answers them. Questions and answers are sealed under the key of
//! the cluster: whoever only has the broker can neither ask, nor read, nor answer.
//!
//! What is asked is not known here.

use std::{
    collections::BTreeMap,
    io::{self, Read as _, Write as _},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use wasm_fn_admin::{NodeAnswer, NodeQuestion};
use wasm_fn_cluster::{ANSWER_BYTES_MAX, Cluster, Member, Question};
use wasm_fn_core::NodeName;
use wasm_fn_secrets::{MessageKey, NONCE_BYTES};

use super::super::host::NodeAdmin;

/// Questions of other nodes that are answered at a time.
const AT_ONCE: usize = 16;

/// For how long a question of another node is worked on. Nobody waits longer.
const WORK: Duration = Duration::from_secs(3);

/// Longest answer in bytes, after it is unpacked.
const UNPACKED_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a seal, beside what is sealed.
const SEAL_BYTES: usize = NONCE_BYTES + 16;

/// What a question, and an answer, are sealed for.
const QUESTION: &str = "question";
const ANSWER: &str = "answer";

/// The other nodes, for questions.
pub(crate) struct Asking {
    cluster: Cluster,
    key: MessageKey,
}

/// An answer without its body, which follows on the next line.
#[derive(Serialize, Deserialize)]
struct Head {
    status: u16,
    media_type: String,
}

impl Asking {
    pub(in crate::node) fn new(cluster: Cluster, key: MessageKey) -> Arc<Self> {
        Arc::new(Self { cluster, key })
    }

    /// The other nodes by name. Of the processes of one node, that which was heard last.
    pub(super) fn others(&self) -> BTreeMap<NodeName, Member> {
        let mut others: BTreeMap<NodeName, Member> = BTreeMap::new();
        for member in self.cluster.messages().members() {
            if others.get(&member.name).is_none_or(|known| known.age > member.age) {
                others.insert(member.name.clone(), member);
            }
        }
        others
    }

    /// Asks a node, and waits no longer than `patience`.
    pub(super) async fn ask(
        &self,
        node: &NodeName,
        question: &NodeQuestion,
        patience: Duration,
    ) -> Result<NodeAnswer, String> {
        let member = self.others().remove(node).ok_or("it is not there")?;
        let (id, own, to) =
            (hex::encode(rand::random::<[u8; 16]>()), self.cluster.instance(), &member.instance);
        let plain = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        let sealed = self.key.seal(&plain, &[QUESTION, &id, own, to], rand::random());
        let asked = self.cluster.questions().ask(&id, to, sealed.into());
        let answer = tokio::time::timeout(patience, asked).await;
        let answer = answer
            .map_err(|_| format!("it did not answer within {}", humantime::format_duration(patience)))?;
        let answer = answer.map_err(|error| error.to_string())?;
        let opened = self.key.open(&answer, &[ANSWER, &id, to, own]);
        let opened = opened.ok_or("its answer was made by somebody without the key of the cluster")?;
        unpack(&opened).map_err(|error| format!("its answer cannot be read: {error}"))
    }

    /// Answers other nodes by `admin`, until that is gone.
    pub(in crate::node) async fn answer(self: Arc<Self>, admin: Weak<NodeAdmin>) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            let question = self.cluster.questions().hear().await;
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Some(admin) = admin.upgrade() else { return };
            let asking = Arc::clone(&self);
            tokio::spawn(async move {
                if tokio::time::timeout(WORK, asking.answer_one(question, &admin)).await.is_err() {
                    tracing::debug!("question of another node was not answered in time");
                }
                drop(place);
            });
        }
    }

    async fn answer_one(&self, question: Question, admin: &Arc<NodeAdmin>) {
        let Question { id, from, body } = question;
        let own = self.cluster.instance();
        let Some(opened) = self.key.open(&body, &[QUESTION, &id, &from, own]) else {
            tracing::debug!("question was asked by somebody without the key of the cluster");
            return;
        };
        let Ok(question) = serde_json::from_slice::<NodeQuestion>(&opened) else {
            tracing::debug!("question of another node cannot be read");
            return;
        };
        let answer = admin.answer(question).await;
        let packed = tokio::task::spawn_blocking(move || packed(answer)).await;
        match packed.map_err(io::Error::other).flatten() {
            Ok(packed) => {
                let sealed = self.key.seal(&packed, &[ANSWER, &id, own, &from], rand::random());
                self.cluster.questions().answer(&id, &from, &sealed.into());
            }
            Err(error) => tracing::debug!(%error, "answer to another node cannot be packed"),
        }
    }
}

/// `answer` in as many bytes as may be sent. One that is too long becomes an answer that says so.
fn packed(answer: NodeAnswer) -> io::Result<Vec<u8>> {
    let packed = pack(&answer)?;
    if packed.len() + SEAL_BYTES <= ANSWER_BYTES_MAX {
        return Ok(packed);
    }
    let status = http::StatusCode::INSUFFICIENT_STORAGE.as_u16();
    pack(&NodeAnswer { status, media_type: String::new(), body: Bytes::new() })
}

fn pack(answer: &NodeAnswer) -> io::Result<Vec<u8>> {
    let head = Head { status: answer.status, media_type: answer.media_type.clone() };
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut encoder, &head)?;
    encoder.write_all(b"\n")?;
    encoder.write_all(&answer.body)?;
    encoder.finish()
}

fn unpack(packed: &[u8]) -> io::Result<NodeAnswer> {
    let mut unpacked = Vec::new();
    GzDecoder::new(packed).take(UNPACKED_BYTES_MAX).read_to_end(&mut unpacked)?;
    let end = unpacked.iter().position(|byte| *byte == b'\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    let Head { status, media_type } = serde_json::from_slice(&unpacked[..end])?;
    let body = Bytes::from(unpacked).slice(end + 1..);
    Ok(NodeAnswer { status, media_type, body })
}

#[cfg(test)]
mod tests {
    use wasm_fn_api::RightsSpec;

    use super::*;

    /// A node of another release has to read what this one seals, and writes it as here.
    #[test]
    fn questions_and_answers_are_written_and_read_as_ever() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let rights =
            RightsSpec { roles: words(&["viewer"]), functions: words(&["shop-*"]), stages: words(&["live"]) };
        let (target, actor) = ("/v1/functions?limit=3".to_owned(), "ana".to_owned());
        let question = NodeQuestion { target, actor, rights };
        let written = "{\"target\":\"/v1/functions?limit=3\",\"actor\":\"ana\",\"rights\":{\"roles\":[\"viewer\"],\
                       \"functions\":[\"shop-*\"],\"stages\":[\"live\"]}}";
        assert_eq!(serde_json::to_string(&question).unwrap(), written);
        // A later release may say more.
        let more = written.replacen('{', "{\"later\":[1],", 1);
        for text in [written, &more] {
            assert_eq!(serde_json::from_str::<NodeQuestion>(text).unwrap(), question);
        }
        let answer = |head: &str| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(head.as_bytes()).unwrap();
            encoder.write_all(b"\nbody\n").unwrap();
            unpack(&encoder.finish().unwrap()).unwrap()
        };
        let expected =
            NodeAnswer { status: 200, media_type: "text/plain".to_owned(), body: Bytes::from("body\n") };
        assert_eq!(answer(r#"{"status":200,"media_type":"text/plain"}"#), expected);
        assert_eq!(answer(r#"{"later":1,"status":200,"media_type":"text/plain"}"#), expected);
        let mut plain = Vec::new();
        GzDecoder::new(&*pack(&expected).unwrap()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, b"{\"status\":200,\"media_type\":\"text/plain\"}\nbody\n");
    }

    #[test]
    fn answer_is_packed_and_one_that_is_too_long_says_so() {
        let answer = |body: Vec<u8>| NodeAnswer {
            status: 200,
            media_type: "application/json".to_owned(),
            body: body.into(),
        };
        for body in [&b""[..], b"\n", b"{}\nmore\n"] {
            let answer = answer(body.to_vec());
            assert_eq!(unpack(&packed(answer.clone()).unwrap()).unwrap(), answer);
        }
        let noise: Vec<u8> = (0..ANSWER_BYTES_MAX).map(|_| rand::random()).collect();
        assert_eq!(unpack(&packed(answer(noise)).unwrap()).unwrap().status, 507);
        assert!(unpack(b"").is_err());
        assert!(unpack(&pack(&answer(b"x".to_vec())).unwrap()[..12]).is_err());
    }
}
