//! The OpenAPI 3.1 document, made from the lists themselves. A test holds it against the answers.

mod one;

use citytide_domain::Domain;
use serde_json::{Map, Value, json};

use crate::acting::ACTIONS;
use crate::listing::{Column, EVERY_MAX_S, Kind, LIMIT, LIMIT_MAX, Listing, WINDOWS};
use crate::resources::LISTINGS;

/// The document for a domain: its metrics are columns.
pub fn document(domain: &Domain) -> Value {
    let mut paths = Map::new();
    for listing in LISTINGS {
        paths.insert(format!("/api/v1/{}", listing.name), json!({ "get": list(listing, domain) }));
    }
    for (path, operation, summary, answer) in [
        (
            "/api/v1/incidents/{id}",
            "incident",
            "One incident: what it is, its changes, its chart and its evidence",
            one::incident(domain),
        ),
        (
            "/api/v1/sensors/{id}",
            "sensor",
            "A sensor's last 500 readings, and its incidents",
            one::sensor(domain),
        ),
    ] {
        let parameter =
            json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string" } });
        let get = json!({
            "operationId": operation, "summary": summary, "parameters": [parameter],
            "responses": responses(answer, true),
        });
        paths.insert(path.to_owned(), json!({ "get": get }));
    }
    paths.insert("/api/v1/incidents/{id}/{action}".to_owned(), json!({ "post": action(domain) }));
    for (path, operation, summary) in [
        ("/api/v1/domain", "domain", "Metrics, zones and windows of the domain"),
        ("/api/v1/openapi.json", "document", "This document"),
    ] {
        let get = json!({
            "operationId": operation, "summary": summary,
            "responses": responses(json!({ "type": "object" }), false),
        });
        paths.insert(path.to_owned(), json!({ "get": get }));
    }
    paths.insert("/api/v1/stream".to_owned(), json!({ "get": stream() }));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": format!("citytide: {}", domain.name),
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Everything that an answer holds is as of one commit: as_of is its epoch.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": { "Problem": problem() },
        },
        "security": [{}, { "token": [] }],
    })
}

fn schema(kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": ["boolean", "null"] }),
        Kind::Integer => json!({ "type": ["integer", "null"] }),
        Kind::Number => json!({ "type": ["number", "null"] }),
        Kind::Time => json!({ "type": ["string", "null"], "format": "date-time" }),
        Kind::Text => json!({ "type": ["string", "null"] }),
        Kind::Json => json!({ "type": ["object", "array", "null"] }),
    }
}

fn row(columns: &[Column]) -> Value {
    let properties: Map<_, _> =
        columns.iter().map(|column| (column.name.clone(), schema(column.kind))).collect();
    let required: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn list(listing: &Listing, domain: &Domain) -> Value {
    let mut parameters = Vec::new();
    let mut add = |name: &str, about: &str, schema: Value| {
        parameters.push(json!({ "name": name, "in": "query", "description": about, "schema": schema }));
    };
    for filter in listing.filters {
        let about = format!("{}; may be repeated", filter.about);
        add(filter.parameter, &about, json!({ "type": "array", "items": { "type": "string" } }));
    }
    for switch in listing.switches {
        add(switch.parameter, switch.about, json!({ "type": "boolean" }));
    }
    if let Some(span) = listing.span {
        let hours = span.default_us as f64 / 3_600_000_000.0;
        let from = format!("{} at or after this time; by default {hours:.2} hours before until", span.column);
        let time = json!({ "type": "string", "format": "date-time" });
        add("from", &from, time.clone());
        add("until", &format!("{} before this time; by default no bound", span.column), time);
    }
    if listing.from == WINDOWS {
        let names: Vec<&str> = domain.windows.iter().map(|window| window.name.as_str()).collect();
        add("size", "Which windows; by default the first", json!({ "type": "string", "enum": names }));
        let every = json!({ "type": "integer", "minimum": 1, "maximum": EVERY_MAX_S });
        add("every", "Only windows that start at a multiple of so many seconds", every);
    }
    let limit = json!({ "type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT });
    add("limit", "Rows of the answer at most", limit);
    add("cursor", "What next was in the answer before", json!({ "type": "string" }));
    add("format", "By default json", json!({ "type": "string", "enum": ["json", "csv"] }));
    let answer = json!({
        "type": "object",
        "properties": {
            "as_of": { "type": "integer", "description": "The epoch of the newest commit in it" },
            "watermark": { "type": ["string", "null"], "format": "date-time" },
            "rows": { "type": "array", "items": row(&(listing.columns)(domain)) },
            "next": { "type": ["string", "null"], "description": "The cursor of the next page" },
        },
        "required": ["as_of", "watermark", "rows", "next"],
    });
    let mut responses = responses(answer, false);
    responses["200"]["content"]["text/csv"] = json!({ "schema": { "type": "string" } });
    responses["304"] = json!({ "description": "Nothing has changed since If-None-Match" });
    json!({
        "operationId": listing.name, "summary": listing.about, "parameters": parameters, "responses": responses,
    })
}

fn responses(answer: Value, can_be_missing: bool) -> Value {
    let wrong = |description: &str| {
        let schema = json!({ "$ref": "#/components/schemas/Problem" });
        json!({ "description": description, "content": { "application/problem+json": { "schema": schema } } })
    };
    let mut all = json!({
        "200": { "description": "The answer", "content": { "application/json": { "schema": answer } } },
        "400": wrong("The request is wrong"),
        "401": wrong("The token is missing"),
        "421": wrong("The name is not one of this machine, and there is no token"),
        "403": wrong("The database role may not"),
        "503": wrong("The database does not answer, or not in time"),
    });
    if can_be_missing {
        all["404"] = wrong("There is no such thing");
    }
    all
}

fn action(domain: &Domain) -> Value {
    let text = json!({ "type": "string" });
    let mut responses = responses(one::acted(domain), true);
    responses["422"] = responses["400"].clone();
    json!({
        "operationId": "act",
        "summary": "Acts on an incident; the answer is the incident as it is then",
        "parameters": [
            { "name": "id", "in": "path", "required": true, "schema": text },
            { "name": "action", "in": "path", "required": true, "schema": { "type": "string", "enum": ACTIONS } },
            { "name": "X-Citytide", "in": "header", "required": true, "schema": text,
              "description": "Any value: a form of another site cannot send it" },
        ],
        "requestBody": { "content": { "application/json": { "schema": {
            "type": "object",
            "properties": {
                "comment": { "type": "string", "description": "comment and shelve need it" },
                "actor": { "type": "string", "description": "Who; by default the server's database role" },
                "assignee": { "type": "string", "description": "Of assign: who; without, nobody" },
                "minutes": { "type": "integer", "minimum": 1, "description": "Of shelve: for how long" },
            },
            "additionalProperties": false,
        } } } },
        "responses": responses,
    })
}

fn stream() -> Value {
    let every = json!({ "type": "integer", "minimum": 1, "maximum": 60, "default": 1 });
    json!({
        "operationId": "stream",
        "summary": "Server-sent events: a snapshot of what the page Now shows, then the sections that changed",
        "parameters": [{ "name": "every", "in": "query", "schema": every,
                         "description": "Seconds between two events at least" }],
        "responses": { "200": { "description": "Events", "content": { "text/event-stream": {} } } },
    })
}

fn problem() -> Value {
    json!({
        "type": "object",
        "properties": {
            "type": { "type": "string" },
            "title": { "type": "string" },
            "status": { "type": "integer" },
            "detail": { "type": "string" },
        },
        "required": ["type", "title", "status", "detail"],
    })
}
