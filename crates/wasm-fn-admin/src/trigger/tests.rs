//! What clients say of triggers, right and wrong.

use serde_json::{Value, json};

use wasm_fn_events::Redeliver;

use super::*;

fn parsed(request: Value) -> Result<Trigger, String> {
    let request: api::TriggerRequest = serde_json::from_value(request).map_err(|error| error.to_string())?;
    trigger(&"nightly".parse().unwrap(), &request).map_err(|error| {
        let problem = error.into_problem();
        assert_eq!((problem.status, &*problem.code), (400, "invalid-trigger"));
        problem.detail
    })
}

fn schedule_of(fields: &Value) -> Result<Trigger, String> {
    parsed(json!({ "source": { "schedule": fields } }))
}

#[test]
fn a_schedule_has_the_documented_defaults() {
    let trigger = schedule_of(&json!({ "cron": ["0 3 * * *"] })).unwrap();
    let TriggerKind::Schedule(schedule) = &trigger.kind else { panic!("it is a schedule") };
    let options = schedule.options();
    assert_eq!(
        (options.overlap, options.catch_up, options.jitter),
        (Overlap::Skip, CATCH_UP_DEFAULT, Duration::ZERO)
    );
    assert_eq!((options.pause_on_failure, options.start, options.end), (None, None, None));
    assert_eq!((trigger.path.as_str(), trigger.concurrency_max.get()), ("/_events/nightly", 10));
    assert_eq!(trigger.retry, RetryPolicy::default());
    assert_eq!(schedule.next_times(1, Timestamp::MIN)[0].to_string(), "1970-01-01T03:00:00Z");
}

#[test]
fn everything_that_a_client_says_is_kept() {
    let trigger = parsed(json!({
        "source": { "schedule": {
            "cron": ["30 2 * * *"], "every_ms": [90_000], "time_zone": "Europe/Berlin", "overlap": "cancel-other",
            "catch_up_ms": 20_000, "jitter_ms": 5_000, "pause_on_failure": 3, "canary_runs": 4, "start_ms": 1, "end_ms": 2,
        } },
        "path": "/_events/x", "concurrency_max": 7, "rate": "100/m", "redeliver": "effect-free",
        "retry": { "attempts_max": 2, "age_max_ms": 60_000, "backoff_min_ms": 200, "backoff_max_ms": 300 },
    }))
    .unwrap();
    let TriggerKind::Schedule(schedule) = &trigger.kind else { panic!("it is a schedule") };
    let options = schedule.options();
    assert_eq!((options.times.len(), options.overlap), (2, Overlap::CancelOther));
    let ScheduleTime::Cron(cron) = &options.times[0] else { panic!("it is a cron expression") };
    assert_eq!((cron.expression(), cron.zone().name()), ("30 2 * * *", "Europe/Berlin"));
    assert_eq!((options.catch_up.as_secs(), options.jitter.as_secs()), (20, 5));
    assert_eq!(options.pause_on_failure.map(NonZeroU32::get), Some(3));
    assert_eq!(
        (options.start, options.end),
        (Some(Timestamp::from_unix_ms(1)), Some(Timestamp::from_unix_ms(2)))
    );
    let retry = trigger.retry.options();
    assert_eq!((retry.attempts_max.get(), retry.age_max.as_secs()), (2, 60));
    assert_eq!((retry.backoff_min.as_millis(), retry.backoff_max.as_millis()), (200, 300));
    assert_eq!((trigger.path.as_str(), trigger.concurrency_max.get()), ("/_events/x", 7));
    assert_eq!(trigger.rate.unwrap().to_string(), "100/m");
    assert_eq!((trigger.redeliver, options.canary_runs), (Redeliver::EffectFree, 4));
    let hook = json!({ "source": { "webhook": { "provider": "github", "secrets": ["A", "B"] } } });
    let mut ordered = hook.clone();
    ordered["ordered_by"] = "CE-Subject".into();
    assert_eq!(parsed(ordered).unwrap().ordered_by.unwrap().to_string(), "ce-subject");
    let TriggerKind::Webhook(source) = parsed(hook).unwrap().kind else { panic!("it is a webhook") };
    assert_eq!((source.provider().as_str(), source.secrets().len()), ("github", 2));
}

fn released(request: Value) -> Result<Option<TriggerRelease>, String> {
    let request: api::TriggerRequest = serde_json::from_value(request).map_err(|error| error.to_string())?;
    let trigger =
        trigger(&"deploys".parse().unwrap(), &request).map_err(|error| error.into_problem().detail)?;
    release(&trigger, &request, true).map_err(|error| error.into_problem().detail)
}

#[test]
fn a_trigger_that_deploys_has_the_documented_defaults() {
    let hook = json!({ "source": { "webhook": {
        "provider": "gitea", "secrets": ["A"], "deploy": { "artifact": "oci://r.example/app:{sha}" },
    } } });
    let trigger = parsed(hook.clone()).unwrap();
    let TriggerKind::Webhook(source) = &trigger.kind else { panic!("it is a webhook") };
    assert_eq!(source.deploy().unwrap().options().on, [PushKind::Branch]);
    assert_eq!((trigger.retry.options(), trigger.concurrency_max.get()), (&Trigger::deploying_retry(), 1));
    let release = released(hook).unwrap().unwrap();
    assert_eq!((release.replace, release.allow_new, release.may_move_traffic), (false, false, true));

    let watch = json!({
        "source": { "watch": { "artifact": "oci://r.example/app:prod", "credentials": "REGISTRY" } },
        "release": { "strategy": { "name": "no-traffic" }, "replace": true },
    });
    let trigger = parsed(watch.clone()).unwrap();
    assert_eq!(trigger.credentials().map(ToString::to_string).as_deref(), Some("REGISTRY"));
    let release = released(watch).unwrap().unwrap();
    assert!(release.replace && release.strategy == wasm_fn_control::state::ReleaseStrategy::NoTraffic);
}

#[test]
fn what_cannot_deploy_is_refused_by_field() {
    let artifact = json!({ "artifact": "oci://r.example/app:{sha}" });
    let hook = |provider: &str, mode: &str, deploy: &Value| {
        json!({ "source": { "webhook": {
            "provider": provider, "secrets": ["A"], "mode": mode, "deploy": deploy,
        } } })
    };
    for (request, expected) in [
        (hook("stripe", "async", &artifact), "source.webhook.deploy: events of stripe are not about code"),
        (hook("github", "sync", &artifact), "source.webhook.deploy: mode is sync, expected async"),
        (
            hook("github", "async", &json!({ "artifact": "http://r.example/app" })),
            "source.webhook.deploy.artifact: URL \"http://r.example/app\" does not begin with oci:// or https://",
        ),
        (
            hook("github", "async", &json!({ "artifact": "oci://r.example/app:x", "on": ["push", "merge"] })),
            "source.webhook.deploy.on[1]: event \"merge\" is not known, expected push, tag, release or package",
        ),
        (
            json!({ "source": { "watch": { "artifact": "oci://r.example/app" } } }),
            "source.watch: artifact \"oci://r.example/app\" cannot be watched, expected a tag",
        ),
        (
            json!({ "source": { "watch": { "artifact": "oci://r.example/app:x", "every_ms": 1 } } }),
            "source.watch: a tag would be looked at every 1 ms, expected 5 s to 86400 s",
        ),
        (
            json!({ "source": { "schedule": { "every_ms": [60_000] } }, "release": {} }),
            "release: the trigger does not deploy, expected none",
        ),
        (
            json!({ "source": { "watch": { "artifact": "oci://r.example/app:x" } }, "path": "/_events/x" }),
            "path: the trigger deploys, one event at a time, and no function gets it, expected none",
        ),
        (
            json!({ "source": { "watch": { "artifact": "oci://r.example/app:x" } }, "rate": "5/s" }),
            "rate: the trigger deploys, one event at a time, and no function gets it, expected none",
        ),
        (
            json!({ "source": { "watch": { "artifact": "oci://r.example/app:x" } }, "ordered_by": "ce-subject" }),
            "ordered_by: the trigger deploys, one event at a time, and no function gets it, expected none",
        ),
        (
            json!({ "source": { "watch": { "artifact": "oci://r.example/app:x" } }, "redeliver": "always" }),
            "redeliver: the trigger deploys, one event at a time, and no function gets it, expected none",
        ),
    ] {
        let found = released(request.clone()).unwrap_err();
        assert!(found.starts_with(expected), "{request}: {found}");
    }
}

#[test]
fn bad_schedules_are_refused_by_field() {
    let many: Vec<_> = (0..17).map(|_| "0 3 * * *").collect();
    for (fields, expected) in [
        (json!({}), "source.schedule: schedule has no times"),
        (
            json!({ "cron": ["0 3 * * *", "61 * * * *"] }),
            "source.schedule.cron[1]: cron expression \"61 * * * *\" has \"61\" as its minute at column 1",
        ),
        (
            json!({ "cron": ["* * *"] }),
            "source.schedule.cron[0]: cron expression \"* * *\" has 3 fields, expected 5",
        ),
        (
            json!({ "cron": ["0 0 31 2 *"] }),
            "source.schedule.cron[0]: cron expression \"0 0 31 2 *\" never matches a time",
        ),
        (json!({ "cron": ["@often"] }), "source.schedule.cron[0]: cron expression \"@often\" is not known"),
        (
            json!({ "cron": many }),
            "source.schedule: schedule has 17 cron expressions and intervals, expected at most 16",
        ),
        (
            json!({ "cron": ["0 3 * * *"], "time_zone": "Europe/Berlim" }),
            "source.schedule.time_zone: there is no time zone \"Europe/Berlim\", did you mean Europe/Berlin?",
        ),
        (
            json!({ "every_ms": [60_000], "time_zone": "Europe/Berlin" }),
            "source.schedule.time_zone: it is \"Europe/Berlin\" without a cron expression",
        ),
        (
            json!({ "every_ms": [0] }),
            "source.schedule.every_ms[0]: an interval of 0 ms is too short, expected at least 1 s",
        ),
        (
            json!({ "every_ms": [60_000], "overlap": "queue" }),
            "source.schedule.overlap: overlap policy \"queue\" is not known, expected skip",
        ),
        (
            json!({ "every_ms": [60_000], "catch_up_ms": 1 }),
            "source.schedule: a catch-up window of 0 s is out of bounds",
        ),
        (
            json!({ "every_ms": [60_000], "jitter_ms": 3_601_000 }),
            "source.schedule: a jitter of 3601 s is too long",
        ),
        (
            json!({ "every_ms": [60_000], "pause_on_failure": 0 }),
            "source.schedule.pause_on_failure: it is 0, expected at least 1",
        ),
        (json!({ "every_ms": [60_000], "start_ms": 2, "end_ms": 1 }), "source.schedule: schedule ends at"),
        (
            json!({ "every_ms": [60_000], "end_ms": u64::MAX }),
            "source.schedule.end_ms: it is 18446744073709551615, expected at most 253402300799999",
        ),
        (
            json!({ "every_ms": [60_000], "canary_runs": 1001 }),
            "source.schedule: 1001 runs on a canary are too many, expected at most 1000",
        ),
        (json!({ "every": [60_000] }), "unknown field `every`"),
        (json!({ "every_ms": [-1] }), "invalid value: integer `-1`"),
    ] {
        let found = schedule_of(&fields).unwrap_err();
        assert!(found.starts_with(expected), "{fields}: {found}");
    }
}

#[test]
fn other_bad_fields_are_refused_by_name() {
    let source = json!({ "schedule": { "every_ms": [60_000] } });
    for (field, value, expected) in [
        ("path", json!("/hooks/x"), "path: path \"/hooks/x\" does not begin with /_events/"),
        (
            "path",
            json!("/_events/../x"),
            "path: path \"/_events/../x\" is not in its normal form, expected \"/x\"",
        ),
        ("concurrency_max", json!(0), "concurrency_max: it is 0, expected 1 to 1000"),
        ("concurrency_max", json!(1001), "concurrency_max: it is 1001, expected 1 to 1000"),
        (
            "rate",
            json!("5/d"),
            "rate: rate \"5/d\" is not valid, expected 1 to 100000 per second, minute or hour",
        ),
        ("ordered_by", json!("ce-id"), "ordered_by: it is there for a schedule, expected none"),
        ("ordered_by", json!("cookie"), "ordered_by: header cookie is a credential"),
        ("redeliver", json!("never"), "redeliver: \"never\" is not known, expected always or effect-free"),
        ("retry", json!({ "attempts_max": 0 }), "retry.attempts_max: it is 0, expected at least 1"),
        (
            "retry",
            json!({ "attempts_max": 1001 }),
            "retry: 1001 attempts are too many, expected at most 1000",
        ),
        ("retry", json!({ "age_max_ms": u64::MAX }), "retry: an age of 18446744073709551 s is too long"),
        (
            "retry",
            json!({ "backoff_min_ms": 1 }),
            "retry: a first backoff of 1 ms is too short, expected at least 100 ms",
        ),
        ("retries", json!(3), "unknown field `retries`"),
        (
            "source",
            json!({ "topic": {} }),
            "unknown variant `topic`, expected one of `schedule`, `webhook`, `queue`, `watch`",
        ),
        (
            "source",
            json!({ "webhook": { "provider": "ebay", "secrets": ["A"] } }),
            "source.webhook.provider: ",
        ),
        (
            "source",
            json!({ "webhook": { "provider": "github", "secrets": [] } }),
            "source.webhook.secrets: webhook has 0 secrets, expected 1 to 4",
        ),
        (
            "source",
            json!({ "webhook": { "provider": "github", "secrets": ["A", "2A"] } }),
            "source.webhook.secrets[1]: ",
        ),
        ("source", json!({ "webhook": { "provider": "github" } }), "missing field `secrets`"),
    ] {
        let mut request = json!({ "source": source });
        request[field] = value.clone();
        let found = parsed(request).unwrap_err();
        assert!(found.starts_with(expected), "{field} {value}: {found}");
    }
}

#[test]
fn a_webhook_that_the_function_answers_has_nothing_that_delays_it() {
    let webhook = json!({ "webhook": { "provider": "github", "secrets": ["A"], "mode": "sync" } });
    for (field, value) in
        [("rate", json!("5/s")), ("ordered_by", json!("ce-subject")), ("redeliver", json!("effect-free"))]
    {
        let mut request = json!({ "source": webhook });
        request[field] = value;
        let found = parsed(request).unwrap_err();
        let expected = format!("{field}: it is there for a webhook in mode sync, expected none");
        assert!(found.starts_with(&expected), "{found}");
    }
}

fn queue_of(fields: &Value) -> Result<Trigger, String> {
    parsed(json!({ "source": { "queue": fields } }))
}

#[test]
fn a_queue_is_kept_as_a_client_says() {
    let fields = json!({
        "brokers": ["nats://a", "tls://b:4333"], "stream": "ORDERS", "subject": "orders.>", "credentials": "NATS",
        "start": "new",
    });
    let trigger = queue_of(&fields).unwrap();
    let TriggerKind::Queue(source) = &trigger.kind else { panic!("it is a queue") };
    let brokers: Vec<_> = source.brokers().iter().map(|url| url.as_str()).collect();
    assert_eq!(brokers, ["nats://a:4222", "tls://b:4333"]);
    assert_eq!((source.stream().as_str(), source.subject().as_str()), ("ORDERS", "orders.>"));
    assert_eq!(source.credentials().unwrap().as_str(), "NATS");
    assert_eq!(source.start(), wasm_fn_events::QueueStart::New);
    assert_eq!(trigger.retry.options().age_max, AGE_MAX_MAX);
}

#[test]
fn bad_queues_are_refused_by_field() {
    let fine = json!({ "brokers": ["nats://a"], "stream": "ORDERS", "subject": "orders.>" });
    let with = |name: &str, value: Value| {
        let mut fields = fine.clone();
        fields[name] = value;
        queue_of(&fields).unwrap_err()
    };
    for (name, value, expected) in [
        ("brokers", json!([]), "source.queue.brokers: queue has 0 addresses of brokers, expected 1 to 8"),
        ("brokers", json!(["http://a"]), "source.queue.brokers[0]: scheme is \"http\", expected nats or tls"),
        ("brokers", json!(["nats://u:p@a"]), "source.queue.brokers[0]: address has credentials in it"),
        ("stream", json!("A.B"), "source.queue.stream: name of the stream has '.'"),
        ("subject", json!("a..b"), "source.queue.subject: subject \"a..b\" has an empty token"),
        ("credentials", json!("a b"), "source.queue.credentials: "),
        ("start", json!("old"), "source.queue.start: start \"old\" is not known, expected all or new"),
    ] {
        let found = with(name, value);
        assert!(found.starts_with(expected), "{found}");
    }
    for (field, value) in [("rate", json!("5/s")), ("ordered_by", json!("ce-subject"))] {
        let mut request = json!({ "source": { "queue": fine.clone() } });
        request[field] = value;
        let found = parsed(request).unwrap_err();
        assert!(found.starts_with(&format!("{field}: it is there for a queue, expected none")), "{found}");
    }
    let aged = json!({ "source": { "queue": fine }, "retry": { "age_max_ms": 60_000 } });
    assert!(parsed(aged).unwrap_err().starts_with("retry.age_max_ms: a queue has none"));
}
