//! Deployments: prepared without the writer's lock, then planned and committed with it.

use std::{path::Path, sync::Arc};

use wasm_fn_core::{Digest, FunctionConfig, FunctionName, StageConfig, StageName, VersionNo, Weight};
use wasm_fn_rollout::Counts;
use wasm_fn_router::Salt;

use super::{Control, ControlError, DEPLOYMENTS_MAX, Note};
use wasm_fn_secrets::SecretSet;
use wasm_fn_store::Store;

use crate::{
    analysis::past,
    host::{CodeWanted, Host, ProgressSink, Rejection, Wanted},
    report::Report,
    state::{
        ChangeError, DeployPlan, Deployment, Growth, Imports, Provenance, ReleaseStrategy, StageRule, State,
    },
};

/// A deployment to carry out.
#[derive(Clone, Debug)]
pub struct Deploy {
    /// The function.
    pub function: FunctionName,
    /// The stage.
    pub stage: StageName,
    /// The component, which must have been uploaded.
    pub component: Digest,
    /// The configuration.
    pub config: Arc<FunctionConfig>,
    /// What the stage lays over it; `None` stands for what it lays over the configuration of stable.
    pub stage_config: Option<Arc<StageConfig>>,
    /// How it gets its traffic.
    pub strategy: ReleaseStrategy,
    /// The share of the nodes of a cluster that must have prepared it before it gets traffic.
    pub prepared: Weight,
    /// Whether to abort a rollout that is under way.
    pub replace: bool,
    /// Whether the person may also move traffic in the stage.
    pub may_move_traffic: bool,
    /// Whether the version may do more than the one that is stable.
    pub allow_new: bool,
    /// Where the component comes from, if not from a file.
    pub provenance: Option<Provenance>,
}

/// The result of a deployment.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// The version.
    pub version: VersionNo,
    /// The kind of its component.
    pub kind: String,
    /// Whether nothing changed.
    pub unchanged: bool,
    /// Whether the stage had no version before.
    pub first: bool,
    /// Whether it serves with slower code until its optimised code is there.
    pub is_optimising: bool,
    /// What the version can do beyond the one that was stable, or all it can do if there was none.
    pub growth: Growth,
    /// The state that includes the deployment.
    pub state: Arc<State>,
}

/// What is known of a deployment besides its request: nothing before it is prepared.
#[derive(Default)]
struct Known<'a> {
    kind: &'a str,
    past: Option<Counts>,
    report: Option<Box<Report>>,
    imports: Option<&'a Imports>,
}

impl Deploy {
    fn plan(
        &self,
        asked: Option<&Asked>,
        known: Known<'_>,
        now_ms: u64,
        salt: Salt,
        state: &State,
    ) -> Result<DeployPlan, ChangeError> {
        let Known { kind, past, report, imports } = known;
        let deployment = Deployment {
            function: &self.function,
            stage: &self.stage,
            digest: self.component,
            kind,
            config: &self.config,
            stage_config: self.stage_config.as_ref(),
            strategy: &self.strategy,
            past,
            report,
            replace: self.replace,
            allow_new: self.allow_new,
            provenance: self.provenance.as_ref(),
            imports,
            salt,
            now_ms,
        };
        match asked {
            Some(Asked { rule, author, message }) => {
                state.plan_propose(&deployment, author, message.as_deref(), *rule)
            }
            None => state.plan_deploy(&deployment),
        }
    }
}

/// A release that others have to approve.
#[derive(Clone, Debug)]
struct Asked {
    rule: StageRule,
    author: String,
    message: Option<String>,
}

impl<H: Host, S: Store> Control<H, S> {
    /// Whether others have to approve `deploy`.
    ///
    /// # Errors
    /// The stage is protected from this person.
    fn asked(&self, deploy: &Deploy, note: &Note) -> Result<Option<Asked>, ChangeError> {
        let Some(&rule) = self.stage_rules.get(&deploy.stage) else { return Ok(None) };
        if deploy.strategy == ReleaseStrategy::NoTraffic {
            return Ok(None);
        }
        if rule.approvers > 0 {
            return Ok(Some(Asked { rule, author: note.actor.clone(), message: note.message.clone() }));
        }
        if rule.protected && !deploy.may_move_traffic {
            let (function, stage) = (deploy.function.clone(), deploy.stage.clone());
            return Err(ChangeError::Protected { function, stage });
        }
        Ok(None)
    }

    /// Deploys a component in its own task, so the deployment goes on if the client leaves.
    ///
    /// # Errors
    /// The component is missing or refused; the errors of [`State::plan_deploy`]; another revision than
    /// expected; too many deployments; a failure of the store.
    pub async fn deploy(
        self: &Arc<Self>,
        deploy: Deploy,
        note: Note,
        progress: ProgressSink,
    ) -> Result<Deployed, ControlError> {
        let busy = ControlError::Busy { what: "deployments", found: DEPLOYMENTS_MAX };
        let place = Arc::clone(&self.deployments).try_acquire_owned().map_err(|_| busy)?;
        let control = Arc::clone(self);
        let task = tokio::spawn(async move {
            let _place = place;
            control.carry_out(deploy, note, progress).await
        });
        task.await.unwrap_or(Err(ControlError::Interrupted))
    }

    async fn carry_out(
        &self,
        deploy: Deploy,
        note: Note,
        progress: ProgressSink,
    ) -> Result<Deployed, ControlError> {
        // Plan before compiling, so that a deployment that would be refused in the end is refused now.
        let (state, salt) = (self.state(), (self.salt)());
        note.check(&state, &deploy.function)?;
        let asked = self.asked(&deploy, &note)?;
        let plan = deploy.plan(asked.as_ref(), Known::default(), self.clock.now_ms(), salt, &state)?;
        if plan.change.is_none() {
            return Ok(deploy.done(&plan, state));
        }
        // What is too long is refused now, too.
        self.secrets_for(&deploy, &plan, &state)?;
        let pin = self.blobs.pin(deploy.component);
        let missing = ControlError::ComponentMissing(deploy.component);
        let path = self.component(deploy.component).await?.ok_or(missing)?;
        let prepared = {
            let _turn = self.compilations.acquire().await.map_err(|_| ControlError::Interrupted)?;
            match self.imports(&deploy, &path).await {
                Ok(imports) => {
                    let state = self.state();
                    let known = Known { imports: Some(&imports), ..Known::default() };
                    let plan = deploy.plan(asked.as_ref(), known, self.clock.now_ms(), salt, &state)?;
                    let secrets = self.secrets_for(&deploy, &plan, &state)?;
                    let config = FunctionConfig::clone(&plan.config);
                    // Nothing is compared with the first version of a stage.
                    let code = if plan.first { CodeWanted::Soon } else { CodeWanted::Optimised };
                    let wanted = Wanted { code, nodes: deploy.prepared };
                    let prepared =
                        self.host.prepare(deploy.component, path, config, secrets, wanted, progress).await;
                    prepared.map(|prepared| (prepared, imports))
                }
                Err(rejection) => Err(rejection),
            }
        };
        let (prepared, imports) = match prepared {
            Ok(prepared) => prepared,
            Err(rejection) => {
                drop(pin);
                self.discard(deploy.component).await;
                return Err(ControlError::Rejected(rejection));
            }
        };
        let past = deploy.past(self);
        let ahead = if asked.is_some() { None } else { self.load_baseline(&deploy).await };
        let mut planned = None;
        let committed = self
            .commit_function(&deploy.function, note, |state| -> Result<_, ControlError> {
                let now_ms = self.clock.now_ms();
                let report = deploy.report(self, state);
                let known = Known { kind: &prepared.kind, past, report, imports: Some(&imports) };
                let plan = deploy.plan(asked.as_ref(), known, now_ms, salt, state)?;
                // Values may have been set meanwhile.
                self.secrets_for(&deploy, &plan, state)?;
                Ok(planned.insert(plan).change.clone())
            })
            .await;
        if let Some(version) = ahead {
            let key = (deploy.function.clone(), deploy.stage.clone());
            self.writer.lock().await.publisher.drop_ahead(&key, version);
        }
        let state = committed?;
        let plan = planned.expect("a commit without error has planned");
        Ok(Deployed { is_optimising: prepared.is_optimising, ..deploy.done(&plan, state) })
    }
}

impl<H: Host, S: Store> Control<H, S> {
    /// What the component at `path` imports, and the one that `deploy` replaces.
    ///
    /// What cannot be read of a component that already runs counts as nothing: the new one then seems to do
    /// more, and somebody looks at it.
    async fn imports(&self, deploy: &Deploy, path: &Path) -> Result<Imports, Rejection> {
        let mut imports = Imports::default();
        imports.insert(deploy.component, self.host.imports(deploy.component, path.to_owned()).await?);
        let stable = self.state().function(&deploy.function).ok().and_then(|function| {
            let stable = function.stages.get(&deploy.stage)?.stable;
            Some(function.versions.get(&stable)?.build.digest)
        });
        if let Some(stable) = stable.filter(|&stable| stable != deploy.component) {
            let theirs = match self.blobs.find(stable).await {
                Ok(Some(path)) => self.host.imports(stable, path).await.unwrap_or_default(),
                Ok(None) | Err(_) => Vec::new(),
            };
            imports.insert(stable, theirs);
        }
        Ok(imports)
    }

    /// Loads the handle that serves the baseline of the rollout that `deploy` begins, so that no user of
    /// stable has to wait for it. Returns the version that the handle is for.
    pub(super) async fn load_baseline(&self, deploy: &Deploy) -> Option<VersionNo> {
        let ReleaseStrategy::Rollout(spec) = &deploy.strategy else { return None };
        if spec.plan().steps().is_empty() {
            return None;
        }
        let state = self.state();
        let found = state.function(&deploy.function).ok()?;
        let stable = found.stages.get(&deploy.stage)?.stable;
        let version = found.versions.get(&stable)?;
        let (digest, config) = (version.build.digest, version.config_in(&deploy.stage));
        let secrets = self.secrets.of_version((&deploy.function, found), &deploy.stage, stable).ok()?;
        let (function, stage) = (&deploy.function, &deploy.stage);
        let target = self.host.fresh_version(function, stage, stable, digest, &config, secrets);
        self.host.load(&target).await;
        let key = (deploy.function.clone(), deploy.stage.clone());
        self.writer.lock().await.publisher.hold_ahead(key, stable, target);
        Some(stable)
    }

    /// The secrets that the version will have in the stage.
    fn secrets_for(
        &self,
        deploy: &Deploy,
        plan: &DeployPlan,
        state: &State,
    ) -> Result<Arc<SecretSet>, ControlError> {
        let function = state.stored_function(&deploy.function).cloned().unwrap_or_default();
        let (name, are_variables) = (&deploy.function, deploy.config.secrets_env);
        Ok(self.secrets.set((name, &function), &deploy.stage, &plan.secrets, are_variables)?)
    }
}

impl Deploy {
    /// The past of the stable version, in case all traffic leaves it at once.
    pub(super) fn past<H: Host, S: Store>(&self, control: &Control<H, S>) -> Option<Counts> {
        let ReleaseStrategy::Rollout(spec) = &self.strategy else { return None };
        let state = control.state();
        let stable = state.function(&self.function).ok()?.stages.get(&self.stage)?.stable;
        let entry = control.entry(&(self.function.clone(), self.stage.clone()), stable)?;
        Some(past(spec.gate(), &entry.tally.snapshot()))
    }

    /// The numbers of the rollout under way, in case this deployment replaces it. The plan adds why it ends.
    fn report<H: Host, S: Store>(&self, control: &Control<H, S>, state: &State) -> Option<Box<Report>> {
        let key = (self.function.clone(), self.stage.clone());
        if self.replace { control.facts(&key, state, String::new()).report } else { None }
    }

    fn done(&self, plan: &DeployPlan, state: Arc<State>) -> Deployed {
        let function = state.function(&self.function).ok();
        let version = function.and_then(|function| function.versions.get(&plan.version));
        Deployed {
            version: plan.version,
            kind: version.map(|version| version.build.kind.clone()).unwrap_or_default(),
            unchanged: plan.change.is_none(),
            first: plan.first,
            is_optimising: false,
            growth: plan.growth.clone(),
            state,
        }
    }
}
