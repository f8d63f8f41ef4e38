//! Facts about how steps are written.

use super::Step;

#[track_caller]
fn reads(text: &str, written: &str) {
    assert_eq!(text.parse::<Step>().unwrap().to_string(), written);
}

#[track_caller]
fn refuses(text: &str, message: &str) {
    assert_eq!(text.parse::<Step>().unwrap_err().to_string(), message);
}

#[test]
fn steps_are_shares_cohorts_and_parts_of_cohorts() {
    reads("10%", "10%");
    reads("0.05%", "0.05%");
    reads("beta", "beta");
    reads("b2-x_y", "b2-x_y");
    reads("10% of beta", "10% of beta");
    reads(" 10%  of\tbeta ", "10% of beta");
    reads("100% of beta", "beta");
    reads("of", "of");
    reads("10% of of", "10% of of");
}

#[test]
fn other_texts_are_no_steps() {
    let expected = "expected a share such as 10%, the name of a cohort, or 10% of NAME";
    for text in
        ["", " ", "%", "-5%", "10% of", "of beta", "10% beta", "10% of beta vip", "10 %", "_beta", "\"beta\""]
    {
        refuses(text, &format!("{text:?} is not a step, {expected}"));
    }
    refuses("10", "\"10\" is not a weight, expected a percentage such as 10% or 0.05%");
    refuses("0.005%", "\"0.005%\" is not a weight, expected a percentage such as 10% or 0.05%");
    refuses("120%", "weight 120% is over 100%");
    refuses("110% of beta", "weight 110% is over 100%");
    refuses("ten of beta", "\"ten\" is not a weight, expected a percentage such as 10% or 0.05%");
    refuses("10% of 5", "cohort name \"5\" starts with '5', expected a letter");
    refuses("10% of 5%", "cohort name \"5%\" has '%' at byte 1, expected a-z, 0-9, - or _");
    refuses("Beta", "cohort name \"Beta\" has 'B' at byte 0, expected a-z, 0-9, - or _");
    refuses(
        "be\u{202e}ta",
        "cohort name \"be\\u{202e}ta\" has '\\u{202e}' at byte 2, expected a-z, 0-9, - or _",
    );
    refuses(&"x".repeat(64), "cohort name is 64 bytes long, expected at most 63");
}
