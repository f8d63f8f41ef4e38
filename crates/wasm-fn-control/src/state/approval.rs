//! Plans approvals of releases, and their rejection.

use wasm_fn_access::Tokens;
use wasm_fn_core::{FunctionName, Revision, StageName, TokenName, VersionNo};
use wasm_fn_rollout::Counts;
use wasm_fn_router::Salt;

use super::{
    Action, Approval, ChangeError, Deployment, Function, FunctionChange, NoApproval, Proposal,
    ReleaseStrategy, State,
};

/// An approval to plan.
#[derive(Clone, Debug)]
pub struct Approve<'a> {
    /// The function.
    pub function: &'a FunctionName,
    /// The stage.
    pub stage: &'a StageName,
    /// The proposal, as the person saw it.
    pub proposal: Revision,
    /// Their approval.
    pub approval: Approval,
    /// How many the stage asks for now.
    pub approvers: u32,
    /// The past of the stable version, for a rollout that leaves nothing to compare with.
    pub past: Option<Counts>,
    /// Random bits for a stage or rollout that begins.
    pub salt: Salt,
}

impl Proposal {
    /// The approvals that count: those whose tokens are still valid among `tokens`. A token that was
    /// rotated, or created anew under the name of one that was revoked, is another. People whom another
    /// party vouches for have no token of the node, so theirs stay.
    pub fn valid_approvals<'a>(
        &'a self,
        tokens: &'a Tokens,
        now_ms: u64,
    ) -> impl Iterator<Item = &'a Approval> {
        self.approvals.iter().filter(move |approval| {
            let name: Result<TokenName, _> = approval.by.parse();
            match (&approval.token, name) {
                (Some(id), Ok(name)) => {
                    tokens.get(&name).is_some_and(|token| token.is_valid(now_ms) && token.hash.id() == *id)
                }
                _ => true,
            }
        })
    }
}

impl State {
    /// The release that waits for approval in `stage`.
    ///
    /// # Errors
    /// An unknown function; nothing waits.
    pub fn proposal(&self, function: &FunctionName, stage: &StageName) -> Result<&Proposal, ChangeError> {
        let found = self.function(function)?.proposals.get(stage);
        found.ok_or_else(|| refused(function, stage, NoApproval::Nothing))
    }

    /// Plans an approval. With the last that is needed, the release begins.
    ///
    /// # Errors
    /// Why the approval does not count; the errors of [`plan_deploy`](Self::plan_deploy).
    pub fn plan_approve(&self, approve: Approve<'_>) -> Result<FunctionChange, ChangeError> {
        let Approve { function: name, stage, proposal: seen, approval, approvers, past, salt } = approve;
        let proposal = self.proposal(name, stage)?;
        let no = |why| Err(refused(name, stage, why));
        let now_ms = approval.at_ms;
        if proposal.revision != seen {
            return no(NoApproval::Changed { found: proposal.revision, expected: seen });
        }
        if now_ms >= proposal.expires_ms {
            return no(NoApproval::Expired);
        }
        if approval.by == proposal.author {
            return no(NoApproval::Author(approval.by));
        }
        if proposal.valid_approvals(&self.tokens, now_ms).any(|other| other.by == approval.by) {
            return no(NoApproval::Twice(approval.by));
        }
        let count = u32::try_from(proposal.valid_approvals(&self.tokens, now_ms).count()).unwrap_or(u32::MAX);
        let version = proposal.version;
        let (mut after, mut aborted) = (None, None);
        let begins = count.saturating_add(1) >= proposal.approvers.max(approvers);
        if begins {
            let function = self.function(name)?;
            let unknown = || ChangeError::NoSuchVersion {
                function: name.clone(),
                stage: stage.clone(),
                asked: wasm_fn_core::VersionRef::No(version),
            };
            let build = &function.versions.get(&version).ok_or_else(unknown)?.build;
            let strategy = ReleaseStrategy::of(proposal);
            let deployment = Deployment {
                function: name,
                stage,
                digest: build.digest,
                kind: &build.kind,
                config: &build.config,
                stage_config: None,
                strategy: &strategy,
                past,
                report: None,
                replace: proposal.replace,
                allow_new: true,
                provenance: None,
                imports: None,
                salt,
                now_ms,
            };
            (after, aborted) = deployment.placed(function, version)?;
        }
        let action = Action::Approve { stage: stage.clone(), version, approval, begins, aborted, after };
        let change = FunctionChange { function: name.clone(), action };
        self.check_claims(&change)?;
        Ok(change)
    }

    /// Plans to withdraw the release that waits for approval. Its version stays.
    ///
    /// # Errors
    /// Nothing waits, or another proposal than the one that was seen.
    pub fn plan_reject(
        &self,
        function: &FunctionName,
        stage: &StageName,
        seen: Revision,
    ) -> Result<FunctionChange, ChangeError> {
        let proposal = self.proposal(function, stage)?;
        if proposal.revision != seen {
            let changed = NoApproval::Changed { found: proposal.revision, expected: seen };
            return Err(refused(function, stage, changed));
        }
        let action = Action::Reject { stage: stage.clone(), version: proposal.version };
        Ok(FunctionChange { function: function.clone(), action })
    }

    /// Checks that a person may give traffic to `versions` in a stage where others approve releases: only to
    /// those that have it, or had it.
    ///
    /// # Errors
    /// Names the first version that needs approval.
    pub fn check_approved(
        &self,
        function: &FunctionName,
        stage: &StageName,
        versions: impl IntoIterator<Item = VersionNo>,
    ) -> Result<(), ChangeError> {
        let current = self.function(function)?.stages.get(stage);
        let known = |version: &VersionNo| {
            current.is_some_and(|current| {
                current.stable == *version
                    || current.previous.contains(version)
                    || (current.moving().is_none()
                        && current.split.shares().iter().any(|(other, _)| other == version))
            })
        };
        match versions.into_iter().find(|version| !known(version)) {
            None => Ok(()),
            Some(version) => {
                Err(ChangeError::NeedsApproval { function: function.clone(), stage: stage.clone(), version })
            }
        }
    }
}

impl ReleaseStrategy {
    /// How the release of `proposal` gets its traffic.
    pub fn of(proposal: &Proposal) -> Self {
        proposal.spec.clone().map_or(Self::AllAtOnce, Self::Rollout)
    }
}

impl Function {
    /// Notes that a release begins only with approvals.
    pub(super) fn propose(&mut self, stage: &StageName, proposal: &Proposal) {
        self.proposals.insert(stage.clone(), proposal.clone());
    }

    /// Notes an approval, or the end of the proposal with the last one.
    pub(super) fn approve(&mut self, stage: &StageName, approval: &Approval, begins: bool) {
        if begins {
            self.proposals.remove(stage);
        } else if let Some(proposal) = self.proposals.get_mut(stage) {
            proposal.approvals.push(approval.clone());
        }
    }
}

fn refused(function: &FunctionName, stage: &StageName, why: NoApproval) -> ChangeError {
    ChangeError::Approval { function: function.clone(), stage: stage.clone(), why }
}
