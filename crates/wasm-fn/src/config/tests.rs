//! What `wasm-fn.toml` may contain, and which source overrides which.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use bytesize::ByteSize;
use expect_test::{Expect, expect};
use wasm_fn_api as api;
use wasm_fn_telemetry::AccessLogTarget;

use super::{ConfigFile, ModuleSource, Serve, access_log::AccessLogOptions, file, function};
use crate::{args, tls::KeyPairFiles};

mod cohorts;
mod fuzzing;

fn read(text: &str) -> ConfigFile {
    ConfigFile::parse(Path::new("project/wasm-fn.toml"), text).unwrap()
}

fn refused(text: &str, expected: &Expect) {
    let error = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap_err();
    expected.assert_eq(&error.to_string());
}

fn pair(cert: &str, key: &str) -> KeyPairFiles {
    KeyPairFiles { cert: cert.into(), key: key.into() }
}

#[test]
fn examples_of_the_pages_are_accepted() {
    let pages = [
        ("README.md", include_str!("../../../../README.md")),
        ("docs/explanation/rollouts.md", include_str!("../../../../docs/explanation/rollouts.md")),
        ("docs/how-to/ci.md", include_str!("../../../../docs/how-to/ci.md")),
    ];
    for (page, text) in pages {
        let examples = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        let examples: Vec<_> = examples.collect();
        assert!(!examples.is_empty(), "{page} has no example");
        for example in examples {
            let read = ConfigFile::parse(Path::new(page), example);
            assert!(read.is_ok(), "{}\n{example}", read.unwrap_err());
        }
    }
}

#[test]
fn every_key_reaches_the_wire() {
    let file = read(
        r#"
[function.hello]
component = "target/hello.wasm"
routes = ["/hello/*", "api.example.com/v1/*"]
preview = "open"
memory = "64MiB"
timeout = "1m 30s"
cpu = "50ms"
concurrency = 10
queue = 20
queue_wait = "250ms"
reuse = 3
egress = ["https://api.example.com"]
egress_requests = 4
egress_bytes = "1MiB"
egress_timeout = "3s"
env = { GREETING = "hi" }
secrets = ["API_KEY"]
secrets_env = true
async = true
async_ordered_by = "x-user"
sticky = "cookie:sid"
cohorts = [
    { name = "beta", header = "x-group", in = ["beta", "staff"], to = "canary" },
    { cookie = "old", equals = "1", to = "stable" },
]

[serve]
listen = "0.0.0.0:80"
admin = "[::1]:9000"
data_dir = "data"
instances_max = 5
memory_max = "3GiB"
connections_max = 6
body_max = "1MiB"
component_max = "2MiB"
connections_per_address = 4
code_memory = "3MiB"
memory_reset = "scan"
audit_resets = 7
link_components = "off"
drain_timeout = "5s"
allow_overrides = true
show_shielded = true
trusted_proxies = ["10.0.0.0/8", "fd00::1"]
proxy_protocol = true
preview_domain = "Preview.example.com"
egress_ca = "ca.pem"
secrets_key_command = "vault read key"
allow_core_dumps = true
egress_private = ["10.0.0.0/8"]
artifact_sources = ["ghcr.io/acme/*"]
redirect_listen = "0.0.0.0:8080"
insecure_admin = true
metrics_series_max = 20000
traces = "2%"

[serve.access_log]
file = "access.log"
sample = "5%"

[[serve.tls]]
cert = "a.pem"
key = "/keys/a.pem"

[[serve.tls]]
cert = "b.pem"
key = "b.key"

[serve.admin_tls]
cert = "admin.pem"
key = "admin.key"
client_ca = "people.pem"
"#,
    );
    let (_, hello) = file.functions.iter().next().unwrap();
    assert_eq!(hello.component, Some(ModuleSource::File("project/target/hello.wasm".into())));
    let cohort = |header: Option<&str>, cookie: Option<&str>, values: &[&str], to| api::CohortSpec {
        name: header.map(|_| "beta".to_owned()),
        header: header.map(str::to_owned),
        cookie: cookie.map(str::to_owned),
        query: None,
        values: values.iter().map(|&value| value.to_owned()).collect(),
        to,
    };
    assert_eq!(
        hello.config,
        api::ConfigSpec {
            memory_bytes: Some(64 << 20),
            timeout_ms: Some(90_000),
            cpu_ms: Some(50),
            concurrency: Some(10),
            queue: Some(20),
            queue_wait_ms: Some(250),
            reuse: Some(3),
            routes: vec!["/hello/*".to_owned(), "api.example.com/v1/*".to_owned()],
            preview: Some("open".to_owned()),
            sticky: Some("cookie:sid".to_owned()),
            cohorts: vec![
                cohort(Some("x-group"), None, &["beta", "staff"], api::CohortRole::Canary),
                cohort(None, Some("old"), &["1"], api::CohortRole::Stable),
            ],
            egress: vec!["https://api.example.com".to_owned()],
            egress_requests: Some(4),
            egress_bytes: Some(1 << 20),
            egress_timeout_ms: Some(3000),
            env: [("GREETING".to_owned(), "hi".to_owned())].into(),
            secrets: vec!["API_KEY".to_owned()],
            secrets_env: true,
            asynchronous: true,
            async_ordered_by: Some("x-user".to_owned()),
            buckets: Default::default(),
        }
    );
    assert_eq!(
        file.serve,
        file::Serve {
            listen: Some(SocketAddr::from(([0, 0, 0, 0], 80))),
            admin: Some("[::1]:9000".parse().unwrap()),
            data_dir: Some(PathBuf::from("project/data")),
            instances_max: Some(5),
            memory_max_bytes: Some(3 << 30),
            connections_max: Some(6),
            body_max_bytes: Some(1 << 20),
            component_max_bytes: Some(2 << 20),
            connections_per_address: Some(4),
            code_memory_bytes: Some(3 << 20),
            memory_reset: Some(wasm_fn_runtime::MemoryReset::Scan),
            audit_resets: Some(7),
            link_components: Some(false),
            drain_timeout: Some(Duration::from_secs(5)),
            allow_overrides: Some(true),
            show_shielded: Some(true),
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::1".parse().unwrap()],
            proxy_protocol: Some(true),
            preview_domain: "preview.example.com".parse().ok(),
            egress_ca: Some(PathBuf::from("project/ca.pem")),
            secrets_key_command: Some("vault read key".parse().unwrap()),
            allow_core_dumps: Some(true),
            egress_private: vec!["10.0.0.0/8".parse().unwrap()],
            artifact_sources: vec!["ghcr.io/acme/*".parse().unwrap()],
            tls: vec![pair("project/a.pem", "/keys/a.pem"), pair("project/b.pem", "project/b.key")],
            acme: None,
            redirect_listen: Some(SocketAddr::from(([0, 0, 0, 0], 8080))),
            admin_tls: Some(pair("project/admin.pem", "project/admin.key")),
            admin_client_ca: Some(PathBuf::from("project/people.pem")),
            admin_certificates: Vec::new(),
            oidc: Vec::new(),
            insecure_admin: Some(true),
            metrics_series_max: Some(20_000),
            access_log: Some(AccessLogOptions {
                target: AccessLogTarget::File(PathBuf::from("project/access.log")),
                share: "5%".parse().unwrap(),
            }),
            cluster: Default::default(),
            traces: Some("2%".parse().unwrap()),
        }
    );
    let serve = Serve::merge(&args::Serve::default(), file.serve.clone()).unwrap();
    assert_eq!(serve.preview_domain, file.serve.preview_domain);
    assert_eq!(serve.egress_ca, file.serve.egress_ca);
    assert_eq!(serve.secrets_key_command, file.serve.secrets_key_command);
    assert!(serve.allow_core_dumps);
    assert_eq!(serve.egress_private, file.serve.egress_private);
    assert_eq!((serve.tls, serve.admin_tls), (file.serve.tls, file.serve.admin_tls));
    assert_eq!((serve.redirect_listen, serve.insecure_admin), (file.serve.redirect_listen, true));
    assert_eq!(serve.admin_client_ca, file.serve.admin_client_ca);
}

#[test]
fn previews_that_mean_nothing_are_refused() {
    refused(
        "[function.hello]\npreview = \"on\"\n",
        &expect![[r#"wasm-fn.toml:2: function.hello.preview: found "on", expected open, token or off"#]],
    );
    refused(
        "[serve]\npreview_domain = \"*.example.com\"\n",
        &expect![[
            r#"wasm-fn.toml:2: serve.preview_domain: found "*.example.com", expected a domain of at most 189 characters such as preview.example.com"#
        ]],
    );
}

#[test]
fn an_empty_file_leaves_the_defaults() {
    let file = read("");
    assert!(file.functions.is_empty());
    assert_eq!(Serve::merge(&args::Serve::default(), file.serve), Ok(Serve::default()));
    assert_eq!(read("[function.hello]").functions.values().next(), Some(&function::Function::default()));
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    refused(
        "[function.hello]\nmemory = \n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.memory: string values must be quoted, expected literal string"#
        ]],
    );
    refused("[function.hello\n", &expect!["wasm-fn.toml:1: unclosed table, expected `]`"]);
}

#[test]
fn a_key_that_is_there_twice_is_named_with_its_path() {
    refused("[serve]\n\n[serve]\n", &expect!["wasm-fn.toml:3: serve: duplicate key"]);
    refused("a = 1\na = 2\n", &expect!["wasm-fn.toml:2: a: duplicate key"]);
    refused(
        "[function.hello]\nqueue = 1\n\nqueue = 2\n",
        &expect!["wasm-fn.toml:4: function.hello.queue: duplicate key"],
    );
    refused(
        "[function.hello] # first\nroutes = [\n  \"/a\",\n]\ngate.alpha = 1\ngate.alpha = 2\n",
        &expect!["wasm-fn.toml:6: function.hello.gate.alpha: duplicate key"],
    );
    refused(
        "[function.hello]\nenv = { A = \"1\", A = \"2\" }\n",
        &expect!["wasm-fn.toml:2: function.hello.env.A: duplicate key"],
    );
    refused(
        "[[function.hello.cohorts]]\nto = \"canary\"\nto = \"stable\"\n",
        &expect!["wasm-fn.toml:3: function.hello.cohorts.to: duplicate key"],
    );
    refused("[function.a]\n[function.a]\n", &expect!["wasm-fn.toml:2: function.a: duplicate key"]);
}

#[test]
fn unknown_keys_are_refused_with_those_there_are() {
    refused(
        "[function.hello]\n\nmemroy = \"1MiB\"\n",
        &expect![
            "wasm-fn.toml:3: function.hello.memroy: unknown field `memroy`, expected one of `component`, `build`, `routes`, `preview`, `memory`, `timeout`, `cpu`, `concurrency`, `queue`, `queue_wait`, `reuse`, `egress`, `egress_requests`, `egress_bytes`, `egress_timeout`, `env`, `secrets`, `secrets_env`, `async`, `async_ordered_by`, `sticky`, `cohorts`, `rollout`, `gate`, `stage`, `bucket`"
        ],
    );
    refused(
        "[functions.hello]\n",
        &expect![
            "wasm-fn.toml:1: functions: unknown field `functions`, expected one of `function`, `serve`, `stage`"
        ],
    );
    refused(
        "[serve]\nport = 1\n",
        &expect![
            "wasm-fn.toml:2: serve.port: unknown field `port`, expected one of `listen`, `admin`, `data_dir`, `instances_max`, `memory_max`, `connections_max`, `connections_per_address`, `body_max`, `component_max`, `code_memory`, `memory_reset`, `audit_resets`, `link_components`, `drain_timeout`, `allow_overrides`, `show_shielded`, `trusted_proxies`, `proxy_protocol`, `preview_domain`, `egress_ca`, `secrets_key_command`, `allow_core_dumps`, `egress_private`, `artifact_sources`, `tls`, `acme`, `redirect_listen`, `admin_tls`, `oidc`, `insecure_admin`, `metrics_series_max`, `access_log`, `cluster`, `traces`"
        ],
    );
    refused(
        "[function.hello]\ncohorts = [\n  { header = \"a\", is = \"b\", to = \"canary\" },\n]\n",
        &expect![
            "wasm-fn.toml:3: function.hello.cohorts.is: unknown field `is`, expected one of `name`, `header`, `cookie`, `query`, `in`, `equals`, `to`"
        ],
    );
}

#[test]
fn values_of_the_wrong_kind_are_refused() {
    refused(
        "[function.hello]\nmemory = 64\n",
        &expect!["wasm-fn.toml:2: function.hello.memory: found integer `64`, expected a string"],
    );
    refused(
        "[function.hello]\nroutes = \"/a\"\n",
        &expect![[r#"wasm-fn.toml:2: function.hello.routes: found string "/a", expected an array"#]],
    );
    refused(
        "[function.hello]\nqueue = -1\n",
        &expect![
            "wasm-fn.toml:2: function.hello.queue: found integer `-1`, expected a whole number from 0 to 4294967295"
        ],
    );
    refused(
        "[function.hello]\nconcurrency = 5000000000\n",
        &expect![
            "wasm-fn.toml:2: function.hello.concurrency: found integer `5000000000`, expected a whole number from 0 to 4294967295"
        ],
    );
    refused(
        "[function.hello]\nenv = { A = 1 }\n",
        &expect!["wasm-fn.toml:2: function.hello.env.A: found integer `1`, expected a string"],
    );
    refused("function = 1\n", &expect!["wasm-fn.toml:1: function: found integer `1`, expected a table"]);
    refused(
        "[serve]\nallow_overrides = \"yes\"\n",
        &expect![[r#"wasm-fn.toml:2: serve.allow_overrides: found string "yes", expected a boolean"#]],
    );
}

#[test]
fn values_that_cannot_be_read_are_refused() {
    refused(
        "[function.hello]\nmemory = \"lots\"\n",
        &expect![[r#"wasm-fn.toml:2: function.hello.memory: found "lots", expected a size such as 64MiB"#]],
    );
    refused(
        "[function.hello]\nmemory = \"64 apples\"\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.memory: found "64 apples", expected a size such as 64MiB"#
        ]],
    );
    refused(
        "[function.hello]\ntimeout = \"10\"\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.timeout: found "10", expected a time such as 10s or 500ms"#
        ]],
    );
    refused(
        "[function.hello]\nqueue_wait = \"soon\"\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.queue_wait: found "soon", expected a time such as 10s or 500ms"#
        ]],
    );
    refused(
        "[function.hello]\ntimeout = \"1500us\"\n",
        &expect!["wasm-fn.toml:2: function.hello.timeout: found 1ms 500us, expected whole milliseconds"],
    );
    refused(
        "[function.hello]\nsticky = \"cookie\"\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.sticky: found "cookie", expected header:NAME, cookie:NAME, ip or none"#
        ]],
    );
    refused(
        "[function.hello]\nroutes = [\n  \"/a\",\n  \"b\",\n]\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.routes: route "b" has no path, expected [host]/path or [host]/path/*"#
        ]],
    );
    refused(
        "[function.hello]\negress = [\"example.com\"]\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.egress: egress "example.com" is not an origin, expected http[s]://host[:port], http[s]://*.host or *"#
        ]],
    );
    refused(
        "[serve]\nlisten = \"localhost\"\n",
        &expect![[
            r#"wasm-fn.toml:2: serve.listen: found "localhost", expected HOST:PORT such as 127.0.0.1:8080 or localhost:8080"#
        ]],
    );
    refused(
        "[serve]\ndrain_timeout = \"never\"\n",
        &expect![[
            r#"wasm-fn.toml:2: serve.drain_timeout: found "never", expected a time such as 10s or 500ms"#
        ]],
    );
    refused(
        "[serve]\ntrusted_proxies = [\"::1\",\n\"10.0.0.0/33\"]\n",
        &expect![[
            r#"wasm-fn.toml:3: serve.trusted_proxies[1]: found "10.0.0.0/33", expected a network such as 10.0.0.0/8 or fd00::/8, or an address"#
        ]],
    );
}

#[test]
fn values_out_of_bounds_are_refused() {
    refused(
        "[function.hello]\nmemory = \"1KiB\"\n",
        &expect!["wasm-fn.toml:2: function.hello.memory: found 1024 bytes, expected 64KiB to 4GiB"],
    );
    refused(
        "[function.hello]\ntimeout = \"2h\"\n",
        &expect!["wasm-fn.toml:2: function.hello.timeout: found 7200s, expected 1ms to 1h"],
    );
    refused(
        "[function.hello]\ncpu = \"0s\"\n",
        &expect!["wasm-fn.toml:2: function.hello.cpu: found 0ns, expected 1ms to 1h"],
    );
    refused(
        "[function.hello]\nconcurrency = 0\n",
        &expect!["wasm-fn.toml:2: function.hello.concurrency: found 0, expected 1 to 100000"],
    );
    refused(
        "[function.hello]\nreuse = 0\n",
        &expect!["wasm-fn.toml:2: function.hello.reuse: found 0, expected 1 to 1000000"],
    );
    refused(
        "[function.hello]\nenv = { \"A=B\" = \"1\" }\n",
        &expect![[
            r#"wasm-fn.toml:2: function.hello.env: found "A=B", expected a name without `=` and no NUL characters"#
        ]],
    );
}

#[test]
fn names_that_are_none_are_refused() {
    refused(
        "[function.hello]\n\n[function.Hello]\n",
        &expect![[
            r#"wasm-fn.toml:3: function.Hello: function name "Hello" has 'H' at byte 0, expected a-z, 0-9, - or _"#
        ]],
    );
    refused(
        "[function.\"a.b\"]\n",
        &expect![[
            r#"wasm-fn.toml:1: function.a.b: function name "a.b" has '.' at byte 1, expected a-z, 0-9, - or _"#
        ]],
    );
    refused(
        "[function.\"\"]\n",
        &expect!["wasm-fn.toml:1: function.: function name is empty, expected 1 to 63 characters"],
    );
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let from_file = || file::Serve {
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
        instances_max: Some(7),
        body_max_bytes: Some(8),
        allow_overrides: Some(true),
        show_shielded: Some(true),
        trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()],
        proxy_protocol: Some(true),
        ..file::Serve::default()
    };
    let flags = args::Serve {
        listen: Some(SocketAddr::from(([127, 0, 0, 1], 2))),
        body_max: Some(ByteSize(9)),
        allow_overrides: Some(false),
        show_shielded: Some(false),
        trusted_proxy: vec!["::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
        proxy_protocol: Some(false),
        ..args::Serve::default()
    };
    let merged = Serve::merge(&flags, from_file()).unwrap();
    assert_eq!(merged.listen.port(), 2);
    assert_eq!(merged.body_max_bytes, 9);
    assert!(!merged.allow_overrides && !merged.show_shielded && !merged.proxy_protocol);
    assert_eq!(merged.trusted_proxies, flags.trusted_proxy);
    assert_eq!(merged.instances_max, Some(7));
    assert_eq!(merged.admin, Serve::default().admin);
    let merged = Serve::merge(&args::Serve::default(), from_file()).unwrap();
    assert!(merged.allow_overrides && merged.show_shielded && merged.proxy_protocol);
    assert_eq!(merged.trusted_proxies, from_file().trusted_proxies);
}

#[test]
fn a_node_refuses_what_is_out_of_bounds() {
    let refused = |change: fn(&mut Serve), expected: &str| {
        let mut serve = Serve::default();
        change(&mut serve);
        assert_eq!(serve.check(), Err(expected.to_owned()));
    };
    assert_eq!(Serve::default().check(), Ok(()));
    refused(|serve| serve.instances_max = Some(0), "instances_max is 0, expected at least 1");
    refused(|serve| serve.memory_max_bytes = Some(1), "memory_max is 1 bytes, expected at least 1MiB");
    refused(|serve| serve.connections_max = 0, "connections_max is 0, expected 1 to 1000000");
    refused(|serve| serve.body_max_bytes = 0, "body_max is 0 bytes, expected 1 byte to 1TiB");
    refused(
        |serve| serve.connections_per_address = Some(0),
        "connections_per_address is 0, expected 1 to 1000000",
    );
    refused(
        |serve| serve.component_max_bytes = 5 << 30,
        "component_max is 5368709120 bytes, expected 1 byte to 4GiB",
    );
    refused(|serve| serve.code_memory_bytes = 1024, "code_memory is 1024 bytes, expected 1MiB to 1TiB");
    refused(
        |serve| serve.drain_timeout = Duration::from_secs(3601),
        "drain_timeout is 3601s, expected 0s to 1h",
    );
    refused(
        |serve| serve.proxy_protocol = true,
        "proxy_protocol is on without trusted proxies, expected the networks of these proxies",
    );
    refused(
        |serve| serve.admin = serve.listen,
        "listen and admin are both 127.0.0.1:8080, expected two addresses",
    );
    refused(
        |serve| {
            serve.tls = vec![pair("a.pem", "a.key")];
            serve.redirect_listen = Some(serve.admin);
        },
        "admin and redirect_listen are both 127.0.0.1:8081, expected two addresses",
    );
    refused(
        |serve| serve.redirect_listen = Some(SocketAddr::from(([127, 0, 0, 1], 80))),
        "redirect_listen is set without TLS for functions, expected tls_cert and tls_key",
    );
    refused(
        |serve| serve.admin_client_ca = Some(PathBuf::from("ca.pem")),
        "admin_client_ca is set without TLS for the admin API, expected admin_tls_cert and admin_tls_key",
    );
}

#[test]
fn a_certificate_has_a_key() {
    let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let merged = |flags: args::Serve| Serve::merge(&flags, file::Serve::default());
    let both = args::Serve {
        tls_cert: files(&["a.pem", "b.pem"]),
        tls_key: files(&["a.key", "b.key"]),
        ..args::Serve::default()
    };
    assert_eq!(merged(both.clone()).unwrap().tls, [pair("a.pem", "a.key"), pair("b.pem", "b.key")]);
    let expected = "found 2 of tls_cert and 1 of tls_key, expected a key for each certificate";
    assert_eq!(merged(args::Serve { tls_key: files(&["a.key"]), ..both }), Err(expected.to_owned()));
    let admin = |cert: Option<&str>, key: Option<&str>| {
        let (admin_tls_cert, admin_tls_key) = (cert.map(PathBuf::from), key.map(PathBuf::from));
        merged(args::Serve { admin_tls_cert, admin_tls_key, ..args::Serve::default() })
    };
    assert_eq!(admin(Some("a.pem"), Some("a.key")).unwrap().admin_tls, Some(pair("a.pem", "a.key")));
    for (cert, key, expected) in [
        (Some("a.pem"), None, "admin_tls_cert is set without its key, expected admin_tls_key"),
        (None, Some("a.key"), "admin_tls_key is set without its certificate, expected admin_tls_cert"),
    ] {
        assert_eq!(admin(cert, key), Err(expected.to_owned()));
    }
}
