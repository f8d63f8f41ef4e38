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
    let refused = |sum: &str, help: Option<&str>| {
        let cause = format!("weights add up to {sum}, expected 100%");
        Err((cause, help.map(str::to_owned)))
    };
    assert_eq!(check(&["v1=94%", "v2=5%"]), refused("99%", Some("run `wasm-fn traffic hello v1=95% v2=5%`")));
    assert_eq!(
        check(&["v2=5%", "stable=99%"]),
        refused("104%", Some("run `wasm-fn traffic hello v2=5% stable=95%`"))
    );
    assert_eq!(check(&["v2=10.5%"]), refused("10.5%", Some("run `wasm-fn traffic hello v2=100%`")));
    assert_eq!(
        check(&["v1=0%", "v2=90%"]),
        refused("90%", Some("run `wasm-fn traffic hello v1=0% v2=100%`"))
    );
    // A version that is named twice is refused whatever its shares are.
    assert_eq!(check(&["v1=50%", "v1=40%"]), refused("90%", None));
    assert_eq!(check(&["v1=100%", "v2=100%"]), refused("200%", None));
    let many: Vec<_> = std::iter::repeat_n("v1=100%", 1000).collect();
    assert_eq!(check(&many), refused("100000%", None));
}
