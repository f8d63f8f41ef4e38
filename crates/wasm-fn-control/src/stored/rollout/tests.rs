//! Tests of the stored form of steps.

use super::*;

#[test]
fn steps_survive_their_json_and_shares_are_kept_as_ever() {
    for (steps, json) in [
        (&["1%", "10%"][..], r#"{"name":"canary","steps":[100,1000]}"#),
        (
            &["10% of beta", "beta", "0.05%"],
            r#"{"name":"canary","steps":[{"cohort":"beta","share":1000},{"cohort":"beta","share":10000},5]}"#,
        ),
    ] {
        let steps: Vec<rollout::Step> = steps.iter().map(|step| step.parse().unwrap()).collect();
        let stored = StoredStrategy::Canary { steps: steps.iter().map(StoredStep::from).collect() };
        assert_eq!(serde_json::to_string(&stored).unwrap(), json);
        let StoredStrategy::Canary { steps: read } = serde_json::from_str(json).unwrap() else {
            panic!("{json}")
        };
        let read: Result<Vec<rollout::Step>, _> = read.into_iter().map(TryInto::try_into).collect();
        assert_eq!(read.unwrap(), steps);
    }
}

#[test]
fn steps_that_are_none_are_refused_by_name() {
    for (json, expected) in [
        (r#"{"cohort":"10%","share":1}"#, "cohort name \"10%\" has '%' at byte 2, expected a-z, 0-9, - or _"),
        (r#"{"cohort":"beta","share":10001}"#, "weight of 10001 basis points, expected at most 10000"),
        ("10001", "weight of 10001 basis points, expected at most 10000"),
    ] {
        let stored: StoredStep = serde_json::from_str(json).unwrap();
        assert_eq!(rollout::Step::try_from(stored).unwrap_err().to_string(), expected);
    }
    assert!(serde_json::from_str::<StoredStep>("\"beta\"").is_err());
}
