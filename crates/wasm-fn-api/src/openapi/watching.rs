//! The operations that show functions over time.

use super::{Describer, Description, parts::query};
use crate::{
    FunctionChanges, FunctionEvent, FunctionSeries, NodeQuery, Operation, SeriesList, SeriesQuery, WatchQuery,
};

impl Describer {
    /// The description of an operation on series and streams.
    pub(super) fn of_watching(&mut self, operation: Operation) -> Description {
        match operation {
            Operation::ListSeries => Description {
                tag: "functions",
                summary: "Reads the last hour of several functions, by the minute, from the memory of the node.",
                parameters: query::<SeriesQuery>(),
                body: None,
                success: self.json::<SeriesList>("The functions among them that there are"),
                refusals: &[("400", "`invalid-name`, `invalid-request`")],
            },
            Operation::GetSeries => Description {
                tag: "functions",
                summary: "Reads a function's last hour by ten seconds, and the evidence of its rollouts, from the memory of \
                          the node.",
                parameters: self.with_query::<NodeQuery>(),
                body: None,
                success: self.json::<FunctionSeries>("Its numbers over time"),
                refusals: &[("404", "`no-such-function`")],
            },
            Operation::WatchFunctions => Description {
                tag: "functions",
                summary: "Streams what changes about the functions that the client sees, at most once a second.",
                parameters: query::<WatchQuery>(),
                body: None,
                success: self
                    .events::<FunctionChanges>("Functions and numbers that have changed; all of them first"),
                refusals: &[("400", "`invalid-request`"), ("503", "`busy`")],
            },
            // The only one left.
            _ => Description {
                tag: "functions",
                summary: "Streams the status of a function whenever it changes, at most four times a second.",
                parameters: self.with_query::<WatchQuery>(),
                body: None,
                success: self.events::<FunctionEvent>("The function as it is, and then as it becomes"),
                refusals: &[("400", "`invalid-request`"), ("404", "`no-such-function`"), ("503", "`busy`")],
            },
        }
    }
}
