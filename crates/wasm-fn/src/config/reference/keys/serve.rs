//! The keys of a node: `[serve]` and the tables in it.

use wasm_fn_oidc::SignatureAlgorithm;

use super::{Key, code, key, size, time};
use crate::config::{
    Serve,
    federation::{CLOCK_SKEW, LOGIN_SCOPES},
};

/// `[serve]`.
pub(super) fn serve() -> Vec<Key> {
    let usual = Serve::default();
    vec![
        key("listen", code(usual.listen), "\"0.0.0.0:8080\"", &["\"8080\""], "Address that serves functions"),
        key(
            "admin",
            code(usual.admin),
            "\"localhost:8081\"",
            &["\"8081\""],
            "Address that serves the admin API",
        ),
        key(
            "data_dir",
            code(usual.data_dir.display()),
            "\"/var/lib/wasm-fn\"",
            &[],
            "Directory that holds all data",
        ),
        key(
            "instances_max",
            "by the machine's memory, at most 1000",
            "500",
            &["0"],
            "Maximum number of live instances",
        ),
        key(
            "memory_max",
            "three quarters of the machine's memory",
            "\"8GiB\"",
            &["\"?\"", "\"1B\""],
            "Maximum memory of all instances together",
        ),
        key(
            "connections_max",
            code(usual.connections_max),
            "20000",
            &["0"],
            "Maximum number of open connections; further connections wait",
        ),
        key(
            "connections_per_address",
            "a quarter of `connections_max`",
            "200",
            &["0"],
            "Maximum number of open connections of one address, or of one /64 network of IPv6; further ones are \
             closed. Trusted proxies may have any number",
        ),
        key(
            "body_max",
            size(usual.body_max_bytes),
            "\"1MiB\"",
            &["\"?\"", "\"0B\""],
            "Maximum size of a request body",
        ),
        key(
            "component_max",
            size(usual.component_max_bytes),
            "\"64MiB\"",
            &["\"?\"", "\"0B\""],
            "Maximum size of a component",
        ),
        key(
            "code_memory",
            size(usual.code_memory_bytes),
            "\"2GiB\"",
            &["\"?\"", "\"0B\""],
            "Maximum memory for the native code of functions",
        ),
        key(
            "memory_reset",
            code(usual.isolation.memory_reset),
            "\"scan\"",
            &["\"?\""],
            "How the memory of an instance is reset for the next one: `discard`, `scan` or `counted`",
        ),
        key(
            "audit_resets",
            code(usual.isolation.audit_resets),
            "1000",
            &[],
            "Audit one in this many resets: compare the memory with what it must be; 0 for none",
        ),
        key(
            "link_components",
            code("on"),
            "\"off\"",
            &["\"?\""],
            "Link the core modules of a component before it is compiled",
        ),
        key(
            "drain_timeout",
            time(usual.drain_timeout),
            "\"1m\"",
            &["\"?\"", "\"2h\""],
            "How long requests may take to finish when the node stops",
        ),
        key(
            "allow_overrides",
            code(usual.allow_overrides),
            "true",
            &[],
            "Let any client choose the version that answers, without a token",
        ),
        key(
            "show_shielded",
            code(usual.show_shielded),
            "true",
            &[],
            "Mark answers of a second run with the header `wasm-fn-shielded: 1`",
        ),
        key(
            "trusted_proxies",
            "none",
            "[\"10.0.0.0/8\", \"::1\"]",
            &["[\"nginx\"]"],
            "Networks of proxies whose `Forwarded` or `X-Forwarded-For` header names the client",
        ),
        key(
            "proxy_protocol",
            code(usual.proxy_protocol),
            "true",
            &[],
            "Expect connections from trusted proxies to begin with a PROXY header",
        )
        .beside("trusted_proxies = [\"10.0.0.0/8\"]"),
        key(
            "preview_domain",
            "none",
            "\"preview.example.com\"",
            &["\"*.example.com\""],
            "Domain with a wildcard DNS record; each version has a host name under it",
        ),
        key(
            "egress_ca",
            "none",
            "\"/etc/wasm-fn/ca.pem\"",
            &[],
            "PEM file with certificate authorities that outgoing requests, brokers and registries are trusted by besides the public ones",
        ),
        key(
            "secrets_key_command",
            "none: the key is in the environment or in the data directory",
            "\"vault kv get -field=key secret/wasm-fn\"",
            &["\" \""],
            "Command that writes the key of the node's secrets to its standard output; its words are separated \
             by spaces, and there is no shell",
        ),
        key(
            "allow_core_dumps",
            code(usual.allow_core_dumps),
            "true",
            &[],
            "Let the system dump the memory of the node, and debuggers of the same user read it",
        ),
        key(
            "egress_private",
            "none",
            "[\"10.0.0.0/8\", \"fd00::/8\"]",
            &["[\"intranet\"]"],
            "Networks without public addresses that functions may reach by name",
        ),
        key(
            "artifact_sources",
            "none: anywhere",
            "[\"ghcr.io/acme/*\", \"https://github.com/acme/\"]",
            &["[\"http://example.com/\"]"],
            "Parts of registries, and beginnings of URLs, from which triggers may deploy",
        ),
        key(
            "tls",
            "none: plain HTTP",
            "[{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]",
            &[],
            "Certificates with which functions are served over TLS, see [below](#servetls)",
        ),
        key(
            "acme",
            "none",
            "{ domains = [\"example.com\"], contact = [\"mailto:ann@example.com\"] }",
            &[],
            "A certificate that the node gets by ACME, and renews, see [below](#serveacme)",
        ),
        key(
            "redirect_listen",
            "none",
            "\"0.0.0.0:80\"",
            &["\"80\""],
            "Address that redirects clients of plain HTTP to https",
        )
        .beside("tls = [{ cert = \"a.pem\", key = \"a.key\" }]"),
        key(
            "admin_tls",
            "none: plain HTTP",
            "{ cert = \"admin.pem\", key = \"admin.key\" }",
            &[],
            "The certificate with which the admin API is served over TLS, see [below](#serveadmin_tls)",
        ),
        key(
            "oidc",
            "none",
            "[{ issuer = \"https://id.example.com\", audience = \"node\", rules = [{ name = \"ann\", claims = { sub = \"ann\" }, roles = [\"viewer\"] }] }]",
            &[],
            "Issuers whose tokens the admin API accepts, see [below](#serveoidc)",
        ),
        key(
            "insecure_admin",
            code(usual.insecure_admin),
            "true",
            &[],
            "Let other machines reach the admin API over plain HTTP: who reads along gets its token",
        ),
        key(
            "metrics_series_max",
            code(usual.metrics_series_max),
            "50000",
            &["10"],
            "Maximum number of series that `/metrics` has of versions; versions beyond it are summed up as `other`",
        ),
        key(
            "access_log",
            "none: requests are not logged",
            "{ file = \"access.log\", sample = \"1%\" }",
            &[],
            "A line of JSON for each request, see [below](#serveaccess_log)",
        ),
        key(
            "cluster",
            "none: the node is alone",
            "{ brokers = [\"nats://127.0.0.1:4222\"] }",
            &["{ brokers = [] }"],
            "The cluster that the node is in, see [below](#servecluster)",
        ),
        key(
            "traces",
            "none: traced is what a collector gets",
            "\"1%\"",
            &["\"0%\"", "\"0.5\""],
            "Share of requests that are traced for the page where no collector is named, see \
             [telemetry](telemetry.md#traces-on-the-page)",
        ),
    ]
}

/// `[serve.access_log]`.
pub(super) fn access_log() -> Vec<Key> {
    vec![
        key(
            "file",
            "none: it has to be there",
            "\"/var/log/wasm-fn/access.log\"",
            &["\"\""],
            "File to append to, or `-` for standard output; opened again when it was renamed or removed",
        ),
        key(
            "sample",
            code("100%"),
            "\"1%\"",
            &["\"0%\"", "\"0.5\""],
            "Share of requests that have a line, decided when they arrive",
        )
        .beside("file = \"-\""),
    ]
}

/// `[[serve.tls]]`.
pub(super) fn tls() -> Vec<Key> {
    vec![
        key(
            "cert",
            "none: it has to be there",
            "\"/etc/letsencrypt/live/example.com/fullchain.pem\"",
            &[],
            "PEM file with the certificate and its chain",
        )
        .beside("key = \"k.pem\""),
        key(
            "key",
            "none: it has to be there",
            "\"/etc/letsencrypt/live/example.com/privkey.pem\"",
            &[],
            "PEM file with its private key, which only its owner may read (mode 0600)",
        )
        .beside("cert = \"c.pem\""),
    ]
}

/// `[serve.acme]`.
pub(super) fn acme() -> Vec<Key> {
    let domains = "domains = [\"example.com\"]";
    vec![
        key(
            "domains",
            "none: it has to be there",
            "[\"example.com\", \"www.example.com\"]",
            &["[]", "[\"*.example.com\"]", "[\"192.0.2.1\"]"],
            "The names of the certificate",
        ),
        key("contact", "none", "[\"mailto:ann@example.com\"]", &["[\"ann\"]"], "Whom the server writes to")
            .beside(domains),
        key(
            "directory",
            "\"https://acme-v02.api.letsencrypt.org/directory\"",
            "\"https://acme-staging-v02.api.letsencrypt.org/directory\"",
            &["\"http://example.com\""],
            "The server: the URL of its directory",
        )
        .beside(domains),
        key(
            "ca",
            "none: the public authorities",
            "\"/etc/wasm-fn/ca.pem\"",
            &[],
            "PEM file with the authorities that vouch for the server",
        )
        .beside(domains),
    ]
}

/// `[serve.cluster]`.
pub(super) fn cluster() -> Vec<Key> {
    let brokers = "brokers = [\"nats://127.0.0.1:4222\"]";
    let keys = [
        key("name", "\"wasm-fn\"", "\"prod\"", &["\"Prod\""], "Name of the cluster"),
        key(
            "node",
            "the name of the machine",
            "\"web-1\"",
            &["\"web.1\""],
            "Name of the node, which no other node of the cluster has",
        ),
        key(
            "creds",
            "none",
            "\"/etc/wasm-fn/cluster.creds\"",
            &[],
            "File with the credentials for the broker: a `.creds` file, or a line `user:password` or a token",
        ),
        key(
            "ca",
            "none: the public authorities",
            "\"/etc/wasm-fn/ca.pem\"",
            &[],
            "PEM file with authorities that vouch for the broker",
        ),
        key(
            "cert",
            "none",
            "\"/etc/wasm-fn/broker.pem\"",
            &[],
            "PEM file with the certificate that the broker is shown",
        )
        .beside("brokers = [\"nats://127.0.0.1:4222\"]\ncert_key = \"/etc/wasm-fn/broker.key\""),
        key(
            "cert_key",
            "none",
            "\"/etc/wasm-fn/broker.key\"",
            &[],
            "PEM file with the private key of that certificate",
        )
        .beside("brokers = [\"nats://127.0.0.1:4222\"]\ncert = \"/etc/wasm-fn/broker.pem\""),
        key(
            "key",
            "`cluster.key` in the data directory",
            "\"/etc/wasm-fn/cluster.key\"",
            &[],
            "File with the key of the cluster, the same on every node",
        ),
        key(
            "lease",
            time(wasm_fn_cluster::LEASE_DEFAULT),
            "\"10s\"",
            &["\"?\"", "\"1ms\""],
            "How long a node may be without news of the broker before it sends nobody to a canary; the same on \
             every node",
        ),
        key(
            "log_keep",
            code(wasm_fn_cluster::LOG_KEEP_DEFAULT),
            "20000",
            &["9"],
            "How many changes the cluster's log keeps for nodes that were away, behind the last snapshot of the \
             state",
        ),
    ];
    let brokers_key = key(
        "brokers",
        "none: it has to be there",
        "[\"nats://10.0.0.1:4222\", \"nats://10.0.0.2:4222\"]",
        &["[]", "[\"http://a\"]"],
        "Servers of the broker that keeps the cluster's state",
    );
    let beside = |key: Key| if key.beside.is_empty() { key.beside(brokers) } else { key };
    std::iter::once(brokers_key).chain(keys.map(beside)).collect()
}

/// `[serve.admin_tls]`.
pub(super) fn admin_tls() -> Vec<Key> {
    let client_ca = key(
        "client_ca",
        "none",
        "\"/etc/wasm-fn/people.pem\"",
        &[],
        "PEM file with authorities for clients; a client may show a certificate of theirs",
    );
    let clients = key(
        "clients",
        "none",
        "[{ dns = \"ci.example.com\", roles = [\"deployer\"] }]",
        &[],
        "What clients may do by their certificates, see [below](#serveadmin_tlsclients)",
    );
    let client_ca = client_ca.beside("cert = \"c.pem\"\nkey = \"k.pem\"");
    let clients = clients.beside("cert = \"c.pem\"\nkey = \"k.pem\"\nclient_ca = \"ca.pem\"");
    tls().into_iter().chain([client_ca, clients]).collect()
}

/// `[[serve.admin_tls.clients]]`.
pub(super) fn clients() -> Vec<Key> {
    let names = [
        key(
            "spiffe",
            "none",
            "\"spiffe://example.com/ci\"",
            &["\"ci\""],
            "SPIFFE ID, if the certificate has exactly one",
        ),
        key("dns", "none", "\"ci.example.com\"", &[], "First DNS name of a certificate without a SPIFFE ID"),
        key("cn", "none", "\"ci\"", &[], "Common name of a certificate with neither"),
    ];
    let names = names.into_iter().map(|key| key.beside("roles = [\"viewer\"]"));
    names.chain(rights("cn = \"ci\"", "cn = \"ci\"\nroles = [\"viewer\"]")).collect()
}

/// What a rule gives; `bare` is a rule without roles, `whole` one with some.
fn rights(bare: &'static str, whole: &'static str) -> [Key; 3] {
    [
        key(
            "roles",
            "none: it has to be there",
            "[\"deployer\"]",
            &["[\"owner\"]", "[]"],
            "What they may do, see [access](../how-to/access.md)",
        )
        .beside(bare),
        key("functions", "all", "[\"shop-*\"]", &["[\"*-shop\"]"], "The functions that it is for")
            .beside(whole),
        key("stages", "all", "[\"live\"]", &["[\"A\"]"], "The stages that it is for").beside(whole),
    ]
}

/// A rule of `[[serve.oidc]]`, in a line.
macro_rules! with_rule {
    ($($rest:literal)*) => {
        concat!($($rest, "\n",)* "rules = [{ name = \"a\", claims = { sub = \"a\" }, roles = [\"viewer\"] }]")
    };
}

/// `[[serve.oidc]]`.
pub(super) fn oidc() -> Vec<Key> {
    let rest = with_rule!("issuer = \"https://id.example.com\"" "audience = \"node\"");
    let algorithms: Vec<_> = SignatureAlgorithm::DEFAULT.iter().map(|name| format!("\"{name}\"")).collect();
    vec![
        key(
            "issuer",
            "none: it has to be there",
            "\"https://token.actions.githubusercontent.com\"",
            &["\"http://id.example.com\""],
            "Its identifier, exactly as its tokens have it; its keys are found below it",
        )
        .beside(with_rule!("audience = \"node\"")),
        key(
            "audience",
            "none: it has to be there",
            "\"https://node.example.com\"",
            &["\"\""],
            "For whom its tokens have to be",
        )
        .beside(with_rule!("issuer = \"https://id.example.com\"")),
        key(
            "algorithms",
            code(format!("[{}]", algorithms.join(", "))),
            "[\"EdDSA\"]",
            &["[\"none\"]"],
            "How its tokens may be signed",
        )
        .beside(rest),
        key(
            "clock_skew",
            time(CLOCK_SKEW),
            "\"1m\"",
            &["\"?\"", "\"10m\""],
            "By how much its clock may differ from the node's",
        )
        .beside(rest),
        key(
            "ca",
            "none: the public ones",
            "\"/etc/wasm-fn/ca.pem\"",
            &[],
            "PEM file with the authorities that may vouch for its server",
        )
        .beside(rest),
        key(
            "rules",
            "none: it has to be there",
            "[{ name = \"ci\", claims = { repository_id = \"123\" }, roles = [\"deployer\"] }]",
            &["[]"],
            "Who gets which rights, see [below](#serveoidcrules)",
        )
        .beside("issuer = \"https://id.example.com\"\naudience = \"node\""),
        key(
            "login",
            "none: people cannot log in here",
            "{ client_id = \"wasm-fn\", scopes = [\"openid\", \"offline_access\"] }",
            &[],
            "The client by which people log in, see [below](#serveoidclogin)",
        )
        .beside(rest),
    ]
}

/// `[serve.oidc.login]`.
pub(super) fn login() -> Vec<Key> {
    let scopes: Vec<_> = LOGIN_SCOPES.iter().map(|scope| format!("\"{scope}\"")).collect();
    vec![
        key(
            "client_id",
            "none: it has to be there",
            "\"wasm-fn\"",
            &["\"\""],
            "Its id at the issuer; ID tokens have it as their audience",
        ),
        key(
            "scopes",
            code(format!("[{}]", scopes.join(", "))),
            "[\"openid\", \"groups\", \"offline_access\"]",
            &["[\"a b\"]"],
            "The scopes to ask for; with `offline_access`, most issuers let a login be renewed",
        )
        .beside("client_id = \"wasm-fn\""),
    ]
}

/// `[[serve.oidc.rules]]`.
pub(super) fn rules() -> Vec<Key> {
    let name = key(
        "name",
        "none: it has to be there",
        "\"github-shop\"",
        &["\"a b\""],
        "Name of the rule, with which the names of those begin whom it gives rights",
    );
    let claims = key(
        "claims",
        "none: it has to be there",
        "{ repository_id = \"123\", ref = \"refs/heads/main\" }",
        &["{}"],
        "Claims that a token must have, all of them: each is exactly this text, or a list that contains it",
    );
    let named = "name = \"a\"\nclaims = { sub = \"a\" }";
    let whole = "name = \"a\"\nclaims = { sub = \"a\" }\nroles = [\"viewer\"]";
    let first = [
        name.beside("claims = { sub = \"a\" }\nroles = [\"viewer\"]"),
        claims.beside("name = \"a\"\nroles = [\"viewer\"]"),
    ];
    first.into_iter().chain(rights(named, whole)).collect()
}
