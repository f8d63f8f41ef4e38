//! An answer of JSON lines, or of server-sent events, read as they arrive.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::ClientError;
use crate::config::NodeAddress;

/// How long a stream of events may be silent: nodes show every 15 seconds that it is alive.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// What begins a line of an event that has its data (WHATWG HTML, section 9.2.6). Nodes put the whole data
/// into one line.
const DATA: &[u8] = b"data:";

/// Maximum length of a line, bytes.
const LINE_BYTES_MAX: usize = 4 << 20;

/// The lines of one answer.
pub(crate) struct Lines {
    body: Incoming,
    node: NodeAddress,
    buffer: BytesMut,
    /// Bytes at the start of `buffer` that contain no end of a line.
    searched: usize,
    form: Form,
}

/// What the lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Each is an object of JSON.
    Json,
    /// They are server-sent events, of which the data are objects of JSON.
    Events,
}

impl Lines {
    /// The lines of `body`.
    pub(super) fn new(body: Incoming, node: NodeAddress) -> Self {
        Self { body, node, buffer: BytesMut::new(), searched: 0, form: Form::Json }
    }

    /// The events of `body`.
    pub(super) fn of_events(body: Incoming, node: NodeAddress) -> Self {
        Self { form: Form::Events, ..Self::new(body, node) }
    }

    /// Returns the next line or event, or `None` after the last.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                let data = match self.form {
                    Form::Json => Some(&line[..]),
                    // Other lines are comments, or fields that nodes do not send.
                    Form::Events => line.strip_prefix(DATA),
                };
                match data.map(<[u8]>::trim_ascii).filter(|data| !data.is_empty()) {
                    Some(data) => return self.parse(data).map(Some),
                    None => continue,
                }
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(self.unexpected(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            let frame = match self.form {
                Form::Json => self.body.frame().await,
                Form::Events => {
                    let frame = tokio::time::timeout(SILENCE_MAX, self.body.frame()).await;
                    frame.map_err(|_| ClientError::Slow { node: self.node.clone(), wait: SILENCE_MAX })?
                }
            };
            match frame {
                None if self.buffer.is_empty() => return Ok(None),
                None => return Err(self.unexpected("it ended in the middle of a line")),
                Some(Err(error)) => return Err(ClientError::ended_early(&self.node, &error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.buffer.extend_from_slice(&bytes);
                    }
                }
            }
        }
    }

    fn parse<T: DeserializeOwned>(&self, line: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(line).map_err(|error| self.unexpected(error))
    }

    fn unexpected(&self, what: impl ToString) -> ClientError {
        ClientError::Unexpected { node: self.node.clone(), what: what.to_string() }
    }
}
