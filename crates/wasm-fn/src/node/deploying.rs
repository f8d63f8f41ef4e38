//! Deploys what events of code hosts and registries are about: fetches the artifact, and has it deployed as a
//! person's deployment is.
//!
//! Which events come when, how often and in which order, is not known here; nor is how a release goes on once
//! it has begun.

mod fetch;
mod https;
mod registry;
mod source;
mod subject;

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;
use wasm_fn_control::{
    ControlError, Deploy, Note, SecretId, SecretsError,
    host::Rejection,
    state::{ChangeError, Function, TriggerRelease},
};
use wasm_fn_core::{Digest, VersionNo, Weight};
use wasm_fn_delivery::{DeployEnd, DeployEvents, DeployFuture, DeployOutcome, DeployingEvent};
use wasm_fn_events::{TriggerId, WatchSource};
use wasm_fn_secrets::SecretValue;

use super::host::NodeControl;
use fetch::{FetchError, Fetcher, Found};
use subject::{Place, Subject};

pub(crate) use fetch::FetcherOptions;
pub(crate) use source::ArtifactSource;

/// Artifacts that are fetched at a time.
const FETCHES_MAX: usize = 2;

/// How long an event waits until it can be fetched, before it is tried again later.
const TURN_WAIT: Duration = Duration::from_secs(10);

/// When to look again at what only just changed.
const SOON: Duration = Duration::from_secs(1);

/// Deploys by the control plane.
pub(super) struct Deployer {
    control: Arc<NodeControl>,
    fetcher: Fetcher,
    turns: Semaphore,
}

impl Deployer {
    pub(super) fn new(control: Arc<NodeControl>, options: FetcherOptions) -> Arc<Self> {
        let fetcher = Fetcher::new(options);
        Arc::new(Self { control, fetcher, turns: Semaphore::new(FETCHES_MAX) })
    }

    /// The value of the trigger's credentials; `None` if it has none.
    fn credentials(
        &self,
        id: &TriggerId,
        name: Option<&wasm_fn_core::SecretName>,
    ) -> Result<Option<SecretValue>, FetchError> {
        let Some(name) = name else { return Ok(None) };
        let (function, stage) = (id.function.clone(), id.stage.clone());
        let secret = SecretId { function, stage, name: name.clone() };
        match self.control.newest_secret(&secret) {
            Ok(Some(value)) => Ok(Some(value)),
            Ok(None) => Err(FetchError::NotYet(format!("secret {name} is not set"))),
            Err(error) => Err(FetchError::OfNode(format!("secret {name} cannot be opened: {error}"))),
        }
    }

    async fn handle(&self, event: DeployingEvent<'_>) -> Result<DeployOutcome, DeployEnd> {
        let DeployingEvent { id, trigger, request, memory, .. } = event;
        let subject = subject::read(trigger, request)?;
        if let Some(newest) = memory.as_deref().and_then(subject::order)
            && subject.order.is_before(&newest)
        {
            return Err(skipped("a later event of this trigger took its place"));
        }
        let (credentials, memory) = (trigger.credentials(), Some(subject::memory(&subject.order)));
        let credentials = self.credentials(id, credentials)?;
        let turn = tokio::time::timeout(TURN_WAIT, self.turns.acquire());
        let Ok(Ok(_turn)) = turn.await else {
            let reason = format!("{FETCHES_MAX} other artifacts are being fetched");
            return Err(DeployEnd::NotYet { reason, after: Some(SOON) });
        };
        let found = match &subject.place {
            Place::Registry(reference) => Some(self.fetcher.find(reference, credentials.as_ref()).await?),
            // It is not known before it is here.
            Place::Url(_) => None,
        };
        let seen = self.seen(id, found.as_ref().map(Found::digest));
        let seen = match seen {
            Ok(seen) => seen,
            // Its artifact is there, so whatever was before it need not be deployed any more.
            Err(end) => return Ok(DeployOutcome { end, memory: memory.filter(|_| found.is_some()) }),
        };
        let fetched = match (found, &subject.place) {
            (Some(found), _) => self.fetcher.pull(found, credentials.as_ref(), self.control.blobs()).await?,
            (None, Place::Url(url)) => {
                self.fetcher.download(url, credentials.as_ref(), self.control.blobs()).await?
            }
            (None, Place::Registry(_)) => unreachable!("what is in a registry was found"),
        };
        if let Err(end) = self.seen(id, Some(fetched.digest)) {
            return Ok(DeployOutcome { end, memory });
        }
        let Seen { release, config, revision } = seen;
        let Subject { mut provenance, message, .. } = subject;
        fetched.describe(&mut provenance);
        provenance.trigger = Some(id.name.clone());
        let deploy = Deploy {
            function: id.function.clone(),
            stage: id.stage.clone(),
            component: fetched.digest,
            config,
            stage_config: None,
            strategy: release.strategy.clone(),
            prepared: Weight::FULL,
            replace: release.replace,
            may_move_traffic: release.may_move_traffic,
            allow_new: release.allow_new,
            provenance: Some(provenance),
        };
        let note = Note {
            actor: format!("trigger {id}"),
            token: None,
            origin: String::new(),
            message: Some(message),
            // What was deleted meanwhile is not made again.
            expected_revision: Some(revision),
        };
        let deployed = self.control.deploy(deploy, note, Arc::new(|_| {})).await;
        let end = match deployed {
            Ok(deployed) if deployed.unchanged => skipped(format!("{} is there already", deployed.version)),
            Ok(deployed) => {
                let version = deployed.version;
                let function = deployed.state.function(&id.function).ok();
                let waits = function.is_some_and(|function| is_proposed(function, id, version));
                let text = if waits { format!("{version} waits for approval") } else { version.to_string() };
                tracing::info!(trigger = %id, %version, waits_for_approval = waits, "event was deployed");
                DeployEnd::Deployed { version, text }
            }
            Err(error) => end_of(error),
        };
        Ok(DeployOutcome { end, memory })
    }

    /// What a deployment is made with, unless nothing is to be deployed now. `digest` is that of the
    /// component, if it is known.
    fn seen(&self, id: &TriggerId, digest: Option<Digest>) -> Result<Seen, DeployEnd> {
        let state = self.control.state();
        let refused = |error: ChangeError| DeployEnd::Refused { reason: error.to_string() };
        let release = state.trigger(id).map_err(refused)?.release.clone();
        let release =
            release.ok_or_else(|| DeployEnd::Refused { reason: "the trigger does not deploy".to_owned() })?;
        let function = state.function(&id.function).map_err(refused)?;
        let stage = function.stages.get(&id.stage).ok_or_else(|| {
            refused(ChangeError::NoSuchStage { function: id.function.clone(), stage: id.stage.clone() })
        })?;
        let has = |version: VersionNo| {
            let build = function.versions.get(&version).map(|version| &version.build);
            build.is_some_and(|build| Some(build.digest) == digest)
        };
        let canary = stage.canary();
        if let Some(canary) = canary.filter(|&canary| has(canary)) {
            return Err(skipped(format!("{canary} has this component, and is the canary")));
        }
        // While a rollout is under way, a deployment of stable would be one back to it.
        if canary.is_none() && has(stage.stable) {
            return Err(skipped(format!("{} has this component, and is stable", stage.stable)));
        }
        let proposed = function.proposals.get(&id.stage).map(|proposal| proposal.version);
        if let Some(version) = proposed.filter(|&version| has(version)) {
            return Err(skipped(format!("{version} has this component, and waits for approval")));
        }
        if let Some(canary) = canary.filter(|_| !release.replace) {
            let reason = format!(
                "stage `{}` of `{}` is rolling out from {} to {canary}, expected that to end first",
                id.stage, id.function, stage.stable
            );
            return Err(DeployEnd::NotYet { reason, after: None });
        }
        let config = function.versions.get(&stage.stable).map(|version| Arc::clone(&version.build.config));
        let (config, revision) = (config.unwrap_or_default(), function.revision);
        Ok(Seen { release, config, revision })
    }
}

/// What a deployment is made with, as it was seen at one moment.
struct Seen {
    release: Arc<TriggerRelease>,
    /// The settings of stable: a push changes the component only.
    config: Arc<wasm_fn_core::FunctionConfig>,
    revision: wasm_fn_core::Revision,
}

fn is_proposed(function: &Function, id: &TriggerId, version: VersionNo) -> bool {
    function.proposals.get(&id.stage).is_some_and(|proposal| proposal.version == version)
}

fn skipped(text: impl Into<String>) -> DeployEnd {
    DeployEnd::Skipped { text: text.into() }
}

/// What a failed deployment means for its event.
fn end_of(error: ControlError) -> DeployEnd {
    let reason = error.to_string();
    match error {
        ControlError::Plan(ChangeError::RolloutInProgress { .. } | ChangeError::Moved { .. })
        | ControlError::Conflict { .. } => DeployEnd::NotYet { reason, after: Some(SOON) },
        ControlError::Plan(ChangeError::AlreadyStable { .. }) => skipped(reason),
        ControlError::Plan(ChangeError::Grows(_)) => DeployEnd::Refused {
            reason: format!("{reason}; deploy it yourself, or add the trigger with --allow-new"),
        },
        // The cluster was not ready for it, which is no fault of the component.
        ControlError::Rejected(Rejection { code: "cluster-not-prepared", .. }) => {
            DeployEnd::OfNode { reason }
        }
        ControlError::Rejected(rejection) => {
            let help = rejection.help.map(|help| format!("; {help}")).unwrap_or_default();
            DeployEnd::Refused { reason: format!("{}{help}", rejection.message) }
        }
        ControlError::Plan(_) | ControlError::Secrets(SecretsError::Set(_)) => DeployEnd::Refused { reason },
        ControlError::ComponentMissing(_)
        | ControlError::Busy { .. }
        | ControlError::Token(_)
        | ControlError::Secrets(SecretsError::Unseal(_))
        | ControlError::Key(_)
        | ControlError::Store(_)
        | ControlError::Suspended { .. }
        | ControlError::Table(_)
        | ControlError::Disk(_)
        | ControlError::HandedOver
        | ControlError::OfCluster(_)
        | ControlError::Interrupted => DeployEnd::OfNode { reason },
    }
}

impl From<FetchError> for DeployEnd {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::NotYet(reason) => Self::NotYet { reason, after: None },
            FetchError::Refused(reason) => Self::Refused { reason },
            FetchError::OfNode(reason) => Self::OfNode { reason },
        }
    }
}

impl DeployEvents for Deployer {
    fn deploy<'a>(&'a self, event: DeployingEvent<'a>) -> DeployFuture<'a, DeployOutcome> {
        Box::pin(
            async move { self.handle(event).await.unwrap_or_else(|end| DeployOutcome { end, memory: None }) },
        )
    }

    fn digest<'a>(
        &'a self,
        id: &'a TriggerId,
        watch: &'a WatchSource,
    ) -> DeployFuture<'a, Result<String, String>> {
        Box::pin(async move {
            let digest = async {
                let credentials = self.credentials(id, watch.credentials())?;
                self.fetcher.resolve(watch.artifact(), credentials.as_ref()).await
            };
            match digest.await {
                Ok(digest) => Ok(format!("sha256:{digest}")),
                Err(
                    FetchError::NotYet(reason) | FetchError::Refused(reason) | FetchError::OfNode(reason),
                ) => Err(reason),
            }
        })
    }
}
