//! Facts about the two text formats.

use super::classic;

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
