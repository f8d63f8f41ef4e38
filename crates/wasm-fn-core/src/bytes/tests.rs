//! Tests for `bytes`.

use super::*;

#[test]
fn sizes_are_cut_to_tenths() {
    for (count, text) in
        [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_100_000, "1.0 MiB"), (u64::MAX, "15.9 EiB")]
    {
        assert_eq!(format_bytes(count), text);
    }
}
