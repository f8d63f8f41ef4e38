//! Tests for `message`.

use super::*;

fn holder(shard: u16) -> ShardHolder {
    ShardHolder { shard, process: "p".to_owned(), fence: 7 }
}

fn every_change() -> Vec<InboxChange> {
    let key = |id: &str| EventKey { trigger: "hello/live/nightly".to_owned(), id: id.to_owned() };
    let event = |id: &str, ordering_key: Option<&str>, body: &'static [u8]| NewEvent {
        key: key(id),
        due_ms: 5,
        ordering_key: ordering_key.map(str::to_owned),
        body: Bytes::from_static(body),
    };
    let mark = |name: &str, value: Option<&'static str>| Mark {
        trigger: "hello/live/nightly".to_owned(),
        name: name.to_owned(),
        value: value.map(|value| Bytes::from_static(value.as_bytes())),
    };
    let finish = |finish| InboxChange::Finish {
        trigger: "t".to_owned(),
        position: 3,
        attempt: 2,
        holder: holder(1),
        finish,
    };
    let dispose =
        |letters| InboxChange::Dispose { trigger: "t".to_owned(), letters, last: 9, is_redriven: true };
    vec![
        InboxChange::Hold(holder(63)),
        InboxChange::Put {
            events: vec![event("a", None, b"\x00\xff binary"), event("b", Some("k"), b"")],
            marks: vec![mark("tick/x", Some("12")), mark("watch/x", None)],
            holders: vec![holder(2), holder(3)],
        },
        finish(Finish::Acknowledged { text: "200".to_owned() }),
        finish(Finish::Retry { due_ms: 8, reason: "503 \"so\"".to_owned() }),
        finish(Finish::Dead { reason: String::new() }),
        InboxChange::Bury(DeadEvent {
            key: key("c"),
            attempts: 4,
            reason: "no".to_owned(),
            body: Bytes::from_static(b"dead"),
        }),
        dispose(DeadLetters::All),
        dispose(DeadLetters::Ids(vec!["a".to_owned()])),
        InboxChange::Forget { trigger: "t".to_owned(), last: u64::MAX },
    ]
}

#[test]
fn changes_are_read_as_they_were_written() {
    let changes = every_change();
    let message = write("p", 99, changes.iter());
    assert!(message.len() <= changes.iter().map(size).sum::<usize>() + 100);
    let mark = mark(&message);
    assert_eq!(read(&message), Ok(Changes { process: "p".to_owned(), now_ms: 99, changes, mark }));
}

/// Changes as this format has been written; another release may read them, or may have written them.
const WRITTEN: &[u8] = include_bytes!("../../../formats/1/changes.bin");

#[test]
fn changes_of_this_format_are_written_and_read_as_ever() {
    let changes = every_change();
    assert_eq!(write("p", 99, changes.iter()), WRITTEN);
    let read_back = read(&Bytes::from_static(WRITTEN)).unwrap();
    assert_eq!((&read_back.changes, read_back.now_ms, read_back.process.as_str()), (&changes, 99, "p"));
    // A later release that keeps the format may say more.
    let (length, rest) = WRITTEN.split_first_chunk().unwrap();
    let (more, length) = (b"{\"later\":[1],", u32::from_le_bytes(*length));
    let mut said = BytesMut::new();
    said.put_u32_le(length + u32::try_from(more.len()).unwrap() - 1);
    said.put_slice(more);
    said.put_slice(&rest[1..]);
    assert_eq!(read(&said.freeze()).unwrap().changes, changes);
}

#[test]
fn what_is_no_message_is_refused() {
    let whole = write("p", 99, every_change().iter());
    for length in 0..whole.len() {
        assert!(matches!(read(&whole.slice(..length)), Err(ChangesError::Malformed(_))), "{length}");
    }
    let mut newer = BytesMut::from(&12_u32.to_le_bytes()[..]);
    newer.put_slice(b"{\"format\":2}");
    assert_eq!(read(&newer.freeze()), Err(ChangesError::Newer { found: 2 }));
    let huge = Bytes::from_static(b"\xff\xff\xff\xff{}");
    assert!(matches!(read(&huge), Err(ChangesError::Malformed(_))));
}
