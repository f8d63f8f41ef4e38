//! Names of new triggers.

use super::*;

fn view(stage: &str, name: &str) -> api::TriggerView {
    api::TriggerView {
        function: "hello".to_owned(),
        stage: stage.to_owned(),
        name: name.to_owned(),
        source: api::SourceSpec::Schedule(api::ScheduleSpec::default()),
        path: format!("/_events/{name}"),
        url_path: None,
        retry: api::RetrySpec::default(),
        concurrency_max: 10,
        rate: None,
        ordered_by: None,
        redeliver: None,
        created_ms: 0,
        created_by: "admin".to_owned(),
        paused: None,
        next_ms: Vec::new(),
        release: None,
        watch: None,
        inbox: api::InboxView::default(),
        counts: api::TriggerCountsView::default(),
        queue: None,
        revision: 1,
    }
}

#[test]
fn a_trigger_without_a_name_gets_the_first_that_is_free_in_its_stage() {
    let live = StageName::live();
    let named = |taken: &[api::TriggerView]| free("schedule", &live, taken);
    assert_eq!(named(&[view("staging", "schedule"), view("live", "other")]), "schedule");
    assert_eq!(named(&[view("live", "schedule")]), "schedule-2");
    assert_eq!(named(&[view("live", "schedule"), view("live", "schedule-3")]), "schedule-2");
    assert_eq!(named(&[view("live", "schedule"), view("live", "schedule-2")]), "schedule-3");
}
