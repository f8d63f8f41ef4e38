//! Triggers and their events.

mod deploy;
mod event;
mod spec;
mod view;

pub use deploy::{
    TriggerDeploymentsView, TriggerReleaseSpec, TriggerReleaseView, WatchSpec, WatchView, WebhookDeploySpec,
};
pub use event::{
    BackfillRequest, DeadLettersChanged, DeadLettersRequest, EventHeaderView, EventRequestView,
    EventStateView, EventStatus, EventView, EventsPage, EventsQuery, EventsState, TriggerBackfilled,
    TriggerRun,
};
pub use spec::{QueueSpec, RetrySpec, ScheduleSpec, SourceSpec, TriggerCommand, TriggerRequest, WebhookSpec};
pub use view::{
    AllTriggers, CanaryRunsView, InboxView, PauseView, QueueView, TriggerCountsView, TriggerList,
    TriggerRemoved, TriggerVersionView, TriggerView, TriggersQuery,
};

/// What stands in place of a trigger's name for requests that clients sent asynchronously.
pub const ASYNC: &str = "@async";
