//! Who the user is: `login`, `logout` and `whoami`.

pub(crate) mod login;
pub(crate) mod logout;

use super::access::tokens;
use crate::{args, fault::Fault, output::Output};

/// `whoami`: what `tokens show` tells, under the name that people look for.
pub(crate) async fn whoami(args: args::Whoami, output: Output) -> Result<u8, Fault> {
    tokens::show(&args.connection, output).await
}
