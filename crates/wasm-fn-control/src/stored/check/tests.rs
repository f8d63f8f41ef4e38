//! Tests that checks survive their stored JSON, which differs from the API's.

use super::*;

#[test]
fn checks_survive_their_json() {
    for json in [
        r#"{"path":"/a"}"#,
        r#"{"method":"POST","path":"/a?x=1","headers":{"a":"b"},"body":"{}","expect":{"status":201,"headers":{"x":"y"},"body":"^x","json":{"":[1]}}}"#,
        // A field that a later program adds must not make a journal unreadable.
        r#"{"path":"/a","expect":{"later":1},"later":2}"#,
    ] {
        let stored: StoredCheck = serde_json::from_str(json).unwrap();
        let read = Check::try_from(&stored).unwrap();
        let again = serde_json::to_string(&StoredCheck::from(&read)).unwrap();
        let stored: StoredCheck = serde_json::from_str(&again).unwrap();
        assert_eq!(Check::try_from(&stored).unwrap(), read, "{json}");
    }
}
