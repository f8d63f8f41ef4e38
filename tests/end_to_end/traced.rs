//! Traces, logs and the access log, as a collector and people get them.

use std::{collections::BTreeSet, fs, process::Command, time::Duration};

use http::StatusCode;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpSocket},
    sync::mpsc,
};

use crate::harness::{
    Folder, Node, Process,
    client::{Client, read_until},
    collector::{Collector, ReceivedSpan, hex},
    patiently,
    programs::starts,
    serve,
};

/// A caller that samples.
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// How long the collector of others may take for a batch.
const BATCH_MAX: Duration = Duration::from_secs(5);

/// `serve` that sends its telemetry to `endpoint` at once.
fn telling(folder: &Folder, endpoint: &str, args: &[&str]) -> Command {
    let mut command = serve(folder, args);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OTEL_") {
            command.env_remove(name);
        }
    }
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint);
    command.env("OTEL_BSP_SCHEDULE_DELAY", "20").env("OTEL_BLRP_SCHEDULE_DELAY", "20");
    command
}

/// A node that sends its telemetry to `collector` over HTTP, with more variables.
async fn node_telling(collector: &Collector, variables: &[(&str, &str)], args: &[&str]) -> Node {
    let folder = Folder::new();
    let mut command = telling(&folder, &format!("http://{}", collector.address), args);
    command.envs(variables.iter().copied());
    Node::start_as(&mut command, folder).await
}

/// A server that tells the heads of the requests that it gets.
async fn hearing() -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (heads, heard) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = read_until(&mut stream, |read| read.ends_with(b"\r\n\r\n")).await;
            heads.send(String::from_utf8(head).unwrap()).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
        }
    });
    (address, heard)
}

/// The value of the header `name` in `head`.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.into_iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn named<'a>(spans: &'a [ReceivedSpan], name: &str) -> Vec<&'a ReceivedSpan> {
    spans.iter().filter(|span| span.span.name == name).collect()
}

#[tokio::test]
async fn request_is_a_span_with_its_parts() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[("OTEL_RESOURCE_ATTRIBUTES", "host.name=a")], &[]).await;
    let (upstream, mut heard) = hearing().await;
    node.deploy_with("fetch", "fetch", json!({ "egress": [format!("http://{upstream}")] })).await;
    let path = format!("/fetch?url=http%3A%2F%2F{upstream}%2Fa%3Fsecret%3D1");
    let answer = node.http.get_as(&path, &[("traceparent", PARENT), ("tracestate", "a=1, b=2")]).await.ok();

    let own = collector.span("fetch").await;
    assert_eq!((hex(&own.span.trace_id), hex(&own.span.parent_span_id)), (TRACE.into(), CALLER.into()));
    assert_eq!(own.span.kind, 2, "SERVER");
    for (name, value) in [
        ("http.request.method", "GET"),
        ("http.response.status_code", "200"),
        ("url.path", "/fetch"),
        ("url.scheme", "http"),
        ("http.route", "/fetch/*"),
        ("client.address", "127.0.0.1"),
        ("server.address", "127.0.0.1"),
        ("server.port", &node.listen.port().to_string()),
        ("network.protocol.version", "1.1"),
        ("faas.name", "fetch"),
        ("faas.version", "v1"),
        ("faas.trigger", "http"),
        ("faas.invocation_id", answer.header("wasm-fn-request-id")),
        ("wasm_fn.stage", "live"),
        ("wasm_fn.outcome", "success"),
        ("error.type", ""),
    ] {
        assert_eq!(own.get(name), value, "{name}: {own:?}");
    }
    assert!(["true", "false"].contains(&own.get("faas.coldstart")), "{own:?}");
    let guest = collector.span("guest").await;
    assert_eq!(guest.span.parent_span_id, own.span.span_id);
    let sent = collector.span("GET").await;
    assert_eq!((&sent.span.parent_span_id, sent.span.kind), (&guest.span.span_id, 3), "CLIENT");
    assert_eq!(sent.get("url.full"), format!("http://{upstream}/a"), "the query is nobody's business");
    assert_eq!(sent.get("http.response.status_code"), "200");
    let within = |inner: &ReceivedSpan, outer: &ReceivedSpan| {
        let (inner, outer) = (&inner.span, &outer.span);
        outer.start_time_unix_nano <= inner.start_time_unix_nano
            && inner.end_time_unix_nano <= outer.end_time_unix_nano
    };
    assert!(within(&guest, &own) && within(&sent, &guest), "{own:?}\n{guest:?}\n{sent:?}");
    // What the upstream does is a child of the span that called it.
    let head = heard.recv().await.unwrap();
    let expected = format!("00-{TRACE}-{}-01", hex(&sent.span.span_id));
    assert_eq!(
        (header(&head, "traceparent"), header(&head, "tracestate")),
        (Some(&*expected), Some("a=1,b=2"))
    );
    let resource = collector.wait("a resource", |received| Some(received.resource.clone())).await;
    assert_eq!((&*resource["service.name"], &*resource["host.name"]), ("wasm-fn", "a"));
}

#[tokio::test]
async fn telemetry_goes_over_grpc_too() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")], &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let answer = node.http.get("/hello").await.ok();
    let own = collector.span("hello").await;
    // Without a caller, the request's id leads to its trace.
    assert_eq!(hex(&own.span.trace_id), answer.header("wasm-fn-request-id"));
    assert!(own.span.parent_span_id.is_empty());
    let path = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let came = |paths: &[String]| paths.iter().any(|found| found == path).then_some(());
    collector.wait(path, |received| came(&received.paths)).await;
    // A node that ends sends what it has.
    let before = collector.spans().len();
    node.http.get("/hello").await.ok();
    node.terminate();
    collector.wait("the last span", |received| (received.spans.len() > before).then_some(())).await;
}

#[tokio::test]
async fn malformed_parent_is_ignored() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[], &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let malformed = PARENT.to_uppercase();
    let answer = node.http.get_as("/hello", &[("traceparent", &malformed), ("tracestate", "a=1")]).await.ok();
    let own = collector.span("hello").await;
    assert_eq!(hex(&own.span.trace_id), answer.header("wasm-fn-request-id"));
    assert_eq!(own.span.trace_state, "");
}

#[tokio::test]
async fn trace_that_is_not_sampled_is_passed_on() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[], &[]).await;
    let (upstream, mut heard) = hearing().await;
    node.deploy_with("fetch", "fetch", json!({ "egress": [format!("http://{upstream}")] })).await;
    let path = format!("/fetch?url=http%3A%2F%2F{upstream}%2Fa");
    let unsampled = PARENT.replace("-01", "-00");
    node.http.get_as(&path, &[("traceparent", &unsampled), ("tracestate", "a=1")]).await.ok();
    let head = heard.recv().await.unwrap();
    assert_eq!((header(&head, "traceparent"), header(&head, "tracestate")), (Some(&*unsampled), Some("a=1")));
    // The next request shows that there is nothing to come of the first.
    node.http.get_as(&path, &[("traceparent", PARENT)]).await.ok();
    collector.span("fetch").await;
    assert_eq!(named(&collector.spans(), "fetch").len(), 1);
}

#[tokio::test]
async fn failure_of_a_canary_is_traced_though_nothing_is_sampled() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[("OTEL_TRACES_SAMPLER", "always_off")], &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let strategy = json!({ "name": "canary", "steps": ["50%"] });
    node.deploy_by("hello", "broken", json!({}), strategy).await;
    // Each is answered by stable, at last.
    while node.outcomes("hello", "trap").await == 0 {
        assert_eq!(node.http.get("/hello").await.ok().version(), "v1");
    }
    let own = collector.span("hello").await;
    assert_eq!((own.get("wasm_fn.canary"), own.get("faas.version")), ("true", "v1"));
    assert_eq!(own.get("http.response.status_code"), "200");
    let second = collector.span("second run").await;
    assert_eq!(second.span.parent_span_id, own.span.span_id);
    let guests = collector
        .wait("both guests", |received| {
            let guests = received.spans.iter().filter(|span| span.span.trace_id == own.span.trace_id);
            let guests: Vec<_> = guests.filter(|span| span.span.name == "guest").cloned().collect();
            (guests.len() == 2).then_some(guests)
        })
        .await;
    let of = |version: &str| guests.iter().find(|guest| guest.get("faas.version") == version).unwrap();
    assert_eq!(of("v1").span.parent_span_id, second.span.span_id);
    assert_eq!(of("v2").span.parent_span_id, own.span.span_id);
    assert_eq!(of("v2").get("error.type"), "trap");
    let spans = collector.spans();
    let roots = named(&spans, "hello");
    assert!(roots.iter().all(|root| root.get("wasm_fn.canary") == "true"), "{roots:?}");
}

#[tokio::test]
async fn scheduled_run_is_a_span_of_a_timer() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[], &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.cli_ok(&["triggers", "add", "schedule", "hello", "--every", "1s"]).await;
    let own = collector.span("hello").await;
    assert_eq!((own.get("faas.trigger"), own.get("faas.name")), ("timer", "hello"));
    assert_eq!(own.get("url.path"), "/_events/schedule");
    assert_eq!(own.get("http.request.method"), "");
}

#[tokio::test]
async fn lines_of_guests_and_of_the_node_are_log_records() {
    let collector = Collector::start().await;
    let node = node_telling(&collector, &[], &["--log", "info"]).await;
    node.deploy_with("trap", "trap", json!({})).await;
    let answer = node.http.get_as("/trap/before", &[("traceparent", PARENT)]).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    let find = |scope: &'static str, text: &'static str| {
        collector.wait(text, move |received| {
            let of_scope = received.logs.iter().filter(move |log| log.scope.starts_with(scope));
            of_scope.into_iter().find(|log| log.body.contains(text)).cloned()
        })
    };
    let failure = find("wasm_fn.guest", "trap").await;
    assert_eq!(failure.record.severity_text, "ERROR");
    assert_eq!(hex(&failure.record.trace_id), TRACE);
    let guest = collector.span("guest").await;
    assert_eq!(failure.record.span_id, guest.span.span_id);
    assert_eq!((&*failure.attributes["faas.name"], &*failure.attributes["faas.version"]), ("trap", "v1"));
    assert_eq!(failure.attributes["faas.invocation_id"], answer.header("wasm-fn-request-id"));
    let listening = find("wasm_fn::node", "node is listening").await;
    assert_eq!(listening.record.severity_text, "INFO");
    assert_eq!(listening.attributes["listen"], node.listen.to_string());
}

/// How many items of `queue` ended as `result`, as the metrics tell.
async fn items(node: &Node, queue: &str, result: &str) -> u64 {
    let text = Client::http1(node.admin).get("/metrics").await.ok().text();
    let series = format!("wasm_fn_telemetry_items_total{{queue=\"{queue}\",result=\"{result}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&series)).unwrap_or("0").parse().unwrap()
}

#[tokio::test]
async fn collector_that_hangs_costs_nothing_but_telemetry() {
    // It takes connections, and never says a word.
    let silent = TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let silent = silent.listen(1024).unwrap();
    let folder = Folder::new();
    let mut command = telling(&folder, &format!("http://{}", silent.local_addr().unwrap()), &[]);
    command.env("OTEL_BSP_MAX_QUEUE_SIZE", "10").env("OTEL_BLRP_MAX_QUEUE_SIZE", "10");
    let mut node = Node::start_as(&mut command, folder).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let dropped = async {
        while items(&node, "traces", "dropped").await < 100 {
            node.http.get("/hello").await.ok();
        }
    };
    patiently("spans that find no room", dropped).await;
    assert_eq!(items(&node, "traces", "sent").await, 0);
    // And the node ends, although nobody takes what it has.
    node.terminate();
    assert!(node.ended().await.success());
}

#[tokio::test]
async fn collector_that_refuses_or_is_away_loses_only_telemetry() {
    let collector = Collector::start().await;
    collector.refuse(true);
    let node = node_telling(&collector, &[], &[]).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.http.get("/hello").await.ok();
    let failed = async { while items(&node, "traces", "failed").await == 0 {} };
    patiently("a batch that is refused", failed).await;
    node.process().lines("telemetry cannot be sent", 1).await;
    collector.refuse(false);
    node.http.get("/hello").await.ok();
    collector.span("hello").await;

    // Nobody listens here.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let folder = Folder::new();
    let node = Node::start_as(&mut telling(&folder, &format!("http://{closed}"), &[]), folder).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    node.http.get("/hello").await.ok();
    let failed = async { while items(&node, "traces", "failed").await == 0 {} };
    patiently("a batch that nobody takes", failed).await;
}

#[tokio::test]
async fn variable_that_cannot_be_used_is_one_clear_error() {
    for (variable, value, expected) in [
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "found the sampler \"jaeger_remote\", expected always_on,"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "expected grpc or http/protobuf"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "found \"-1\" in OTEL_BSP_MAX_QUEUE_SIZE, expected 1 to 1000000"),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nonexistent", "OTEL_EXPORTER_OTLP_CERTIFICATE /nonexistent"),
    ] {
        let folder = Folder::new();
        let mut command = telling(&folder, "http://127.0.0.1:1", &[]);
        let mut process = Process::spawn(command.env(variable, value));
        assert_eq!(process.ended().await.code(), Some(1), "{variable}");
        assert!(process.log().contains(expected), "{variable}: {}", process.log());
    }
}

#[tokio::test]
async fn access_log_has_a_line_for_each_request() {
    let folder = Folder::new();
    let config = folder.write("node.toml", "[serve.access_log]\nfile = \"access.log\"\n");
    let args = ["--config", config.to_str().unwrap()];
    let node = Node::start_on(folder, &args).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    let answer = node.http.get_as("/hello?secret=1", &[("user-agent", "curl \"x\"")]).await.ok();
    assert_eq!(node.http.get("/nobody").await.status, StatusCode::NOT_FOUND);
    let path = node.folder().path().join("access.log");
    let lines = async |count: usize| -> Vec<Value> {
        let read = async {
            loop {
                let text = fs::read_to_string(&path).unwrap_or_default();
                if text.lines().count() >= count && text.ends_with('\n') {
                    return text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
                }
                tokio::task::yield_now().await;
            }
        };
        patiently("the lines", read).await
    };
    let found = lines(2).await;
    let line = found.iter().find(|line| line["function"] == "hello").unwrap();
    for (key, value) in [
        ("request_id", json!(answer.header("wasm-fn-request-id"))),
        ("method", json!("GET")),
        ("path", json!("/hello")),
        ("status", json!(200)),
        ("stage", json!("live")),
        ("version", json!("v1")),
        ("outcome", json!("success")),
        ("client", json!("127.0.0.1")),
        ("user_agent", json!("curl \"x\"")),
        ("protocol", json!("1.1")),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0, "{line}");
    let other = found.iter().find(|line| line["path"] == "/nobody").unwrap();
    assert_eq!((&other["status"], &other["function"]), (&json!(404), &Value::Null));
    // Programs that rotate logs rename them.
    fs::rename(&path, node.folder().path().join("access.log.1")).unwrap();
    let rotated = async {
        while !path.exists() {
            node.http.get("/hello").await.ok();
        }
    };
    patiently("the new file", rotated).await;
    node.http.get("/hello").await.ok();
    assert!(!lines(1).await.is_empty());
}

#[tokio::test]
async fn access_log_has_a_share_of_the_requests() {
    let folder = Folder::new();
    let config = folder.write("node.toml", "[serve]\naccess_log = { file = \"-\", sample = \"10%\" }\n");
    let args = ["--config", config.to_str().unwrap()];
    let mut command = serve(&folder, &args);
    let output = folder.path().join("stdout");
    command.stdout(fs::File::create(&output).unwrap());
    let mut node = Node::start_as(&mut command, folder).await;
    node.deploy_with("hello", "hello-v1", json!({})).await;
    for _ in 0..500 {
        node.http.get("/hello").await.ok();
    }
    node.process().signal(Signal::TERM);
    assert!(node.ended().await.success());
    let text = fs::read_to_string(output).unwrap();
    let ids: BTreeSet<_> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["request_id"].as_str().unwrap().to_owned())
        .collect();
    // Six times the deviation of 500 draws of a tenth.
    assert!((10..=90).contains(&ids.len()), "{}", ids.len());
}

#[tokio::test]
async fn collector_of_others_takes_the_telemetry() {
    let test = "collector_of_others_takes_the_telemetry";
    let agent = "import os, rotel; print(os.path.join(os.path.dirname(rotel.__file__), 'rotel-agent'))";
    let found = Command::new("python3").args(["-c", agent]).output();
    if !starts(Command::new("python3").args(["-c", agent]), "rotel", test) {
        return;
    }
    let agent = String::from_utf8(found.unwrap().stdout).unwrap();
    for protocol in ["grpc", "http/protobuf"] {
        let folder = Folder::new();
        let [grpc, http] = ["grpc", "http"].map(|_| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().to_string()
        });
        let mut command = Command::new(agent.trim());
        command.args(["start", "--exporter", "blackhole", "--debug-log", "traces", "--debug-log", "logs"]);
        command.args(["--debug-log-verbosity", "detailed", "--otlp-grpc-endpoint", &grpc]);
        command.args(["--otlp-http-endpoint", &http]).arg("--pid-file").arg(folder.path().join("pid"));
        let output = folder.path().join("rotel.log");
        command.stdout(fs::File::create(&output).unwrap());
        let rotel = Process::spawn(&mut command);
        let said = |text: &'static str| {
            let (output, rotel) = (output.clone(), &rotel);
            async move {
                let said = async {
                    while !(fs::read_to_string(&output).unwrap().contains(text) || rotel.log().contains(text))
                    {
                        tokio::task::yield_now().await;
                    }
                };
                patiently(text, said).await;
            }
        };
        let endpoint = if protocol == "grpc" { &grpc } else { &http };
        let mut command = telling(&folder, &format!("http://{endpoint}"), &[]);
        command.env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol).env("OTEL_BSP_MAX_QUEUE_SIZE", "10");
        command.env("OTEL_EXPORTER_OTLP_TIMEOUT", BATCH_MAX.as_millis().to_string());
        let node = Node::start_as(&mut command, folder.clone()).await;
        node.deploy_with("hello", "hello-v1", json!({})).await;
        let taken = async {
            while items(&node, "traces", "sent").await == 0 || items(&node, "logs", "sent").await == 0 {
                node.http.get("/hello").await.ok();
            }
        };
        patiently("telemetry that was taken", taken).await;
        said("faas.invocation_id").await;
        said("node is listening").await;

        // One that stops in the middle of it all is only a collector that hangs: requests go on, and once it
        // goes on too, so does the telemetry.
        rotel.signal(Signal::STOP);
        let sent = items(&node, "traces", "sent").await;
        let lost = async {
            while items(&node, "traces", "dropped").await + items(&node, "traces", "failed").await == 0 {
                let began = tokio::time::Instant::now();
                node.http.get("/hello").await.ok();
                assert!(began.elapsed() < BATCH_MAX, "a request waited for the collector");
            }
        };
        patiently("spans that are lost", lost).await;
        rotel.signal(Signal::CONT);
        let goes_on = async {
            while items(&node, "traces", "sent").await <= sent {
                node.http.get("/hello").await.ok();
            }
        };
        patiently("spans that are taken again", goes_on).await;
    }
}
