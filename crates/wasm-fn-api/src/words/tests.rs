//! The patterns accept what the parsers accept.

use regex::Regex;
use wasm_fn_core as core;

use super::*;

/// Checks that `pattern` and `parses` agree about every one of `texts`, and that both accept some of them.
#[track_caller]
fn agree(pattern: &str, parses: impl Fn(&str) -> bool, texts: &[&str]) {
    let pattern = Regex::new(pattern).unwrap();
    for text in texts {
        assert_eq!(pattern.is_match(text), parses(text), "{text:?} and {pattern}");
    }
    let accepted = texts.iter().filter(|text| parses(text)).count();
    assert!(0 < accepted && accepted < texts.len(), "{accepted} of {}", texts.len());
}

fn parses<T: std::str::FromStr>(text: &str) -> bool {
    text.parse::<T>().is_ok()
}

#[test]
fn names_have_their_alphabet_and_length() {
    let (longest, longer) = ("a".repeat(63), "a".repeat(64));
    let names =
        ["hello", "h", "0", "a-b_c", &longest, "", "-a", "_a", "A", "a.b", "a b", "ä", "a\n", "a/b", &longer];
    agree(FunctionText::PATTERN, parses::<core::FunctionName>, &names);
    agree(StageText::PATTERN, parses::<core::StageName>, &names);
    agree(CohortText::PATTERN, parses::<core::CohortName>, &names);
    agree(BucketText::PATTERN, parses::<core::BucketName>, &names);
    agree(TriggerText::PATTERN, parses::<core::TriggerName>, &names);
    let of_events = |text: &str| text == "@async" || parses::<core::TriggerName>(text);
    agree(EventsOfText::PATTERN, of_events, &[&names[..], &["@async", "@", "async@"]].concat());
}

#[test]
fn versions_are_numbers_or_roles() {
    let texts = [
        "v1",
        "v42",
        "v4294967295",
        "v0",
        "v01",
        "v",
        "1",
        "V1",
        "v1 ",
        "v-1",
        "stable",
        "canary",
        "previous",
    ];
    agree(VersionText::PATTERN, parses::<core::VersionNo>, &texts);
    let texts = [&texts[..], &["latest", "Stable", "stable1", "newest", ""]].concat();
    agree(VersionRefText::PATTERN, parses::<core::VersionRef>, &texts);
}

#[test]
fn weights_have_two_decimals_and_end_at_100() {
    let texts = [
        "0%", "1%", "10%", "99.99%", "100%", "100.0%", "100.00%", "007%", "0.5%", "0.05%", "100.01%", "101%",
        "1000%", "0.005%", ".5%", "5.%", "5", "%", "-1%", "1e1%", "10 %", " 10%", "",
    ];
    agree(WeightText::PATTERN, parses::<core::Weight>, &texts);
}

#[test]
fn digests_are_lower_case() {
    let (digest, upper, long) = ("0a".repeat(32), "0A".repeat(32), "0".repeat(65));
    agree(DigestText::PATTERN, parses::<core::Digest>, &[&digest, &upper, &long, "", "0"]);
}

#[test]
fn routes_have_a_path_of_visible_characters() {
    let texts = [
        "/",
        "/a",
        "/a/*",
        "example.com/",
        "example.com/a/b",
        "a",
        "",
        "/a b",
        "/a?b",
        "/ä",
        "ex:1/",
        "/a\\",
    ];
    agree(RouteText::PATTERN, parses::<core::Route>, &texts);
}

#[test]
fn sticky_keys_name_their_source() {
    let texts = ["none", "ip", "header:x", "cookie:sid", "query:x", "header:", "header", "ip:", ""];
    agree(StickyText::PATTERN, parses::<core::Sticky>, &texts);
}

#[test]
fn egress_is_an_origin_or_everything() {
    let texts = ["*", "http://a", "https://a:1", "https://*.a.example", "a", "ftp://a", "", "https://"];
    agree(EgressText::PATTERN, parses::<core::EgressRule>, &texts);
}

#[test]
fn access_has_three_words() {
    let RefOr::T(Schema::Object(object)) = PreviewAccessWord::schema() else { panic!("it is a text") };
    for word in object.enum_values.unwrap() {
        assert!(parses::<core::PreviewAccess>(word.as_str().unwrap()), "{word}");
    }
}

#[test]
fn paths_of_events_are_in_their_normal_form() {
    // The pattern cannot tell whether a path is normal, so that is not among these.
    let texts = [
        "/_events/",
        "/_events/a",
        "/_events/a/b%20c",
        "/events/a",
        "/_events",
        "",
        "/_events/ä",
        "/_events/a?b",
    ];
    agree(EventPathText::PATTERN, parses::<wasm_fn_events::EventPath>, &texts);
}

#[test]
fn patterns_of_branches_are_short_names() {
    // The pattern cannot tell a whole reference from a short name, so that is not among these.
    let texts =
        ["main", "release/*", "*", "ä", "", "a b", "a:b", "a?", "a[b", "a\\b", "a~1", "a^", "a\u{7f}"];
    agree(RefPatternText::PATTERN, parses::<wasm_fn_events::RefPattern>, &texts);
}

#[test]
fn artifacts_have_a_host_that_no_push_chooses() {
    let texts = [
        "oci://r.example:5000/a/app:{sha}",
        "https://h.example/{tag}/app.wasm",
        "http://h.example/a",
        "oci://{repository}/a",
        "oci:///a",
        "https://h.example",
        "https://h.example/",
        "",
    ];
    agree(ArtifactText::PATTERN, parses::<wasm_fn_events::UrlTemplate>, &texts);
}

#[test]
fn words_of_triggers_are_all_of_theirs() {
    let words = |schema: RefOr<Schema>| {
        let RefOr::T(Schema::Object(object)) = schema else { panic!("it is a text") };
        let words = object.enum_values.unwrap().into_iter();
        words.map(|word| word.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(words(OverlapWord::schema()), wasm_fn_events::OVERLAPS.map(|overlap| overlap.to_string()));
    assert_eq!(words(ProviderWord::schema()), wasm_fn_events::PROVIDERS.map(|provider| provider.to_string()));
    let modes = [wasm_fn_events::WebhookMode::Async, wasm_fn_events::WebhookMode::Sync];
    let kinds = wasm_fn_events::PushKind::ALL.map(|kind| kind.to_string());
    assert_eq!(words(PushKindWord::schema()), kinds);
    assert_eq!(words(WebhookModeWord::schema()), modes.map(|mode| mode.to_string()));
    let starts = [wasm_fn_events::QueueStart::All, wasm_fn_events::QueueStart::New];
    assert_eq!(words(QueueStartWord::schema()), starts.map(|start| start.to_string()));
}

#[test]
fn secrets_are_named_like_variables() {
    let (longest, longer) = ("A".repeat(128), "A".repeat(129));
    let texts = ["A", "_", "API_KEY", "key2", "2FA", "API-KEY", "", "A B", "Ä", "A\n", &longest, &longer];
    agree(SecretNameText::PATTERN, parses::<core::SecretName>, &texts);
}
