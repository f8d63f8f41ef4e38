//! Do 10,000 schedules of one node tick on time, and what do they cost while none is due?
//!
//! Runs what ticks and delivers in a node: the scheduler, the inbox on disk and the dispatcher, with
//! functions that answer at once. First every schedule ticks once a year, then once a second. The lag of a
//! delivery is from the time of its tick to the call of the function, on the clock of the wall.
//!
//! Budget: at rest 1 % of a core; 99 % of the deliveries begin within a second of their ticks, within 50 ms
//! if the ticks are spread (`--every 60 --seconds 60 --spread`), and none is skipped or missed. `--schedules`
//! and `--seconds` say how many, and for how long.

use std::{
    num::NonZeroU32,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use clap::Parser;
use http::{Request, StatusCode};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::watch;
use wasm_fn_benches::times::{millis, now, quantile};
use wasm_fn_core::{FunctionName, StageName, VersionNo};
use wasm_fn_delivery::{
    ActiveTrigger, Deliver, DeployEvents, DeployFuture, DeployOutcome, DeployingEvent, Destination, Ended,
    EventOperations as _, Events, EventsOptions, Pauses, Pausing, Triggers, WallClock,
};
use wasm_fn_events::{
    CATCH_UP_DEFAULT, EventPath, Interval, Overlap, Redeliver, RetryPolicy, Schedule, ScheduleOptions,
    ScheduleTime, Timestamp, Trigger, TriggerId, TriggerKind, WatchSource,
};
use wasm_fn_store::{EmbeddedInbox, InboxLimits};

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

#[derive(Debug, Parser)]
struct Args {
    /// Schedules
    #[arg(long, default_value_t = 10_000)]
    schedules: u32,
    /// Seconds for which each part is watched
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Seconds from tick to tick
    #[arg(long, default_value_t = 1)]
    every: u64,
    /// Let as many schedules tick in each second, rather than all of them in the same
    #[arg(long)]
    spread: bool,
    /// Deliveries in flight at a time: what a node with two cores has
    #[arg(long, default_value_t = 128)]
    in_flight: usize,
    // `cargo bench` says it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Functions that answer at once, and how late they were called.
#[derive(Default)]
struct Answering(Mutex<Vec<Duration>>);

impl Deliver for Answering {
    fn canary(&self, _: &FunctionName, _: &StageName) -> Option<VersionNo> {
        None
    }

    async fn deliver(&self, _: Destination, request: Request<Bytes>) -> Ended {
        let tick: Timestamp =
            request.headers()["ce-time"].to_str().expect("a time is text").parse().expect("a time");
        self.0.lock().expect("nobody panics").push(wall().since(tick));
        Ended::Answered {
            version: Some(VersionNo::FIRST),
            status: StatusCode::NO_CONTENT,
            retry_after: None,
            detail: String::new(),
            is_canary: false,
            refused_effect: false,
        }
    }
}

/// Nothing fails here.
struct NoPause;

impl Pauses for NoPause {
    fn pause<'a>(&'a self, trigger: &'a TriggerId, _: u32) -> Pausing<'a> {
        Box::pin(async move { Err(format!("{trigger} has not failed")) })
    }

    fn pause_rollout<'a>(&'a self, trigger: &'a TriggerId, _: VersionNo, _: String) -> Pausing<'a> {
        Box::pin(async move { Err(format!("{trigger} has no canary")) })
    }
}

/// Nothing deploys here.
struct NoDeployments;

impl DeployEvents for NoDeployments {
    fn deploy<'a>(&'a self, event: DeployingEvent<'a>) -> DeployFuture<'a, DeployOutcome> {
        unreachable!("{} is a schedule", event.id)
    }

    fn digest<'a>(
        &'a self,
        id: &'a TriggerId,
        _: &'a WatchSource,
    ) -> DeployFuture<'a, Result<String, String>> {
        unreachable!("{id} is a schedule")
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    Timestamp::from_unix_ms(u64::try_from(since.as_millis()).expect("it is before the year 9999"))
}

/// CPU time of this process so far.
fn cpu() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// So many schedules that tick so often, a hundred of each function. If they are `spread`, each second has as
/// many ticks.
fn triggers(count: u32, every: Duration, spread: bool) -> Triggers {
    let stage = StageName::live();
    let mut triggers = Triggers::default();
    let since = wall();
    for number in 0..count {
        let function: FunctionName = format!("function-{}", number / 100).parse().expect("a valid name");
        let id = TriggerId {
            function: function.clone(),
            stage: stage.clone(),
            name: format!("schedule-{}", number % 100).parse().expect("a valid name"),
        };
        let offset = if spread { u64::from(number) % every.as_secs() } else { 0 };
        let interval = Interval::new(every, Duration::from_secs(offset)).expect("a second or more");
        let schedule = Schedule::new(ScheduleOptions {
            times: vec![ScheduleTime::Every(interval)],
            overlap: Overlap::AllowAll,
            catch_up: CATCH_UP_DEFAULT,
            jitter: Duration::ZERO,
            pause_on_failure: None,
            canary_runs: 0,
            start: None,
            end: None,
        });
        let trigger = Trigger {
            kind: TriggerKind::Schedule(schedule.expect("one interval")),
            path: EventPath::of(&id.name),
            retry: RetryPolicy::default(),
            concurrency_max: NonZeroU32::new(10).expect("10 is not 0"),
            rate: None,
            ordered_by: None,
            redeliver: Redeliver::default(),
            paused: None,
        };
        triggers.stages.insert_mut((function, stage.clone()));
        triggers.triggers.insert_mut(id, ActiveTrigger { trigger: Arc::new(trigger), since, hook: None });
    }
    triggers
}

#[expect(clippy::print_stdout, reason = "the figures are the output")]
fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Runtime::new().expect("threads can be started");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let limits = InboxLimits { triggers_max: u64::from(args.schedules), ..InboxLimits::STANDARD };
        let inbox = EmbeddedInbox::open(folder.path(), limits).expect("the folder is ours");
        let (sender, receiver) = watch::channel(Arc::new(triggers(args.schedules, YEAR, false)));
        let options = EventsOptions { in_flight_max: args.in_flight };
        let (clock, deployments) = (WallClock::wall(wall), Arc::new(NoDeployments));
        let events = Events::new(inbox, clock, options, receiver, Box::new(NoPause), deployments);
        let functions = Arc::new(Answering::default());
        let runner = events.start(Arc::clone(&functions));
        let watched = Duration::from_secs(args.seconds);

        // The first look at all of them is no part of the rest.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (before, began) = (cpu(), now());
        tokio::time::sleep(watched).await;
        let at_rest = (cpu() - before).as_secs_f64() / began.elapsed().as_secs_f64();
        println!("{} schedules at rest: {:.2} % of a core", args.schedules, at_rest * 100.0);

        let ticking = triggers(args.schedules, Duration::from_secs(args.every), args.spread);
        sender.send_replace(Arc::new(ticking));
        let (before, began) = (cpu(), now());
        tokio::time::sleep(watched).await;
        let (spent, lasted) = (cpu() - before, began.elapsed());
        let lags = functions.0.lock().expect("nobody panics").clone();
        let expected = u64::from(args.schedules) * args.seconds / args.every;
        let keys: Vec<_> = sender.borrow().triggers.keys().map(ToString::to_string).collect();
        let stats = keys.iter().map(|key| events.stats(key));
        let lost: u64 = stats.map(|stats| stats.skipped + stats.missed).sum();
        let p99 = quantile(&lags, 990);
        println!(
            "a tick every {} s: {} of {expected} deliveries in {:.1} s, {lost} ticks skipped or missed",
            args.every,
            lags.len(),
            lasted.as_secs_f64()
        );
        println!(
            "lag p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms; {:.0} % of a core, {:.0} µs a delivery",
            millis(quantile(&lags, 500)),
            millis(p99),
            millis(quantile(&lags, 1000)),
            spent.as_secs_f64() / lasted.as_secs_f64() * 100.0,
            spent.as_secs_f64() * 1e6 / lags.len().max(1) as f64,
        );
        runner.stop(Duration::from_secs(60)).await;
        let p99_max = Duration::from_millis(if args.spread { 50 } else { 1000 });
        let is_met = at_rest <= 0.01 && p99 <= p99_max && lost == 0;
        if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    })
}
