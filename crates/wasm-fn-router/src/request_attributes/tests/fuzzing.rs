//! Cookies and queries of hostile clients: what is found is a part of what was sent, and the same each time.

use super::*;
use crate::fuzzing;

#[test]
fn attributes_of_any_request_are_found_or_not() {
    let sources =
        [Source::cookie("sid").unwrap(), Source::Query("sid".to_owned()), Source::Query("a b".to_owned())];
    let lookups = sources.map(|source| Lookup::new(&source).unwrap());
    fuzzing::fuzz("attributes of requests", &fuzzing::corpus("tests/corpus/cookies"), |case| {
        let mut headers = HeaderMap::new();
        for line in case.split(|&byte| byte == b'\n') {
            if let Ok(line) = HeaderValue::from_bytes(line) {
                headers.append(COOKIE, line);
            }
        }
        let query = String::from_utf8_lossy(case).into_owned();
        let request =
            RequestAttributes { headers: &headers, query: Some(&query), client: Ipv4Addr::LOCALHOST.into() };
        for lookup in &lookups {
            let found = lookup.value(&request);
            assert!(found.as_ref().is_none_or(|found| found.len() <= case.len().max(query.len())));
            assert_eq!(found, lookup.value(&request));
        }
    });
}
