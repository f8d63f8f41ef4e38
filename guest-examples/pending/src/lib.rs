//! Misbehaves: returns while it writes a body that has no end. The body begins with a hash of all of the
//! memory that it was called with, which shows whether that is what every other instance was called with.

use std::arch::wasm32::memory_size;
use std::ptr;

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};

/// Bytes of a page of WebAssembly.
const PAGE: usize = 64 * 1024;

const CHUNK: usize = 256 * 1024;

struct Pending;

wasip3::http::service::export!(Pending);

impl Guest for Pending {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let found = hash();
        let (mut body, contents) = wit_stream::new();
        // Dropping the sender means "no trailers".
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(Fields::new(), Some(contents), trailers);
        wasip3::spawn_local(async move {
            let mut unsent = body.write_all(format!("{found:016x}\n").into_bytes()).await;
            // Bytes that come back belong to a client that has left.
            while unsent.is_empty() {
                unsent = body.write_all(vec![0xaa; CHUNK]).await;
            }
        });
        Ok(response)
    }
}

/// The hash (FNV-1a, by words) of everything from the second word on: there is nothing at address 0.
fn hash() -> u64 {
    let words = memory_size::<0>() * PAGE / size_of::<u64>();
    (1..words).fold(0xcbf2_9ce4_8422_2325, |hash: u64, word| {
        // SAFETY: the memory has this word, and nothing else runs.
        let word = unsafe { ptr::with_exposed_provenance::<u64>(word * size_of::<u64>()).read_volatile() };
        (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
