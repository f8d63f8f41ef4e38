//! `wasm-fn explain`: what the code of an error means, and what to do about it.

use super::DONE;
use crate::{
    args, explain,
    fault::Fault,
    output::{Look, Output, explanation},
};

/// Explains the code, or lists all of them.
pub(super) fn run(args: &args::Explain, output: Output) -> Result<u8, Fault> {
    let look = Look::of_stdout();
    let Some(code) = &args.code else {
        if output.is_json() {
            explain::all().try_for_each(|one| output.record(&one, |one| explanation::one(one, look)))?;
        } else {
            let all: Vec<_> = explain::all().collect();
            output.data(&all, |all| explanation::list(all, look))?;
        }
        return Ok(DONE);
    };
    // As it stands in JSON, or in a line of a log.
    let typed = code.trim().trim_matches(['"', '\'', '`']).to_ascii_lowercase();
    let found: Vec<_> = explain::all().filter(|one| one.code == typed).collect();
    if found.is_empty() {
        return Err(unknown(code, explain::nearest(&typed)));
    }
    if output.is_json() {
        found.iter().try_for_each(|one| output.record(one, |one| explanation::one(one, look)))?;
    } else {
        let text = |found: &Vec<_>| {
            found.iter().map(|one| explanation::one(one, look)).collect::<Vec<_>>().join("\n\n")
        };
        output.data(&found, text)?;
    }
    Ok(DONE)
}

fn unknown(code: &str, nearest: Option<&str>) -> Fault {
    let help = match nearest {
        Some(code) => {
            format!("run `wasm-fn explain {code}` if that is meant; `wasm-fn explain` lists all codes")
        }
        None => "run `wasm-fn explain` to list all codes".to_owned(),
    };
    let cause = format!("found {code:?}, expected the `code` of an error, such as guest-trap");
    Fault::new("no-such-code", "there is no such error code", cause).help(help)
}
