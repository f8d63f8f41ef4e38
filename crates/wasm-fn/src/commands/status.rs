//! `wasm-fn status`: once, or again and again.

use std::time::Duration;

use console::Term;
use tokio::time::{MissedTickBehavior, interval};
use wasm_fn_control::wire;
use wasm_fn_core::FunctionName;

use super::{DONE, connect, functions};
use crate::{
    args,
    client::{Client, ClientError},
    fault::Fault,
    output::{self, Output, lines, tables, time},
};

/// Time between two looks.
const PERIOD: Duration = Duration::from_secs(1);

/// What is looked at.
enum Seen {
    All(wire::FunctionList),
    One(wire::FunctionStatus),
}

pub(super) async fn run(args: args::Status, output: Output) -> Result<u8, Fault> {
    let args::Status { function, watch, connection } = args;
    let client = connect(&connection)?;
    if watch {
        tokio::select! {
            ended = follow(&client, function.as_ref(), output) => ended?,
            _ = tokio::signal::ctrl_c() => {}
        }
        return Ok(DONE);
    }
    match look(&client, function.as_ref()).await? {
        Seen::All(list) => {
            output.data(&list, tables::summaries)?;
            functions::none_yet(&list, output);
        }
        Seen::One(status) => output.data(&status, |status| tables::status(status, time::now_ms()))?,
    }
    Ok(DONE)
}

async fn look(client: &Client, function: Option<&FunctionName>) -> Result<Seen, Fault> {
    let seen = match function {
        None => client.get("/v1/functions").await.map(Seen::All),
        Some(function) => client.get(&format!("/v1/functions/{function}")).await.map(Seen::One),
    };
    seen.map_err(|error: ClientError| match function {
        None => error.fault("the functions cannot be shown"),
        Some(function) => error.fault(format!("`{function}` cannot be shown")),
    })
}

/// Redraws a terminal; otherwise prints lines that can be searched and cut.
async fn follow(client: &Client, function: Option<&FunctionName>, output: Output) -> Result<(), Fault> {
    let redraw = output::stdout_is_terminal() && !output.is_json();
    let mut looks = interval(PERIOD);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        looks.tick().await;
        let (seen, now_ms) = (look(client, function).await?, time::now_ms());
        if redraw {
            Term::stdout().clear_screen().map_err(|error| Fault::output(&error))?;
        }
        match seen {
            Seen::All(list) if redraw => output.data(&list, tables::summaries)?,
            Seen::One(status) if redraw => output.data(&status, |status| tables::status(status, now_ms))?,
            Seen::All(list) if output.is_json() => output.record(&list, |_| String::new())?,
            Seen::One(status) if output.is_json() => output.record(&status, |_| String::new())?,
            Seen::All(list) => {
                for function in &list.functions {
                    output.record(function, |function| lines::summary(function, now_ms))?;
                }
            }
            Seen::One(status) => {
                for stage in &status.stages {
                    output.record(stage, |stage| lines::stage(&status.function, stage, now_ms))?;
                }
            }
        }
    }
}
