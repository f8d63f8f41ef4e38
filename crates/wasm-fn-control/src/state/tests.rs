//! Tests of the rules of deployments, rollouts and rollbacks, on states built by hand.

mod advance;
mod cohorts;
mod deploy;
mod gate;
mod stages;
mod traffic;
mod walk;

use std::time::Duration;

use wasm_fn_rollout::{self as rollout, Command, GateSpec, PlanSpec, Time};

use super::*;

fn by(strategy: rollout::Strategy) -> ReleaseStrategy {
    let plan = PlanSpec::usual(strategy);
    let spec = RolloutSpec::new(plan, GateSpec::default(), true, Duration::from_secs(60), Vec::new());
    ReleaseStrategy::Rollout(Arc::new(spec.unwrap()))
}

fn canary() -> ReleaseStrategy {
    by(rollout::Strategy::Canary { steps: vec!["10%".parse().unwrap()] })
}

fn blue_green() -> ReleaseStrategy {
    by(rollout::Strategy::BlueGreen)
}

fn watched() -> ReleaseStrategy {
    by(rollout::Strategy::AllAtOnce)
}

fn linear() -> ReleaseStrategy {
    let every = Duration::from_secs(30);
    by(rollout::Strategy::Linear { by: "30%".parse().unwrap(), every })
}

fn steps(shares: &[&str], change: impl FnOnce(&mut PlanSpec)) -> ReleaseStrategy {
    let steps = shares.iter().map(|share| share.parse().unwrap()).collect();
    let mut plan = PlanSpec::usual(rollout::Strategy::Canary { steps });
    change(&mut plan);
    let spec = RolloutSpec::new(plan, GateSpec::default(), true, Duration::ZERO, Vec::new());
    ReleaseStrategy::Rollout(Arc::new(spec.unwrap()))
}

fn facts() -> Facts {
    Facts::at(Time(5))
}

/// A state, and the changes that made it.
#[derive(Default)]
struct World {
    state: State,
    changes: Vec<FunctionChange>,
}

struct Ask {
    function: FunctionName,
    stage: StageName,
    component: u8,
    config: FunctionConfig,
    stage_config: Option<Arc<StageConfig>>,
    strategy: ReleaseStrategy,
    replace: bool,
    allow_new: bool,
}

fn ask(function: &str, component: u8, strategy: ReleaseStrategy) -> Ask {
    let function = function.parse().unwrap();
    let config = FunctionConfig::default();
    let (stage, stage_config) = (StageName::live(), None);
    Ask { function, stage, component, config, stage_config, strategy, replace: false, allow_new: false }
}

impl Ask {
    fn stage(self, stage: &str) -> Self {
        Self { stage: stage.parse().unwrap(), ..self }
    }

    fn routes(mut self, routes: &[&str]) -> Self {
        self.config.routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        self
    }

    fn replace(self) -> Self {
        Self { replace: true, ..self }
    }
}

fn hello() -> FunctionName {
    "hello".parse().unwrap()
}

fn v(number: u32) -> VersionNo {
    VersionNo::new(number).unwrap()
}

fn meta_of(at: usize) -> Meta<'static> {
    let number = at as u64 + 1;
    Meta { revision: Revision(number), at_ms: 1000 * number, actor: "ann", message: Some("because") }
}

impl World {
    fn carry_out(&mut self, change: FunctionChange) {
        self.state.apply(&change.clone().into(), &meta_of(self.changes.len()));
        self.changes.push(change);
    }

    fn plan(&self, ask: &Ask) -> Result<DeployPlan, ChangeError> {
        self.state.plan_deploy(&Deployment {
            function: &ask.function,
            stage: &ask.stage,
            digest: Digest([ask.component; 32]),
            kind: "cgi",
            config: &Arc::new(ask.config.clone()),
            stage_config: ask.stage_config.as_ref(),
            strategy: &ask.strategy,
            past: None,
            report: None,
            replace: ask.replace,
            allow_new: ask.allow_new,
            provenance: None,
            imports: None,
            salt: Salt([self.changes.len() as u64, 7]),
            now_ms: 5,
        })
    }

    fn deploy(&mut self, ask: Ask) -> DeployPlan {
        let plan = self.plan(&ask).unwrap();
        plan.change.clone().into_iter().for_each(|change| self.carry_out(change));
        plan
    }

    fn traffic(&mut self, shares: &[(&str, &str)]) -> Result<(), ChangeError> {
        let shares: Vec<_> = shares.iter().map(|(a, b)| (a.parse().unwrap(), b.parse().unwrap())).collect();
        let salt = Salt([self.changes.len() as u64, 7]);
        let change = self.state.plan_traffic(&hello(), &StageName::live(), &shares, salt)?;
        change.into_iter().for_each(|change| self.carry_out(change));
        Ok(())
    }

    fn promote(&mut self) -> Result<(), ChangeError> {
        self.command(Command::Promote)
    }

    fn abort(&mut self) -> Result<(), ChangeError> {
        self.command(Command::Abort)
    }

    fn command(&mut self, command: Command) -> Result<(), ChangeError> {
        let change = self.state.plan_command(&hello(), &StageName::live(), command, facts())?;
        self.carry_out(change);
        Ok(())
    }

    fn rollback(&mut self, to: Option<&str>) -> Result<(), ChangeError> {
        let to = to.map(|to| to.parse().unwrap());
        let change = self.state.plan_rollback(&hello(), &StageName::live(), to, facts())?;
        change.into_iter().for_each(|change| self.carry_out(change));
        Ok(())
    }

    fn hello(&self) -> &Function {
        self.state.function(&hello()).unwrap()
    }

    fn live(&self) -> &StageState {
        &self.hello().stages[&StageName::live()]
    }

    fn rollout(&self) -> &Rollout {
        self.live().rollout.as_ref().unwrap()
    }

    /// `v2=10% v1=90%, stable v1, canary v2, previous v0`.
    fn show(&self) -> String {
        let stage = self.live();
        let shares: Vec<_> =
            stage.split.shares().iter().map(|(version, weight)| format!("{version}={weight}")).collect();
        let mut text = format!("{}, stable {}", shares.join(" "), stage.stable);
        if let Some(canary) = stage.canary() {
            text += &format!(", canary {canary}");
        }
        if !stage.previous.is_empty() {
            let previous: Vec<_> = stage.previous.iter().map(ToString::to_string).collect();
            text += &format!(", previous {}", previous.join(" "));
        }
        text
    }

    fn fate(&self, version: u32) -> Option<Fate> {
        self.hello().versions[&v(version)].verdict.as_ref().map(|verdict| verdict.fate)
    }
}

/// Versions 1 to `count`, each deployed at once.
fn deployed(count: u8) -> World {
    let mut world = World::default();
    for component in 1..=count {
        world.deploy(ask("hello", component, ReleaseStrategy::AllAtOnce));
    }
    world
}
