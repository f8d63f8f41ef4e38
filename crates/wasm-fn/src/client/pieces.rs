//! A large answer, read piece by piece as it arrives.

use bytes::Bytes;
use http::Method;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::{ANSWER_WAIT, Client, ClientError};
use crate::config::NodeAddress;

/// The bytes of one answer.
pub(crate) struct Pieces {
    body: Incoming,
    node: NodeAddress,
}

impl Client {
    /// Sends a GET request for `path`; the answer is larger than should be held in memory.
    pub(crate) async fn pieces(&self, path: &str, media_type: &'static str) -> Result<Pieces, ClientError> {
        let request = self.json(Method::GET, path, None::<&()>, media_type)?;
        let response = tokio::time::timeout(ANSWER_WAIT, self.send(request)).await;
        let response = response.map_err(|_| self.slow())??;
        let status = response.status();
        if !status.is_success() {
            let bytes = self.read(response).await?;
            return Err(self.refusal(status, &bytes));
        }
        Ok(Pieces { body: response.into_body(), node: self.address().clone() })
    }
}

impl Pieces {
    /// Returns the next piece, or `None` after the last. An answer that ends before its announced length is
    /// an error.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            let frame = tokio::time::timeout(ANSWER_WAIT, self.body.frame()).await;
            let frame =
                frame.map_err(|_| ClientError::Slow { node: self.node.clone(), wait: ANSWER_WAIT })?;
            match frame {
                None => return Ok(None),
                Some(Err(error)) => return Err(ClientError::ended_early(&self.node, &error)),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}
