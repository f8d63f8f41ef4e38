//! The operations on triggers and on their events.

use utoipa::{
    PartialSchema as _,
    openapi::Required,
    openapi::path::{ParameterBuilder, ParameterIn},
};

use super::{Describer, Description, parts::query};
use crate::{
    AllTriggers, BackfillRequest, DeadLettersChanged, DeadLettersRequest, DeleteQuery, EventStatus,
    EventsPage, EventsQuery, Operation, TriggerBackfilled, TriggerCommand, TriggerList, TriggerRemoved,
    TriggerRequest, TriggerRun, TriggerView, TriggersQuery,
};

/// Why what a path names is refused.
const NO_SUCH: (&str, &str) = ("404", "`no-such-function`, `no-such-trigger`");

/// Why a command to a trigger is refused.
const COMMAND: &[(&str, &str)] =
    &[("400", "`invalid-name`, `invalid-request`"), NO_SUCH, ("409", "`revision-conflict`")];

impl Describer {
    /// The description of an operation on triggers.
    pub(super) fn of_triggers(&mut self, operation: Operation) -> Description {
        match operation {
            Operation::ListTriggers => Description {
                tag: "triggers",
                summary: "Lists the triggers of a function, with what they have in the inbox.",
                parameters: vec![self.function()],
                body: None,
                success: self.json::<TriggerList>("The triggers"),
                refusals: &[("404", "`no-such-function`")],
            },
            Operation::ListAllTriggers => Description {
                tag: "triggers",
                summary: "Lists the triggers of all functions that the client may see.",
                parameters: query::<TriggersQuery>(),
                body: None,
                success: self.json::<AllTriggers>("The triggers, by function, stage and name"),
                refusals: &[("400", "`invalid-name`, `invalid-request`")],
            },
            Operation::AddTrigger => Description {
                tag: "triggers",
                summary: "Adds a trigger to a stage of a function. One of this name must not be there.",
                parameters: self.trigger().to_vec(),
                body: Some(self.body::<TriggerRequest>()),
                success: self.json::<TriggerView>("The trigger"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-trigger`, `invalid-request`"),
                    ("404", "`no-such-function`, `no-such-stage`"),
                    ("409", "`trigger-exists`, `too-many-triggers`, `secret-not-set`, `revision-conflict`"),
                ],
            },
            Operation::RemoveTrigger => Description {
                tag: "triggers",
                summary: "Removes a trigger. Its events are removed after it, the dead letters included.",
                parameters: self.trigger().into_iter().chain(query::<DeleteQuery>()).collect(),
                body: None,
                success: self.json::<TriggerRemoved>("The trigger is removed"),
                refusals: COMMAND,
            },
            Operation::PauseTrigger => self.commands_trigger(
                "Pauses a trigger. Events that come meanwhile wait; ticks of a schedule are skipped.",
            ),
            Operation::ResumeTrigger => self.commands_trigger("Lets a paused trigger go on."),
            Operation::RunTrigger => Description {
                tag: "triggers",
                summary: "Runs a schedule once, now, whatever its times.",
                parameters: self.trigger().to_vec(),
                body: None,
                success: self.json::<TriggerRun>("The run is in the inbox"),
                refusals: &[NO_SUCH, ("409", "`not-a-schedule`"), ("503", "`inbox-full`, `not-ready`")],
            },
            Operation::BackfillTrigger => Description {
                tag: "triggers",
                summary: "Runs a schedule now for each of its times in a range.",
                parameters: self.trigger().to_vec(),
                body: Some(self.body::<BackfillRequest>()),
                success: self.json::<TriggerBackfilled>("The runs are in the inbox"),
                refusals: &[
                    ("400", "`invalid-name`, `invalid-request`"),
                    NO_SUCH,
                    ("409", "`not-a-schedule`, `no-ticks`"),
                    ("503", "`inbox-full`, `not-ready`"),
                ],
            },
            // The only one left.
            _ => Description {
                tag: "triggers",
                summary: "Shows a trigger, with what it has in the inbox.",
                parameters: self.trigger().to_vec(),
                body: None,
                success: self.json::<TriggerView>("The trigger"),
                refusals: &[NO_SUCH],
            },
        }
    }

    /// The description of an operation on events.
    pub(super) fn of_events(&mut self, operation: Operation) -> Description {
        match operation {
            Operation::ListEvents => Description {
                tag: "events",
                summary: "Lists events of a trigger that wait or are being delivered, or its dead letters.",
                parameters: self.events_of().into_iter().chain(query::<EventsQuery>()).collect(),
                body: None,
                success: self.json::<EventsPage>("The events, in the order in which they came"),
                refusals: &[("400", "`invalid-name`, `invalid-request`"), NO_SUCH],
            },
            Operation::RedriveEvents => self.moves_dead_letters(
                "Has dead letters delivered again, as if they came now.",
                "They are in the inbox",
            ),
            Operation::DiscardEvents => {
                self.moves_dead_letters("Removes dead letters for good.", "They are removed")
            }
            // The only one left.
            _ => Description {
                tag: "events",
                summary: "Shows what became of an event, and its request while it waits or is a dead letter.",
                parameters: {
                    let event = ParameterBuilder::new()
                        .name("event")
                        .parameter_in(ParameterIn::Path)
                        .required(Required::True)
                        .description(Some("Id of the event"))
                        .schema(Some(String::schema()));
                    self.events_of().into_iter().chain([event.build()]).collect()
                },
                body: None,
                success: self.json::<EventStatus>("The event"),
                refusals: &[("404", "`no-such-function`, `no-such-trigger`, `no-such-event`")],
            },
        }
    }

    fn commands_trigger(&mut self, summary: &'static str) -> Description {
        Description {
            tag: "triggers",
            summary,
            parameters: self.trigger().to_vec(),
            body: Some(self.body::<TriggerCommand>()),
            success: self.json::<TriggerView>("The trigger after the command"),
            refusals: COMMAND,
        }
    }

    fn moves_dead_letters(&mut self, summary: &'static str, done: &str) -> Description {
        Description {
            tag: "events",
            summary,
            parameters: self.events_of().to_vec(),
            body: Some(self.body::<DeadLettersRequest>()),
            success: self.json::<DeadLettersChanged>(done),
            refusals: &[
                ("400", "`invalid-name`, `invalid-request`"),
                NO_SUCH,
                ("503", "`inbox-full`, `not-ready`"),
            ],
        }
    }
}
