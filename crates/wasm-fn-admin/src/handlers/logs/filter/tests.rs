//! Which lines pass which filters.

use wasm_fn_control::host::LogStream;

use super::*;

fn line(at_ms: u64, request_id: &str, status: Option<u16>) -> LogLine {
    LogLine {
        seq: 1,
        at_ms,
        request_id: request_id.to_owned(),
        stage: Some(StageName::live()),
        version: VersionNo::FIRST,
        stream: LogStream::Host,
        failed: status.is_some(),
        status,
        request: None,
        text: String::new(),
    }
}

fn everywhere() -> Stages {
    Stages::Scope(Scope::everything())
}

/// The times of the lines that pass.
fn passing(query: api::LogsQuery) -> Vec<u64> {
    let filter = LogFilter::new(everywhere(), None, &query).unwrap();
    let lines = [
        line(1, "00ab", None),
        line(2, "00ab", Some(500)),
        line(3, "00cd", Some(503)),
        // A failure that is older than statuses.
        LogLine { status: None, ..line(4, "ffab", Some(0)) },
    ];
    lines.iter().filter(|line| filter.wants(line)).map(|line| line.at_ms).collect()
}

#[test]
fn filters_choose_by_status_request_and_time() {
    let all = api::LogsQuery::default;
    let status = |status: &str| api::LogsQuery { status: Some(status.to_owned()), ..all() };
    assert_eq!(passing(all()), [1, 2, 3, 4]);
    assert_eq!(passing(status("error")), [2, 3, 4]);
    assert_eq!(passing(status("5xx")), [2, 3]);
    assert_eq!(passing(status("503")), [3]);
    let request = |request: &str| api::LogsQuery { request: Some(request.to_owned()), ..all() };
    assert_eq!(passing(request("00AB")), [1, 2]);
    assert_eq!(passing(request("00")), [1, 2, 3]);
    assert_eq!(passing(api::LogsQuery { since_ms: Some(2), until_ms: Some(4), ..all() }), [2, 3]);
    assert_eq!(passing(api::LogsQuery { since_ms: Some(3), ..status("500") }), [0; 0]);
}

#[test]
fn filters_that_mean_nothing_are_refused() {
    let refused = |query: api::LogsQuery, word: &str| {
        let problem = LogFilter::new(everywhere(), None, &query).err().expect("it is refused").into_problem();
        assert!(problem.code == "invalid-request" && problem.detail.contains(word), "{problem:?}");
    };
    for status in ["ok", "404", "4xx", "600", "", "50"] {
        refused(api::LogsQuery { status: Some(status.to_owned()), ..Default::default() }, "500 to 599");
    }
    for request in ["", "xyz", &"0".repeat(33), "00-11"] {
        refused(api::LogsQuery { request: Some(request.to_owned()), ..Default::default() }, "request-id");
    }
    refused(api::LogsQuery { follow: true, until_ms: Some(1), ..Default::default() }, "follow");
}

#[test]
fn lines_of_other_stages_are_left_out() {
    let named = |name: &str| Some(name.parse::<StageName>().unwrap());
    let lines = [named("live"), named("staging"), None].map(|stage| LogLine { stage, ..line(1, "00", None) });
    let passing = |stages: Stages| {
        let filter = LogFilter::new(stages, None, &api::LogsQuery::default()).unwrap();
        [0, 1, 2].map(|at: usize| filter.wants(&lines[at]))
    };
    let scope = |stages: &[&str]| {
        let stages = stages.iter().map(|name| name.parse().unwrap());
        Stages::Scope(Scope::new([], stages).unwrap())
    };
    assert_eq!(passing(scope(&[])), [true, true, true]);
    assert_eq!(passing(scope(&["staging"])), [false, true, false]);
    assert_eq!(passing(scope(&["live", "staging"])), [true, true, false], "what is of none is of all");
    assert_eq!(passing(Stages::Only(StageName::live())), [true, false, false]);
}
