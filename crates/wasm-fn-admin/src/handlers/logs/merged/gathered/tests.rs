//! Facts about the order of lines.

use super::*;

fn line(seq: u64, at_ms: u64) -> api::LogEvent {
    let line = serde_json::json!({
        "event": "line", "seq": seq, "at_ms": at_ms, "request_id": "", "version": "v1", "stream": "stdout",
        "failed": false, "text": format!("{seq} at {at_ms}"),
    });
    serde_json::from_value(line).unwrap()
}

/// What is sent now: the node and the number of each line, or what else it is.
fn sent(gathered: &mut Gathered) -> Vec<String> {
    std::iter::from_fn(|| gathered.pop())
        .map(|event| match event {
            api::LogEvent::Line(line) => format!("{}{}", line.node.unwrap(), line.seq),
            api::LogEvent::Lost { lines, node } => format!("{} lost {lines}", node.unwrap()),
            api::LogEvent::Missing { node, reason } => format!("{node} missing: {reason}"),
            api::LogEvent::Back { node } => format!("{node} back"),
        })
        .collect()
}

#[test]
fn lines_of_all_nodes_are_in_the_order_of_their_times() {
    let mut gathered = Gathered::default();
    assert_eq!(gathered.take("a", vec![line(1, 10), line(2, 30), line(3, 30)]), 3);
    assert_eq!(gathered.take("b", vec![line(7, 20), line(8, 30)]), 8);
    gathered.sort(None);
    assert_eq!(sent(&mut gathered), ["a1", "b7", "a2", "a3", "b8"]);
}

#[test]
fn line_of_a_round_waits_for_the_next_one_and_no_longer() {
    let mut gathered = Gathered::default();
    gathered.take("a", vec![line(1, 99), line(2, 100), line(3, 3_600_000)]);
    gathered.sort(Some(100));
    assert_eq!(sent(&mut gathered), ["a1"]);
    gathered.take("b", vec![line(1, 98), line(2, 101)]);
    gathered.sort(Some(200));
    assert_eq!(sent(&mut gathered), ["b1", "a2", "b2", "a3"]);
    gathered.sort(Some(300));
    assert!(sent(&mut gathered).is_empty());
}

#[test]
fn node_that_does_not_tell_is_named_once_until_it_does() {
    let mut gathered = Gathered::default();
    for _ in 0..3 {
        gathered.miss("b", "no answer".to_owned());
        gathered.sort(Some(10));
    }
    assert_eq!(sent(&mut gathered), ["b missing: no answer"]);
    gathered.take("b", vec![api::LogEvent::Lost { lines: 4, node: None }, line(9, 5)]);
    gathered.sort(Some(10));
    assert_eq!(sent(&mut gathered), ["b back", "b lost 4", "b9"]);
}

#[test]
fn answer_that_is_no_log_is_an_error() {
    assert!(lines_of(b"{}\n").unwrap_err().contains("cannot be read"));
    assert_eq!(lines_of(b"").unwrap(), []);
    assert_eq!(lines_of(b"{\"event\":\"lost\",\"lines\":2}\n").unwrap().len(), 1);
}
