//! Facts about `effects`.

use super::*;

#[test]
fn effects_and_a_second_run_exclude_each_other() {
    let effects = EffectGuard::default();
    assert!(effects.begin() && effects.clone().begin(), "many may be made");
    assert!(!effects.forbid());
    let effects = EffectGuard::default();
    assert!(effects.forbid() && effects.forbid());
    assert!(!effects.clone().begin());
}

#[test]
fn whoever_comes_first_wins_between_threads() {
    for _ in 0..1000 {
        let effects = EffectGuard::default();
        let guest = effects.clone();
        let made = std::thread::spawn(move || guest.begin());
        let forbidden = effects.forbid();
        assert_ne!(made.join().unwrap(), forbidden);
    }
}

#[test]
fn a_guard_that_forbids_tells_whether_it_was_asked() {
    let effects = EffectGuard::forbidding();
    assert!(!effects.has_refused());
    assert!(!effects.clone().begin() && !effects.begin());
    assert!(effects.has_refused() && effects.forbid());
    let effects = EffectGuard::default();
    assert!(effects.begin() && !effects.has_refused());
}
