//! The codes of the admin API.

use super::{ErrorCode, code};

/// What the admin API refuses, and what commands therefore report.
pub(in crate::explain) const ADMIN: &[ErrorCode] = &[
    code(
        "unauthorized",
        &[401],
        "the bearer token is missing, wrong, revoked or expired, or the client's certificate gives no rights",
        "pass a token with `--token` or `WASM_FN_TOKEN`, log in with `wasm-fn login`, or ask an admin for a new token",
    )
    .see("how-to/access.md"),
    code(
        "forbidden",
        &[403],
        "the token has not the permission, or its scope does not reach so far; the answer names both",
        "see with `wasm-fn whoami` what you may do, and ask an admin for a token that may",
    )
    .see("reference/permissions.md"),
    code(
        "cross-origin",
        &[403],
        "a browser sent the request for another site, with a session of the page or a certificate",
        "open the page at the node's own address",
    )
    .see("how-to/page.md"),
    code(
        "too-many-failures",
        &[429],
        "too many wrong tokens came from this address; `retry-after` says when the next may",
        "stop what sends the wrong token, then wait",
    ),
    code(
        "issuer-unavailable",
        &[503],
        "the keys of the issuer of the token cannot be had, so nobody knows whether it is right; the detail says why",
        "try again in a moment, or use a token of the node",
    ),
    code(
        "invalid-rights",
        &[400],
        "a role, a pattern or a stage of a token is malformed",
        "the detail says what was found and what was expected",
    ),
    code(
        "no-such-token",
        &[404],
        "there is no token with this name",
        "list the tokens with `wasm-fn tokens list`",
    ),
    code(
        "token-of-node",
        &[409],
        "the token is that of the node's data directory, which can be rotated and not revoked",
        "give the node another with `wasm-fn tokens rotate admin`",
    ),
    code(
        "token-exists",
        &[409],
        "a token has this name",
        "give it a new secret with `wasm-fn tokens rotate NAME`, or take another name",
    ),
    code(
        "too-many-tokens",
        &[409],
        "there are 10,000 tokens",
        "revoke those that nobody uses: `wasm-fn tokens list` shows when each was used last",
    ),
    code(
        "approval",
        &[409],
        "the approval does not count: nothing waits, it has changed, its time is over, or you are its author or have approved it",
        "look with `wasm-fn status FUNCTION` at what waits now",
    ),
    code(
        "approval-needed",
        &[409],
        "others have to approve the version for this stage first",
        "deploy or promote it there; then others run `wasm-fn approve FUNCTION -s STAGE`",
    ),
    code(
        "broken-journal",
        &[409],
        "the journal was changed, or lacks a head that was noted",
        "compare the journal with a backup, and find out who could write to the data directory",
    ),
    code(
        "invalid-name",
        &[400],
        "a name is malformed or reserved",
        "the detail says what was found; names of functions have a-z, 0-9, - and _",
    ),
    code(
        "invalid-config",
        &[400],
        "a setting of the function is malformed or out of its bounds",
        "check the file with `wasm-fn config check`",
    )
    .see("reference/config.md"),
    code(
        "invalid-split",
        &[400],
        "the shares of a traffic split are malformed, or do not add up to 100%",
        "give shares that do, such as `wasm-fn traffic FUNCTION v2=10% v1=90%`",
    ),
    code(
        "invalid-strategy",
        &[400],
        "the strategy of a rollout is malformed",
        "the detail says what was found and what was expected",
    )
    .see("explanation/rollouts.md"),
    code(
        "invalid-gate",
        &[400],
        "the gate of a rollout is malformed",
        "the detail says what was found and what was expected",
    )
    .see("explanation/rollouts.md"),
    code(
        "invalid-check",
        &[400],
        "a check of a blue-green rollout is malformed",
        "the detail names the check, what was found and what was expected",
    )
    .see("explanation/rollouts.md"),
    code(
        "invalid-version",
        &[400],
        "a version is malformed",
        "name it `v42`, `stable`, `canary`, `previous` or `latest`",
    ),
    code(
        "invalid-digest",
        &[400],
        "the digest of a component is malformed",
        "send its SHA-256 as 64 hexadecimal digits",
    ),
    code(
        "invalid-request",
        &[400],
        "the request has a field, a parameter or a body that the operation does not take",
        "the detail says what was found and what was expected; `/openapi.json` describes every operation",
    ),
    code(
        "no-such-function",
        &[404],
        "there is no function with this name, or it is out of your token's scope",
        "list the functions that you can see with `wasm-fn functions`",
    ),
    code(
        "no-such-stage",
        &[404],
        "the function has no such stage with traffic",
        "list its stages with `wasm-fn status FUNCTION`",
    ),
    code(
        "no-such-version",
        &[404],
        "the function does not have this version",
        "list its versions with `wasm-fn versions FUNCTION`",
    ),
    code(
        "not-found",
        &[404],
        "the admin API has no such path",
        "`/openapi.json` lists those that there are; functions are served at another address",
    ),
    code(
        "capabilities-grow",
        &[409],
        "the version could do more than the stable one, and the detail lists what",
        "if all of it is intended, deploy with `--allow-new`",
    ),
    code(
        "secret-not-set",
        &[409],
        "the version, or the trigger, names secrets that have no value in the stage; the detail lists them",
        "set them first: `wasm-fn secrets set NAME -f FUNCTION -s STAGE`",
    )
    .see("how-to/secrets.md"),
    code(
        "secret-missing",
        &[409],
        "the version was never deployed to this stage, or a secret of it was deleted",
        "deploy or promote it there, which gives it the stage's secrets",
    )
    .see("how-to/secrets.md"),
    code(
        "invalid-secret",
        &[400],
        "the value of a secret is empty, longer than 64 KiB, not UTF-8, or has a NUL",
        "encode binary values, for instance as base64",
    ),
    code(
        "no-such-secret",
        &[404],
        "the stage has no secret with this name",
        "list them with `wasm-fn secrets list -f FUNCTION -s STAGE`",
    ),
    code(
        "secret-in-use",
        &[409],
        "versions in use have the secret, a webhook is verified with it, a broker is shown it, or a trigger gets what it deploys with it; the detail names them",
        "deploy a version without it, or remove the trigger, first",
    ),
    code(
        "no-such-bucket",
        &[404],
        "no version of the function has a bucket with this name, and the detail lists those that there are",
        "name the bucket in wasm-fn.toml, and deploy",
    )
    .see("how-to/state.md"),
    code(
        "no-such-key",
        &[404],
        "the bucket does not have the key",
        "list its keys with `wasm-fn kv list FUNCTION BUCKET`",
    ),
    code(
        "invalid-key",
        &[400],
        "the key of a bucket has more than 1,024 bytes",
        "use a shorter key, such as a hash of the long one",
    ),
    code(
        "bucket-full",
        &[409],
        "the bucket would have more bytes or keys than it may; the detail says how many",
        "delete keys, or deploy a version whose configuration allows more",
    )
    .see("how-to/state.md"),
    code(
        "secrets-too-large",
        &[409],
        "the secrets of the version have more than 256 KiB, or one is too long for an environment variable",
        "shorten them, or read large ones by `wasi:config/store` instead of `secrets_env`",
    ),
    code(
        "too-many-secrets",
        &[409],
        "the stage would have more than 256 secrets, or the function has secrets in 32 stages or 4 MiB of them",
        "delete those that no version uses: `wasm-fn secrets list` shows them",
    ),
    code(
        "invalid-trigger",
        &[400],
        "a field of a trigger is malformed",
        "the detail names the field, what was found and what was expected",
    )
    .see("how-to/events.md"),
    code(
        "no-such-trigger",
        &[404],
        "the stage has no trigger with this name",
        "list them with `wasm-fn triggers list FUNCTION`",
    ),
    code(
        "no-such-event",
        &[404],
        "the event never was there, or it was done more than a day ago",
        "list those that wait with `wasm-fn events list FUNCTION TRIGGER`",
    ),
    code(
        "trigger-exists",
        &[409],
        "the stage has a trigger with this name",
        "remove it first with `wasm-fn triggers remove`, or take another name",
    ),
    code(
        "too-many-triggers",
        &[409],
        "the function has 100 triggers, or the node 20,000",
        "remove those that nobody needs",
    ),
    code(
        "not-a-schedule",
        &[409],
        "only schedules are run and backfilled",
        "look with `wasm-fn triggers show` at what kind the trigger is",
    ),
    code(
        "no-ticks",
        &[409],
        "the schedule has no times in the range",
        "give a longer range, or look at the schedule with `wasm-fn triggers show`",
    ),
    code(
        "inbox-full",
        &[503],
        "there are as many events as the node, or the trigger, may have; the detail says which",
        "let some be delivered, or discard dead letters with `wasm-fn events discard`",
    )
    .see("how-to/events.md"),
    code(
        "rollout-in-progress",
        &[409],
        "a rollout is under way",
        "promote it with `--full` or abort it first, or deploy with `--replace`",
    ),
    code(
        "already-stable",
        &[409],
        "the version with this component and configuration is already stable, so there is nothing to roll out",
        "check that the component was built anew",
    ),
    code(
        "no-such-cohort",
        &[409],
        "a step names a cohort that the stable version does not send to the canary; the detail names the cohorts that it does",
        "deploy a version with the rule first, by shares",
    )
    .see("explanation/rollouts.md"),
    code(
        "no-rollout",
        &[409],
        "there is no rollout to promote, pause, resume or abort",
        "`wasm-fn history FUNCTION` shows how the last one ended; `wasm-fn rollback` goes back to an earlier version",
    ),
    code(
        "wrong-phase",
        &[409],
        "the command does not fit the rollout's phase: the rollout is already paused, is not paused, or everybody is on the new version",
        "look with `wasm-fn status FUNCTION` where it stands",
    ),
    code(
        "rollout-moved",
        &[409],
        "the rollout is no longer where the command expected it: it is at another step, is on hold, or has been replaced",
        "look again, then repeat the command if it is still right",
    ),
    code(
        "not-deployed-there",
        &[409],
        "the version was never deployed to this stage, which has variables or routes of its own",
        "deploy or promote it there",
    ),
    code(
        "no-previous-version",
        &[409],
        "there is no version to roll back to",
        "name one with `--to`; `wasm-fn versions FUNCTION` lists them",
    ),
    code(
        "live-stage",
        &[409],
        "the live stage of a function is deleted only with the function",
        "run `wasm-fn delete FUNCTION` if that is meant",
    ),
    code(
        "route-clash",
        &[409],
        "another function or stage has this route; the detail names both",
        "change `routes` of one of the two",
    ),
    code(
        "revision-conflict",
        &[409],
        "the function has changed after the expected revision, or the node is not that far",
        "read the function again, then repeat the change if it is still right",
    ),
    code(
        "not-wasm",
        &[422],
        "the file is not WebAssembly",
        "deploy what the build wrote, a file that ends in `.wasm`",
    )
    .see("tutorials/functions.md"),
    code(
        "component-invalid",
        &[422],
        "the component is not valid, or uses what the node does not support; the detail says where",
        "build it again with current tools; `wasm-tools validate` says the same",
    ),
    code(
        "compile-limit",
        &[422],
        "compiling the component would take the node too much time or memory; the detail says what is too large",
        "split the function or the component that is named into smaller ones, or build it with optimisation",
    )
    .see("explanation/security.md"),
    code(
        "no-handler",
        &[422],
        "the component exports no handler for requests, and is no command",
        "export `wasi:http/incoming-handler` or `wasi:http/handler`, or build a command",
    )
    .see("tutorials/functions.md"),
    code(
        "imports-not-offered",
        &[422],
        "the component imports interfaces that the node does not offer; the detail lists them",
        "build it against the worlds that are offered",
    )
    .see("tutorials/functions.md"),
    code(
        "component-does-not-start",
        &[422],
        "the first instance of the component failed before it could take a request; the detail says how",
        "look for what runs at the start, such as reading a variable that is not set",
    ),
    code(
        "memory-limit",
        &[422],
        "the component begins with more memory than the function may have",
        "raise `memory`, or build it with less",
    ),
    code(
        "component-unreadable",
        &[422],
        "the node could not read the component that it keeps, or write its native code; the detail says why",
        "look at the disk of the node's data directory, then deploy again",
    ),
    code(
        "component-missing",
        &[404, 422],
        "the component is not on the node: when it is asked for, or when it is deployed",
        "upload it first: `PUT /v1/components/{digest}`; `wasm-fn deploy` does so",
    ),
    code(
        "digest-mismatch",
        &[422],
        "the uploaded bytes do not have the digest in the address",
        "send the file as it is, with its own SHA-256",
    ),
    code(
        "upload-incomplete",
        &[400],
        "the upload ended early",
        "upload again; look for a proxy that cuts long requests",
    ),
    code(
        "too-large",
        &[413],
        "the component or the request is over its limit",
        "send less, or raise the node's `component_max` for components",
    ),
    code(
        "body-timeout",
        &[408],
        "the request's body did not arrive in time",
        "send it again over a better connection",
    ),
    code(
        "method-not-allowed",
        &[405],
        "the path has other methods; see the `allow` header",
        "`/openapi.json` lists the methods of each path",
    ),
    code(
        "too-many-stages",
        &[409],
        "the function has as many stages as it can have",
        "delete one that nobody needs: `wasm-fn delete FUNCTION -s STAGE`",
    ),
    code(
        "versions-used-up",
        &[409],
        "the function has as many version numbers as there are",
        "deploy under another name",
    ),
    code(
        "busy",
        &[503],
        "too many uploads, deployments, compilations or backups are under way",
        "try again in a moment",
    ),
    code(
        "internal",
        &[500],
        "the node failed; its log says why",
        "look at the node's log",
    ),
    code(
        "not-ready",
        &[503],
        "the node is starting, stopping or being handed over, or it is still compiling versions with traffic",
        "wait; `/readyz` says when it is ready",
    ),
    code(
        "no-cluster",
        &[409],
        "the node is alone, and was asked about a cluster",
        "start it with `--cluster`, or ask a node of the cluster",
    )
    .see("how-to/cluster.md"),
    code(
        "of-cluster",
        &[409],
        "the nodes of a cluster have a key in common, which one of them cannot replace",
        "revoke the access for which the key is to be replaced; a new key needs a new cluster",
    )
    .see("how-to/cluster.md"),
    code(
        "no-such-node",
        &[404],
        "no node of this name was heard of in the last minute",
        "see the nodes with `wasm-fn cluster status`",
    )
    .see("how-to/cluster.md"),
    code(
        "node-silent",
        &[503],
        "the request is about another node of the cluster, which does not answer",
        "ask that node itself, or leave out `--node` for those that answer",
    )
    .see("how-to/cluster.md"),
    code(
        "revision-not-reached",
        &[503],
        "the request names a revision that this node of the cluster has not published within five seconds",
        "try again, or ask the node that made the change; `wasm-fn cluster status` shows how far each is",
    )
    .see("how-to/cluster.md"),
    code(
        "cluster-not-prepared",
        &[503],
        "a node of the cluster cannot call the new version: it cannot get or compile its component, or is silent",
        "look at the log of the node that is named, or drain it, and deploy again",
    )
    .see("how-to/cluster.md"),
    code(
        "out-of-touch",
        &[503],
        "the node does not hear from its cluster, so it makes no change and reads no bucket; it goes on serving",
        "ask another node, or try again when the broker is back; `wasm-fn cluster status` says why",
    )
    .see("how-to/cluster.md"),
    code(
        "outcome-unknown",
        &[503],
        "the broker of the cluster did not answer in time, so the change may have been made or not",
        "look whether it was made, for example with `wasm-fn history`, before you try again",
    )
    .see("how-to/cluster.md"),
    code(
        "disk-full",
        &[503],
        "the disk of the node, or of the broker, has no room for the change, which was not made; serving goes on",
        "make room where the detail says; the next change is made as soon as there is some",
    )
    .see("how-to/cluster.md"),
    code(
        "cluster-diverged",
        &[503],
        "the cluster's log does not go on from what this node has: the broker has lost or changed what it acknowledged",
        "find out what the broker lost; export the state of the node that has most, and import it into a new cluster",
    )
    .see("how-to/cluster.md"),
];
