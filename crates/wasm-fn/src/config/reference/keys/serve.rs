//! The keys of a node: `[serve]` and the tables in it.

use super::{Key, code, key, size, time};
use crate::config::Serve;

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
            "PEM file with certificate authorities that outgoing requests trust besides the public ones",
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
            "tls",
            "none: plain HTTP",
            "[{ cert = \"fullchain.pem\", key = \"privkey.pem\" }]",
            &[],
            "Certificates with which functions are served over TLS, see [below](#servetls)",
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
            "insecure_admin",
            code(usual.insecure_admin),
            "true",
            &[],
            "Let other machines reach the admin API over plain HTTP: who reads along gets its token",
        ),
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

/// `[serve.admin_tls]`.
pub(super) fn admin_tls() -> Vec<Key> {
    let client_ca = key(
        "client_ca",
        "none",
        "\"/etc/wasm-fn/people.pem\"",
        &[],
        "PEM file with authorities for clients; a client may show a certificate of theirs",
    );
    tls().into_iter().chain([client_ca.beside("cert = \"c.pem\"\nkey = \"k.pem\"")]).collect()
}
