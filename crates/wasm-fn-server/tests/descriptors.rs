//! A process that runs out of file descriptors goes on serving once there are some again.
//!
//! A test binary of its own, because the limit is the process's.

use std::{
    future::Future,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{Arc, Barrier},
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::Response;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use wasm_fn_core::{FunctionName, StageName, Usage};
use wasm_fn_router::RouteTable;
use wasm_fn_server::{
    Call, InvocationBody, Invoke, InvokeFailure, OverrideAccess, ServerOptions, draw_at_random,
};

/// A version that is never reached: the table is empty.
struct Nobody;

struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = InvokeFailure;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, InvokeFailure>>> {
        std::task::Poll::Ready(None)
    }
}

impl InvocationBody for Nothing {
    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn complete(self: std::pin::Pin<&mut Self>) {}
}

impl Invoke for Nobody {
    type Body = Nothing;

    fn invoke(
        &self,
        _: Call,
    ) -> impl Future<Output = Result<Response<Nothing>, InvokeFailure>> + Send + use<> {
        std::future::ready(Ok(Response::new(Nothing)))
    }
}

impl OverrideAccess for Nobody {
    fn may_preview(&self, _: &FunctionName, _: &StageName, _: &str) -> bool {
        false
    }

    fn may_override(&self, _: &FunctionName, _: &StageName, _: Option<&str>) -> bool {
        false
    }
}

fn serve(runtime: &tokio::runtime::Runtime) -> SocketAddr {
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let tables = Arc::new(ArcSwap::from_pointee(RouteTable::<Nobody>::empty()));
        let minute = Duration::from_secs(60);
        let options = ServerOptions {
            shield_body_bytes_max: 64 << 10,
            show_shielded: false,
            trusted_proxies: Vec::new(),
            tls: None,
            proxy_protocol: false,
            preview_domain: None,
            connections_max: 1000,
            connections_per_address: 1000,
            headers_max: 100,
            head_bytes_max: 65_536,
            body_bytes_max: 1 << 20,
            head_timeout: minute,
            idle_timeout: minute,
            stall_timeout: minute,
            drain_grace: minute,
            schedule_delay_max: minute,
            receiver: None,
            recording: None,
            draw: draw_at_random,
        };
        wasm_fn_server::serve(listener, tables, options, Arc::new(Nobody)).expect("it listens").local_addr()
    })
}

fn ask(mut client: &TcpStream) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").expect("it reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn running_out_of_file_descriptors_pauses_accepting() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let addr = serve(&runtime);
    assert!(ask(&TcpStream::connect(addr).unwrap()).contains("no-such-function"));

    // The server's thread is held while clients take every descriptor and wait in the backlog.
    let gate = Arc::new(Barrier::new(2));
    let held = Arc::clone(&gate);
    runtime.spawn(async move {
        held.wait();
        held.wait();
    });
    gate.wait();
    let limit = Rlimit { current: Some(64), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut clients: Vec<_> = std::iter::from_fn(|| TcpStream::connect(addr).ok()).collect();
    assert!((1..64).contains(&clients.len()));
    gate.wait();
    let turns = runtime.spawn(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    runtime.block_on(turns).unwrap();

    let last = clients.pop().unwrap();
    drop(clients);
    assert!(ask(&last).contains("no-such-function"));
}
