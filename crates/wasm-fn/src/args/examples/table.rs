//! The examples of all commands, in one table.

use super::Example;

/// The examples of each command that is not a group of others, by its words after `wasm-fn`.
pub(super) const EXAMPLES: &[(&str, [Example; 2])] = &[
    (
        "serve",
        [
            ("wasm-fn serve", "with all data in ./wasm-fn-data"),
            (
                "wasm-fn serve --listen 0.0.0.0:443 --tls-cert site.pem --tls-key site.key --data-dir /var/lib/wasm-fn",
                "for everybody, over TLS",
            ),
        ],
    ),
    (
        "demo",
        [
            ("wasm-fn demo", "then try the commands that it prints in another terminal"),
            ("wasm-fn demo --exit", "only the tour"),
        ],
    ),
    (
        "new",
        [
            ("wasm-fn new hello --lang rust", "a project in ./hello"),
            ("wasm-fn new --list", "the languages that there are"),
        ],
    ),
    (
        "build",
        [
            ("wasm-fn build", "the only function in wasm-fn.toml"),
            ("wasm-fn build hello --config shop/wasm-fn.toml", "one function of another project"),
        ],
    ),
    (
        "dev",
        [
            ("wasm-fn dev", "starts a node if none runs, and deploys each change"),
            ("wasm-fn dev --listen 127.0.0.1:9090", "where the function answers"),
        ],
    ),
    (
        "test",
        [
            ("wasm-fn test", "builds, then sends the requests of checks.toml"),
            (
                "wasm-fn test --no-build --check smoke.toml -o json",
                "the component that is there, for a script",
            ),
        ],
    ),
    (
        "deploy",
        [
            ("wasm-fn deploy hello.wasm --canary=10%,50% --wait", "exits with 0 if the canary was promoted"),
            (
                "wasm-fn deploy --build -s staging -m 'Greet in Welsh'",
                "builds what wasm-fn.toml describes, and deploys that",
            ),
        ],
    ),
    (
        "push",
        [
            (
                "wasm-fn push hello.wasm oci://registry.example.com/hello:1.2.0",
                "then `deploy` takes it from there",
            ),
            (
                "wasm-fn push hello.wasm oci://localhost:5000/hello:dev --revision 4f2a9c1 --plain-http",
                "noting the commit",
            ),
        ],
    ),
    (
        "hook",
        [
            ("wasm-fn hook hello --build 'cargo build --release' > hooks/post-receive", "on the git server"),
            (
                "wasm-fn hook hello -s staging --branch release -- --canary=10% --wait",
                "as a canary in staging",
            ),
        ],
    ),
    (
        "status",
        [
            ("wasm-fn status", "all functions"),
            ("wasm-fn status hello -w", "one function, until you interrupt"),
        ],
    ),
    (
        "top",
        [
            ("wasm-fn top", "the busiest functions first"),
            ("wasm-fn top shop --sort errors", "functions with `shop` in their name, most errors first"),
        ],
    ),
    (
        "versions",
        [
            ("wasm-fn versions hello", "newest first"),
            ("wasm-fn versions hello -o json", "with each version's configuration"),
        ],
    ),
    (
        "traffic",
        [("wasm-fn traffic hello", "shows the split"), ("wasm-fn traffic hello v2=10% v1=90%", "sets it")],
    ),
    (
        "promote",
        [
            ("wasm-fn promote hello", "to the next step"),
            ("wasm-fn promote hello --full -m 'Looks good'", "to the end"),
        ],
    ),
    (
        "pause",
        [
            ("wasm-fn pause hello", "holds the rollout"),
            ("wasm-fn pause hello -s staging -m 'Wait for the database'", "with a reason"),
        ],
    ),
    (
        "resume",
        [
            ("wasm-fn resume hello", "lets the rollout go on"),
            ("wasm-fn resume hello -s staging -m 'Database is there'", "with a reason"),
        ],
    ),
    (
        "abort",
        [
            ("wasm-fn abort hello", "all traffic to stable"),
            ("wasm-fn abort hello --now -m 'Charges twice'", "and cuts off what the canary works on"),
        ],
    ),
    (
        "rollback",
        [
            ("wasm-fn rollback hello", "to the previous stable version"),
            ("wasm-fn rollback hello --to v41 -m 'v42 loses orders'", "to a version of your choice"),
        ],
    ),
    (
        "promote-stage",
        [
            ("wasm-fn promote-stage hello staging live", "by the strategy in wasm-fn.toml"),
            ("wasm-fn promote-stage hello staging live --canary=5%,50% --wait", "as a canary"),
        ],
    ),
    (
        "approve",
        [
            ("wasm-fn approve hello", "what `wasm-fn status hello` shows as waiting"),
            ("wasm-fn approve hello -s live -m 'Reviewed'", "with a reason"),
        ],
    ),
    (
        "reject",
        [
            ("wasm-fn reject hello", "its version stays"),
            ("wasm-fn reject hello -m 'Not before Monday'", "with a reason"),
        ],
    ),
    (
        "history",
        [
            ("wasm-fn history hello", "the last 20 changes"),
            ("wasm-fn history hello -n 1 --evidence", "the last one, with the numbers behind it"),
        ],
    ),
    (
        "invoke",
        [
            ("wasm-fn invoke hello --path '/greet?name=Ana' -i", "with status and headers"),
            (
                "wasm-fn invoke hello --version canary -d @order.json -H 'content-type: application/json'",
                "on the canary",
            ),
        ],
    ),
    (
        "preview",
        [
            ("wasm-fn preview hello", "every version in use"),
            ("wasm-fn preview hello --version canary -s staging", "one version"),
        ],
    ),
    (
        "logs",
        [
            ("wasm-fn logs hello -f", "as they come"),
            ("wasm-fn logs hello --version canary --status error --since 10m", "why the canary fails"),
        ],
    ),
    (
        "functions",
        [
            ("wasm-fn functions", "names, versions, stages and routes"),
            ("wasm-fn functions -o json", "for programs"),
        ],
    ),
    (
        "delete",
        [
            ("wasm-fn delete hello -s staging", "one stage"),
            ("wasm-fn delete hello --yes", "the function, without a question"),
        ],
    ),
    (
        "secrets set",
        [
            ("wasm-fn secrets set API_KEY -f hello", "asks for the value"),
            ("wasm-fn secrets set API_KEY -f hello -s live --deploy --wait < key.txt", "and rolls it out"),
        ],
    ),
    (
        "secrets import",
        [
            ("wasm-fn secrets import .env -f hello", "lines such as NAME=value"),
            (
                "wasm-fn secrets import secrets.sops.json -f hello --identity keys.txt",
                "encrypted by SOPS with age",
            ),
        ],
    ),
    (
        "secrets list",
        [
            ("wasm-fn secrets list -f hello", "without their values"),
            ("wasm-fn secrets list -f hello -s staging -o json", "for programs"),
        ],
    ),
    (
        "secrets delete",
        [
            ("wasm-fn secrets delete API_KEY -f hello", "if no version in use has it"),
            ("wasm-fn secrets delete API_KEY -f hello -s staging -m 'Unused'", "with a reason"),
        ],
    ),
    (
        "secrets rotate-key",
        [
            ("wasm-fn secrets rotate-key", "seals all secrets anew"),
            ("wasm-fn secrets rotate-key -m 'Yearly'", "with a reason"),
        ],
    ),
    (
        "kv get",
        [
            ("wasm-fn kv get shop carts ana", "prints the value as it is"),
            ("wasm-fn kv get shop carts ana -s staging > cart.json", "into a file"),
        ],
    ),
    (
        "kv put",
        [
            ("wasm-fn kv put shop carts ana --value '[]'", "a short value"),
            ("wasm-fn kv put shop carts ana < cart.json", "a file"),
        ],
    ),
    (
        "kv list",
        [
            ("wasm-fn kv list shop carts", "the first 100 keys"),
            ("wasm-fn kv list shop carts --prefix user/ -n 1000", "keys that begin so"),
        ],
    ),
    (
        "kv delete",
        [
            ("wasm-fn kv delete shop carts ana", "one key"),
            ("wasm-fn kv delete shop carts ana -s staging", "in another stage"),
        ],
    ),
    (
        "login",
        [
            ("wasm-fn login --server https://node.example.com:8081", "prints an address and a code"),
            ("wasm-fn login", "to the node on this machine"),
        ],
    ),
    (
        "logout",
        [
            ("wasm-fn logout", "of the node on this machine"),
            ("wasm-fn logout --server https://node.example.com:8081", "of another node"),
        ],
    ),
    (
        "whoami",
        [
            ("wasm-fn whoami", "your name, roles and scopes"),
            ("wasm-fn whoami --server https://node.example.com:8081 -o json", "for programs"),
        ],
    ),
    (
        "triggers add schedule",
        [
            (
                "wasm-fn triggers add schedule report --cron '0 3 * * *' --time-zone Europe/Berlin",
                "every night at three",
            ),
            ("wasm-fn triggers add schedule report --every 90s --overlap skip", "at an interval"),
        ],
    ),
    (
        "triggers add webhook",
        [
            (
                "wasm-fn triggers add webhook orders --provider stripe --secret STRIPE_KEY",
                "calls the function",
            ),
            (
                "wasm-fn triggers add webhook hello --provider github --secret HOOK --deploy 'oci://ghcr.io/me/hello:{sha}' --branch main --canary=10%",
                "deploys what is pushed",
            ),
        ],
    ),
    (
        "triggers add queue",
        [
            (
                "wasm-fn triggers add queue orders --nats nats://broker:4222 --stream ORDERS --subject 'orders.>'",
                "from the oldest message on",
            ),
            (
                "wasm-fn triggers add queue orders --nats tls://broker:4222 --stream ORDERS --subject orders.new --credentials NATS --start new",
                "over TLS, with credentials",
            ),
        ],
    ),
    (
        "triggers add watch",
        [
            (
                "wasm-fn triggers add watch hello --artifact oci://registry.example.com/hello:prod",
                "every minute",
            ),
            (
                "wasm-fn triggers add watch hello --artifact oci://ghcr.io/me/hello:prod --every 5m --canary=10%",
                "as a canary",
            ),
        ],
    ),
    (
        "triggers list",
        [
            ("wasm-fn triggers list", "of all functions"),
            ("wasm-fn triggers list hello -o json", "of one, for programs"),
        ],
    ),
    (
        "triggers show",
        [
            ("wasm-fn triggers show report schedule", "settings, next times, numbers"),
            ("wasm-fn triggers show report schedule -s staging", "in another stage"),
        ],
    ),
    (
        "triggers pause",
        [
            ("wasm-fn triggers pause report schedule", "until you resume it"),
            ("wasm-fn triggers pause orders queue -m 'Broker moves'", "with a reason"),
        ],
    ),
    (
        "triggers resume",
        [
            ("wasm-fn triggers resume report schedule", "from now on"),
            ("wasm-fn triggers resume orders queue -s staging", "in another stage"),
        ],
    ),
    (
        "triggers run",
        [
            ("wasm-fn triggers run report schedule", "once, now"),
            ("wasm-fn triggers run report schedule -s staging", "in another stage"),
        ],
    ),
    (
        "triggers backfill",
        [
            ("wasm-fn triggers backfill report schedule --from 2h", "for the last two hours"),
            (
                "wasm-fn triggers backfill report schedule --from 2026-11-22T00:00:00Z --to 2026-11-23T00:00:00Z",
                "for one day",
            ),
        ],
    ),
    (
        "triggers remove",
        [
            ("wasm-fn triggers remove report schedule", "with its events"),
            ("wasm-fn triggers remove report schedule -s staging -m 'Unused'", "with a reason"),
        ],
    ),
    (
        "events list",
        [
            ("wasm-fn events list orders queue", "what waits or is being delivered"),
            ("wasm-fn events list orders @async --dead", "dead letters of asynchronous requests"),
        ],
    ),
    (
        "events show",
        [
            ("wasm-fn events show orders queue 0194f1c2", "its attempts and its request"),
            ("wasm-fn events show orders @async 0194f1c2 -o json", "for programs"),
        ],
    ),
    (
        "events redrive",
        [
            ("wasm-fn events redrive orders queue --all", "all dead letters"),
            ("wasm-fn events redrive orders queue 0194f1c2 0194f1c3", "two of them"),
        ],
    ),
    (
        "events discard",
        [
            ("wasm-fn events discard orders queue 0194f1c2", "one dead letter"),
            ("wasm-fn events discard orders @async --all", "all of asynchronous requests"),
        ],
    ),
    (
        "tokens create",
        [
            ("wasm-fn tokens create ana --role admin", "for a person"),
            (
                "wasm-fn tokens create ci --role deployer --function 'shop-*' --stage staging --ttl 30d",
                "for a pipeline",
            ),
        ],
    ),
    (
        "tokens list",
        [
            ("wasm-fn tokens list", "names, roles, scopes, last use"),
            ("wasm-fn tokens list -o json", "for programs"),
        ],
    ),
    (
        "tokens show",
        [
            ("wasm-fn tokens show", "the token of this command"),
            ("wasm-fn tokens show -o json", "for programs"),
        ],
    ),
    (
        "tokens rotate",
        [
            ("wasm-fn tokens rotate ci", "prints the new secret"),
            ("wasm-fn tokens rotate -m 'Seen in a log'", "the one in the node's data directory"),
        ],
    ),
    (
        "tokens revoke",
        [
            ("wasm-fn tokens revoke ci", "it is refused from now on"),
            ("wasm-fn tokens revoke ana -m 'Has left'", "with a reason"),
        ],
    ),
    (
        "audit",
        [
            ("wasm-fn audit --since 7d", "the last week"),
            ("wasm-fn audit -f hello --actor ci -o json", "what one token did to one function"),
        ],
    ),
    (
        "audit verify",
        [
            ("wasm-fn audit verify", "the whole chain"),
            (
                "wasm-fn audit verify --head 12:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae",
                "and that it still has this head",
            ),
        ],
    ),
    (
        "audit head",
        [("wasm-fn audit head", "to be noted elsewhere"), ("wasm-fn audit head -o json", "for programs")],
    ),
    (
        "backup",
        [
            ("wasm-fn backup monday.tar", "while the node serves"),
            ("wasm-fn backup monday.tar --server https://node.example.com:8081", "of another machine"),
        ],
    ),
    (
        "restore",
        [
            ("wasm-fn restore monday.tar", "into ./wasm-fn-data"),
            ("wasm-fn restore monday.tar --data-dir /var/lib/wasm-fn", "into another folder"),
        ],
    ),
    (
        "config check",
        [
            ("wasm-fn config check", "./wasm-fn.toml"),
            ("wasm-fn config check node.toml -o json", "another file, for programs"),
        ],
    ),
    (
        "doctor",
        [
            ("wasm-fn doctor", "for a node with the usual settings"),
            ("wasm-fn doctor --instances-max 5000 --data-dir /var/lib/wasm-fn", "for one with these"),
        ],
    ),
    (
        "cluster init",
        [
            (
                "wasm-fn cluster init --cluster nats://10.0.0.1 --monitor 10.0.0.1:8222,10.0.0.2:8222,10.0.0.3:8222",
                "on a broker of these three servers; the key is in wasm-fn-data/cluster.key",
            ),
            (
                "wasm-fn cluster init --cluster nats://127.0.0.1 --replicas 1 --monitor 127.0.0.1:8222",
                "on a broker of one server, to try it",
            ),
        ],
    ),
    (
        "cluster status",
        [
            ("wasm-fn cluster status", "the nodes, as this node sees them"),
            ("wasm-fn cluster status --server https://node-2.example.com:8081", "as another node sees them"),
        ],
    ),
    (
        "cluster drain",
        [
            ("wasm-fn cluster drain node-2", "which finishes its requests and ends"),
            (
                "wasm-fn cluster drain node-2 --server https://node-1.example.com:8081",
                "told through another node",
            ),
        ],
    ),
    (
        "cluster leave",
        [
            ("wasm-fn cluster leave", "the node of this machine finishes its requests and ends"),
            ("wasm-fn cluster leave --server https://node-2.example.com:8081", "another node does"),
        ],
    ),
    (
        "cluster import",
        [
            (
                "wasm-fn cluster import --from /var/lib/wasm-fn --cluster nats://10.0.0.1 --monitor 10.0.0.1:8222,10.0.0.2:8222,10.0.0.3:8222",
                "a cluster that goes on from a node that has ended",
            ),
            (
                "wasm-fn cluster import --from old --cluster nats://127.0.0.1 --replicas 1 --accept-unknown-sync",
                "on a broker that does not tell how it writes to its disk",
            ),
        ],
    ),
    (
        "cluster export",
        [
            (
                "wasm-fn cluster export --cluster nats://10.0.0.1 --cluster-key cluster.key --to alone",
                "then start a node that is alone with `--data-dir alone`",
            ),
            (
                "wasm-fn cluster export --cluster nats://10.0.0.1 --data-dir /var/lib/wasm-fn --to alone",
                "with the key in a data directory",
            ),
        ],
    ),
    (
        "explain",
        [("wasm-fn explain guest-trap", "what it means, and what to do"), ("wasm-fn explain", "all codes")],
    ),
    (
        "completions",
        [
            ("source <(wasm-fn completions bash)", "in ~/.bashrc"),
            ("wasm-fn completions fish > ~/.config/fish/completions/wasm-fn.fish", "for fish"),
        ],
    ),
];
