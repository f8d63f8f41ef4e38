//! Programs that keep credentials: `docker-credential-NAME get` (docker-credential-helpers).

use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
    time::Duration,
};

use serde::Deserialize;
use tokio::{sync::oneshot, time};
use zeroize::Zeroizing;

use super::{Credentials, CredentialsError};
use crate::error::shown;

/// How long a program may take. It may ask somebody to unlock a keychain.
const WAIT: Duration = Duration::from_secs(30);

/// Most of what a program says, bytes.
const OUTPUT_BYTES_MAX: u64 = 64 << 10;

/// What a program says if it has nothing.
const NOT_FOUND: &str = "credentials not found";

/// The user name that stands for "this is a token".
const TOKEN: &str = "<token>";

/// What a program says.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Said {
    username: String,
    secret: String,
}

/// Asks `docker-credential-HELPER` for the credentials of `registry`. `None` if it has none. `path` is where
/// it is looked for, if not in the `PATH` of this process.
pub(super) async fn get(
    helper: &str,
    registry: &str,
    path: Option<&OsStr>,
) -> Result<Option<Credentials>, CredentialsError> {
    let error = |cause: String| CredentialsError::Helper {
        helper: shown(helper),
        registry: registry.to_owned(),
        cause,
    };
    // A part of a program's name, and not a path.
    let is_name = helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if !is_name {
        return Err(error("its name has other characters than letters, digits, `-`, `_` and `.`".to_owned()));
    }
    let mut command = Command::new(format!("docker-credential-{helper}"));
    command.arg("get").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.envs(path.map(|path| ("PATH", path)));
    let mut child = command.spawn().map_err(|cause| error(format!("it cannot be started: {cause}")))?;
    let answered = time::timeout(WAIT, ask(&mut child, registry)).await;
    // It has answered, or has had its time. One that has ended is not harmed.
    let _ = child.kill();
    let _ = child.wait();
    let (said, success) = match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(cause)) => return Err(error(cause.to_string())),
        Err(_) => return Err(error(format!("it did not answer within {}s", WAIT.as_secs()))),
    };
    if !success {
        let said = String::from_utf8_lossy(&said);
        return if said.contains(NOT_FOUND) { Ok(None) } else { Err(error(shown(&said))) };
    }
    // The text of the JSON error could show the secret.
    let said: Said = serde_json::from_slice(&said)
        .map_err(|_| error("its answer is not as expected: JSON with Username and Secret".to_owned()))?;
    let (username, secret) = (said.username, Zeroizing::new(said.secret));
    Ok(match username.as_str() {
        _ if secret.is_empty() => None,
        TOKEN => Some(Credentials::IdentityToken(secret)),
        _ => Some(Credentials::Basic { username, password: secret }),
    })
}

/// What the program says, and whether it succeeded.
async fn ask(child: &mut Child, registry: &str) -> std::io::Result<(Zeroizing<Vec<u8>>, bool)> {
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    let (stdin, stdout) = stdin.zip(stdout).expect("both were asked for");
    let (send, answer) = oneshot::channel();
    let registry = registry.to_owned();
    // A thread of its own: tokio would wait for one of its own when it ends, and what a program has started
    // may hold its output open for ever.
    thread::Builder::new().name("credentials".to_owned()).spawn(move || {
        let _ = send.send(converse(stdin, stdout, &registry));
    })?;
    let said = answer.await.map_err(std::io::Error::other)??;
    // Its output has ended, so it is about to end.
    loop {
        match child.try_wait()? {
            Some(status) => return Ok((said, status.success())),
            None => time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// Says `registry` to the program, and reads its answer. Blocks.
fn converse(
    mut stdin: ChildStdin,
    stdout: ChildStdout,
    registry: &str,
) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // One that does not read it fails by words of its own.
    let _ = stdin.write_all(registry.as_bytes());
    drop(stdin);
    let mut said = Zeroizing::new(Vec::new());
    stdout.take(OUTPUT_BYTES_MAX).read_to_end(&mut said)?;
    Ok(said)
}
