//! Every key of `wasm-fn.toml`.

mod serve;
mod stage;

use std::time::Duration;

use wasm_fn_core::{Limits, PreviewAccess, Sticky, defaults};
use wasm_fn_rollout::GateSpec;

use super::{Key, Table};

/// A value of a wrong type for every key but numbers with a fraction.
const MISTYPED: &str = "1.5";

fn key(
    name: &'static str,
    default: impl Into<String>,
    example: &'static str,
    refused: &'static [&'static str],
    meaning: &'static str,
) -> Key {
    let default = default.into();
    Key { name, meaning, default, example, mistyped: MISTYPED, refused, beside: "" }
}

impl Key {
    fn beside(self, beside: &'static str) -> Self {
        Self { beside, ..self }
    }

    fn mistyped(self, mistyped: &'static str) -> Self {
        Self { mistyped, ..self }
    }
}

/// `64MiB`: in the largest unit that leaves a whole number.
fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let steps = (0..units.len() - 1).take_while(|&step| bytes.is_multiple_of(1024 << (10 * step))).count();
    format!("`{}{}`", bytes >> (10 * steps), units[steps])
}

fn time(time: Duration) -> String {
    format!("`{}`", humantime::format_duration(time))
}

fn code(value: impl ToString) -> String {
    format!("`{}`", value.to_string())
}

/// The tables, in the order of the page.
pub(super) fn tables() -> Vec<Table> {
    let table = |header, about, above, keys| Table { header, about, above, keys };
    let rollout = "[function.hello.rollout]\nstrategy = \"blue-green\"";
    let check = "[function.hello.rollout]\nstrategy = \"blue-green\"\n[[function.hello.rollout.checks]]\npath = \"/\"";
    vec![
        table(
            "[serve]",
            "Settings of a node. Each of them but `artifact_sources`, `acme`, `oidc`, `access_log` and `traces` is a flag of \
             `wasm-fn serve` too.",
            "",
            serve::serve(),
        ),
        table(
            "[serve.access_log]",
            "The access log: a line of JSON for each request, or for a share of them, see \
             [telemetry](telemetry.md#access-log).",
            "",
            serve::access_log(),
        ),
        table(
            "[[serve.tls]]",
            "A certificate with which functions are served over TLS. Of several, a client gets the one for the \
             name that it asks for, else the first one. The inline form is \
             `tls = [{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]`.",
            "",
            serve::tls(),
        ),
        table(
            "[serve.acme]",
            "A certificate that the node gets by ACME for functions, and renews, see \
             [operating](../how-to/operating.md#certificates-by-acme). With it you agree to the terms of service of the server.",
            "",
            serve::acme(),
        ),
        table(
            "[serve.cluster]",
            "The cluster that the node is in, see [clusters](../how-to/cluster.md).",
            "",
            serve::cluster(),
        ),
        table(
            "[serve.admin_tls]",
            "The certificate with which the admin API is served over TLS.",
            "",
            serve::admin_tls(),
        ),
        table(
            "[[serve.admin_tls.clients]]",
            "What a client may do by its certificate, without a token. It names one of `spiffe`, `dns` and `cn`.",
            "[serve.admin_tls]\ncert = \"c.pem\"\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"",
            serve::clients(),
        ),
        table(
            "[[serve.oidc]]",
            "An issuer of OpenID Connect whose tokens the admin API accepts, see [access](../how-to/access.md).",
            "",
            serve::oidc(),
        ),
        table(
            "[[serve.oidc.rules]]",
            "Who gets which rights. The first rule that matches applies. The inline form is \
             `rules = [{ name = \"ci\", claims = { repository_id = \"123\" }, roles = [\"deployer\"] }]`.",
            "[[serve.oidc]]\nissuer = \"https://id.example.com\"\naudience = \"node\"",
            serve::rules(),
        ),
        table(
            "[serve.oidc.login]",
            "The public client by which people log in with `wasm-fn login`, see \
             [access](../how-to/access.md#people), and on the [page](../how-to/page.md#log-in). Everybody \
             who reaches the admin API is told. The inline form is `login = { client_id = \"wasm-fn\" }`.",
            "[[serve.oidc]]\nissuer = \"https://id.example.com\"\naudience = \"node\"\nrules = [{ name = \"a\", \
             claims = { sub = \"a\" }, roles = [\"viewer\"] }]",
            serve::login(),
        ),
        table(
            "[function.hello]",
            "Settings of the function `hello`. They are part of each version that is deployed with them.",
            "",
            function(),
        ),
        table(
            "[[function.hello.cohorts]]",
            "A rule that places users on one version. The first rule that matches applies. A rule names one of \
             `header`, `cookie` and `query`, and has one of `in` and `equals`. The inline form is \
             `cohorts = [{ name = \"beta\", header = \"x-group\", in = [\"beta\"], to = \"canary\" }]`.",
            "",
            cohort(),
        ),
        table(
            "[function.hello.rollout]",
            "How a new version gets its traffic. Flags of `wasm-fn deploy` override it.",
            "",
            self::rollout(),
        ),
        table(
            "[[function.hello.rollout.checks]]",
            "A request that a blue-green version must answer as expected before the switch.",
            rollout,
            checks(),
        ),
        table(
            "[function.hello.rollout.checks.expect]",
            "What the answer to a check must be. What is absent is not looked at, except the status.",
            check,
            expectation(),
        ),
        table("[function.hello.gate]", "The rule that a rollout must satisfy.", "", gate()),
        table(
            "[function.hello.stage.staging]",
            "What the function has in one stage, here `staging`, when it is deployed or promoted there.",
            "",
            stage::stage(),
        ),
        table(
            "[function.hello.bucket.carts]",
            "A bucket of keys and values that the function may open, here `carts`, see [state](../how-to/state.md). Each \
             stage has its own data in it.",
            "",
            stage::bucket(),
        ),
        table(
            "[stage.live]",
            "What a node asks of releases to stages of this name. `serve` reads it; a function's own file cannot \
             change it.",
            "",
            stage::rule(),
        ),
        table(
            "[function.hello.gate.errors]",
            "How much worse than stable a version may be. `latency_p99` and `memory_p99` have the same keys.",
            "",
            signal(),
        ),
        table(
            "[function.hello.gate.floor]",
            "What is too bad of a version if there is nothing to compare it with.",
            "",
            floor(),
        ),
    ]
}

fn function() -> Vec<Key> {
    let usual = Limits::default();
    vec![
        key(
            "component",
            "none",
            "\"target/wasm32-wasip2/release/hello.wasm\"",
            &["\"oci://ghcr.io\""],
            "The component or command module, or an artifact such as `oci://ghcr.io/acme/hello:v1`, if `deploy` is \
             given no FILE",
        ),
        key(
            "build",
            "none",
            "\"cargo build --release --target wasm32-wasip2\"",
            &["\" \""],
            "Command that builds the component, for `sh` in the file's folder: `wasm-fn build`, `dev` and `test` run it",
        ),
        key(
            "routes",
            "`/hello/*`",
            "[\"/hello/*\", \"api.example.com/hello\"]",
            &["[\"hello\"]"],
            "Where the live stage answers; other stages answer at `/hello@STAGE/*`, or at routes of their own",
        ),
        key(
            "preview",
            code(PreviewAccess::default()),
            "\"open\"",
            &["\"?\""],
            "Who may use the addresses of the function's versions",
        ),
        key(
            "memory",
            size(usual.memory_bytes),
            "\"64MiB\"",
            &["\"?\"", "\"1KiB\""],
            "Linear memory of one instance",
        ),
        key(
            "timeout",
            time(usual.timeout),
            "\"30s\"",
            &["\"?\"", "\"2h\""],
            "Time of one request, including its time in the queue",
        ),
        key("cpu", "no limit", "\"500ms\"", &["\"?\"", "\"2h\""], "CPU time of one request"),
        key("concurrency", code(usual.concurrency), "100", &["0"], "How many requests may run at once"),
        key(
            "queue",
            code(usual.queue),
            "0",
            &["100001"],
            "How many requests may wait for one of them to end",
        ),
        key(
            "queue_wait",
            time(usual.queue_wait),
            "\"250ms\"",
            &["\"?\"", "\"2m\""],
            "How long a request may wait in that queue",
        ),
        key(
            "reuse",
            code(usual.reuse),
            "100",
            &["0"],
            "How many requests one instance may serve, one after the other; 1 gives each a fresh instance",
        ),
        key(
            "egress",
            "none",
            "[\"https://api.example.com\", \"https://*.example.org\"]",
            &["[\"example.com\"]"],
            "Origins that the function may call, see [egress](../explanation/concepts.md#egress)",
        ),
        key(
            "egress_requests",
            code(usual.egress.requests),
            "10",
            &["0"],
            "How many requests one invocation may send",
        ),
        key(
            "egress_bytes",
            size(usual.egress.bytes),
            "\"16MiB\"",
            &["\"?\"", "\"1B\""],
            "How many bytes the bodies of these requests may have together, and those of their responses",
        ),
        key(
            "egress_timeout",
            "`timeout`",
            "\"3s\"",
            &["\"?\"", "\"2h\""],
            "Time of one such request, from the lookup of its name to the end of its response",
        ),
        key("env", "none", "{ GREETING = \"hi\" }", &["{ \"A=B\" = \"1\" }"], "Environment variables"),
        key(
            "secrets",
            "none",
            "[\"API_KEY\"]",
            &["[\"API-KEY\"]", "[\"2FA\"]"],
            "Secrets that the function sees, by `wasi:config/store`",
        ),
        key("secrets_env", code(false), "true", &[], "Show the secrets as environment variables too"),
        key("async", code(false), "true", &[], "Whether clients may send requests that are answered later"),
        key(
            "async_ordered_by",
            "none",
            "\"x-user\"",
            &["\"cookie\"", "\"a b\""],
            "Header by whose value such requests are answered one at a time, in order",
        ),
        key(
            "sticky",
            code(Sticky::default()),
            "\"cookie:sid\"",
            &["\"?\""],
            "What keeps a user on one version",
        ),
        key(
            "cohorts",
            "none",
            "[{ name = \"beta\", header = \"x-group\", in = [\"beta\"], to = \"canary\" }]",
            &[],
            "Rules that place users on one version, see [below](#functionhellocohorts)",
        ),
        key("rollout", "empty", "{ strategy = \"canary\" }", &[], "See [below](#functionhellorollout)"),
        key("gate", "empty", "{ alpha = 0.01 }", &[], "See [below](#functionhellogate)"),
        key(
            "stage",
            "empty",
            "{ staging = { env = { GREETING = \"hey\" } } }",
            &[],
            "What a stage has of its own, see [below](#functionhellostagestaging)",
        ),
        key(
            "bucket",
            "none",
            "{ carts = { keys_max = 1000 } }",
            &["{ Carts = {} }"],
            "Buckets that the function may open, by `wasi:keyvalue`, see [below](#functionhellobucketcarts)",
        ),
    ]
}

fn cohort() -> Vec<Key> {
    let rest = "header = \"x-group\"\nin = [\"beta\"]\nto = \"canary\"";
    let source = "in = [\"beta\"]\nto = \"canary\"";
    let values = "header = \"x-group\"\nto = \"canary\"";
    vec![
        key(
            "name",
            "none",
            "\"beta\"",
            &["\"10%\""],
            "Name by which the steps of a rollout refer to these users",
        )
        .beside(rest),
        key("header", "none", "\"x-group\"", &["\"a b\""], "Name of the request header with the value")
            .beside(source),
        key("cookie", "none", "\"group\"", &["\"a b\""], "Name of the cookie with the value").beside(source),
        key("query", "none", "\"group\"", &["\"a b\""], "Name of the query parameter with the value")
            .beside(source),
        key("in", "none", "[\"beta\", \"staff\"]", &["[]"], "Values that match").beside(values),
        key("equals", "none", "\"beta\"", &[], "The only value that matches").beside(values),
        key(
            "to",
            "none: it has to be there",
            "\"canary\"",
            &["\"latest\""],
            "The version that these users get",
        )
        .beside("header = \"x-group\"\nin = [\"beta\"]"),
    ]
}

fn rollout() -> Vec<Key> {
    let canary = "strategy = \"canary\"";
    let linear = "strategy = \"linear\"";
    let steps = defaults::CANARY_STEPS.map(|share| format!("\"{share}\"")).join(", ");
    vec![
        key(
            "strategy",
            code("all-at-once"),
            "\"canary\"",
            &["\"?\""],
            "How traffic moves to the new version",
        ),
        key(
            "steps",
            code(format!("[{steps}]")),
            "[\"beta\", \"10%\", \"50%\"]",
            &["[\"5\"]", "[]"],
            "For a canary: cohorts first, then growing shares of everybody",
        )
        .beside(canary),
        key(
            "by",
            code(defaults::LINEAR_SHARE),
            "\"20%\"",
            &["\"5\"", "\"0%\""],
            "For a linear rollout: the share that each step adds",
        )
        .beside(linear),
        key(
            "every",
            time(defaults::LINEAR_EVERY),
            "\"5m\"",
            &["\"?\"", "\"31days\""],
            "For a linear rollout: how long each step lasts",
        )
        .beside(linear),
        key(
            "step_min",
            time(defaults::STEP_MIN),
            "\"10m\"",
            &["\"?\"", "\"31days\""],
            "For a canary: minimum duration of each step",
        )
        .beside(canary),
        key(
            "min_requests",
            code(GateSpec::default().min_requests),
            "1000",
            &["0"],
            "Requests that each step needs before it can pass",
        ),
        key(
            "manual",
            code(false),
            "true",
            &[],
            "Wait for `wasm-fn promote` before each step and before the switch",
        )
        .beside(canary),
        key("on_fail", code("rollback"), "\"pause\"", &["\"?\""], "What to do if the gate fails"),
        key(
            "watch",
            time(defaults::WATCH),
            "\"30m\"",
            &["\"?\"", "\"31days\""],
            "How long to watch the version once it has all traffic; `0s` turns this off",
        ),
        key(
            "keep",
            time(defaults::KEEP),
            "\"2h\"",
            &["\"?\"", "\"31days\""],
            "For blue-green: how long the previous version stays loaded after the switch",
        )
        .beside("strategy = \"blue-green\""),
        key("shield", code(true), "false", &[], "Answer from stable what failed on the canary"),
        key(
            "checks",
            "none",
            "[{ path = \"/hello\", expect = { status = 200 } }]",
            &[],
            "For blue-green: requests that the version must answer, see [below](#functionhellorolloutchecks)",
        )
        .beside("strategy = \"blue-green\""),
    ]
}

fn checks() -> Vec<Key> {
    let path = "path = \"/hello\"";
    vec![
        key("method", code("GET"), "\"POST\"", &["\"a b\""], "Method of the request").beside(path),
        key(
            "path",
            "none: it has to be there",
            "\"/hello?x=1\"",
            &["\"hello\""],
            "Path and query of the request",
        ),
        key(
            "headers",
            "none",
            "{ accept = \"text/plain\" }",
            &["{ \"a b\" = \"\" }"],
            "Headers of the request",
        )
        .beside(path),
        key("body", "none", "\"{}\"", &[], "Body of the request").beside(path),
        key("expect", "status 200", "{ status = 404 }", &[], "What the answer must be, see below")
            .beside(path),
    ]
}

fn expectation() -> Vec<Key> {
    vec![
        key("status", code(200), "404", &["99"], "Status of the answer"),
        key(
            "headers",
            "any",
            "{ content-type = \"text/plain\" }",
            &["{ \"a b\" = \"\" }"],
            "Headers that the answer must have, with these values",
        ),
        key("body", "any", "\"^hello\"", &[], "Regular expression that matches somewhere in the body"),
        key(
            "json",
            "any",
            "{ \"/status\" = \"ok\" }",
            &["{ status = 1 }"],
            "Values in the answer's JSON, by their JSON pointers",
        ),
    ]
}

fn gate() -> Vec<Key> {
    let usual = GateSpec::default();
    let tolerate = |tolerate: Option<f64>| {
        tolerate.map_or("`false`".to_owned(), |tolerate| format!("`{{ tolerate = {tolerate} }}`"))
    };
    let floor =
        format!("`{{ error_rate = {}, requests = {} }}`", usual.floor.error_rate, usual.floor.requests);
    vec![
        key(
            "alpha",
            code(usual.alpha),
            "0.01",
            &["0.5"],
            "Probability that a rollout fails a version that is no worse",
        )
        .mistyped("true"),
        key("errors", tolerate(usual.errors), "{ tolerate = 1.5 }", &[], "Failures, compared with stable's"),
        key(
            "latency_p99",
            tolerate(usual.latency_p99),
            "{ tolerate = 1.5 }",
            &[],
            "99th percentile of the latency and, in steps, its median",
        ),
        key("memory_p99", tolerate(usual.memory_p99), "false", &[], "99th percentile of the memory peak"),
        key(
            "max_error_rate",
            "none",
            "\"5%\"",
            &["1.0"],
            "Share of failures that is too high whatever stable does",
        )
        .mistyped("true"),
        key(
            "max_latency_p99",
            "none",
            "\"250ms\"",
            &["\"?\""],
            "Latency that 99 % of requests must stay below whatever stable does",
        ),
        key(
            "floor",
            floor,
            "{ error_rate = 0.2, requests = 50 }",
            &[],
            "See [below](#functionhellogatefloor)",
        ),
        key(
            "on_no_data",
            code("wait"),
            "\"pass\"",
            &["\"?\""],
            "What to do if a step has lasted long enough but had too few requests",
        ),
    ]
}

fn signal() -> Vec<Key> {
    let usual = GateSpec::default();
    vec![
        key(
            "tolerate",
            code(usual.errors.unwrap_or_default()),
            "1.5",
            &["0.5", "101.0"],
            "How many times stable's value is tolerated",
        )
        .mistyped("true"),
        key(
            "alpha",
            code(usual.alpha),
            "0.01",
            &["0.5"],
            "Another place for the gate's `alpha`, which all share",
        )
        .mistyped("true"),
    ]
}

fn floor() -> Vec<Key> {
    vec![
        key("error_rate", "none: it has to be there", "0.2", &["1.5"], "Share of failures that is too high")
            .mistyped("true")
            .beside("requests = 20"),
        key("requests", "none: it has to be there", "50", &["2"], "Requests below which it is not asked")
            .beside("error_rate = 0.5"),
    ]
}
