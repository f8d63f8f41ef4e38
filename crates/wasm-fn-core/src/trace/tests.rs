//! Headers as others write them, shares, and what a record holds in the end.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    FinishedRequest, InvocationTrigger, OutgoingRequest, RequestHead, RequestRecord, RequestSink, Sampler,
    SpanDetail, SpanId, TraceId, TraceOrigin, TraceParent, TraceState,
};
use crate::{Outcome, Scheme, VersionNo};

const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn traceparent_is_read_and_written_as_it_came() {
    let parent = TraceParent::parse(HEADER.as_bytes()).unwrap();
    assert_eq!(parent.trace.bits(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
    assert_eq!(parent.span.bits(), 0x00f0_67aa_0ba9_02b7);
    assert!(parent.sampled);
    assert_eq!(parent.to_string(), HEADER);
    let unsampled = TraceParent::parse(HEADER.replace("-01", "-02").as_bytes()).unwrap();
    assert!(!unsampled.sampled);
}

#[test]
fn traceparent_of_a_later_version_is_read_as_far_as_it_is_known() {
    for header in [HEADER.replacen("00", "cc", 1), HEADER.replacen("00", "cc", 1) + "-what-the-future-brings"]
    {
        assert!(TraceParent::parse(header.as_bytes()).is_some(), "{header}");
    }
    let joined = HEADER.replacen("00", "cc", 1) + ".what";
    assert_eq!(TraceParent::parse(joined.as_bytes()), None);
}

#[test]
fn malformed_traceparent_is_none() {
    for header in [
        "",
        "00",
        &HEADER[..54],
        &format!("{HEADER}-"),
        &format!("{HEADER}-01"),
        &HEADER.to_uppercase(),
        &HEADER.replacen("00", "ff", 1),
        &HEADER.replace('-', "_"),
        &HEADER.replace("4bf9", "4bg9"),
        &HEADER.replace("-01", "-0x"),
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473ö-00f067aa0ba902b7-0",
    ] {
        assert_eq!(TraceParent::parse(header.as_bytes()), None, "{header:?}");
    }
}

#[test]
fn tracestate_is_joined_in_its_order() {
    let parse = |lines: &[&str]| TraceState::parse(lines.iter().map(|line| line.as_bytes()));
    let joined = parse(&["rojo=00f067aa0ba902b7 ,\tcongo=t61rcWkgMzE", "", "a1@dd=x y,,"]).unwrap();
    assert_eq!(joined.as_str(), "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a1@dd=x y");
    let many: Vec<_> = (0..33).map(|at| format!("k{at}=v")).collect();
    assert!(parse(&[&many[..32].join(",")]).is_some());
    let long = format!("k={}", "v".repeat(257));
    let much = (0..3).map(|at| format!("k{at}={}", "v".repeat(200))).collect::<Vec<_>>().join(",");
    for malformed in
        ["", ",", "a", "=v", "a=", "A=v", "a=1=2", "a=1,a=2", "1a=v", "a@=v", "a@b@c=v", "a=ü", &long, &much]
    {
        assert_eq!(parse(&[malformed]), None, "{malformed:?}");
    }
    assert_eq!(parse(&[&many.join(",")]), None);
}

#[test]
fn samplers_are_named_as_opentelemetry_names_them() {
    let sampled = TraceParent::parse(HEADER.as_bytes()).unwrap();
    let unsampled = TraceParent { sampled: false, ..sampled };
    // The random part of the second is all ones.
    let [low, high] = [1, u128::MAX].map(|bits| TraceId::new(bits).unwrap());
    for (name, argument, expected) in [
        ("always_on", None, [true, true, true, true]),
        ("always_off", None, [false, false, false, false]),
        ("traceidratio", Some("0.5"), [true, false, true, true]),
        ("traceidratio", None, [true, true, true, true]),
        ("parentbased_always_on", None, [true, true, true, false]),
        ("parentbased_always_off", None, [false, false, true, false]),
        ("parentbased_traceidratio", Some("0.01"), [true, false, true, false]),
    ] {
        let sampler = Sampler::named(name, argument).unwrap();
        let found = [(None, low), (None, high), (Some(sampled), low), (Some(unsampled), low)]
            .map(|(parent, trace)| sampler.samples(parent, trace));
        assert_eq!(found, expected, "{name} {argument:?}");
    }
    for (name, argument) in
        [("jaeger_remote", None), ("traceidratio", Some("2")), ("traceidratio", Some("NaN"))]
    {
        assert!(Sampler::named(name, argument).is_err(), "{name} {argument:?}");
    }
}

#[test]
fn share_is_the_part_of_ids_that_are_sampled() {
    let sampler = Sampler::share(0.25);
    let step = 1_u128 << 46;
    let sampled = (0..1024).filter(|at| sampler.samples_bits(at * step)).count();
    assert_eq!(sampled, 256);
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<FinishedRequest>>);

impl RequestSink for Kept {
    fn finished(&self, request: Box<FinishedRequest>) {
        self.0.lock().unwrap().push(*request);
    }
}

fn head(is_canary: bool) -> RequestHead {
    #[expect(clippy::disallowed_methods, reason = "any time does")]
    let began = Instant::now();
    RequestHead {
        request_id: 0x1234_5678_9abc_def0,
        began,
        method: "GET".into(),
        path: "/hello".into(),
        scheme: Scheme::Http,
        host: None,
        client: None,
        protocol: "1.1",
        user_agent: None,
        target: None,
        route: None,
        trigger: InvocationTrigger::Http,
        is_canary,
        is_logged: false,
    }
}

fn trace(sampled: bool) -> TraceOrigin {
    let parent = TraceParent::parse(HEADER.as_bytes()).unwrap();
    TraceOrigin { id: parent.trace, parent: Some(parent.span), sampled, state: None }
}

#[test]
fn record_goes_to_its_sink_once_everybody_is_done() {
    let (sink, head) = (Arc::new(Kept::default()), head(true));
    let at = |ms| head.began + Duration::from_millis(ms);
    let [v1, v2] = [1, 2].map(|no| VersionNo::new(no).unwrap());
    let request = RequestRecord::begin(head.clone(), Some(trace(false)), sink.clone());
    let first = request.first_run(v2);
    first.queued(at(0), at(1));
    first.instance_started(at(1), at(2));
    let (span, outgoing) = first.begin_outgoing();
    assert_eq!(outgoing.unwrap().span, span);
    let sent = OutgoingRequest {
        method: "GET".into(),
        scheme: Scheme::Https,
        host: "example.com".into(),
        port: 443,
        path: "/".into(),
        end: Ok(200),
    };
    first.sent(span, at(2), at(3), sent);
    first.guest_ran(at(2), at(4), 65_536);
    first.ended(at(4), Outcome::Trap, Some("unreachable\n0: f"));
    let second = first.second_run(v1, at(4));
    drop(first);
    second.guest_ran(at(4), at(5), 65_536);
    second.ended(at(5), Outcome::Success, None);
    request.answered(200, at(5));
    drop(request);
    assert!(sink.0.lock().unwrap().is_empty(), "the second run has the record still");
    drop(second);

    let finished = sink.0.lock().unwrap().pop().unwrap();
    assert!(finished.is_exported(), "a failure of a canary is exported though nothing is sampled");
    assert!(finished.is_cold_start);
    assert_eq!((finished.status, finished.ended), (Some(200), at(5)));
    assert_eq!(finished.runs[0].trap.as_deref(), Some("unreachable"));
    let root = finished.trace.as_ref().unwrap().span;
    let guests: Vec<_> =
        finished.spans.iter().filter(|span| matches!(span.detail, SpanDetail::Guest { .. })).collect();
    let again =
        finished.spans.iter().find(|span| matches!(span.detail, SpanDetail::SecondRun { .. })).unwrap();
    assert_eq!((guests[0].parent, guests[1].parent, again.parent), (root, again.id, root));
    let sent = finished.spans.iter().find(|span| matches!(span.detail, SpanDetail::Outgoing(_))).unwrap();
    assert_eq!(sent.parent, guests[0].id);
    let mut ids: Vec<_> = finished.spans.iter().map(|span| span.id.bits()).chain([root.bits()]).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), finished.span_count());
}

#[test]
fn good_answer_of_a_canary_is_not_exported() {
    let sink = Arc::new(Kept::default());
    let request = RequestRecord::begin(head(true), Some(trace(false)), sink.clone());
    let run = request.first_run(VersionNo::new(2).unwrap());
    run.ended(head(true).began, Outcome::Success, None);
    drop((request, run));
    assert!(!sink.0.lock().unwrap()[0].is_exported());
}

#[test]
fn spans_beyond_the_bound_are_counted_only() {
    let sink = Arc::new(Kept::default());
    let request = RequestRecord::begin(head(false), Some(trace(true)), sink.clone());
    let run = request.first_run(VersionNo::new(1).unwrap());
    let now = head(false).began;
    (0..1000).for_each(|_| run.queued(now, now));
    drop((request, run));
    let finished = &sink.0.lock().unwrap()[0];
    assert_eq!((finished.spans.len(), finished.spans_dropped), (128, 872));
}

#[test]
fn trace_that_is_passed_on_names_the_caller() {
    let sink = Arc::new(Kept::default());
    let parent = TraceParent { sampled: false, ..TraceParent::parse(HEADER.as_bytes()).unwrap() };
    let request = RequestRecord::pass_on(parent, None, sink.clone());
    let run = request.first_run(VersionNo::new(1).unwrap());
    assert_eq!(run.guest(), Some(parent));
    assert_eq!(run.begin_outgoing().1, Some(parent));
    run.ended(head(false).began, Outcome::Success, None);
    drop((request, run));
    assert!(sink.0.lock().unwrap().is_empty());
}

#[test]
fn ids_of_zero_do_not_exist() {
    assert_eq!((TraceId::new(0), SpanId::new(0)), (None, None));
}
