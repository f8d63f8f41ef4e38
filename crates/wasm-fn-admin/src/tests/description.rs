//! The description of the API: every answer in these tests is as it says, and it says more than "a text".

use std::{collections::BTreeSet, sync::LazyLock};

use regex::Regex;

use super::*;
use wasm_fn_api::Operation;

static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(wasm_fn_api::openapi()).unwrap());

/// Properties that hold any text.
const FREE: [&str; 34] = [
    "actor",
    "audience",
    "backtrace",
    "body",
    "body_base64",
    "code",
    "cookie",
    "cron",
    "created_by",
    "data_listen",
    "detail",
    "failed_requests",
    "growth",
    "guest_path",
    "header",
    "help",
    "host",
    "message",
    "method",
    "no_host",
    "note",
    "ordering_key",
    "origin",
    "path",
    "query",
    "reason",
    "request_id",
    "set_by",
    "signal",
    "status",
    "text",
    "title",
    "token",
    "values",
];

/// Properties of one schema that hold any text, though elsewhere they do not.
const FREE_IN: [(&str, &str); 44] = [
    ("AskedNode", "missing"),
    ("NodeRevisionView", "missing"),
    ("BrokerServerView", "name"),
    ("ClusterNodeView", "leads"),
    ("ClusterNodeView", "version"),
    ("ClusterView", "problem"),
    ("TraceSpanView", "error"),
    ("TraceSpanView", "name"),
    ("TraceView", "outcome"),
    ("TraceView", "trace_id"),
    ("BucketKeyChanged", "key"),
    ("BucketKeyList", "keys"),
    ("BucketValueView", "key"),
    ("BucketValueView", "value"),
    ("BucketValueView", "value_base64"),
    ("ChangedValueView", "key"),
    ("OperatedEventsView", "which"),
    ("DeadLettersRequest", "ids"),
    ("ScheduleSpec", "time_zone"),
    ("TriggerRun", "event"),
    ("TriggerView", "url_path"),
    ("EventHeaderView", "name"),
    ("EventHeaderView", "value"),
    ("EventStatus", "id"),
    ("EventView", "id"),
    ("RefusalsView", "address"),
    ("ApprovalView", "by"),
    ("ProposalView", "author"),
    ("DeployEvent", "stage"),
    ("NodeView", "version"),
    ("LogLineView", "version"),
    ("LogEvent", "version"),
    ("QueueSpec", "brokers"),
    ("QueueSpec", "stream"),
    ("QueueSpec", "subject"),
    ("ProvenanceView", "artifact"),
    ("ProvenanceView", "author"),
    ("ProvenanceView", "commit"),
    ("ProvenanceView", "event"),
    ("ProvenanceView", "reference"),
    ("ProvenanceView", "repository"),
    ("ProvenanceView", "url"),
    ("WatchView", "digest"),
    ("WatchView", "failing"),
];

/// Checks an answer to `method` `path` against the description. Answers of other paths are problems.
#[track_caller]
pub(super) fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap_or_default();
    let fits = |template: &&str| {
        let (template, path): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        template.len() == path.len()
            && template.iter().zip(&path).all(|(part, found)| part.starts_with('{') || part == found)
    };
    let Some(template) = Operation::ALL.iter().map(|operation| operation.route().1).find(fits) else {
        return;
    };
    let operation = &DESCRIPTION["paths"][template][method.to_ascii_lowercase()];
    let responses = &operation["responses"];
    let status = answer.status.to_string();
    let any = format!("{}XX", &status[..1]);
    let Some(response) = responses.get(&status).or_else(|| responses.get(&any)) else {
        // An answer to another method than those of the path.
        assert!(operation.is_null(), "{method} {path}: {status} is not described");
        return;
    };
    let media_type = answer.headers.get(header::CONTENT_TYPE).map_or("", |value| value.to_str().unwrap());
    let media_type = media_type.split(';').next().unwrap_or_default();
    let Some(content) = response["content"].get(media_type) else {
        assert!(answer.text.is_empty(), "{method} {path}: {media_type:?} is not described");
        return;
    };
    let values = match media_type {
        NDJSON => answer.lines(),
        json if json.ends_with("json") => vec![answer.json()],
        _ => return,
    };
    for value in values {
        let conforms = conforms(&content["schema"], &value, true);
        conforms.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{value:#}"));
    }
}

/// Checks `value` against a schema: the parts of JSON Schema that the description uses. `closed` is whether
/// an object has no fields besides those that the schema has.
fn conforms(schema: &Value, value: &Value, closed: bool) -> Result<(), String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return conforms(DESCRIPTION.pointer(&reference[1..]).unwrap(), value, closed);
    }
    let alternatives = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    if let Some(alternatives) = alternatives {
        let found: Vec<_> = alternatives.iter().map(|schema| conforms(schema, value, closed)).collect();
        if !found.iter().any(Result::is_ok) {
            return Err(found.into_iter().filter_map(Result::err).collect::<Vec<_>>().join("; or "));
        }
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        conforms(part, value, false)?;
    }
    if let Some(kinds) = schema.get("type") {
        let kinds = kinds.as_array().map_or(vec![kinds], |kinds| kinds.iter().collect());
        let is = |kind: &&Value| match kind.as_str().unwrap() {
            "null" => value.is_null(),
            "string" => value.is_string(),
            "integer" => value.is_u64() || value.is_i64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            other => panic!("the type {other}"),
        };
        if !kinds.iter().any(is) {
            return Err(format!("found {value}, expected {kinds:?}"));
        }
    }
    if let Some(words) = schema["enum"].as_array().filter(|words| !words.contains(value)) {
        return Err(format!("found {value}, expected one of {words:?}"));
    }
    if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
        && !Regex::new(pattern).unwrap().is_match(text)
    {
        return Err(format!("found {text:?}, expected {pattern}"));
    }
    if let Some(number) = value.as_f64() {
        let (least, most) = (schema["minimum"].as_f64(), schema["maximum"].as_f64());
        if least.is_some_and(|least| number < least) || most.is_some_and(|most| number > most) {
            return Err(format!("found {number}, expected {least:?} to {most:?}"));
        }
    }
    for item in value.as_array().into_iter().flatten() {
        conforms(&schema["items"], item, true)?;
    }
    for required in schema["required"].as_array().into_iter().flatten() {
        if value.get(required.as_str().unwrap()).is_none() {
            return Err(format!("{required} is missing"));
        }
    }
    for (name, field) in value.as_object().into_iter().flatten() {
        let other = schema.get("additionalProperties").filter(|other| other.is_object());
        match schema["properties"].get(name).or(other) {
            Some(schema) => conforms(schema, field, true).map_err(|error| format!("{name}: {error}"))?,
            None if closed && schema.get("properties").is_some() => {
                return Err(format!("{name} is not described"));
            }
            None => {}
        }
    }
    Ok(())
}

/// Calls `each` with every property in `schema`, and its name.
fn properties<'a>(schema: &'a Value, each: &mut impl FnMut(&'a str, &'a Value)) {
    for part in ["oneOf", "anyOf", "allOf"].iter().filter_map(|part| schema[part].as_array()).flatten() {
        properties(part, each);
    }
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        each(name, property);
        properties(property, each);
    }
}

/// Whether `schema` allows any text.
fn is_any_text(schema: &Value) -> bool {
    let is_text = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().any(|kind| kind == "string"),
        kind => kind == "string",
    };
    let has_form = schema.get("pattern").is_some() || schema.get("enum").is_some();
    (is_text && !has_form) || (schema["type"] == "array" && is_any_text(&schema["items"]))
}

#[test]
fn texts_have_a_form_unless_they_are_free() {
    let mut vague = BTreeSet::new();
    for (schema, description) in DESCRIPTION["components"]["schemas"].as_object().unwrap() {
        properties(description, &mut |name, property| {
            let free = FREE.contains(&name) || FREE_IN.contains(&(schema, name));
            if is_any_text(property) && !free {
                vague.insert(format!("{schema}.{name}"));
            }
        });
    }
    assert_eq!(vague, BTreeSet::new());
}

#[test]
fn operations_have_names_of_their_own() {
    let name = Regex::new("^[a-z]+([A-Z][a-z]+)+$").unwrap();
    let names: BTreeSet<_> = Operation::ALL.iter().map(|operation| operation.name()).collect();
    assert_eq!(names.len(), Operation::ALL.len());
    assert!(names.iter().all(|found| name.is_match(found)), "{names:?}");
    let deploy = &DESCRIPTION["paths"]["/v1/functions/{function}/deployments"]["post"];
    assert_eq!(deploy["operationId"], "deployVersion");
}

#[test]
fn parameters_have_a_form() {
    let reference = |text: &str| json!({ "$ref": format!("#/components/schemas/{text}") });
    let parameter = |path: &str, name: &str| {
        let parameters = DESCRIPTION["paths"][path]["get"]["parameters"].as_array().unwrap();
        parameters.iter().find(|parameter| parameter["name"] == name).unwrap()["schema"].clone()
    };
    assert_eq!(parameter("/v1/functions/{function}", "function"), reference("FunctionName"));
    assert_eq!(parameter("/v1/functions/{function}/preview", "stage"), reference("StageName"));
    let limit = parameter("/v1/functions/{function}/history", "limit");
    assert_eq!((&limit["minimum"], &limit["maximum"]), (&json!(1), &json!(1000)));
    let name = &DESCRIPTION["components"]["schemas"]["FunctionName"];
    assert_eq!(name["pattern"], "^[a-z0-9][a-z0-9_-]{0,62}$");
}

#[test]
fn answers_that_differ_from_the_description_are_noticed() {
    let deleted = json!({ "$ref": "#/components/schemas/Deleted" });
    for (value, error) in [
        (json!({ "function": "hello", "revision": 1 }), None),
        (json!({ "function": "Hello", "revision": 1 }), Some("function: found \"Hello\"")),
        (json!({ "function": "hello" }), Some("\"revision\" is missing")),
        (json!({ "function": "hello", "revision": "1" }), Some("revision: found \"1\"")),
        (json!({ "function": "hello", "revision": 1, "more": 1 }), Some("more is not described")),
    ] {
        let found = conforms(&deleted, &value, true).err();
        assert_eq!(found.is_some(), error.is_some(), "{found:?}");
        assert!(found.unwrap_or_default().starts_with(error.unwrap_or_default()));
    }
}
