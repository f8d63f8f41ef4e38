//! What an event is about: where the artifact is, whose it is, and where the event stands among others.

use serde::{Deserialize, Serialize};
use wasm_fn_control::state::Provenance;
use wasm_fn_delivery::{DeployEnd, EventRequest};
use wasm_fn_events::{
    EventOrder, Provider, PushDeploy, PushEvent, PushKind, Timestamp, Trigger, TriggerKind,
};

/// What an event is about.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) place: Place,
    pub(super) order: EventOrder,
    /// What the event says of the artifact.
    pub(super) provenance: Provenance,
    /// The message of the deployment.
    pub(super) message: String,
}

/// Where an artifact is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a registry: `oci://…`, with a tag, a digest or both.
    Registry(String),
    /// At an https URL.
    Url(String),
}

/// The body of an event that a watched tag has another digest.
#[derive(Deserialize)]
struct Changed {
    artifact: String,
    digest: String,
}

/// An [`EventOrder`], as a trigger remembers it.
#[derive(Serialize, Deserialize)]
struct StoredOrder {
    received_ms: u64,
    happened_ms: Option<u64>,
    commit: Option<String>,
    before: Option<String>,
}

/// What `request` of `trigger` is about.
///
/// # Errors
/// It is about nothing to deploy, or it is not what it should be.
pub(super) fn read(trigger: &Trigger, request: &EventRequest) -> Result<Subject, DeployEnd> {
    let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
    let refused = |reason: String| DeployEnd::Refused { reason };
    let received: Option<Timestamp> = header("ce-time").and_then(|time| time.parse().ok());
    let received = received.ok_or_else(|| refused("the event has no time".to_owned()))?;
    let event = header("ce-id").map(str::to_owned);
    match &trigger.kind {
        TriggerKind::Webhook(source) => {
            let deploy = source.deploy().ok_or_else(|| refused("the trigger does not deploy".to_owned()))?;
            let event_type = header("ce-type").unwrap_or_default();
            of_push(source.provider(), deploy, (event_type, &request.body), (received, event))
        }
        TriggerKind::Watch(_) => {
            let changed: Changed = serde_json::from_slice(&request.body)
                .map_err(|error| refused(format!("the event is not of a watched tag: {error}")))?;
            let Changed { artifact, digest } = changed;
            let message = format!("{artifact} is {digest}");
            let order = EventOrder { received, happened: None, commit: None, before: None };
            let reference = format!("{artifact}@{digest}");
            let provenance = Provenance { event, ..nothing_of(&reference) };
            Ok(Subject { place: Place::Registry(reference), order, provenance, message })
        }
        TriggerKind::Schedule(_) | TriggerKind::Queue(_) => {
            Err(refused("the trigger does not deploy".to_owned()))
        }
    }
}

fn of_push(
    provider: Provider,
    deploy: &PushDeploy,
    (event_type, body): (&str, &[u8]),
    (received, event): (Timestamp, Option<String>),
) -> Result<Subject, DeployEnd> {
    let refused = |reason: String| DeployEnd::Refused { reason };
    let push = PushEvent::of_event(provider, event_type, body).map_err(|error| refused(error.to_string()))?;
    let push =
        push.ok_or_else(|| DeployEnd::Skipped { text: format!("{event_type} is about nothing new") })?;
    deploy.check(&push).map_err(|unwanted| DeployEnd::Skipped { text: unwanted.to_string() })?;
    let artifact = &deploy.options().artifact;
    let url = artifact.expand(&push).map_err(|error| refused(error.to_string()))?;
    let place = if artifact.in_registry().is_some() {
        // What was published is this, whatever the tag leads to by now.
        let digest = push.digest.as_ref().filter(|_| push.kind == PushKind::Package && !url.contains('@'));
        Place::Registry(digest.map(|digest| format!("{url}@{digest}")).unwrap_or(url))
    } else {
        Place::Url(url)
    };
    let (Place::Registry(text) | Place::Url(text)) = &place;
    let order = push.order(received);
    let message = message(&push);
    let provenance = Provenance {
        event,
        repository: Some(push.repository),
        reference: Some(push.reference),
        commit: push.sha,
        author: push.author,
        url: push.url,
        ..nothing_of(text)
    };
    Ok(Subject { place, order, provenance, message })
}

/// Nothing is known of the artifact at `place`.
fn nothing_of(place: &str) -> Provenance {
    Provenance {
        artifact: place.to_owned(),
        trigger: None,
        event: None,
        repository: None,
        reference: None,
        commit: None,
        author: None,
        url: None,
    }
}

/// `push to main of owner/app by ana`.
fn message(push: &PushEvent) -> String {
    let PushEvent { kind, reference, repository, author, .. } = push;
    let what = match kind {
        PushKind::Branch => format!("push to {reference}"),
        kind => format!("{kind} {reference}"),
    };
    let by = author.as_ref().map(|author| format!(" by {author}")).unwrap_or_default();
    format!("{what} of {repository}{by}")
}

/// What a trigger remembers of the event with this `order`.
pub(super) fn memory(order: &EventOrder) -> bytes::Bytes {
    let stored = StoredOrder {
        received_ms: order.received.unix_ms(),
        happened_ms: order.happened.map(Timestamp::unix_ms),
        commit: order.commit.clone(),
        before: order.before.clone(),
    };
    serde_json::to_vec(&stored).expect("a struct of texts and numbers is JSON").into()
}

/// The order in what a trigger remembers.
pub(super) fn order(memory: &[u8]) -> Option<EventOrder> {
    let StoredOrder { received_ms, happened_ms, commit, before } = serde_json::from_slice(memory).ok()?;
    let (received, happened) =
        (Timestamp::from_unix_ms(received_ms), happened_ms.map(Timestamp::from_unix_ms));
    Some(EventOrder { received, happened, commit, before })
}

#[cfg(test)]
mod tests;
