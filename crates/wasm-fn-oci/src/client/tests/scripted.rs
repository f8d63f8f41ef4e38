//! A server that answers as it is told: registries that real ones would not be.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

use crate::Reference;

/// What to say to one request: everything behind `HTTP/1.1 `.
type Answers = BTreeMap<String, Vec<u8>>;

/// A server with answers by method and path.
pub(super) struct Scripted {
    pub(super) address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Starts a server. `answers` gets its address.
    pub(super) async fn start(answers: impl FnOnce(&str) -> Vec<(&'static str, Vec<u8>)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = answers(&address).into_iter();
        let answers: Arc<Answers> = Arc::new(answers.map(|(key, answer)| (key.to_owned(), answer)).collect());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // One that goes away in the middle is a client that has read enough.
                tokio::spawn(serve(stream, Arc::clone(&answers), Arc::clone(&seen)));
            }
        });
        Self { address, requests }
    }

    /// An artifact at this server.
    pub(super) fn reference(&self, tag: &str) -> Reference {
        format!("oci://{}/acme/hello{tag}", self.address).parse().unwrap()
    }

    /// The requests so far: method, path, authorization and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    stream: TcpStream,
    answers: Arc<Answers>,
    requests: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_until(b'\n', &mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8(head).unwrap();
    let header = |name: &str| {
        let value = |line: &str| {
            let (found, value) = line.split_once(": ")?;
            found.eq_ignore_ascii_case(name).then(|| value.to_owned())
        };
        head.lines().find_map(value)
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let request = head.split(" HTTP/").next().unwrap().to_owned();
    let said = [Some(request.clone()), header("authorization"), Some(String::from_utf8(body).unwrap())];
    let said: Vec<_> = said.into_iter().flatten().filter(|text| !text.is_empty()).collect();
    requests.lock().unwrap().push(said.join(" | "));
    let answer =
        answers.get(&request).map_or(&b"404 Not Found\r\ncontent-length: 0\r\n\r\n"[..], Vec::as_slice);
    stream.write_all(b"HTTP/1.1 ").await?;
    stream.write_all(answer).await?;
    stream.shutdown().await
}

/// An answer with status, headers and body.
pub(super) fn answer(status: &str, headers: &[&str], body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
    let head = format!("{status}\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
