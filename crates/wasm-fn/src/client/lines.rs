//! An answer of JSON lines, read as they arrive.

use bytes::{Buf as _, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::ClientError;
use crate::config::NodeAddress;

/// Maximum length of a line, bytes.
const LINE_BYTES_MAX: usize = 4 << 20;

/// The lines of one answer.
pub(crate) struct Lines {
    body: Incoming,
    node: NodeAddress,
    buffer: BytesMut,
    /// Bytes at the start of `buffer` that contain no end of a line.
    searched: usize,
}

impl Lines {
    pub(super) fn new(body: Incoming, node: NodeAddress) -> Self {
        Self { body, node, buffer: BytesMut::new(), searched: 0 }
    }

    /// Returns the next line, or `None` after the last.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, ClientError> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end);
                self.buffer.advance(1);
                self.searched = 0;
                if line.is_empty() {
                    continue;
                }
                return self.parse(&line).map(Some);
            }
            self.searched = self.buffer.len();
            if self.searched > LINE_BYTES_MAX {
                return Err(self.unexpected(format!("a line is longer than {LINE_BYTES_MAX} bytes")));
            }
            match self.body.frame().await {
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
