//! The command of a deployment once more: with more rights for its version, or with traffic for it.

/// The option with a token, which is printed nowhere.
const TOKEN: &str = "--token";

/// The option that keeps traffic from a version.
const NO_TRAFFIC: &str = "--no-traffic";

/// The command with the arguments `typed`, such as `deploy hello.wasm`, and with `--allow-new`. A shell reads
/// it as it was typed, but for the token.
pub(super) fn accepting(typed: impl Iterator<Item = String>) -> String {
    command(typed, Some("--allow-new"))
}

/// The command with the arguments `typed` for a version that is to get traffic. If none of them kept it from
/// that, the configuration did.
pub(super) fn releasing(typed: impl Iterator<Item = String>) -> String {
    let typed: Vec<_> = typed.collect();
    let more = (!typed.iter().any(|arg| arg == NO_TRAFFIC)).then_some("--all-at-once");
    command(typed.into_iter().filter(|arg| arg != NO_TRAFFIC), more)
}

/// The command with the arguments `typed`, and with the option `more`.
fn command(typed: impl Iterator<Item = String>, more: Option<&str>) -> String {
    let mut command = "wasm-fn".to_owned();
    let (mut more, mut is_token) = (more, false);
    for arg in typed {
        if std::mem::take(&mut is_token) {
            continue;
        }
        if arg == TOKEN {
            is_token = true;
            continue;
        }
        if arg.strip_prefix(TOKEN).is_some_and(|rest| rest.starts_with('=')) {
            continue;
        }
        command.push(' ');
        command += &quoted(&arg);
        if let Some(option) = more.take_if(|_| ["deploy", "promote-stage"].contains(&&*arg)) {
            command.push(' ');
            command += option;
        }
    }
    command
}

/// `arg` as a shell reads it.
pub(super) fn quoted(arg: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,%@+".contains(c);
    if !arg.is_empty() && arg.chars().all(is_plain) {
        return arg.to_owned();
    }
    format!("'{}'", arg.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
