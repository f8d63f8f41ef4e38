//! The parts of an operation's description: parameters, bodies and answers.

use utoipa::{
    IntoParams, PartialSchema as _, ToSchema,
    openapi::{
        Content, Ref, Required, Response, ResponseBuilder,
        path::{Parameter, ParameterBuilder, ParameterIn},
        request_body::{RequestBody, RequestBodyBuilder},
    },
};

use super::{Describer, JSON};
use crate::EVENT_STREAM;
use crate::words::{EventsOfText, FunctionText, SecretNameText, StageText, TokenTextName, TriggerText};

impl Describer {
    pub(super) fn body<B: ToSchema>(&mut self) -> RequestBody {
        let content = self.content::<B>();
        RequestBodyBuilder::new().content(JSON, content).required(Some(Required::True)).build()
    }

    pub(super) fn json<B: ToSchema>(&mut self, description: &str) -> Response {
        ResponseBuilder::new().description(description).content(JSON, self.content::<B>()).build()
    }

    /// A stream of server-sent events, each of which has a `B`.
    pub(super) fn events<B: ToSchema>(&mut self, description: &str) -> Response {
        ResponseBuilder::new().description(description).content(EVENT_STREAM, self.content::<B>()).build()
    }

    /// A parameter of the path, a text of the form `T`.
    pub(super) fn segment<T: ToSchema>(&mut self, name: &str, description: &str) -> Parameter {
        ParameterBuilder::new()
            .name(name)
            .parameter_in(ParameterIn::Path)
            .required(Required::True)
            .description(Some(description))
            .schema(self.content::<T>().schema)
            .build()
    }

    pub(super) fn token(&mut self) -> Parameter {
        self.segment::<TokenTextName>(
            "token",
            "Name of the token; `admin` is the one in the node's data directory, which cannot be revoked",
        )
    }

    pub(super) fn stage(&mut self) -> Parameter {
        self.segment::<StageText>("stage", "Name of the stage")
    }

    /// The function, the stage and the secret.
    pub(super) fn secret(&mut self) -> [Parameter; 3] {
        let secret = self.segment::<SecretNameText>("secret", "Name of the secret");
        [self.function(), self.stage(), secret]
    }

    pub(super) fn function(&mut self) -> Parameter {
        self.segment::<FunctionText>("function", "Name of the function")
    }

    /// The function, and the parameters of a query.
    pub(super) fn with_query<Q: IntoParams>(&mut self) -> Vec<Parameter> {
        std::iter::once(self.function()).chain(query::<Q>()).collect()
    }

    /// A reference to the schema of `B`. Collects that schema and those that it refers to.
    pub(super) fn content<B: ToSchema>(&mut self) -> Content {
        let mut named = Vec::new();
        B::schemas(&mut named);
        self.schemas.extend(named);
        self.schemas.insert(B::name().into_owned(), B::schema());
        Content::new(Some(Ref::from_schema_name(B::name())))
    }

    /// The function, the stage and the trigger.
    pub(super) fn trigger(&mut self) -> [Parameter; 3] {
        let trigger = self.segment::<TriggerText>("trigger", "Name of the trigger");
        [self.function(), self.stage(), trigger]
    }

    /// The function, the stage, and whose events.
    pub(super) fn events_of(&mut self) -> [Parameter; 3] {
        let what = "Name of the trigger, or `@async` for the requests that clients sent asynchronously";
        let trigger = self.segment::<EventsOfText>("trigger", what);
        [self.function(), self.stage(), trigger]
    }
}

pub(super) fn query<Q: IntoParams>() -> Vec<Parameter> {
    Q::into_params(|| Some(ParameterIn::Query))
}

pub(super) fn text(description: &str, media_type: &str) -> Response {
    let content = Content::new(Some(String::schema()));
    ResponseBuilder::new().description(description).content(media_type, content).build()
}
