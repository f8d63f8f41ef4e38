//! Uploads a component to the node in pieces, without holding all of it in memory.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use wasm_fn_core::Digest;

use super::Body;

/// Size of one piece, bytes.
const PIECE_BYTES: usize = 64 << 10;

/// A component to upload.
pub(crate) struct Upload {
    /// Its file.
    pub(crate) path: PathBuf,
    /// Its digest.
    pub(crate) component: Digest,
    /// Its size.
    pub(crate) bytes: u64,
    /// Called with the size of every piece that was handed to the network.
    pub(crate) sent: Box<dyn Fn(u64) + Send>,
}

impl Upload {
    /// Computes digest and size of the file at `path`. Blocks.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn digest(path: &Path) -> io::Result<(Digest, u64)> {
        let mut file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
        }
        let (mut hash, mut total, mut piece) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok((Digest(hash.finalize().into()), total));
            }
            hash.update(&piece[..read]);
            total += read as u64;
        }
    }

    /// Turns this into the request's body. If the file's size has changed in the meantime, the node refuses
    /// the body.
    pub(super) async fn into_body(self) -> io::Result<Body> {
        let file = tokio::fs::File::open(&self.path).await?.take(self.bytes);
        let pieces = stream::try_unfold((file, self.sent), async |(mut file, sent)| {
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read(&mut piece).await?;
            if read == 0 {
                return Ok::<_, io::Error>(None);
            }
            sent(read as u64);
            piece.truncate(read);
            Ok(Some((Frame::data(Bytes::from(piece)), (file, sent))))
        });
        Ok(StreamBody::new(pieces).boxed_unsync())
    }
}
