//! Tables of stages in wasm-fn.toml: what they have of their own, and what they take from the function.
//! Tables of buckets.

use expect_test::{Expect, expect};

use super::*;
use crate::config::ConfigFile;

const HELLO: &str = "[function.hello]\nroutes = [\"/hi\"]\nenv = { API = \"live\" }\n";

fn release(text: &str, stage: &str) -> Release {
    let mut file = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap();
    let (_, mut function) = file.functions.pop_first().unwrap();
    function.release(&stage.parse().unwrap())
}

#[track_caller]
fn refused(text: &str, expected: &Expect) {
    let text = format!("{HELLO}{text}");
    let error = ConfigFile::parse(Path::new("wasm-fn.toml"), &text).unwrap_err();
    expected.assert_eq(&error.to_string());
}

#[test]
fn a_stage_has_routes_and_variables_of_its_own() {
    let text = format!(
        "{HELLO}[function.hello.stage.staging]\nroutes = [\"staging.example.com/*\"]\nenv = {{ API = \"s\" }}\n"
    );
    let expected = api::StageConfigSpec {
        routes: vec!["staging.example.com/*".to_owned()],
        env: [("API".to_owned(), "s".to_owned())].into(),
    };
    assert_eq!(release(&text, "staging").stage_config, Some(expected));
    assert_eq!(release(&text, "live").stage_config, Some(api::StageConfigSpec::default()));
    // The live stage may have another route than other functions' files expect of it.
    release(
        &format!(
            "{HELLO}[function.hello.stage.live]\nroutes = [\"/b\"]\n[function.hello.stage.a]\nroutes = [\"/hi\"]"
        ),
        "a",
    );
}

#[test]
fn a_stage_without_a_rollout_or_a_gate_has_the_function_s() {
    let own = format!(
        "{HELLO}[function.hello.rollout]\nstrategy = \"linear\"\nmin_requests = 7\n[function.hello.gate]\nalpha = 0.02\n"
    );
    let whole = release(&own, "live");
    let env = release(&format!("{own}[function.hello.stage.a]\nenv = {{ A = \"b\" }}\n"), "a");
    assert_eq!((&env.rollout, &env.gate), (&whole.rollout, &whole.gate));
    let rollout = release(&format!("{own}[function.hello.stage.a.rollout]\nmin_requests = 8\n"), "a");
    assert_eq!(rollout.rollout, Rollout::default());
    assert_eq!((rollout.gate.alpha, rollout.gate.min_requests), (Some(0.02), Some(8)));
    let gate = release(&format!("{own}[function.hello.stage.a.gate]\nalpha = 0.03\n"), "a");
    assert_eq!(gate.rollout, whole.rollout);
    assert_eq!((gate.gate.alpha, gate.gate.min_requests), (Some(0.03), Some(7)));
}

#[test]
fn bad_stages_are_refused_by_line() {
    refused(
        "[function.hello.stage.staging]\nsecrets = []\n",
        &expect![
            "wasm-fn.toml:5: function.hello.stage.staging.secrets: unknown field `secrets`, expected one of `routes`, `env`, `rollout`, `gate`"
        ],
    );
    refused(
        "[function.hello.stage.staging]\nroutes = [\"?\"]\n",
        &expect![[
            r#"wasm-fn.toml:5: function.hello.stage.staging.routes: route "?" has '?', expected the visible ASCII characters of a URL path"#
        ]],
    );
    refused(
        "[function.hello.stage.staging]\nenv = { \"A=B\" = \"\" }\n",
        &expect![[
            r#"wasm-fn.toml:5: function.hello.stage.staging.env: found "A=B", expected a name without `=` and no NUL characters"#
        ]],
    );
    refused(
        "[function.hello.stage.Staging]\n",
        &expect![[
            r#"wasm-fn.toml:4: function.hello.stage.Staging: stage name "Staging" has 'S' at byte 0, expected a-z, 0-9, - or _"#
        ]],
    );
    refused(
        "[function.hello.stage.staging]\nroutes = [\"/a\", \"/hi\"]\n",
        &expect![
            "wasm-fn.toml:5: function.hello.stage.staging.routes: found /hi, which stage live has, expected a route of its own"
        ],
    );
    refused(
        "[function.hello.stage.a]\nroutes = [\"/a\"]\n[function.hello.stage.b]\nroutes = [\"/a\"]\n",
        &expect![
            "wasm-fn.toml:7: function.hello.stage.b.routes: found /a, which stage a has, expected a route of its own"
        ],
    );
    let secret = "[function.b]\nsecrets = [\"KEY\"]\nsecrets_env = true\n[function.b.stage.a]\nenv = { KEY = \"1\" }\n";
    refused(
        secret,
        &expect![[
            r#"wasm-fn.toml:8: function.b.stage.a.env: found "KEY" in both `env` and `secrets`, expected different names, because both are variables"#
        ]],
    );
}

#[test]
fn buckets_are_read_with_their_limits() {
    let text = "[function.hello.bucket.carts]\nbytes_max = \"1GiB\"\nkeys_max = 7\nvalue_bytes_max = \"16KiB\"\n\
                durability = \"relaxed\"\nconsistency = \"eventual\"\n[function.hello.bucket.default]\n";
    let mut file = ConfigFile::parse(Path::new("wasm-fn.toml"), text).unwrap();
    let (_, function) = file.functions.pop_first().unwrap();
    let carts = api::BucketSpec {
        bytes_max: Some(1 << 30),
        keys_max: Some(7),
        value_bytes_max: Some(16 << 10),
        durability: Some(api::DurabilityWord::Relaxed),
        consistency: Some(api::ConsistencyWord::Eventual),
    };
    let expected = [("carts".to_owned(), carts), ("default".to_owned(), api::BucketSpec::default())].into();
    assert_eq!(function.config.buckets, expected);
}

#[test]
fn buckets_that_cannot_be_are_refused_by_line() {
    refused(
        "[function.hello.bucket.carts]\nkeys_max = 0\n",
        &expect!["wasm-fn.toml:5: function.hello.bucket.carts.keys_max: found 0, expected 1 to 100000000"],
    );
    refused(
        "[function.hello.bucket.Carts]\n",
        &expect![[
            r#"wasm-fn.toml:4: function.hello.bucket.Carts: bucket name "Carts" has 'C' at byte 0, expected a-z, 0-9, - or _"#
        ]],
    );
    refused(
        "[function.hello.bucket.carts]\nquota = 1\n",
        &expect![
            "wasm-fn.toml:5: function.hello.bucket.carts.quota: unknown field `quota`, expected one of `bytes_max`, `keys_max`, `value_bytes_max`, `durability`, `consistency`"
        ],
    );
}
