//! Facts about WASI commands: how they end, what they see of the request, and whose memory is whose.

use super::*;
use crate::Refusal;

/// A preview-1 module with `functions`, which may write to standard output by `$print`, an address and a
/// length. Addresses below 64 are scratch.
fn module(functions: &str) -> Vec<u8> {
    let import =
        |name: &str, ty: &str| format!("(import \"wasi_snapshot_preview1\" \"{name}\" (func ${name} {ty}))");
    let imports = [
        import("fd_read", "(param i32 i32 i32 i32) (result i32)"),
        import("fd_write", "(param i32 i32 i32 i32) (result i32)"),
        import("environ_sizes_get", "(param i32 i32) (result i32)"),
        import("environ_get", "(param i32 i32) (result i32)"),
        import("args_sizes_get", "(param i32 i32) (result i32)"),
        import("args_get", "(param i32 i32) (result i32)"),
        import("proc_exit", "(param i32)"),
    ]
    .concat();
    let text = format!(
        r#"(module {imports}
            (memory (export "memory") 8 16)
            (data (i32.const 64) "X-A: b\n\n")
            (func $print (param $at i32) (param $bytes i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $bytes))
                (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
            (func $head (call $print (i32.const 64) (i32.const 8)))
            {functions})"#
    );
    wat::parse_str(text).unwrap()
}

/// A program that answers with `writes` bytes 64 KiB at a time, and exits with `status`.
fn exiting(writes: u32, status: u32) -> Vec<u8> {
    let prints = "(call $print (i32.const 65536) (i32.const 65536))".repeat(writes as usize);
    module(&format!(
        r#"(func (export "_start") (call $head) {prints} (call $proc_exit (i32.const {status})))"#
    ))
}

#[tokio::test]
async fn exiting_with_0_is_success_and_cuts_nothing_off() {
    let node = Node::start();
    let kinds = [("0", 0), ("1", 1), ("30", 30)];
    for (name, writes) in kinds {
        let version = node.add_version(&exiting(writes, 0));
        for _ in 0..3 {
            let (status, body) = get(&version, "/").await.unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!((status, body.len()), (StatusCode::OK, writes as usize * 65536), "{name}");
        }
        assert_eq!(version.concurrency.running(), 0);
    }
    assert_eq!(node.log("shop"), []);
}

#[tokio::test]
async fn other_exits_are_reported_by_their_number() {
    let node = Node::start();
    for (status, reported) in [(1, "status 1"), (3, "status 3"), (255, "status 255"), (256, "status 255")] {
        let fault = get(&node.add_version(&exiting(1, status)), "/").await.unwrap_err();
        let Fault::Trap { reason, .. } = fault else { panic!("{status}: {fault}") };
        assert_eq!(reason, format!("it exited with {reported}"));
    }
}

#[tokio::test]
async fn exiting_without_an_answer_is_no_answer() {
    let node = Node::start();
    let silent = module(r#"(func (export "_start") (call $proc_exit (i32.const 0)))"#);
    let fault = get(&node.add_version(&silent), "/").await.unwrap_err();
    assert!(matches!(fault, Fault::InvalidResponse { .. }), "{fault}");
}

/// A program that shows its arguments and its environment, each with a zero byte at its end.
fn showing() -> Vec<u8> {
    module(
        r#"(func (export "_start")
            (call $head)
            (drop (call $args_sizes_get (i32.const 16) (i32.const 20)))
            (drop (call $args_get (i32.const 1024) (i32.const 65536)))
            (call $print (i32.const 65536) (i32.load (i32.const 20)))
            (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
            (drop (call $environ_get (i32.const 1024) (i32.const 65536)))
            (call $print (i32.const 65536) (i32.load (i32.const 20))))"#,
    )
}

async fn shown(version: &Arc<Version>, request: Request<Full<Bytes>>) -> Vec<String> {
    shown_to(version, invocation(request)).await
}

async fn shown_to(version: &Arc<Version>, invocation: Invocation<Full<Bytes>>) -> Vec<String> {
    compiled(version).await;
    let response = version.clone().invoke(invocation).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    body.split(|&b| b == 0).map(|entry| String::from_utf8(entry.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_program_sees_its_name_and_each_variable_once() {
    let node = Node::start();
    let mut config = FunctionConfig::default();
    config.env.insert("GREETING".to_owned(), "hi".to_owned());
    config.env.insert("HTTP_MODE".to_owned(), "configured".to_owned());
    let (function, digest) = ("shop".parse().unwrap(), node.add(&showing()));
    let version = node.runtime.version(VersionSpec {
        function,
        stage: StageName::live(),
        version: VersionNo::FIRST,
        digest,
        config,
        secrets: SecretSet::none(),
    });
    let request = Request::put("/caf%C3%A9?a=b")
        .header("host", "test")
        .header("mode", "sent")
        .header("x-wörter".replace('ö', "o"), "größe".as_bytes())
        .body(Full::new(Bytes::from_static(b"body")))
        .unwrap();
    let shown = shown(&version, request).await;
    assert_eq!(shown[0], "shop", "argv[0]");
    for entry in [
        "GREETING=hi",
        "HTTP_MODE=configured",
        "HTTP_X_WORTER=größe",
        "REQUEST_METHOD=PUT",
        "PATH_INFO=/café",
        "REQUEST_URI=/caf%C3%A9?a=b",
        "SERVER_PORT=80",
        "REMOTE_ADDR=127.0.0.1",
        "CONTENT_LENGTH=4",
    ] {
        assert!(shown.iter().any(|found| found == entry), "{entry} in {shown:?}");
    }
    let mut names: Vec<_> = shown.iter().filter_map(|entry| Some(entry.split_once('=')?.0)).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "{shown:?}");
}

#[tokio::test]
async fn a_program_learns_that_its_client_came_by_tls() {
    let node = Node::start();
    let version = node.add_version(&showing());
    let request = || invocation(Request::get("/").body(Full::default()).unwrap());
    let over_tls = Invocation { scheme: Scheme::Https, port: 443, ..request() };
    for (invocation, expected) in [(over_tls, true), (request(), false)] {
        let shown = shown_to(&version, invocation).await;
        assert_eq!(shown.iter().any(|entry| entry == "HTTPS=on"), expected, "{shown:?}");
        assert_eq!(shown.iter().any(|entry| entry == "SERVER_PORT=443"), expected, "{shown:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_has_no_length() {
    let node = Node::start();
    let version = node.add_version(&showing());
    let request = |builder: http::request::Builder| builder.body(Full::default()).unwrap();
    let none = shown(&version, request(Request::get("/"))).await;
    assert!(!none.iter().any(|entry| entry.starts_with("CONTENT_LENGTH")), "{none:?}");
    let empty = shown(&version, request(Request::post("/").header("content-length", "0"))).await;
    assert!(empty.iter().any(|entry| entry == "CONTENT_LENGTH=0"), "{empty:?}");
}

/// A request for `version` whose head is as long as it may be at most, or one byte longer.
async fn long(version: &Arc<Version>, target: usize, header: usize) -> Result<Response<ResponseBody>, Fault> {
    let request = Request::get(format!("/{}", "x".repeat(target)))
        .header("host", "test")
        .header("x-long", "x".repeat(header))
        .body(Full::default())
        .unwrap();
    compiled(version).await;
    version.clone().invoke(invocation(request)).await.map_err(|failed| failed.fault)
}

#[tokio::test]
async fn a_head_that_is_too_long_never_reaches_the_program() {
    let node = Node::start();
    let version = node.add_version(&showing());
    let fits = (32 << 10) - "REQUEST_URI".len() - 1;
    assert!(long(&version, fits, 30_000).await.is_ok());
    for (target, header, uri) in [(fits + 1, 0, true), (60_000, 0, true), (0, 40_000, false)] {
        let fault = long(&version, target, header).await.err().unwrap();
        let Fault::Refused(refusal) = fault else { panic!("{fault}") };
        assert_eq!(matches!(refusal, Refusal::UriTooLong { .. }), uri, "{refusal}");
        assert_eq!(version.concurrency.running(), 0);
    }
    assert_eq!(node.log("shop"), [], "the function has nothing to do with it");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_read_error() {
    let node = Node::start();
    // Reads until the end or an error, and answers with the error's number.
    let version = node.add_version(&module(
        r#"(func (export "_start")
            (local $error i32)
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 1024))
            (loop $more
                (local.set $error
                    (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (br_if $more
                    (i32.and (i32.eqz (local.get $error)) (i32.ne (i32.load (i32.const 8)) (i32.const 0)))))
            (call $head)
            (i32.store8 (i32.const 32) (i32.add (i32.const 48) (i32.ne (local.get $error) (i32.const 0))))
            (call $print (i32.const 32) (i32.const 1)))"#,
    ));
    compiled(&version).await;
    for (end, expected) in [(None, "0"), (Some(BodyError::TooLarge), "1")] {
        let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"half")))];
        let frames = frames.into_iter().chain(end.map(Err));
        let body = StreamBody::new(tokio_stream_iter(frames.collect::<Vec<_>>()));
        let request = Request::post("/").header("host", "test").body(body).unwrap();
        let response = version.clone().invoke(invocation(request)).await.unwrap();
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), expected);
    }
}

/// A program that takes all of its memory for its own, as the allocators of some languages do: it fills it
/// after its first call to the host, grows it by `pages`, each time fills what is new, and looks at all of it
/// in the end.
fn greedy(pages: [u32; 3]) -> Vec<u8> {
    let grow = |pages: u32| {
        format!(
            "(if (i32.ne (memory.grow (i32.const {pages})) (local.get $size)) (then unreachable))
             (local.set $from (i32.shl (local.get $size) (i32.const 16)))
             (local.set $size (i32.add (local.get $size) (i32.const {pages})))
             (if (i32.ne (memory.size) (local.get $size)) (then unreachable))
             (call $all (local.get $from) (i32.shl (local.get $size) (i32.const 16)) (i32.const 0))
             (memory.fill (local.get $from) (i32.const 7)
                 (i32.sub (i32.shl (local.get $size) (i32.const 16)) (local.get $from)))
             (call $head)"
        )
    };
    let grows = pages.map(grow).concat();
    module(&format!(
        r#"(func $all (param $from i32) (param $to i32) (param $byte i32)
            (block $done (loop $next
                (br_if $done (i32.ge_u (local.get $from) (local.get $to)))
                (if (i32.ne (i32.load8_u (local.get $from)) (local.get $byte)) (then unreachable))
                (local.set $from (i32.add (local.get $from) (i32.const 1)))
                (br $next))))
        (func (export "_start")
            (local $size i32) (local $from i32)
            (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
            (local.set $size (memory.size))
            (if (i32.ne (local.get $size) (i32.const 8)) (then unreachable))
            (call $all (i32.const 65536) (i32.const 524288) (i32.const 0))
            (memory.fill (i32.const 65536) (i32.const 7) (i32.const 458752))
            (call $head)
            {grows}
            (drop (call $environ_sizes_get (i32.const 16) (i32.const 20)))
            (call $all (i32.const 65536) (i32.shl (local.get $size) (i32.const 16)) (i32.const 7))
            (if (i32.ne (memory.grow (i32.const 1)) (i32.const -1)) (then unreachable))
            (if (i32.ne (memory.grow (i32.const -1)) (i32.const -1)) (then unreachable))
            (if (i32.ne (memory.grow (i32.const 0)) (local.get $size)) (then unreachable)))"#
    ))
}

#[tokio::test]
async fn the_adapters_pages_are_in_nobodys_way() {
    let node = Node::start();
    for pages in [[1, 2, 5], [5, 2, 1], [3, 3, 2], [8, 0, 0]] {
        let version = node.add_version(&greedy(pages));
        // Each head behind the first is body.
        assert_eq!(ok(&version, "/").await, "X-A: b\n\n".repeat(3), "{pages:?}");
    }
}
