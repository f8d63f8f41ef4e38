//! Runs a command for a request by the rules of CGI (RFC 3875): the request is its environment and standard
//! input, the response its standard output.

mod output;
mod pipe;
mod variables;

pub(crate) use output::HeadReader;
pub(crate) use pipe::{CgiInput, CgiOutput};
pub(crate) use variables::{CgiRequest, Origin, variables};

#[cfg(test)]
mod tests;
