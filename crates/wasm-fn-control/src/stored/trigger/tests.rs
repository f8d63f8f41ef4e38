//! Tests of the stored form of triggers.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use wasm_fn_events::{
    CronTimes, EventPath, Interval, Overlap, Pause, PausedBy, PushDeploy, PushDeployOptions, PushKind,
    QueueSource, QueueStart, Redeliver, RetryPolicy, Schedule, ScheduleOptions, ScheduleTime, Timestamp,
    Trigger, TriggerKind, WatchSource, WebhookMode, WebhookSource,
};

use super::StoredTriggers;
use crate::state::{FunctionTriggers, ReleaseStrategy, TriggerRelease, TriggerState};

fn state(kind: TriggerKind, paused: Option<Pause>) -> TriggerState {
    let trigger = Trigger {
        kind,
        path: EventPath::of(&"nightly".parse().unwrap()),
        retry: RetryPolicy::default(),
        concurrency_max: NonZeroU32::new(7).unwrap(),
        rate: "5/m".parse().ok(),
        ordered_by: "ce-subject".parse().ok(),
        redeliver: Redeliver::EffectFree,
        paused,
    };
    TriggerState {
        trigger: Arc::new(trigger),
        created_ms: 1,
        created_by: "ana".to_owned(),
        active_ms: 2,
        hook: Some("ab".to_owned()),
        release: None,
    }
}

#[test]
fn triggers_are_read_as_they_were_written() {
    let zone = "Europe/Berlin".parse().unwrap();
    let schedule = ScheduleOptions {
        times: vec![
            ScheduleTime::Cron(CronTimes::parse("0 30 2 L * *", zone).unwrap()),
            ScheduleTime::Every(Interval::new(Duration::from_secs(90), Duration::from_secs(5)).unwrap()),
        ],
        overlap: Overlap::CancelOther,
        catch_up: Duration::from_secs(120),
        jitter: Duration::from_secs(3),
        pause_on_failure: NonZeroU32::new(4),
        canary_runs: 3,
        start: Some(Timestamp::from_unix_ms(5)),
        end: Some(Timestamp::from_unix_ms(6)),
    };
    let schedule = TriggerKind::Schedule(Schedule::new(schedule).unwrap());
    let secrets = vec!["WEBHOOK_KEY".parse().unwrap(), "NEXT_KEY".parse().unwrap()];
    let webhook = WebhookSource::new("github".parse().unwrap(), secrets).unwrap();
    let webhook = webhook.in_mode(WebhookMode::Sync);
    let brokers = vec!["tls://broker:4222".parse().unwrap()];
    let queue = QueueSource::new(brokers, "ORDERS".parse().unwrap(), "orders.>".parse().unwrap()).unwrap();
    let queue = queue.with_credentials("NATS".parse().ok()).from(QueueStart::New);
    let deploy = PushDeploy::new(PushDeployOptions {
        artifact: "oci://registry.example/app:{sha}".parse().unwrap(),
        on: vec![PushKind::Branch, PushKind::Tag],
        branches: vec!["main".parse().unwrap()],
        tags: vec!["v*".parse().unwrap()],
        credentials: Some("REGISTRY".parse().unwrap()),
    });
    let secrets = vec!["WEBHOOK_KEY".parse().unwrap()];
    let deploying = WebhookSource::new("gitlab".parse().unwrap(), secrets).unwrap();
    let deploying = TriggerKind::Webhook(deploying.deploying(deploy.unwrap()).unwrap());
    let watch =
        WatchSource::new("oci://registry.example/app:x".parse().unwrap(), Duration::from_secs(9), None);
    let release = |strategy| {
        let (replace, allow_new, may_move_traffic) = (true, false, true);
        Some(Arc::new(TriggerRelease { strategy, replace, allow_new, may_move_traffic }))
    };
    let pause = |by| Some(Pause { since: Timestamp::from_unix_ms(9), by, note: "broken".parse().ok() });
    let triggers: FunctionTriggers = [
        ("live", "nightly", state(schedule, pause(PausedBy::Failures(4)))),
        (
            "live",
            "deploys",
            TriggerState { release: release(ReleaseStrategy::NoTraffic), ..state(deploying, None) },
        ),
        (
            "live",
            "watched",
            TriggerState {
                release: release(ReleaseStrategy::AllAtOnce),
                ..state(TriggerKind::Watch(watch.unwrap()), None)
            },
        ),
        ("staging", "pushes", state(TriggerKind::Webhook(webhook), pause(PausedBy::Command))),
        ("live", "orders", state(TriggerKind::Queue(queue), None)),
    ]
    .map(|(stage, name, state)| ((stage.parse().unwrap(), name.parse().unwrap()), state))
    .into();
    let json = serde_json::to_string(&StoredTriggers::from(&triggers)).unwrap();
    let read: StoredTriggers = serde_json::from_str(&json).unwrap();
    assert_eq!(FunctionTriggers::try_from(read).unwrap(), triggers, "{json}");
}
