//! Tests for `words`.

use super::*;

/// Words as this format has been written; another release may hear them, or may have told them.
const WRITTEN: &str = include_str!("../../../../../formats/1/words");

#[test]
fn words_of_this_format_are_written_and_heard_as_ever() {
    let component = "0".repeat(64);
    let (name, mac, sha256) = ("engine".to_owned(), "1".repeat(64), "2".repeat(64));
    let code = Some(SharedCode { name, mac, sha256 });
    let words = [
        NodeWord::Offered { component: component.clone() },
        NodeWord::Prepare { component: component.clone(), code },
        NodeWord::Prepare { component: component.clone(), code: None },
        NodeWord::Prepared { component: component.clone() },
        NodeWord::Refused { component, reason: "no memory".to_owned() },
        NodeWord::Drain { node: "b".to_owned() },
    ];
    for (word, line) in words.iter().zip(WRITTEN.lines()) {
        assert_eq!(String::from_utf8(write(word)).unwrap(), line);
        assert_eq!(read(line.as_bytes()).as_ref(), Ok(word));
        // A later release that keeps the format may say more, and the first one said no format.
        let more = line.replacen('{', "{\"later\":[1],", 1);
        let less = line.replacen("\"format\":1,", "", 1);
        assert_eq!((read(more.as_bytes()).as_ref(), read(less.as_bytes()).as_ref()), (Ok(word), Ok(word)));
    }
    assert_eq!(WRITTEN.lines().count(), words.len());
    let newer = r#"{"format":2,"word":"drain","node":"b"}"#;
    assert_eq!(read(newer.as_bytes()), Err("it has format 2, expected at most 1".to_owned()));
    assert!(read(br#"{"format":1,"word":"later"}"#).is_err());
}
