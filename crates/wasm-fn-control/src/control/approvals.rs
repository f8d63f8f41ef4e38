//! Releases that others approve before they begin.

use std::sync::Arc;

use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo, VersionRef, Weight};
use wasm_fn_store::Store;

use super::{Control, ControlError, Deploy, Note};
use crate::{
    host::Host,
    state::{Approval, Approve, ChangeError, ReleaseStrategy, State},
};

impl<H: Host, S: Store> Control<H, S> {
    /// Whether others have to approve releases to stages of this name.
    pub(super) fn needs_approval(&self, stage: &StageName) -> bool {
        self.stage_rules.get(stage).is_some_and(|rule| rule.approvers > 0)
    }

    /// Whether others have to approve `version` in `stage` before a person may give it traffic there, as
    /// `state` has it.
    pub fn is_unapproved(
        &self,
        state: &State,
        function: &FunctionName,
        stage: &StageName,
        version: VersionNo,
    ) -> bool {
        self.needs_approval(stage)
            && matches!(
                state.check_approved(function, stage, [version]),
                Err(ChangeError::NeedsApproval { .. })
            )
    }

    /// Approves the release that waits in a stage, as it was seen: `proposal` is its revision. With the last
    /// approval that it needs, the release begins.
    ///
    /// # Errors
    /// The errors of [`State::plan_approve`]; another revision than expected; a failure of the store.
    pub async fn approve(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        proposal: Revision,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let deploy = self.proposed(&function, &stage)?;
        let past = deploy.past(self);
        let ahead = self.load_baseline(&deploy).await;
        let (salt, on) = ((self.salt)(), stage.clone());
        let approvers = self.stage_rules.get(&stage).map_or(0, |rule| rule.approvers);
        let (control, name) = (Arc::clone(self), function.clone());
        let (by, token, message) = (note.actor.clone(), note.token.clone(), note.message.clone());
        let approved = self
            .mutate(function.clone(), note, move |state| {
                let (by, token, message) = (by.clone(), token.clone(), message.clone());
                let approval = Approval { by, token, at_ms: control.clock.now_ms(), message };
                let (function, stage) = (&name, &stage);
                state
                    .plan_approve(Approve { function, stage, proposal, approval, approvers, past, salt })
                    .map(Some)
            })
            .await;
        if let Some(version) = ahead {
            self.writer.lock().await.publisher.drop_ahead(&(function, on), version);
        }
        approved
    }

    /// Withdraws the release that waits in a stage, as it was seen.
    ///
    /// # Errors
    /// The errors of [`State::plan_reject`]; another revision than expected; a failure of the store.
    pub async fn reject(
        self: &Arc<Self>,
        function: FunctionName,
        stage: StageName,
        proposal: Revision,
        note: Note,
    ) -> Result<Arc<State>, ControlError> {
        let name = function.clone();
        self.mutate(name, note, move |state| state.plan_reject(&function, &stage, proposal).map(Some)).await
    }

    /// The deployment that waits in `stage`, for what is loaded before it begins.
    fn proposed(&self, function: &FunctionName, stage: &StageName) -> Result<Deploy, ControlError> {
        let state = self.state();
        let proposal = state.proposal(function, stage)?;
        let unknown = || ChangeError::NoSuchVersion {
            function: function.clone(),
            stage: stage.clone(),
            asked: VersionRef::No(proposal.version),
        };
        let build = &state.function(function)?.versions.get(&proposal.version).ok_or_else(unknown)?.build;
        Ok(Deploy {
            function: function.clone(),
            stage: stage.clone(),
            component: build.digest,
            config: Arc::clone(&build.config),
            stage_config: None,
            strategy: ReleaseStrategy::of(proposal),
            prepared: Weight::FULL,
            replace: proposal.replace,
            may_move_traffic: true,
            allow_new: true,
            provenance: None,
        })
    }
}
