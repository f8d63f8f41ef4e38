//! Causes of failures, as they are told.

use std::io;

use anyhow::Context as _;

use super::causes;

#[derive(Debug, thiserror::Error)]
#[error("a.pem: {0}")]
struct Repeats(#[source] io::Error);

#[test]
fn each_cause_is_told_once() {
    let repeats = Repeats(io::Error::other("no such file"));
    let failure = Err::<(), _>(repeats).context("TLS of --listen").unwrap_err();
    assert_eq!(causes(&failure), "TLS of --listen: a.pem: no such file");
    assert_eq!(causes(&anyhow::anyhow!("one")), "one");
}
