//! The codes that calls of functions are answered with.

use super::{ErrorCode, code};

/// What calls of functions are answered with if the function does not answer.
pub(in crate::explain) const DATA_PLANE: &[ErrorCode] = &[
    code(
        "no-such-function",
        &[404],
        "no route covers this host and path, the stage has no version, or the function's `preview` is `off`; the detail explains an address such as `/hello@v`",
        "list the functions and their routes with `wasm-fn functions`",
    ),
    code(
        "no-such-version",
        &[404],
        "the override or the address names a version that the function does not have",
        "list the versions with `wasm-fn versions FUNCTION`",
    ),
    code(
        "override-malformed",
        &[400],
        "`wasm-fn-version` does not name a version",
        "send `v42`, `stable`, `canary`, `previous` or `latest`",
    ),
    code(
        "override-denied",
        &[403],
        "`wasm-fn-token` is missing, wrong, or for another stage",
        "send a token that may choose, or run the node with `--allow-overrides`",
    )
    .see("how-to/access.md#choosing-a-version"),
    code(
        "preview-denied",
        &[403],
        "the address of a version needs a token for this function, and the request has none or a wrong one; the answer does not reveal whether there is such a version",
        "print the address with a token: `wasm-fn preview FUNCTION`",
    ),
    code(
        "guest-trap",
        &[500],
        "the guest trapped, or exited with another status than 0, which the detail names",
        "look at the backtrace with `wasm-fn logs FUNCTION --status error`",
    ),
    code(
        "guest-timeout",
        &[504],
        "the guest ran but gave no complete answer within `timeout`",
        "raise `timeout`, or find what is slow",
    ),
    code(
        "guest-cpu-exceeded",
        &[500],
        "the guest computed for longer than `cpu`",
        "raise `cpu`, or find what computes so much",
    ),
    code(
        "guest-out-of-memory",
        &[500],
        "the guest was refused memory and then trapped",
        "raise `memory`, or find what needs so much",
    ),
    code(
        "guest-invalid-response",
        &[500, 502],
        "the guest returned without an answer, or its answer is not valid HTTP; 502 if a webhook waited for the answer",
        "look at the function's log: `wasm-fn logs FUNCTION --request ID`",
    ),
    code(
        "request-timeout",
        &[408],
        "the client did not send its body within the function's `timeout`",
        "send faster, or raise `timeout`",
    ),
    code(
        "body-too-large",
        &[413],
        "the request body is over the node's limit",
        "raise the node's `body_max`, or send less",
    ),
    code(
        "bad-request",
        &[400],
        "the request is not a valid HTTP request, or a command cannot take it: a path with `%00`, a method of over 32 KiB",
        "the detail names what is wrong; look for it in the client",
    )
    .see("reference/http.md"),
    code(
        "uri-too-long",
        &[414],
        "the request's head is over 64 KiB because of its path and query, or they do not fit into one of a command's variables (32 KiB)",
        "send data in the body",
    ),
    code(
        "too-many-headers",
        &[431],
        "the request has more than 100 header fields, its head is over 64 KiB, or a header does not fit into one of a command's variables (32 KiB)",
        "send fewer or shorter headers; large cookies are the usual cause",
    ),
    code(
        "method-not-supported",
        &[501],
        "the request is a `CONNECT`",
        "functions cannot be tunnels: point the client at a proxy",
    ),
    code(
        "transfer-coding-not-supported",
        &[501],
        "the request's `transfer-encoding` has a coding beside `chunked`",
        "send the body as it is; `content-encoding` may say how it is compressed",
    ),
    code(
        "function-not-ready",
        &[503],
        "this node's cache does not have the version's native code, and the node is compiling it; see `retry-after`",
        "wait; `/readyz` says when every version with traffic is ready",
    ),
    code(
        "function-overloaded",
        &[503],
        "the version's `concurrency` and `queue`, or its share of the node, are used up; see `retry-after`",
        "raise them, or send less",
    ),
    code(
        "node-overloaded",
        &[503],
        "the node runs as many instances as it may, it has no memory left for this one, the request waited 5 s for a thread, or the request's time ran out before an instance was made; see `retry-after`",
        "raise `instances_max` or `memory_max`, or add nodes",
    ),
    code(
        "version-recalled",
        &[503],
        "the canary was aborted at once while it worked on the request, and the request could not run again; see `retry-after`",
        "send the request again, if that does no harm",
    ),
    code(
        "internal-error",
        &[500],
        "the node failed; no guest is to blame",
        "look at the node's log",
    ),
    code(
        "webhook-denied",
        &[401],
        "a request to a webhook has no signature, a wrong one, or one that is too old; the detail says which",
        "give the service and the stage the same secret; set the clocks",
    )
    .see("how-to/events.md"),
    code(
        "webhook-not-ready",
        &[503],
        "the node cannot verify a webhook, since its secret is not set or malformed, the webhook is paused, or the function is answering this very event; see `retry-after`",
        "look at the node's log; set the secret with `wasm-fn secrets set`",
    )
    .see("how-to/events.md"),
    code(
        "method-not-allowed",
        &[405],
        "a request to a webhook is no POST",
        "have the service send its events by POST",
    ),
    code(
        "out-of-touch",
        &[503],
        "an event was not kept, since the node is out of touch with its cluster; see `retry-after`",
        "send it again: another node may take it, and this one will once the broker is back",
    )
    .see("how-to/cluster.md"),
    code(
        "outcome-unknown",
        &[503],
        "it is not known whether the cluster has kept an event; see `retry-after`",
        "send it again: an event of a webhook is handled once if it comes with the same id",
    )
    .see("how-to/cluster.md"),
    code(
        "inbox-full",
        &[503],
        "an event was not kept, since the inbox or the disk is full; see `retry-after`",
        "look with `wasm-fn events list FUNCTION TRIGGER`; redrive or discard dead letters",
    )
    .see("how-to/events.md"),
];
