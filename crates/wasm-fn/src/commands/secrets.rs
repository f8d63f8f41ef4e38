//! `wasm-fn secrets`. Values come from standard input, a prompt or a file, and never from the command line,
//! which other users of the machine can read.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    path::Path,
};

use bytes::Bytes;
use http::Method;
use wasm_fn_api as api;
use wasm_fn_core::SecretName;
use wasm_fn_secrets::SecretValue;
use zeroize::Zeroizing;

use super::{DONE, connect, deploy};
use crate::{
    args::{self, SecretsCommand},
    client::Client,
    fault::Fault,
    import::{self, IdentityFile},
    output::{Output, secrets, stdin_is_terminal},
};

/// Most bytes to read of a value, and of a file with values.
const BYTES_MAX: u64 = 4 << 20;

pub(super) async fn run(args: args::Secrets, output: Output) -> Result<u8, Fault> {
    match args.command {
        SecretsCommand::Set(args) => set(args, output).await,
        SecretsCommand::Import(args) => import(args, output).await,
        SecretsCommand::List(args) => list(args, output).await,
        SecretsCommand::Delete(args) => delete(args, output).await,
        SecretsCommand::RotateKey(args) => rotate_key(args, output).await,
    }
}

async fn set(args: args::SecretsSet, output: Output) -> Result<u8, Fault> {
    let args::SecretsSet { name, place, deploy, connection } = args;
    let failed = || not_set(&name, &place);
    let bytes = value(&name).map_err(|error| Fault::new("unreadable-value", failed(), error))?;
    let value = checked(bytes, failed())?;
    let client = connect(&connection)?;
    let set = put(&client, &name, &place, &value).await?;
    if deploy.deploy {
        output.talk(&secrets::set(&set));
        return release(place, deploy, connection, output).await;
    }
    output.data(&set, secrets::set)?;
    output.talk("versions keep the value that they have; the next deployment gets the new one");
    Ok(DONE)
}

async fn import(args: args::SecretsImport, output: Output) -> Result<u8, Fault> {
    let args::SecretsImport { file, identity, place, deploy, connection } = args;
    let shown = file.display().to_string();
    let failed = || format!("no secret of `{}` was set", place.function);
    let unreadable =
        |error: &dyn std::fmt::Display| Fault::new("unreadable-file", failed(), format!("{shown}: {error}"));
    let bytes = file_bytes(&file).map_err(|error| unreadable(&error))?;
    let identities = IdentityFile::find(identity, |name| std::env::var_os(name));
    let values = import::read(&bytes, &file, &identities);
    let values = values.map_err(|error| Fault::new(error.code(), failed(), format!("{shown}: {error}")))?;
    let mut request = api::SecretsRequest { message: place.message.clone(), ..Default::default() };
    for (name, bytes) in values {
        let value = checked(bytes, not_set(&name, &place))?;
        request.values.insert(name.to_string(), api::SecretText::encode(value.expose()));
    }
    let client = connect(&connection)?;
    let path = format!("/v1/functions/{}/stages/{}/secrets", place.function, place.stage);
    // All of them are set, or none is.
    let set: Result<api::SecretsChanged, _> = client.call(Method::POST, &path, Some(&request)).await;
    let set = set.map_err(|error| error.fault(failed()))?;
    for (name, secret_revision) in set.secrets {
        let (function, stage) = (set.function.clone(), set.stage.clone());
        let set = api::SecretChanged { function, stage, name, secret_revision, revision: set.revision };
        if deploy.deploy {
            output.talk(&secrets::set(&set));
        } else {
            output.record(&set, secrets::set)?;
        }
    }
    if deploy.deploy { release(place, deploy, connection, output).await } else { Ok(DONE) }
}

fn not_set(name: &SecretName, place: &args::SecretsPlace) -> String {
    format!("secret {name} of `{}` in stage `{}` was not set", place.function, place.stage)
}

/// The value that the user gives: without echo at a terminal, else all of standard input. One newline at its
/// end does not belong to it.
fn value(name: &SecretName) -> io::Result<Zeroizing<Vec<u8>>> {
    if stdin_is_terminal() {
        let mut terminal = console::Term::stderr();
        write!(terminal, "value of {name} (not shown): ")?;
        return Ok(Zeroizing::new(terminal.read_secure_line()?.into_bytes()));
    }
    let mut bytes = all(io::stdin().lock())?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

fn file_bytes(file: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    if file.as_os_str() == "-" { all(io::stdin().lock()) } else { all(File::open(file)?) }
}

fn all(from: impl Read) -> io::Result<Zeroizing<Vec<u8>>> {
    // Values that are not too long leave no copy behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(128 << 10));
    from.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        let error = "there are more than 4 MiB, expected at most as much as the secrets of a function";
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
    }
    Ok(bytes)
}

/// Checks a value here, so that one that the node would refuse is not sent.
fn checked(bytes: Zeroizing<Vec<u8>>, failed: String) -> Result<SecretValue, Fault> {
    SecretValue::new(bytes).map_err(|error| Fault::new("invalid-secret", failed, error))
}

async fn put(
    client: &Client,
    name: &SecretName,
    place: &args::SecretsPlace,
    value: &SecretValue,
) -> Result<api::SecretChanged, Fault> {
    let query = api::SecretQuery { message: place.message.clone(), expected_revision: None };
    let path = format!("/v1/functions/{}/stages/{}/secrets/{name}", place.function, place.stage);
    let value = Bytes::copy_from_slice(value.expose().as_bytes());
    let set = client.put(&path, &query, value).await;
    set.map_err(|error| error.fault(not_set(name, place)))
}

/// Deploys the stable version again, with the values that are set now.
async fn release(
    place: args::SecretsPlace,
    deploy: args::SecretsDeploy,
    connection: args::ChangeConnection,
    output: Output,
) -> Result<u8, Fault> {
    let args::SecretsPlace { function, stage, message } = place;
    let args::SecretsDeploy { replace, wait, timeout, config, deploy: _ } = deploy;
    let failed = format!("the new value is set, and no version of `{function}` was deployed with it");
    let again = args::PromoteStage {
        function,
        from: stage.clone(),
        to: stage,
        release: args::Release {
            message,
            strategy: args::DeployStrategy::default(),
            rollout: args::DeployRollout::default(),
            prepared: None,
            replace,
            allow_new: false,
            waiting: args::Waiting { wait, timeout },
            config,
            connection,
        },
    };
    deploy::release(again, failed, output).await
}

async fn list(args: args::SecretsList, output: Output) -> Result<u8, Fault> {
    let args::SecretsList { function, stage, connection } = args;
    let client = connect(&connection)?;
    let list = client.get(&format!("/v1/functions/{function}/stages/{stage}/secrets")).await;
    let list: api::SecretList =
        list.map_err(|error| error.fault(format!("the secrets of `{function}` cannot be listed")))?;
    if list.secrets.is_empty() && !output.is_json() {
        output.talk(&format!("stage {stage} of {function} has no secrets"));
        return Ok(DONE);
    }
    output.data(&list, secrets::list)?;
    Ok(DONE)
}

async fn delete(args: args::SecretsDelete, output: Output) -> Result<u8, Fault> {
    let args::SecretsDelete { name, place, connection } = args;
    let args::SecretsPlace { function, stage, message } = place;
    let client = connect(&connection)?;
    let path = format!("/v1/functions/{function}/stages/{stage}/secrets/{name}");
    let query = api::SecretQuery { message, expected_revision: None };
    let deleted: Result<api::SecretDeleted, _> = client.query(Method::DELETE, &path, &query).await;
    let deleted =
        deleted.map_err(|error| error.fault(format!("secret {name} of `{function}` was not deleted")))?;
    output.data(&deleted, |deleted| {
        format!("secret {} of {} in {} is deleted", deleted.name, deleted.function, deleted.stage)
    })?;
    Ok(DONE)
}

async fn rotate_key(args: args::SecretsRotateKey, output: Output) -> Result<u8, Fault> {
    let args::SecretsRotateKey { message, connection } = args;
    let client = connect(&connection)?;
    let request = api::SecretsKeyRequest { message };
    let rotated: Result<api::SecretsKeyRotated, _> =
        client.call(Method::POST, "/v1/secrets/rotate-key", Some(&request)).await;
    let rotated = rotated.map_err(|error| error.fault("the key of secrets was not replaced"))?;
    output.data(&rotated, |rotated| match rotated.functions {
        1 => "the secrets of 1 function are sealed under a new key".to_owned(),
        functions => format!("the secrets of {functions} functions are sealed under a new key"),
    })?;
    Ok(DONE)
}
