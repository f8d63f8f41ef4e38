//! Facts about warnings.

use super::*;

#[test]
fn function_is_warned_of_once_an_hour() {
    let (key_skew, start) = (KeySkewWarnings::default(), clock::now());
    let may =
        |name: &str, seconds| key_skew.may_warn(&name.parse().unwrap(), start + Duration::from_secs(seconds));
    assert!(may("hello", 0));
    assert!(!may("hello", 1) && !may("hello", 3599));
    assert!(may("other", 3599), "each function for itself");
    assert!(may("hello", 3600));
    assert!(!may("hello", 7199) && may("other", 7199));
    assert_eq!(key_skew.warned.lock().unwrap().len(), 2);
    assert!(may("third", 100_000));
    assert_eq!(key_skew.warned.lock().unwrap().len(), 1, "what is over is forgotten");
}
