//! Output of hostile commands: a response, or a reason why it is none.

use super::*;
use crate::fuzzing;

#[test]
fn any_output_is_a_response_or_refused_with_a_reason() {
    fuzzing::fuzz("output of commands", &fuzzing::corpus("tests/corpus/cgi"), |case| {
        match super::super::output::parse_head(case, &SecretSet::none()) {
            Ok(response) => assert!((200..=599).contains(&response.status().as_u16()), "{response:?}"),
            Err(reason) => assert!(!reason.is_empty() && reason.len() < 1000, "{reason}"),
        }
    });
}
