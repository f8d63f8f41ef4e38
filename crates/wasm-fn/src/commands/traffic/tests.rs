//! Weights that add up, and the proposal if they do not.

use super::check_sum;

fn check(shares: &[&str]) -> Result<(), (String, Option<String>)> {
    let share = |text: &&str| {
        let (version, weight) = text.split_once('=').unwrap();
        (version.parse().unwrap(), weight.parse().unwrap())
    };
    check_sum(&"hello".parse().unwrap(), &shares.iter().map(share).collect::<Vec<_>>())
}

#[test]
fn weights_that_add_up_pass() {
    assert_eq!(check(&["v1=100%"]), Ok(()));
    assert_eq!(check(&["v1=90%", "canary=9.95%", "v3=0.05%"]), Ok(()));
}

#[test]
fn the_largest_share_is_proposed_to_take_the_rest() {
    let refused = |points: u32, help: Option<&str>| {
        let cause = format!("weights add up to {points} basis points, expected 10000");
        Err((cause, help.map(str::to_owned)))
    };
    assert_eq!(check(&["v1=94%", "v2=5%"]), refused(9900, Some("run `wasm-fn traffic hello v1=95% v2=5%`")));
    assert_eq!(
        check(&["v2=5%", "stable=99%"]),
        refused(10_400, Some("run `wasm-fn traffic hello v2=5% stable=95%`"))
    );
    assert_eq!(check(&["v2=10%"]), refused(1000, Some("run `wasm-fn traffic hello v2=100%`")));
    assert_eq!(check(&["v1=100%", "v2=100%"]), refused(20_000, None));
    let many: Vec<_> = std::iter::repeat_n("v1=100%", 1000).collect();
    assert_eq!(check(&many), refused(10_000_000, None));
}
