//! Facts about cohorts that mean nothing.

use expect_test::expect;

use super::refused;

#[test]
fn cohorts_that_mean_nothing_are_refused() {
    let cohort = |rule: &str| format!("[function.hello]\ncohorts = [{{ {rule} }}]\n");
    refused(
        &cohort(r#"header = "a", to = "canary""#),
        &expect![
            "wasm-fn.toml:2: function.hello.cohorts: a rule has neither `in` nor `equals`, expected one of them"
        ],
    );
    refused(
        &cohort(r#"header = "a", in = ["b"], equals = "c", to = "canary""#),
        &expect![
            "wasm-fn.toml:2: function.hello.cohorts: a rule has both `in` and `equals`, expected only one of them"
        ],
    );
    refused(
        &cohort(r#"equals = "c", to = "canary""#),
        &expect![
            "wasm-fn.toml:2: function.hello.cohorts: a rule names 0 sources, expected one of header, cookie or query"
        ],
    );
    refused(
        &cohort(r#"header = "a", cookie = "a", equals = "c", to = "canary""#),
        &expect![
            "wasm-fn.toml:2: function.hello.cohorts: a rule names 2 sources, expected one of header, cookie or query"
        ],
    );
    refused(
        &cohort(r#"header = "a", equals = "c", to = "latest""#),
        &expect![
            "wasm-fn.toml:2: function.hello.cohorts.to: unknown variant `latest`, expected `stable` or `canary`"
        ],
    );
    refused(
        &cohort(r#"header = "a", equals = "c""#),
        &expect!["wasm-fn.toml:2: function.hello.cohorts: missing field `to`"],
    );
    refused(
        &cohort(r#"header = "a", in = [], to = "canary""#),
        &expect![[
            r#"wasm-fn.toml:2: function.hello.cohorts: cohort on "a" has 0 values, expected 1 to 1024 of at most 256 bytes"#
        ]],
    );
    refused(
        &cohort(r#"name = "10%", header = "a", equals = "c", to = "canary""#),
        &expect![[
            r#"wasm-fn.toml:2: function.hello.cohorts: cohort name "10%" has '%' at byte 2, expected a-z, 0-9, - or _"#
        ]],
    );
    refused(
        &cohort(r#"name = "10", header = "a", equals = "c", to = "canary""#),
        &expect![[
            r#"wasm-fn.toml:2: function.hello.cohorts: cohort name "10" starts with '1', expected a letter"#
        ]],
    );
    let named = r#"name = "beta", header = "a", equals = "c", to = "canary""#;
    refused(
        &cohort(&format!("{named} }}, {{ {named}")),
        &expect![
            "wasm-fn.toml:2: function.hello.cohorts: found two rules named beta, expected a different name for each named rule"
        ],
    );
    refused(
        &cohort(r#"header = "a b", in = ["c"], to = "canary""#),
        &expect![[
            r#"wasm-fn.toml:2: function.hello.cohorts: "a b" is not a name of a header, cookie or query parameter, expected 1 to 256 token characters"#
        ]],
    );
}
