//! Tests for `rate`.

use proptest::prelude::*;

use super::*;

fn at(ms: u64) -> Timestamp {
    Timestamp::from_unix_ms(1_796_040_000_000 + ms)
}

/// The times of `count` deliveries that begin as soon as they may, in milliseconds.
fn as_soon_as_allowed(rate: &str, count: usize) -> Vec<u64> {
    let mut limiter = RateLimiter::new(rate.parse().unwrap());
    let (mut now, mut begun) = (at(0), Vec::new());
    while begun.len() < count {
        match limiter.begin(now) {
            Ok(()) => begun.push(now.since(at(0)).as_millis().try_into().unwrap()),
            Err(earliest) => {
                assert!(earliest > now, "{rate} waits for a time that is past");
                now = earliest;
            }
        }
    }
    begun
}

#[test]
fn rates_are_numbers_and_units() {
    for text in ["1/s", "5/m", "100000/h"] {
        assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
    }
    for text in [
        "",
        "5",
        "5/",
        "/s",
        "0/s",
        "-1/s",
        "+1/s",
        "05/s",
        "5 /s",
        "5/d",
        "100001/s",
        "9999999999/s",
        "5/s/s",
    ] {
        let error = text.parse::<Rate>().unwrap_err();
        assert_eq!(error.found, text);
        assert!(error.to_string().contains("expected 1 to 100000"), "{error}");
    }
}

#[test]
fn deliveries_are_spread_evenly() {
    assert_eq!(as_soon_as_allowed("5/s", 4), [0, 200, 400, 600]);
    assert_eq!(as_soon_as_allowed("2/m", 3), [0, 30_000, 60_000]);
    assert_eq!(as_soon_as_allowed("1/h", 3), [0, 3_600_000, 7_200_000]);
    // A third of a second is no whole number of milliseconds, and none is ever early.
    assert_eq!(as_soon_as_allowed("3/s", 4), [0, 334, 668, 1002]);
}

#[test]
fn a_tenth_of_a_second_may_begin_at_once() {
    let begun = as_soon_as_allowed("100/s", 13);
    assert_eq!(begun, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 20, 30]);
}

#[test]
fn a_clock_that_is_set_back_holds_nothing_up() {
    let mut limiter = RateLimiter::new("1/m".parse().unwrap());
    limiter.begin(at(3_600_000)).unwrap();
    limiter.begin(at(0)).unwrap();
    assert_eq!(limiter.begin(at(1)), Err(at(60_000)));
}

proptest! {
    #[test]
    fn never_more_than_the_rate_has_and_what_may_begin_at_once(
        count in 1_u32..2000,
        unit in 0_usize..3,
        gaps in prop::collection::vec(0_u64..500, 1..300),
    ) {
        let rate: Rate = format!("{count}/{}", ["s", "m", "h"][unit]).parse().unwrap();
        let interval_ns = rate.interval_ns();
        let burst = (BURST_NS / interval_ns).max(1);
        let mut limiter = RateLimiter::new(rate);
        let (mut now_ms, mut begun) = (0, Vec::new());
        for gap in gaps {
            now_ms += gap;
            if limiter.begin(at(now_ms)).is_ok() {
                begun.push(now_ms);
            }
        }
        for (first, from) in begun.iter().enumerate() {
            for (last, to) in begun.iter().enumerate().skip(first) {
                let allowed = u128::from(to - from) * NS_PER_MS / interval_ns + burst;
                prop_assert!((last - first + 1) as u128 <= allowed, "{rate} from {from} to {to}");
            }
        }
    }
}
