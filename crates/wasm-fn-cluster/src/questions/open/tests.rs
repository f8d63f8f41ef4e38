//! Facts about open questions.

use futures_util::FutureExt as _;

use super::*;

fn part(number: usize, count: usize) -> Part {
    Part { number, count }
}

#[test]
fn answer_is_whole_when_all_parts_are_here_in_any_order() {
    let open = Open::default();
    let asked = open.open("1", "b").unwrap();
    open.take("1", "b", part(1, 2), Bytes::from_static(b"lo"));
    // Doubled, from somebody else, to another question, and of another count.
    open.take("1", "b", part(1, 2), Bytes::from_static(b"xx"));
    open.take("1", "c", part(0, 2), Bytes::from_static(b"xx"));
    open.take("2", "b", part(0, 2), Bytes::from_static(b"xx"));
    open.take("1", "b", part(0, 3), Bytes::from_static(b"xx"));
    open.take("1", "b", part(0, 2), Bytes::from_static(b"hel"));
    assert_eq!(asked.whole().now_or_never(), Some(Some(Bytes::from_static(b"hello"))));
    assert_eq!(open.questions().bytes, 0);
    open.take("1", "b", part(0, 1), Bytes::from_static(b"late"));
    assert!(open.questions().open.is_empty());
}

#[test]
fn questions_and_their_answers_are_bounded() {
    let open = Open::default();
    let asked: Vec<_> = (0..OPEN_MAX).map(|id| open.open(&id.to_string(), "b").unwrap()).collect();
    assert!(open.open("one more", "b").is_none());
    let piece = Bytes::from(vec![0; PART_BYTES_MAX]);
    for id in 0..OPEN_MAX {
        open.take(&id.to_string(), "b", part(0, 2), piece.clone());
        assert!(open.questions().bytes <= BYTES_MAX);
    }
    // Those whose answers had no room are given up, and the others are open.
    let given_up = asked.into_iter().filter_map(|asked| asked.whole().now_or_never()).count();
    assert_eq!(given_up, OPEN_MAX - BYTES_MAX / PART_BYTES_MAX);
    let questions = open.questions();
    assert_eq!((questions.bytes, questions.open.len()), (0, 0));
}

#[test]
fn parts_are_read_as_they_are_written() {
    assert_eq!(part(3, 16).to_string().parse(), Ok(part(3, 16)));
    for bad in ["", "1", "1/1", "0/0", "0/17", "-1/2", "a/b", "0/99999999999999999999"] {
        assert_eq!(bad.parse::<Part>(), Err(()), "{bad}");
    }
}
