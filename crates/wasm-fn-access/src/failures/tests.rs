//! How often an address may fail.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn fail(limit: &mut FailureLimit, from: &str, times: usize, now_ms: u64) {
    for _ in 0..times {
        limit.failed(address(from), now_ms);
    }
}

#[test]
fn ten_failures_are_free_then_one_a_second() {
    let mut limit = FailureLimit::default();
    fail(&mut limit, "192.0.2.1", 9, 1000);
    assert_eq!(limit.check(address("192.0.2.1"), 1000), Ok(()));
    fail(&mut limit, "192.0.2.1", 1, 1000);
    assert_eq!(limit.check(address("192.0.2.1"), 1000), Err(1));
    assert_eq!(limit.check(address("192.0.2.1"), 1999), Err(1));
    assert_eq!(limit.check(address("192.0.2.1"), 2000), Ok(()));
    assert_eq!(limit.check(address("192.0.2.2"), 1000), Ok(()), "another address is not its concern");
}

#[test]
fn an_ipv6_network_is_one_client() {
    let mut limit = FailureLimit::default();
    fail(&mut limit, "2001:db8::1", 10, 0);
    assert_eq!(limit.check(address("2001:db8::ffff:1"), 0), Err(1));
    assert_eq!(limit.check(address("2001:db8:0:1::1"), 0), Ok(()));
    fail(&mut limit, "::ffff:192.0.2.1", 10, 0);
    assert_eq!(limit.check(address("192.0.2.1"), 0), Err(1), "a mapped address is the IPv4 address");
}

#[test]
fn a_flood_of_addresses_shares_one_bucket_and_grows_nothing() {
    let mut limit = FailureLimit::default();
    for number in 0..100_000_u32 {
        limit.failed(IpAddr::from(number.to_be_bytes()), 0);
    }
    assert_eq!(limit.buckets.len(), ADDRESSES_MAX);
    assert_eq!(limit.check(address("203.0.113.9"), 0), Err(1));
    assert_eq!(limit.check(address("203.0.113.9"), 2000), Ok(()));
    limit.failed(address("203.0.113.9"), 3_600_000);
    assert_eq!(limit.buckets.len(), 1, "buckets that are full again are forgotten");
}

#[test]
fn a_clock_that_goes_back_gives_nothing_back() {
    let mut limit = FailureLimit::default();
    fail(&mut limit, "192.0.2.1", 10, 5000);
    assert_eq!(limit.check(address("192.0.2.1"), 1000), Err(1));
}
