//! What is read from a line that is still being typed.

use super::Line;

fn read(words: &str, index: Option<usize>) -> Line {
    let words = words.split(' ').map(Into::into).collect();
    Line::read(words, index).unwrap_or_else(|| panic!("the line cannot be read"))
}

fn function(line: &Line) -> Option<&str> {
    line.function.as_ref().map(wasm_fn_core::FunctionName::as_str)
}

#[test]
fn the_function_and_the_node_are_read_as_far_as_they_are_typed() {
    let line = read("wasm-fn rollback hello --server http://node:1 --token abc --to ", None);
    assert_eq!(function(&line), Some("hello"));
    assert_eq!(
        (line.connection.server.as_str(), line.connection.token.as_deref()),
        ("http://node:1", Some("abc"))
    );
    assert_eq!(function(&read("wasm-fn traffic hello v", None)), Some("hello"));
    assert_eq!(function(&read("wasm-fn deploy -f hello -s ", None)), Some("hello"));
    assert_eq!(function(&read("wasm-fn triggers add schedule hello -s ", None)), Some("hello"));
}

#[test]
fn the_word_at_the_cursor_is_not_read() {
    assert_eq!(function(&read("wasm-fn status hel", None)), None);
    let line = read("wasm-fn rollback hel --server http://node:1", Some(2));
    assert_eq!((function(&line), line.connection.server.as_str()), (None, "http://node:1"));
}

#[test]
fn what_is_wrong_elsewhere_does_not_matter() {
    assert_eq!(function(&read("wasm-fn logs hello --nonsense --version ", None)), Some("hello"));
    assert_eq!(function(&read("wasm-fn status Not_A_Name ", None)), None);
    // A command that asks no node.
    assert_eq!(function(&read("wasm-fn hook hello -s ", None)), Some("hello"));
}
