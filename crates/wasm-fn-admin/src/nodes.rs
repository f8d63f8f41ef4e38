//! The other nodes of a cluster, for requests whose answers have numbers that each node counts for itself.
//!
//! How nodes reach each other is not known here, nor how their numbers add up ([`merge`](crate::merge)).

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Query, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, StatusCode, header, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};
use wasm_fn_access::Rights;
use wasm_fn_api::Problem;
use wasm_fn_control::Actor;
use wasm_fn_core::NodeName;

use crate::{
    ApiError, ClusterSource, NodeAnswer, NodeQuestion,
    extract::Passed,
    merge::{self, PerNode},
};

/// For how long another node is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// What the query says about nodes.
#[derive(Deserialize)]
struct Which {
    node: Option<String>,
    #[serde(default)]
    follow: bool,
}

/// The other nodes of the cluster. There are none for a node that is alone, or that answers for itself alone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others(Option<Asker>);

#[derive(Clone, Debug)]
struct Asker {
    cluster: Arc<dyn ClusterSource>,
    question: NodeQuestion,
}

/// What nodes answered, or why one did not, by their names.
pub(crate) type Told<T> = Vec<(String, Result<T, String>)>;

impl<T: Send + Sync> FromRequestParts<T> for Others {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Finds out which nodes a request is about. One that is about another node is passed to it; streams are left
/// to their handlers.
pub(crate) async fn choose(
    State(cluster): State<Option<Arc<dyn ClusterSource>>>,
    mut request: Request,
    next: Next,
) -> Response {
    // What another node has passed on is about this one.
    if request.extensions().get::<Passed>().is_some() {
        return next.run(request).await;
    }
    let which = Query::<Which>::try_from_uri(request.uri()).map(|Query(which)| which);
    let (node, follow) = which.map_or((None, false), |Which { node, follow }| (node, follow));
    let (cluster, actor) = match (cluster, request.extensions().get::<Actor>()) {
        (Some(cluster), Some(actor)) => (cluster, actor),
        _ if node.is_some() => return ApiError::no_cluster().into_response(),
        _ => return next.run(request).await,
    };
    let uri = request.uri();
    let target = uri.path_and_query().map_or_else(|| uri.path().to_owned(), ToString::to_string);
    let question = NodeQuestion { target, actor: actor.name.clone(), rights: (&actor.rights).into() };
    let asker = Asker { cluster, question };
    match node {
        Some(node) if node == asker.cluster.node().as_str() => {}
        Some(node) if !follow => return asker.relay(&node).await.unwrap_or_else(ApiError::into_response),
        _ => {
            request.extensions_mut().insert(Others(Some(asker)));
        }
    }
    next.run(request).await
}

impl Asker {
    async fn relay(&self, node: &str) -> Result<Response, ApiError> {
        let name = find(&*self.cluster, node)?;
        let answer = self.cluster.ask(name.clone(), self.question.clone(), PATIENCE).await;
        let NodeAnswer { status, media_type, body } =
            answer.map_err(|reason| ApiError::silent_node(&name, reason))?;
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
        let mut response = (status, body).into_response();
        if let Ok(media_type) = HeaderValue::from_str(&media_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        }
        Ok(response)
    }
}

/// The other node called `name`, if it is of use to ask it.
pub(crate) fn find(cluster: &dyn ClusterSource, name: &str) -> Result<NodeName, ApiError> {
    let name: NodeName = name.parse()?;
    match cluster.others().into_iter().find(|other| other.name == name) {
        None => Err(ApiError::unknown_node(&name)),
        Some(other) => match other.silent {
            Some(reason) => Err(ApiError::silent_node(&name, reason)),
            None => Ok(name),
        },
    }
}

/// Reads answers of JSON.
pub(crate) fn read_json<T: DeserializeOwned>(told: Told<Bytes>) -> Told<T> {
    let read = |body: Bytes| {
        serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))
    };
    told.into_iter().map(|(node, answer)| (node, answer.and_then(read))).collect()
}

impl Others {
    /// The other nodes in `cluster`, for the node itself, which sees everything.
    pub(crate) fn of_node(cluster: &Arc<dyn ClusterSource>, target: String) -> Self {
        let (actor, rights) = (cluster.node().to_string(), (&Rights::all()).into());
        let question = NodeQuestion { target, actor, rights };
        Self(Some(Asker { cluster: Arc::clone(cluster), question }))
    }

    /// The same nodes, to be asked for `target`.
    pub(crate) fn about(mut self, target: String) -> Self {
        if let Some(asker) = &mut self.0 {
            asker.question.target = target;
        }
        self
    }

    /// The cluster, if there is one to ask.
    pub(crate) fn cluster(&self) -> Option<&Arc<dyn ClusterSource>> {
        self.0.as_ref().map(|asker| &asker.cluster)
    }

    /// Asks the node called `node` for `target`.
    ///
    /// # Errors
    /// Why it has not answered well.
    pub(crate) async fn ask_one(
        &self,
        node: NodeName,
        target: String,
        patience: Duration,
    ) -> Result<Bytes, String> {
        let Some(Asker { cluster, question }) = &self.0 else { return Err("it is not there".to_owned()) };
        let answer = cluster.ask(node, NodeQuestion { target, ..question.clone() }, patience).await?;
        match answer.status {
            200 => Ok(answer.body),
            507 => Err("its answer is too long".to_owned()),
            status => Err(serde_json::from_slice::<Problem>(&answer.body)
                .map_or_else(|_| format!("it answered {status}"), |problem| problem.detail)),
        }
    }

    /// Asks every other node, all at once.
    pub(crate) async fn ask(&self) -> Told<Bytes> {
        let Some(Asker { cluster, question }) = &self.0 else { return Vec::new() };
        let asked = cluster.others().into_iter().map(async |other| {
            let answer = match other.silent {
                Some(reason) => Err(reason),
                None => self.ask_one(other.name.clone(), question.target.clone(), PATIENCE).await,
            };
            (other.name.to_string(), answer)
        });
        join_all(asked).await
    }

    /// Asks every other node for JSON.
    async fn ask_json<T: DeserializeOwned>(&self) -> Told<T> {
        read_json(self.ask().await)
    }

    /// `own`, with what the other nodes have of the same.
    pub(crate) async fn added_to<T: PerNode + DeserializeOwned>(&self, own: T) -> T {
        match self.cluster() {
            Some(cluster) => merge::all(own, cluster.node().as_str(), self.ask_json().await),
            None => own,
        }
    }
}
