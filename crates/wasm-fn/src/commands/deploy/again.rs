//! The command of a deployment once more, with more rights for its version.

/// The option with a token, which is printed nowhere.
const TOKEN: &str = "--token";

/// The command with the arguments `typed`, such as `deploy hello.wasm`, and with `--allow-new`. A shell reads
/// it as it was typed, but for the token.
pub(super) fn accepting(typed: impl Iterator<Item = String>) -> String {
    let mut command = "wasm-fn".to_owned();
    let (mut is_allowed, mut is_token) = (false, false);
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
        if ["deploy", "promote-stage"].contains(&&*arg) && !is_allowed {
            is_allowed = true;
            command += " --allow-new";
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
