//! `wasm-fn events`.

use std::fmt::Write as _;

use http::Method;
use wasm_fn_api as api;

use crate::{
    args::{self, EventsCommand},
    commands::{DONE, connect},
    fault::Fault,
    output::{Look, Output, events, time},
};

pub(crate) async fn run(args: args::Events, output: Output) -> Result<u8, Fault> {
    match args.command {
        EventsCommand::List(args) => list(args, output).await,
        EventsCommand::Show(args) => show(args, output).await,
        EventsCommand::Redrive(args) => letters(args, "redrive", "redriven", output).await,
        EventsCommand::Discard(args) => letters(args, "discard", "discarded", output).await,
    }
}

impl args::EventsPlace {
    fn path(&self) -> String {
        let Self { function, stage, trigger, .. } = self;
        format!("/v1/functions/{function}/stages/{stage}/triggers/{trigger}/events")
    }
}

async fn list(args: args::EventsList, output: Output) -> Result<u8, Fault> {
    let args::EventsList { place, dead, limit, after } = args;
    let client = connect(&place.connection)?;
    let state = if dead { api::EventsState::Dead } else { api::EventsState::Waiting };
    let query = api::EventsQuery { state, after, limit: Some(limit) };
    let page = client.query(Method::GET, &place.path(), &query).await;
    let args::EventsPlace { function, trigger, .. } = &place;
    let page: api::EventsPage = page.map_err(|error| {
        error.fault(format!("the events of `{trigger}` of `{function}` cannot be listed"))
    })?;
    if page.events.is_empty() && !output.is_json() {
        let none =
            if dead { "has no dead letters" } else { "has no events that wait or are being delivered" };
        output.talk(&format!("{trigger} of {function} {none}"));
        return Ok(DONE);
    }
    output.data(&page, |page| events::events(page, time::now_ms(), Look::of_stdout()))?;
    if let Some(last) = page.events.last().filter(|_| page.more) {
        output.talk(&format!("there are more: pass --after {}", last.position));
    }
    Ok(DONE)
}

async fn show(args: args::EventsShow, output: Output) -> Result<u8, Fault> {
    let args::EventsShow { place, id } = args;
    let client = connect(&place.connection)?;
    let shown = client.get(&format!("{}/{}", place.path(), encoded(&id))).await;
    let shown: api::EventStatus =
        shown.map_err(|error| error.fault(format!("the event {id:?} cannot be shown")))?;
    output.data(&shown, events::event)?;
    Ok(DONE)
}

async fn letters(args: args::EventsLetters, command: &str, done: &str, output: Output) -> Result<u8, Fault> {
    let args::EventsLetters { place, ids, all } = args;
    let client = connect(&place.connection)?;
    let named = ids.len() as u64;
    let request = api::DeadLettersRequest { ids, all };
    let changed = client.call(Method::POST, &format!("{}/{command}", place.path()), Some(&request)).await;
    let args::EventsPlace { function, trigger, .. } = &place;
    let changed: api::DeadLettersChanged = changed
        .map_err(|error| error.fault(format!("no dead letter of `{trigger}` of `{function}` was {done}")))?;
    if changed.events == 0 && named > 0 {
        let cause = match named {
            1 => "the id is none of a dead letter".to_owned(),
            _ => format!("none of the {named} ids is of a dead letter"),
        };
        let what = format!("no dead letter of `{trigger}` of `{function}` was {done}");
        let list = format!("run `wasm-fn events list {function} {trigger} --dead` to list the dead letters");
        return Err(Fault::new("no-such-event", what, cause).help(list));
    }
    output.data(&changed, |changed| match changed.events {
        1 => format!("1 dead letter of {trigger} of {function} is {done}"),
        events => format!("{events} dead letters of {trigger} of {function} are {done}"),
    })?;
    Ok(DONE)
}

/// `id` as one segment of a path (RFC 3986, section 2.1).
fn encoded(id: &str) -> String {
    let mut encoded = String::with_capacity(id.len());
    for byte in id.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b':' => {
                encoded.push(char::from(byte))
            }
            // A segment of dots alone would be another path.
            _ => write!(encoded, "%{byte:02X}").expect("a string takes text"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn ids_are_one_segment() {
        assert_eq!(encoded("run-2026-11-30T12:00:00Z-0a"), "run-2026-11-30T12:00:00Z-0a");
        assert_eq!(encoded("a/b?c d.ä"), "a%2Fb%3Fc%20d%2E%C3%A4");
        assert_eq!(encoded(".."), "%2E%2E");
    }
}
