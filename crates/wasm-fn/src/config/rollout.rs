//! How a deployment moves: `[function.NAME.rollout]` as written, combined with the command line.

use std::time::Duration;

use serde::Deserialize;
use wasm_fn_api as api;
use wasm_fn_core::Weight;
use wasm_fn_rollout::{Plan, PlanError, PlanSpec, Step, StepError, Strategy};

use super::{
    checks,
    toml_file::{BadValue, millis},
};
use crate::args;

/// A strategy, and options that all apply to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rollout {
    /// How traffic moves to the new version.
    pub(crate) strategy: api::StrategySpec,
    /// Options of the rollout.
    pub(crate) options: api::RolloutOptions,
}

/// The table as written.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Raw {
    strategy: Option<Kind>,
    steps: Option<Vec<String>>,
    by: Option<String>,
    every: Option<String>,
    step_min: Option<String>,
    min_requests: Option<u64>,
    manual: Option<bool>,
    on_fail: Option<api::OnFailSpec>,
    watch: Option<String>,
    keep: Option<String>,
    shield: Option<bool>,
    checks: Vec<checks::Raw>,
}

/// A strategy without its parameters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    AllAtOnce,
    BlueGreen,
    Canary,
    Linear,
    /// Only on the command line: in a file, it would keep everyone from releasing anything.
    #[serde(skip)]
    NoTraffic,
}

impl Kind {
    fn of(strategy: &api::StrategySpec) -> Self {
        match strategy {
            api::StrategySpec::AllAtOnce => Self::AllAtOnce,
            api::StrategySpec::NoTraffic => Self::NoTraffic,
            api::StrategySpec::Canary { .. } => Self::Canary,
            api::StrategySpec::Linear { .. } => Self::Linear,
            api::StrategySpec::BlueGreen => Self::BlueGreen,
        }
    }

    /// Whether `key` applies to this strategy. A key that only concerns a share of the requests, such as
    /// `shield`, does no harm if the strategy has no shares. A key that would hold or check a release does
    /// harm if it has no effect.
    fn has(self, key: &str) -> bool {
        match key {
            "steps" | "step_min" => self == Self::Canary,
            "by" | "every" => self == Self::Linear,
            "checks" | "keep" => self == Self::BlueGreen,
            "manual" => matches!(self, Self::Canary | Self::Linear | Self::BlueGreen),
            _ => self != Self::NoTraffic,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::AllAtOnce => "all-at-once",
            Self::BlueGreen => "blue-green",
            Self::Canary => "canary",
            Self::Linear => "linear",
            Self::NoTraffic => "no-traffic",
        }
    }
}

/// The strategies to which `key` applies: `canary, linear or blue-green`.
fn those_with(key: &str) -> String {
    let kinds = [Kind::AllAtOnce, Kind::Canary, Kind::Linear, Kind::BlueGreen];
    let names: Vec<_> = kinds.into_iter().filter(|kind| kind.has(key)).map(Kind::as_str).collect();
    match names.as_slice() {
        [first @ .., second, last] => {
            let first: String = first.iter().map(|name| format!("{name}, ")).collect();
            format!("{first}{second} or {last}")
        }
        names => names.concat(),
    }
}

impl Raw {
    /// Returns the rollout and its `min_requests`; `key` is the table's path in the file.
    pub(super) fn resolve(self, key: &str) -> Result<(Rollout, Option<u64>), BadValue> {
        let at = |name: &str| format!("{key}.{name}");
        let kind = self.strategy.unwrap_or_default();
        let given = [
            ("steps", self.steps.is_some()),
            ("by", self.by.is_some()),
            ("every", self.every.is_some()),
            ("step_min", self.step_min.is_some()),
            ("manual", self.manual.is_some()),
            ("keep", self.keep.is_some()),
            ("checks", !self.checks.is_empty()),
        ];
        if let Some((name, _)) = given.into_iter().find(|&(name, given)| given && !kind.has(name)) {
            let found = match self.strategy {
                Some(kind) => format!("strategy {}", kind.as_str()),
                None => format!("no strategy, which means {}", kind.as_str()),
            };
            let reason = format!("found {found}, expected {} with this key", those_with(name));
            return Err(BadValue::new(at(name), reason));
        }
        let share = |name: &str, text: &String| {
            text.parse::<Weight>().map_err(|error| BadValue::new(at(name), error))
        };
        let strategy = match kind {
            Kind::AllAtOnce => api::StrategySpec::AllAtOnce,
            Kind::BlueGreen => api::StrategySpec::BlueGreen,
            Kind::NoTraffic => api::StrategySpec::NoTraffic,
            Kind::Canary => {
                let steps = self.steps.unwrap_or_else(api::canary_steps);
                let steps = steps.iter().map(|step| step.parse()).collect::<Result<Vec<Step>, _>>();
                let steps = steps.map_err(|error: StepError| BadValue::new(at("steps"), error))?;
                if steps == [Step::Share(Weight::FULL)] {
                    let reason = "found only 100%, expected a step below 100%; for no steps, use all-at-once";
                    return Err(BadValue::new(at("steps"), reason));
                }
                api::StrategySpec::Canary { steps: texts(&steps) }
            }
            Kind::Linear => linear(
                self.by.as_ref().map(|by| share("by", by)).transpose()?,
                millis(&at("every"), self.every)?,
            ),
        };
        let options = api::RolloutOptions {
            manual: self.manual.unwrap_or_default(),
            on_fail: self.on_fail,
            step_min_ms: millis(&at("step_min"), self.step_min)?,
            watch_ms: millis(&at("watch"), self.watch)?,
            keep_ms: millis(&at("keep"), self.keep)?,
            shield: self.shield,
            checks: checks::resolve(self.checks, &at("checks"))?,
        };
        let rollout = Rollout { strategy, options };
        rollout.check().map_err(|(name, reason)| BadValue::new(at(name), reason))?;
        Ok((rollout, self.min_requests))
    }
}

impl Rollout {
    /// Combines flags with the file's rollout and gate. A strategy on the command line wins; options in the
    /// file that apply to it are kept. Blocks: it reads files of checks.
    ///
    /// # Errors
    /// A flag does not apply to the strategy, or a file of checks is invalid.
    pub(super) fn merge(
        self,
        strategy: &args::DeployStrategy,
        rollout: &args::DeployRollout,
        gate: &mut api::GateOptions,
    ) -> Result<Self, String> {
        let args::DeployRollout { manual, on_fail, step_min, min_requests, watch_for, no_shield, checks } =
            rollout;
        let Self { strategy: file, mut options } = self;
        let strategy = chosen(strategy, file);
        let kind = Kind::of(&strategy);
        let flags = [
            ("--manual", "manual", *manual),
            ("--on-fail", "on_fail", on_fail.is_some()),
            ("--step-min", "step_min", step_min.is_some()),
            ("--min-requests", "min_requests", min_requests.is_some()),
            ("--watch-for", "watch", watch_for.is_some()),
            ("--no-shield", "shield", *no_shield),
            ("--check", "checks", !checks.is_empty()),
        ];
        if let Some((flag, key, _)) = flags.into_iter().find(|&(_, key, given)| given && !kind.has(key)) {
            return Err(format!(
                "{flag} does not apply to the strategy {}, expected {}",
                kind.as_str(),
                those_with(key)
            ));
        }
        if kind == Kind::NoTraffic {
            *gate = api::GateOptions::default();
            return Ok(Self { strategy, options: api::RolloutOptions::default() });
        }
        options.manual = (options.manual && kind.has("manual")) || *manual;
        options.step_min_ms =
            step_min.map(whole_millis).or(options.step_min_ms.filter(|_| kind.has("step_min")));
        options.keep_ms = options.keep_ms.filter(|_| kind.has("keep"));
        options.watch_ms = watch_for.map(whole_millis).or(options.watch_ms);
        options.on_fail = on_fail.map(api::OnFailSpec::from).or(options.on_fail);
        options.shield = if *no_shield { Some(false) } else { options.shield };
        if !kind.has("checks") {
            options.checks.clear();
        }
        for path in checks {
            options.checks.extend(checks::read(path).map_err(|error| error.to_string())?);
        }
        gate.min_requests = min_requests.or(gate.min_requests);
        let rollout = Self { strategy, options };
        rollout.check().map_err(|(_, reason)| reason)?;
        Ok(rollout)
    }

    /// Checks that it makes a valid plan; the error holds the key to blame and the reason. The node makes the
    /// same check, but here the error can name the place in the file.
    fn check(&self) -> Result<(), (&'static str, String)> {
        let steps_of = |texts: &[String]| texts.iter().filter_map(|text| text.parse().ok()).collect();
        let (strategy, time) = match &self.strategy {
            api::StrategySpec::NoTraffic => return Ok(()),
            api::StrategySpec::AllAtOnce => (Strategy::AllAtOnce, "step_min"),
            api::StrategySpec::BlueGreen => (Strategy::BlueGreen, "step_min"),
            api::StrategySpec::Canary { steps } => (Strategy::Canary { steps: steps_of(steps) }, "step_min"),
            api::StrategySpec::Linear { by, every_ms } => {
                let by = by.parse().unwrap_or(Weight::ZERO);
                (Strategy::Linear { by, every: Duration::from_millis(*every_ms) }, "every")
            }
        };
        let mut spec = PlanSpec::usual(strategy);
        spec.step_min = self.options.step_min_ms.map_or(spec.step_min, Duration::from_millis);
        spec.watch = self.options.watch_ms.map_or(spec.watch, Duration::from_millis);
        let watch = spec.watch;
        Plan::new(spec).map(drop).map_err(|error| {
            let key = match error {
                PlanError::NoSteps
                | PlanError::TooManySteps(_)
                | PlanError::Zero { .. }
                | PlanError::NotGrowing { .. }
                | PlanError::CohortAfterShare { .. } => "steps",
                PlanError::NoGrowth => "by",
                PlanError::NoInterval => "every",
                PlanError::TooLong { found, .. } if found == watch => "watch",
                PlanError::TooLong { .. } => time,
            };
            (key, error.to_string())
        })
    }
}

/// The strategy that `flags` choose, with the file's parameters for the same strategy. If they choose none,
/// the file's strategy.
fn chosen(flags: &args::DeployStrategy, file: api::StrategySpec) -> api::StrategySpec {
    // The command line allows at most one strategy.
    match (flags, file) {
        (args::DeployStrategy { canary: Some(Some(steps)), .. }, _) => {
            api::StrategySpec::Canary { steps: texts(steps.steps()) }
        }
        (args::DeployStrategy { canary: Some(None), .. }, file) => match file {
            api::StrategySpec::Canary { .. } => file,
            _ => api::StrategySpec::canary(),
        },
        (args::DeployStrategy { linear: Some(Some(growth)), .. }, _) => {
            linear(Some(growth.by), Some(whole_millis(growth.every)))
        }
        (args::DeployStrategy { linear: Some(None), .. }, file) => match file {
            api::StrategySpec::Linear { .. } => file,
            _ => linear(None, None),
        },
        (args::DeployStrategy { blue_green: true, .. }, _) => api::StrategySpec::BlueGreen,
        (args::DeployStrategy { no_traffic: true, .. }, _) => api::StrategySpec::NoTraffic,
        (args::DeployStrategy { all_at_once: true, .. }, _) => api::StrategySpec::AllAtOnce,
        (args::DeployStrategy { .. }, file) => file,
    }
}

fn linear(by: Option<Weight>, every_ms: Option<u64>) -> api::StrategySpec {
    let by = by.map_or_else(api::linear_share, |by| by.to_string());
    api::StrategySpec::Linear { by, every_ms: every_ms.unwrap_or_else(api::linear_every_ms) }
}

fn texts(steps: &[Step]) -> Vec<String> {
    steps.iter().map(ToString::to_string).collect()
}

fn whole_millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl From<args::OnFail> for api::OnFailSpec {
    fn from(on_fail: args::OnFail) -> Self {
        match on_fail {
            args::OnFail::Rollback => Self::Rollback,
            args::OnFail::Pause => Self::Pause,
            args::OnFail::Freeze => Self::Freeze,
        }
    }
}

#[cfg(test)]
mod tests;
