//! Who makes a request, and whether they may: checked by the table of permissions before any handler runs.
//!
//! What the path names is checked here, and what the body names by the handler, which gets a [`Note`] for the
//! journal only from [`Caller::on`]. So no handler can change anything unchecked.

use std::{net::SocketAddr, sync::Arc};

use axum::{
    RequestPartsExt as _,
    extract::{FromRequestParts, RawPathParams, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{Extensions, HeaderMap, HeaderValue, Method, header, request::Parts};
use wasm_fn_access::{Denial, Permission, Reach, Rights, Target};
use wasm_fn_api::{AccessRule, Operation, PUBLISHED_REVISION};
use wasm_fn_control::{Actor, Note, host::Host, state::ChangeError};
use wasm_fn_core::{FunctionName, Revision, StageName};
use wasm_fn_store::Store;

use crate::{
    ApiError, CertificateRule, ClientIdentity, Untrusted,
    admin::Admin,
    catch_up::catch_up,
    extract::{OverTls, Passed, Peer},
    origin::{FETCH_SITE, halves, same_origin},
};

/// Longest message of a change, in bytes.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// The check before the handler of an operation.
pub(crate) struct Guard<H: Host, S> {
    pub(crate) admin: Arc<Admin<H, S>>,
    pub(crate) operation: Operation,
}

impl<H: Host, S> Clone for Guard<H, S> {
    fn clone(&self) -> Self {
        Self { admin: Arc::clone(&self.admin), operation: self.operation }
    }
}

/// A request that was refused, for the audit log: what it was about.
#[derive(Clone, Debug)]
pub(crate) struct Refused(pub(crate) String);

/// Lets only requests pass that the operation's rule allows, and records whose they are.
pub(crate) async fn authorize<H: Host, S: Store>(
    State(guard): State<Guard<H, S>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let permission = match guard.operation.access() {
        AccessRule::Open => return next.run(request).await,
        AccessRule::OpenLocally(_)
            if peer.is_none_or(|peer| peer.ip().to_canonical().is_loopback())
                && !request.headers().contains_key(header::AUTHORIZATION) =>
        {
            return next.run(request).await;
        }
        AccessRule::OpenLocally(permission) | AccessRule::Permission(permission) => permission,
    };
    // The token may have been made in the revision that the request names.
    if let Err(error) = catch_up(&guard.admin.control, request.headers()).await {
        return error.into_response();
    }
    let actor = match request.extensions().get::<Passed>() {
        Some(Passed(actor)) => actor.clone(),
        None => {
            let (method, headers) = (request.method(), request.headers());
            match guard.authenticate(method, headers, request.extensions(), peer).await {
                Ok(actor) => actor,
                Err(error) => return error.into_response(),
            }
        }
    };
    let (name, control) = (actor.name.clone(), &guard.admin.control);
    let caller = Caller { actor, permission, origin: peer };
    let mut response = match caller.checked(request).await {
        Ok(mut request) => {
            request.extensions_mut().insert(caller.actor.clone());
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => error.into_response(),
    };
    if let Some(Refused(reason)) = response.extensions().get() {
        control.refused(Some(name), address(peer), reason.clone());
    }
    let published = HeaderValue::from(control.state().revision().0);
    response.headers_mut().insert(PUBLISHED_REVISION, published);
    response
}

fn address(peer: Option<SocketAddr>) -> String {
    peer.map(|peer| peer.ip().to_canonical().to_string()).unwrap_or_default()
}

impl<H: Host, S: Store> Guard<H, S> {
    /// Whose token a request shows, or else whose session of the page, or whose certificate the connection
    /// has.
    async fn authenticate(
        &self,
        method: &Method,
        headers: &HeaderMap,
        extensions: &Extensions,
        peer: Option<SocketAddr>,
    ) -> Result<Actor, ApiError> {
        let certificate = extensions.get::<ClientIdentity>();
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let field = match (fields.next(), fields.next()) {
            (Some(field), None) => field,
            (Some(_), Some(_)) => return Err(ApiError::missing_token()),
            (None, _) => {
                let encrypted = extensions.get::<OverTls>().is_some();
                if let Some(actor) = self.session(method, headers, encrypted)? {
                    return Ok(actor);
                }
                let identity = certificate.ok_or_else(ApiError::missing_token)?;
                // A browser shows a certificate whoever makes it send the request. Other clients do not say
                // where a request comes from.
                if headers.contains_key(header::ORIGIN) || headers.contains_key(FETCH_SITE) {
                    same_origin(method, headers)?;
                }
                let actor = CertificateRule::actor(&self.admin.options.certificates, identity);
                return actor.ok_or_else(|| ApiError::unknown_certificate(identity));
            }
        };
        let (scheme, token) = field.to_str().ok().and_then(|text| text.split_once(' ')).unwrap_or_default();
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(ApiError::missing_token());
        }
        Self::by_token(&self.admin, token.trim(), peer).await
    }

    /// Who has the session that a request shows; `None` if it shows none.
    fn session(
        &self,
        method: &Method,
        headers: &HeaderMap,
        encrypted: bool,
    ) -> Result<Option<Actor>, ApiError> {
        let Some((cookie, key)) = halves(headers, encrypted) else { return Ok(None) };
        same_origin(method, headers)?;
        let control = &self.admin.control;
        let found = self.admin.sessions.actor(cookie, key, control.now().0);
        match found.filter(|actor| control.still_knows(actor)) {
            Some(actor) => Ok(Some(actor)),
            None => Err(ApiError::session_over()),
        }
    }

    /// Who shows `token`.
    ///
    /// A right token is always accepted, whatever came from its address before, so that nobody can lock
    /// others out who share their address. Wrong ones are told to wait, and are recorded only while they may
    /// be sent.
    pub(crate) async fn by_token(
        admin: &Admin<H, S>,
        token: &str,
        peer: Option<SocketAddr>,
    ) -> Result<Actor, ApiError> {
        let Admin { control, options, .. } = admin;
        let issuers = options.issuers.as_ref().filter(|issuers| issuers.suits(token));
        let error = match issuers {
            Some(issuers) => match issuers.actor(token, control.now().0).await {
                Ok(actor) => return Ok(actor),
                Err(Untrusted::Unavailable(reason)) => return Err(ApiError::no_keys(reason)),
                Err(Untrusted::Refused(reason)) => ApiError::untrusted(reason),
            },
            None => match control.authenticate(token) {
                Ok(actor) => return Ok(actor),
                Err(error) => ApiError::wrong_token(&error),
            },
        };
        Err(Self::wrong(admin, peer, error))
    }

    /// Records that somebody at `peer` has shown something wrong, which `error` says. Those who did so too
    /// often are told to wait instead.
    pub(crate) fn wrong(admin: &Admin<H, S>, peer: Option<SocketAddr>, error: ApiError) -> ApiError {
        let control = &admin.control;
        if let Some(peer) = peer {
            let (mut failures, now_ms) = (admin.failures(), control.now().0);
            if let Err(wait_s) = failures.check(peer.ip(), now_ms) {
                return ApiError::too_many_failures(wait_s);
            }
            failures.failed(peer.ip(), now_ms);
        }
        control.refused(None, address(peer), "wrong token".to_owned());
        error
    }
}

/// Who makes a request, to do what.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    actor: Actor,
    permission: Permission,
    origin: Option<SocketAddr>,
}

/// A caller who may do what they ask for.
#[derive(Debug)]
#[must_use]
pub(crate) struct Granted {
    actor: String,
    token: Option<String>,
    origin: String,
}

impl Caller {
    /// Checks what the path of `request` names.
    async fn checked(&self, request: Request) -> Result<Request, ApiError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.extract::<RawPathParams>().await;
        let path = path.map_err(|rejection| ApiError::invalid_request(rejection.body_text()))?;
        let named = |wanted| path.iter().find(|(name, _)| *name == wanted).map(|(_, text)| text);
        // A name that is none is reported by the handler.
        let function: Option<FunctionName> = named("function").and_then(|text| text.parse().ok());
        let stage: Option<StageName> = named("stage").and_then(|text| text.parse().ok());
        match (&function, &stage) {
            (Some(function), Some(stage)) => self.check(Target::Stage(function, stage))?,
            (Some(function), None) if self.permission.reach() == Reach::Stage => {
                // The body may name a stage. Until then, only what is wrong with any stage is wrong.
                match self.actor.rights.check(self.permission, Target::Function(function)) {
                    Ok(()) | Err(Denial::Scope) => {}
                    Err(refusal) => return Err(self.refuse(refusal, Target::Function(function))),
                }
            }
            (Some(function), None) => self.check(Target::Function(function))?,
            (None, _) if matches!(self.permission.reach(), Reach::Node | Reach::Everything) => {
                self.check(Target::Node)?;
            }
            // A list: the role decides, and the handler leaves out what is out of scope.
            (None, _) if !self.actor.rights.roles.meets(self.permission.roles()) => {
                return Err(self.refuse(Denial::Role, Target::Node));
            }
            (None, _) => {}
        }
        Ok(Request::from_parts(parts, body))
    }

    fn check(&self, target: Target<'_>) -> Result<(), ApiError> {
        self.actor.rights.check(self.permission, target).map_err(|refusal| self.refuse(refusal, target))
    }

    /// Checks that the caller may do to `target` what they ask for.
    pub(crate) fn on(&self, target: Target<'_>) -> Result<Granted, ApiError> {
        self.check(target)?;
        let Actor { name, token, .. } = self.actor.clone();
        let origin = self.origin.map(|peer| peer.to_string()).unwrap_or_default();
        Ok(Granted { actor: name, token, origin })
    }

    /// Whether the caller sees that `function` exists.
    pub(crate) fn sees(&self, function: &FunctionName) -> bool {
        self.actor.rights.scope.has_function(function)
    }

    /// Whether the caller sees that a function has `stage`.
    pub(crate) fn sees_stage(&self, stage: &StageName) -> bool {
        self.actor.rights.scope.has_stage(stage)
    }

    /// Whether the caller has another permission than the one of this operation.
    pub(crate) fn may(&self, permission: Permission, target: Target<'_>) -> bool {
        self.actor.rights.allow(permission, target)
    }

    /// Who it is.
    pub(crate) fn actor(&self) -> &Actor {
        &self.actor
    }

    fn refuse(&self, refusal: Denial, target: Target<'_>) -> ApiError {
        let Rights { roles, scope } = &self.actor.rights;
        let (name, permission) = (&self.actor.name, self.permission);
        let what = match target {
            Target::Node => "this node".to_owned(),
            Target::Function(function) => format!("`{function}`"),
            Target::Stage(function, stage) => format!("stage `{stage}` of `{function}`"),
        };
        let out_of_scope = || {
            let wanted = match permission.reach() {
                Reach::Everything => "all functions in all stages".to_owned(),
                Reach::Stage if matches!(target, Target::Function(_)) && refusal == Denial::Scope => {
                    format!("all stages of {what}")
                }
                _ => what.clone(),
            };
            let detail = format!("the token `{name}` is for {scope}, expected one for {wanted}");
            ApiError::forbidden(detail).help("ask an admin for a token whose scope has it")
        };
        // The same for what exists and for what does not, so it tells only what the holder may know.
        let hidden = |error: ChangeError| {
            let help = format!("the token `{name}` is for {scope}; for it, nothing else exists");
            ApiError::from(error).help(help)
        };
        let error = match (refusal, target) {
            // Who deploys may make a function, so the answer tells nothing about what exists.
            (Denial::HiddenFunction | Denial::HiddenStage, _) if permission == Permission::Deploy => {
                out_of_scope()
            }
            (Denial::HiddenFunction, Target::Function(function) | Target::Stage(function, _)) => {
                hidden(ChangeError::NoSuchFunction(function.clone()))
            }
            (Denial::HiddenStage, Target::Stage(function, stage)) => {
                hidden(ChangeError::NoSuchStage { function: function.clone(), stage: stage.clone() })
            }
            (Denial::Role, _) => {
                let has = permission.roles();
                let detail = format!(
                    "the token `{name}` has the role {roles}, expected one with the permission `{permission}`: \
                     {has}",
                    permission = permission.as_str()
                );
                ApiError::forbidden(detail).help("ask an admin for a token with such a role")
            }
            _ => out_of_scope(),
        };
        error.refused(format!("{} on {what}", permission.as_str()))
    }
}

impl<T: Send + Sync> FromRequestParts<T> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &T) -> Result<Self, ApiError> {
        parts.extensions.get::<Self>().cloned().ok_or_else(ApiError::missing_token)
    }
}

impl Granted {
    /// The note for the journal.
    pub(crate) fn note(
        self,
        message: Option<String>,
        expected_revision: Option<u64>,
    ) -> Result<Note, ApiError> {
        if let Some(bytes) = message.as_ref().map(String::len).filter(|&bytes| bytes > MESSAGE_BYTES_MAX) {
            let detail = format!("message is {bytes} bytes long, expected at most {MESSAGE_BYTES_MAX}");
            return Err(ApiError::invalid_request(detail));
        }
        let Self { actor, token, origin } = self;
        Ok(Note { actor, token, origin, message, expected_revision: expected_revision.map(Revision) })
    }
}
