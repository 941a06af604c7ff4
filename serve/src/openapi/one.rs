//! What the answers about one incident and one sensor hold, for the document.

use citytide_domain::Domain;
use serde_json::{Value, json};

use super::row;
use crate::listing::{Kind, columns};
use crate::one;
use crate::resources::incidents;

/// An object with exactly these properties.
fn object(properties: Value) -> Value {
    let required: Vec<&String> = properties.as_object().into_iter().flatten().map(|(name, _)| name).collect();
    json!({ "type": "object", "required": required, "properties": properties, "additionalProperties": false })
}

fn rows(of: &[(&str, Kind)]) -> Value {
    json!({ "type": "array", "items": row(&columns(of)) })
}

fn as_of() -> Value {
    json!({ "type": "integer", "description": "The epoch of the newest commit in it" })
}

fn watermark() -> Value {
    json!({ "type": ["string", "null"], "format": "date-time" })
}

/// `GET /api/v1/incidents/ID`
pub fn incident(domain: &Domain) -> Value {
    let number = json!({ "type": "integer" });
    let chart = object(json!({
        "window": { "type": "string" },
        "size_ms": number,
        "step_ms": number,
        "start_ms": number,
        "end_ms": number,
        "typical": {
            "type": ["array", "null"], "items": { "type": "number" },
            "description": "Mean and standard deviation of the metric there at this hour of the day",
        },
        "rows": rows(&one::CHART),
    }));
    object(json!({
        "as_of": as_of(),
        "watermark": watermark(),
        "incident": row(&incidents(domain)),
        "occurrences": rows(&[
            ("first_at", Kind::Time),
            ("last_at", Kind::Time),
            ("readings", Kind::Integer),
            ("sensors", Kind::Integer),
            ("reason", Kind::Text),
        ]),
        "changes": rows(&[
            ("revision", Kind::Integer),
            ("epoch", Kind::Integer),
            ("event_at", Kind::Time),
            ("changed_at", Kind::Time),
            ("from_condition", Kind::Text),
            ("to_condition", Kind::Text),
            ("cause", Kind::Text),
            ("actor", Kind::Text),
            ("comment", Kind::Text),
            ("evidence", Kind::Json),
        ]),
        "chart": { "anyOf": [chart, { "type": "null" }] },
        "evidence": rows(&one::EVIDENCE),
    }))
}

/// `GET /api/v1/sensors/ID`
pub fn sensor(domain: &Domain) -> Value {
    object(json!({
        "as_of": as_of(),
        "watermark": watermark(),
        "sensor_id": { "type": "string" },
        "readings": { "type": "array", "items": row(&one::readings(domain)) },
        "incidents": { "type": "array", "items": row(&incidents(domain)) },
    }))
}

/// What an action answers.
pub fn acted(domain: &Domain) -> Value {
    object(json!({ "incident": row(&incidents(domain)) }))
}
