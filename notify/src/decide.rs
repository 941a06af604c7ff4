//! What a route is to be told of an incident: of each change since the last look, and of how it is now.
//!
//! ```text
//!  not told ── opened ─▶ told open ── cleared, withdrawn, superseded ─▶ told the end
//!                        │   ▲  ▲                                            │
//!                        └───┘  └──────────────── reopened ──────────────────┘
//!               escalated, repeated
//! ```
//!
//! The end is told only to those who were told of the beginning. What is acknowledged, shelved, out of service or
//! explained by another incident is not begun; when that ends and the incident is still open, it is. Outside the hours
//! of a route nothing begins, and ends wait for the hours. Told revisions rise: what was told is not told again, whatever
//! is looked at.

use citytide_store::incidents::shown::ShownIncident;
use citytide_store::notifications::{Change, Filed, Told};
use serde_json::{Value, json};

use crate::routes::{Route, rank};

/// The events that are told, as the table has them.
pub const OPENED: &str = "opened";
pub const ESCALATED: &str = "escalated";
pub const REOPENED: &str = "reopened";
pub const REPEATED: &str = "repeated";
pub const CLEARED: &str = "cleared";
pub const WITHDRAWN: &str = "withdrawn";
pub const SUPERSEDED: &str = "superseded";

/// Whether an event is the end of an incident.
pub fn is_end(event: &str) -> bool {
    [CLEARED, WITHDRAWN, SUPERSEDED].contains(&event)
}

/// What `route` is to be told of an incident. `changes` are those that the route has not seen, in order; `told` is the
/// last thing that it was told.
pub fn decide(
    route: &Route,
    incident: &ShownIncident,
    changes: &[Change],
    told: Option<&Told>,
    now_ms: u64,
) -> Vec<Filed> {
    let mut decision = Decision {
        route,
        incident,
        told: told.cloned(),
        opens_in_ms: route.wants.opens_in_ms(now_ms),
        filed: Vec::new(),
    };
    for change in changes {
        decision.see(change.revision, &change.condition, &change.severity);
    }
    decision.see(incident.revision, &incident.condition, &incident.severity);
    decision.repeat();
    decision.filed
}

struct Decision<'a> {
    route: &'a Route,
    incident: &'a ShownIncident,
    told: Option<Told>,
    /// 0 within the hours of the route.
    opens_in_ms: i64,
    filed: Vec<Filed>,
}

impl Decision<'_> {
    /// The incident was, or is, like this.
    fn see(&mut self, revision: i64, condition: &str, severity: &str) {
        let is_told_open = self.told.as_ref().is_some_and(|told| !is_end(&told.event));
        match condition {
            "open" => {
                let event = match &self.told {
                    None => OPENED,
                    Some(told) if is_end(&told.event) => REOPENED,
                    Some(told) if rank(severity) > rank(&told.severity) => ESCALATED,
                    Some(_) => return,
                };
                let wants = &self.route.wants;
                if self.is_quiet() || self.opens_in_ms > 0 || !wants.takes(self.incident, severity) {
                    return;
                }
                self.file(event, revision, 0, severity, self.route.pace.group_wait.as_millis() as i64);
            }
            "cleared" | "withdrawn" | "superseded" if is_told_open => {
                let wait_ms = self.opens_in_ms + self.route.pace.group_wait.as_millis() as i64;
                let event = [CLEARED, WITHDRAWN, SUPERSEDED].into_iter().find(|event| *event == condition);
                self.file(event.expect("one of these"), revision, 0, severity, wait_ms);
            }
            _ => {}
        }
    }

    /// Whether people or policy say that this calls for no attention.
    fn is_quiet(&self) -> bool {
        let one = self.incident;
        one.acknowledged_at.is_some()
            || one.shelved_until.is_some()
            || one.is_out_of_service
            || one.suppressed_by.is_some()
    }

    /// Tells it again, if that is due.
    fn repeat(&mut self) {
        let Some(every) = self.route.pace.repeat_every else { return };
        let Some(told) = self.told.clone().filter(|told| !is_end(&told.event)) else { return };
        let is_due = told.done_ago_ms.is_some_and(|ago_ms| ago_ms >= every.as_millis() as i64);
        let is_open = self.incident.condition == "open";
        if is_due && is_open && !self.is_quiet() && self.opens_in_ms == 0 {
            let wait_ms = self.route.pace.group_wait.as_millis() as i64;
            self.file(REPEATED, told.revision, told.repetition + 1, &told.severity, wait_ms);
        }
    }

    fn file(&mut self, event: &str, revision: i64, repetition: i32, severity: &str, due_in_ms: i64) {
        if self.told.as_ref().is_some_and(|told| (revision, repetition) <= (told.revision, told.repetition)) {
            return;
        }
        let told = Told {
            event: event.to_owned(),
            severity: severity.to_owned(),
            revision,
            repetition,
            done_ago_ms: None,
        };
        self.filed.push(Filed {
            route: self.route.name.clone(),
            incident_id: self.incident.incident_id.clone(),
            revision,
            repetition,
            event: event.to_owned(),
            severity: severity.to_owned(),
            incident: as_of(self.incident, event, revision, severity).to_string(),
            due_in_ms,
        });
        self.told = Some(told);
    }
}

/// The incident as JSON, as it was at a revision: what else has changed since is told as it is now.
fn as_of(incident: &ShownIncident, event: &str, revision: i64, severity: &str) -> Value {
    let mut object = serde_json::to_value(incident).expect("rows can be written");
    if revision != incident.revision {
        let condition = if is_end(event) { event } else { "open" };
        object["condition"] = json!(condition);
        object["severity"] = json!(severity);
        object["revision"] = json!(revision);
        if condition == "open" {
            object["cleared_at"] = Value::Null;
        }
    }
    object
}

#[cfg(test)]
mod tests;
