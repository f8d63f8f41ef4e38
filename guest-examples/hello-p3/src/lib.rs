//! The smallest useful function, as a wasi:http 0.3 `handler`: the answer of `hello`.
//!
//! The environment variable `HELLO_VERSION` chooses the version at build time.

use wasip3::exports::http::handler::Guest;
use wasip3::http::types::{ErrorCode, Fields, Request, Response};
use wasip3::{wit_future, wit_stream};

const VERSION: &str = match option_env!("HELLO_VERSION") {
    Some(version) => version,
    None => "v1",
};
const PREFIX: &str = "hello from ";
const BODY_LEN: usize = PREFIX.len() + VERSION.len() + 1;
static BODY: [u8; BODY_LEN] = body();

struct Hello;

wasip3::http::service::export!(Hello);

impl Guest for Hello {
    async fn handle(_request: Request) -> Result<Response, ErrorCode> {
        let headers = Fields::from_list(&[("content-type".into(), b"text/plain".to_vec())])
            .map_err(|refused| ErrorCode::InternalError(Some(format!("{refused:?}"))))?;
        let (mut body, contents) = wit_stream::new();
        // Dropping the sender means "no trailers".
        let (_, trailers) = wit_future::new(|| Ok(None));
        let (response, _sent) = Response::new(headers, Some(contents), trailers);
        // The host reads the body only after it has the response, so the write runs beside the return.
        wasip3::spawn_local(async move {
            // Bytes that come back belong to a client that has left; nobody is there to tell.
            let _unsent = body.write_all(BODY.to_vec()).await;
        });
        Ok(response)
    }
}

/// Joins the body at compile time; `concat!` takes no constants.
const fn body() -> [u8; BODY_LEN] {
    let mut joined = [b'\n'; BODY_LEN];
    let (prefix, rest) = joined.split_at_mut(PREFIX.len());
    prefix.copy_from_slice(PREFIX.as_bytes());
    let (version, _newline) = rest.split_at_mut(VERSION.len());
    version.copy_from_slice(VERSION.as_bytes());
    joined
}
