//! What is tried again, and what is not.

use anyhow::{Result, anyhow};

use super::{Disturbed, TRIES, undisturbed};

/// How often a measurement that ends like this is tried, and how it ends at last.
fn tried(end: impl Fn(u32) -> Result<u32>) -> (u32, Result<u32, String>) {
    let mut times = 0;
    let found = undisturbed(|| {
        times += 1;
        end(times)
    });
    (times, found.map_err(|error| error.to_string()))
}

#[test]
fn disturbed_measurement_is_tried_again_a_few_times() {
    let disturbed = || Disturbed("busy".to_owned()).into();
    assert_eq!(tried(|_| Err(disturbed())), (TRIES, Err("busy".to_owned())));
    assert_eq!(tried(|time| if time < 2 { Err(disturbed()) } else { Ok(time) }), (2, Ok(2)));
    assert_eq!(tried(Ok), (1, Ok(1)));
}

#[test]
fn wrong_answer_is_never_tried_again() {
    assert_eq!(tried(|_| Err(anyhow!("status 500"))), (1, Err("status 500".to_owned())));
}
