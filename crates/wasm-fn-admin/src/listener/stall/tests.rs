//! Tests of stalled connections, in virtual time.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
    time::Instant,
};

use super::*;

#[tokio::test(start_paused = true)]
async fn client_that_reads_nothing_is_cut_off() {
    let (server, _client) = duplex(16);
    let started = Instant::now();
    let error = Stalling::new(server).write_all(&[0; 17]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(started.elapsed(), STALL_MAX);
}

#[tokio::test(start_paused = true)]
async fn client_that_reads_slowly_is_served() {
    let (server, mut client) = duplex(16);
    let mut server = Stalling::new(server);
    let write = async { server.write_all(&[0; 160]).await };
    let read = async {
        for _ in 0..10 {
            sleep(STALL_MAX / 2).await;
            client.read_exact(&mut [0; 16]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(write, read);
    written.unwrap();
}
