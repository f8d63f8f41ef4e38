//! What is read from dotenv files, and what is refused.

use super::*;

fn read(text: &str) -> Result<Vec<(String, String)>, String> {
    let values = parse(text).map_err(|error| error.to_string())?;
    let shown = values.into_iter().map(|(name, value)| {
        (name.to_string(), String::from_utf8(value.to_vec()).expect("it came from a text"))
    });
    Ok(shown.collect())
}

#[test]
fn values_are_read_as_most_programs_do() {
    let text = "\u{feff}# a comment\r\n\
                A=1\n\
                  export B = two words # and a comment\n\
                C=\"a \\\"quoted\\\"\\nvalue # with all\" # comment\n\
                D='literal \\n $HOME'\n\
                E=a#b\n\
                F=\n\
                KEY=\"-----BEGIN-----\nabc\n-----END-----\n\"\n\
                exported=yes";
    let expected = [
        ("A", "1"),
        ("B", "two words"),
        ("C", "a \"quoted\"\nvalue # with all"),
        ("D", "literal \\n $HOME"),
        ("E", "a#b"),
        ("F", ""),
        ("KEY", "-----BEGIN-----\nabc\n-----END-----\n"),
        ("exported", "yes"),
    ];
    let expected: Vec<_> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(read(text).unwrap(), expected);
    assert_eq!(read("").unwrap(), []);
}

#[test]
fn error_names_the_line_and_shows_no_value() {
    for (text, facts) in [
        ("A=1\nhunter2\n", "line 2: no `=`, expected NAME=value"),
        ("\n\n1A=hunter2", "line 3: a name that is none"),
        ("A=1\nA=hunter2", "line 2: a name for the second time"),
        ("K=\"a\nb\"\nA='hunter2", "line 3: no closing quote"),
        ("A='hunter2' more", "line 1: text behind the closing quote"),
        ("A=\"hunter2 \\x\"", "line 1: an unknown escape"),
    ] {
        let error = read(text).unwrap_err();
        assert!(error.starts_with(facts) && !error.contains("hunter2"), "{error}");
    }
}
