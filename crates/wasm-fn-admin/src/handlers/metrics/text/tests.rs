//! Facts about the two text formats.

use std::{collections::HashMap, fmt::Write as _};

use super::{Text, TextFormat};

fn written(format: TextFormat, open_metrics: &str) -> String {
    let mut text = Text::new(format);
    // As the library writes: in parts of lines.
    for part in open_metrics.split_inclusive(' ') {
        text.write_str(part).unwrap();
    }
    String::from_utf8(text.into_pieces().concat()).unwrap()
}

fn classic(open_metrics: &str) -> String {
    written(TextFormat::Classic, open_metrics)
}

#[test]
fn counters_are_described_under_the_name_of_their_samples() {
    let open_metrics = "\
# HELP a Requests, as they ended
# TYPE a counter
a_total{text=\"# TYPE b counter\"} 1
# HELP b_seconds Time
# TYPE b_seconds histogram
# UNIT b_seconds seconds
b_seconds_sum 1.5
# HELP c Things
# TYPE c gauge
# EOF
";
    let expected = "\
# HELP a_total Requests, as they ended
# TYPE a_total counter
a_total{text=\"# TYPE b counter\"} 1
# HELP b_seconds Time
# TYPE b_seconds histogram
b_seconds_sum 1.5
# HELP c Things
# TYPE c gauge
";
    assert_eq!(classic(open_metrics), expected);
    assert_eq!(classic("# EOF\n"), "");
}

#[test]
fn exemplars_stand_behind_the_samples_of_their_series() {
    let series = "b_bucket{le=\"0.5\",function=\"f\"}".to_owned();
    let behind = HashMap::from([(series, " # {trace_id=\"1\"} 0.3 7.0".to_owned())]);
    let open_metrics =
        "b_bucket{le=\"0.1\",function=\"f\"} 1\nb_bucket{le=\"0.5\",function=\"f\"} 2\n# EOF\n";
    let expected = open_metrics.replace(" 2\n", " 2 # {trace_id=\"1\"} 0.3 7.0\n");
    assert_eq!(written(TextFormat::OpenMetrics(behind), open_metrics), expected);
}

#[test]
fn long_text_is_whole() {
    let line = format!("a{{b=\"{}\"}} 1\n", "c".repeat(1000));
    let open_metrics = line.repeat(500);
    assert_eq!(classic(&open_metrics), open_metrics);
    assert_eq!(written(TextFormat::OpenMetrics(HashMap::new()), &open_metrics), open_metrics);
}
