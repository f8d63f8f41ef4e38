//! One run: which systems, round by round, and what each measurement must satisfy.

use std::time::Duration;

use anyhow::{Result, bail};

use crate::{
    budgets::{self, ADDED, BOUNDS, Beside, Bound, Paired, TLS},
    measurement::{Effort, LATENCY_LOAD, saturated, undisturbed},
    now, open_loop,
    pairs::{self, Pair},
    programs::Programs,
    report,
    results::{Latency, Row, Sample},
    systems::{Ground, Places, Served, System},
    tls, wrk,
};

/// How long a server is driven before its time is taken.
const WARM_UP: Duration = Duration::from_secs(1);

/// What is measured.
pub(crate) struct Choice {
    systems: Vec<System>,
    bounds: Vec<&'static Bound>,
    /// Whether latencies are compared with the limit's.
    limit: bool,
    /// Whether it is measured what TLS costs.
    tls: bool,
}

impl Choice {
    /// Every system, or ours and the limit without `peers`; of these only those that `only` names, by a part
    /// of their name or of a budget's.
    ///
    /// # Errors
    ///
    /// Nothing is named so.
    pub(crate) fn of(peers: bool, only: &[String]) -> Result<Self> {
        let sides: Vec<_> = only.iter().flat_map(|only| budgets::sides(only)).collect();
        let named = |name: &String| {
            only.is_empty() || sides.contains(name) || only.iter().any(|only| name.contains(only.as_str()))
        };
        let mut systems = System::all()?;
        systems.retain(|system| (peers || !system.peer()) && named(&system.to_string()));
        let named = |name: &str| only.is_empty() || only.iter().any(|only| name.contains(only.as_str()));
        let bounds: Vec<_> = BOUNDS.iter().filter(|bound| named(bound.pair.name)).collect();
        let limit = ADDED.iter().any(|added| named(added.name));
        let tls = TLS.iter().any(|bound| named(bound.name));
        let choice = Self { systems, bounds, limit, tls };
        if choice.is_empty() {
            let all: Vec<_> = System::all()?.iter().map(ToString::to_string).collect();
            bail!("no system is named like `{}`, expected a part of: {}", only.join("`, `"), all.join("; "));
        }
        Ok(choice)
    }

    /// Without those that cannot be started; returns which, and why.
    pub(crate) fn skip_missing(&mut self, programs: &Programs, places: &Places) -> Vec<String> {
        let mut skipped = Vec::new();
        self.systems.retain(|system| {
            let missing = system.missing(programs).or_else(|| system.unbuilt(places));
            if let Some(reason) = &missing {
                skipped.push(format!("{system}: {reason}"));
            }
            missing.is_none()
        });
        skipped
    }

    /// Whether there is nothing to measure.
    pub(crate) fn is_empty(&self) -> bool {
        self.systems.is_empty() && self.bounds.is_empty() && !self.limit && !self.tls
    }

    /// Measures everything, round by round.
    pub(crate) fn measure(&self, ground: Ground<'_>, effort: Effort) -> Vec<Row> {
        let mut rows: Vec<_> = self.systems.iter().map(System::row).collect();
        for round in 1..=effort.rounds {
            // The limit is asked as often as ours was in the same round: what ours adds is then not mixed
            // with what a higher rate costs.
            let mut rate = None;
            for (system, row) in self.systems.iter().zip(&mut rows) {
                // What was refused once has no figure, whatever the other rounds would say.
                let Ok(samples) = &mut row.samples else { continue };
                report::note(&format!("round {round} of {}: {system}", effort.rounds));
                let bench = Bench { system, ground, effort };
                match bench.measure(system.limit().then_some(rate).flatten(), row.latencies.is_ok()) {
                    Ok((sample, latency)) => {
                        rate = rate.or_else(|| system.ours().then_some(sample.requests_per_second));
                        samples.push(sample);
                        match latency {
                            Some(Ok(latency)) => _ = row.latencies.as_mut().map(|all| all.push(latency)),
                            Some(Err(error)) => row.latencies = Err(format!("round {round}: {error:#}")),
                            None => {}
                        }
                    }
                    Err(error) => {
                        let reason = format!("round {round}: {error:#}");
                        row.latencies = Err(reason.clone());
                        row.samples = Err(reason);
                    }
                }
            }
        }
        rows
    }

    /// Measures what ours adds to the latencies of the limit; absent when that was not chosen.
    pub(crate) fn measure_added(&self, ground: Ground<'_>, effort: Effort) -> Option<Beside> {
        self.limit.then(|| {
            report::note("latencies of wasm-fn and hyper alone");
            pairs::beside_the_limit(ground, effort).map_err(|error| format!("{error:#}"))
        })
    }

    /// Measures what TLS costs ours and the limit; absent when that was not chosen.
    pub(crate) fn measure_tls(&self, ground: Ground<'_>, effort: Effort) -> Option<tls::Rounds> {
        self.tls.then(|| tls::measure(ground, effort).map_err(|error| format!("{error:#}")))
    }

    /// Measures the pairs of ours that are compared side by side.
    pub(crate) fn measure_pairs(&self, ground: Ground<'_>, effort: Effort) -> Vec<Paired> {
        let measure = |pair: &Pair| {
            report::note(pair.name);
            pair.measure(ground, effort.connections).map_err(|error| format!("{error:#}"))
        };
        self.bounds.iter().map(|bound| (*bound, measure(&bound.pair))).collect()
    }
}

/// One system in one round.
struct Bench<'a> {
    system: &'a System,
    ground: Ground<'a>,
    effort: Effort,
}

impl Bench<'_> {
    /// Starts the system, drives it, takes its time, takes `latencies` at a part of `rate` or of its own, and
    /// ends it.
    fn measure(&self, rate: Option<f64>, latencies: bool) -> Result<(Sample, Option<Result<Latency>>)> {
        let served = self.system.start(self.ground)?;
        let core = self.ground.cores.client;
        wrk::drive(&served, self.effort.connections, WARM_UP, core)?;
        let sample = undisturbed(|| self.saturate(&served))?;
        let rate = rate.unwrap_or(sample.requests_per_second) * LATENCY_LOAD;
        let latency =
            latencies.then(|| undisturbed(|| open_loop::measure(&served, rate, self.effort.seconds, core)));
        Ok((sample, latency))
    }

    fn saturate(&self, served: &Served) -> Result<Sample> {
        let (before, begun) = (served.usage()?, now());
        let duration = Duration::from_secs(self.effort.seconds);
        let load = wrk::drive(served, self.effort.connections, duration, self.ground.cores.client)?;
        let (after, elapsed) = (served.usage()?, begun.elapsed());
        served.check()?;
        let cpu = after.cpu_since(&before);
        saturated(cpu, elapsed, self.ground.cores.server)?;
        Ok(Sample {
            requests_per_second: load.requests_per_second,
            cpu_us_per_request: cpu.as_secs_f64() * 1e6 / load.requests as f64,
            memory_max_bytes: after.memory_max_bytes,
        })
    }
}

#[cfg(test)]
mod tests;
