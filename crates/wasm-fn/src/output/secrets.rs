//! Secrets, as texts and tables. There are no values in what is printed.

use wasm_fn_api as api;

use super::{
    Look,
    tables::{fit, or_dash, row, table},
    time,
};

/// `secret API_KEY of hello in live is set (revision 2)`.
pub(crate) fn set(set: &api::SecretChanged) -> String {
    let api::SecretChanged { function, stage, name, secret_revision, .. } = set;
    format!("secret {name} of {function} in {stage} is set (revision {secret_revision})")
}

/// `secrets list`.
pub(crate) fn list(list: &api::SecretList) -> String {
    let mut table = table(&["SECRET", "REVISION", "SET", "BY", "USED BY"], &[1]);
    for secret in &list.secrets {
        let users = secret.used_by.iter().map(|user| match user.revision {
            revision if revision == secret.revision => user.version.clone(),
            revision => format!("{} (revision {revision})", user.version),
        });
        let users: Vec<_> = users.collect();
        row(
            &mut table,
            [
                secret.name.clone(),
                secret.revision.to_string(),
                time::second(secret.set_ms),
                secret.set_by.clone(),
                or_dash(Some(users.join(", ")).filter(|users| !users.is_empty())),
            ],
        );
    }
    fit(table, Look::of_stdout())
}
