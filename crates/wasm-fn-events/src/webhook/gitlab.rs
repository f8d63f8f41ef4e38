//! GitLab: "Webhooks" on docs.gitlab.com, and for signing tokens merge request 230944 of gitlab-org/gitlab.
//!
//! A *secret token* is sent as it is, in `X-Gitlab-Token`, so it proves only that the sender knows it. With a
//! *signing token* requests are signed as Standard Webhooks says. Which of the two is asked for depends on
//! the trigger's secrets, or an attacker could choose the weaker one: those that begin with `whsec_` are
//! signing tokens. Only a trigger that has both, because one takes the other's place, accepts either.

use http::HeaderMap;

use super::{Verified, WebhookError, headers, mac, standard};
use crate::Timestamp;

pub(super) fn verify(
    headers: &HeaderMap,
    body: &[u8],
    secrets: &[&[u8]],
    now: Timestamp,
) -> Result<Verified, WebhookError> {
    let (signing, plain): (Vec<_>, Vec<_>) =
        secrets.iter().partition(|secret| secret.starts_with(standard::PREFIX));
    let is_signed = !signing.is_empty() && (plain.is_empty() || headers.contains_key(standard::SIGNATURE));
    let (id, time) = if is_signed {
        let (id, time) = standard::check(headers, body, &signing, now)?;
        (Some(id), time)
    } else {
        mac::check_token(&plain, headers::required(headers, "x-gitlab-token")?)?;
        let id = headers::fact(headers, "idempotency-key")?;
        (id.map_or_else(|| headers::fact(headers, "x-gitlab-event-uuid"), |id| Ok(Some(id)))?, now)
    };
    Ok(Verified { delivery_id: id, event_type: headers::fact(headers, "x-gitlab-event")?, time })
}
