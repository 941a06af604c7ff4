//! Decides which notifications a route gets about an incident, from its new changes and its current state.
//!
//! ```text
//!  not notified ── opened ─▶ notified open ── cleared, withdrawn, superseded ─▶ notified of the end
//!                            │   ▲  ▲                                               │
//!                            └───┘  └─────────────────── reopened ──────────────────┘
//!                   escalated, repeated
//! ```
//!
//! A route is notified of the end only if it was notified of the opening. An incident that is acknowledged, shelved,
//! out of service or explained by another one causes no notification of its opening until that is over. Outside the
//! hours of a route there is no notification of an opening, and that of an end waits for the hours. The revisions of a
//! route's notifications rise, so none is repeated, whichever changes are read again.

use citytide_store::incidents::shown::ShownIncident;
use citytide_store::notifications::{Change, LastNotification, NewNotification};
use serde_json::{Value, json};

use crate::routes::{Route, rank};

/// The events of notifications, with the names in the table.
pub const OPENED: &str = "opened";
pub const ESCALATED: &str = "escalated";
pub const REOPENED: &str = "reopened";
pub const REPEATED: &str = "repeated";
pub const CLEARED: &str = "cleared";
pub const WITHDRAWN: &str = "withdrawn";
pub const SUPERSEDED: &str = "superseded";

/// Whether an event ends an incident.
pub fn is_end(event: &str) -> bool {
    [CLEARED, WITHDRAWN, SUPERSEDED].contains(&event)
}

/// Returns the notifications of `route` about an incident. `changes` are those since the position of the route, in
/// order; `last` is the route's last notification about the incident.
pub fn decide(
    route: &Route,
    incident: &ShownIncident,
    changes: &[Change],
    last: Option<&LastNotification>,
    now_ms: u64,
) -> Vec<NewNotification> {
    let mut decision = Decision {
        route,
        incident,
        last: last.cloned(),
        opens_in_ms: route.wants.opens_in_ms(now_ms),
        filed: Vec::new(),
    };
    for change in changes {
        decision.apply(change.revision, &change.condition, &change.severity);
    }
    decision.apply(incident.revision, &incident.condition, &incident.severity);
    decision.repeat();
    decision.filed
}

struct Decision<'a> {
    route: &'a Route,
    incident: &'a ShownIncident,
    last: Option<LastNotification>,
    /// Time until the hours of the route begin, milliseconds; 0 within them.
    opens_in_ms: i64,
    filed: Vec<NewNotification>,
}

impl Decision<'_> {
    /// Files the notification that a past or the current state of the incident requires, if any.
    fn apply(&mut self, revision: i64, condition: &str, severity: &str) {
        let is_notified_open = self.last.as_ref().is_some_and(|last| !is_end(&last.event));
        match condition {
            "open" => {
                let event = match &self.last {
                    None => OPENED,
                    Some(last) if is_end(&last.event) => REOPENED,
                    Some(last) if rank(severity) > rank(&last.severity) => ESCALATED,
                    Some(_) => return,
                };
                let wants = &self.route.wants;
                if self.is_quiet() || self.opens_in_ms > 0 || !wants.takes(self.incident, severity) {
                    return;
                }
                self.file(event, revision, 0, severity, self.route.pace.group_wait.as_millis() as i64);
            }
            "cleared" | "withdrawn" | "superseded" if is_notified_open => {
                let wait_ms = self.opens_in_ms + self.route.pace.group_wait.as_millis() as i64;
                let event = [CLEARED, WITHDRAWN, SUPERSEDED].into_iter().find(|event| *event == condition);
                self.file(event.expect("one of these"), revision, 0, severity, wait_ms);
            }
            _ => {}
        }
    }

    /// Whether a user's action or another incident suppresses notifications of an opening.
    fn is_quiet(&self) -> bool {
        let one = self.incident;
        one.acknowledged_at.is_some()
            || one.shelved_until.is_some()
            || one.is_out_of_service
            || one.suppressed_by.is_some()
    }

    /// Files a reminder if it is due.
    fn repeat(&mut self) {
        let Some(every) = self.route.pace.repeat_every else { return };
        let Some(last) = self.last.clone().filter(|last| !is_end(&last.event)) else { return };
        let is_due = last.done_ago_ms.is_some_and(|ago_ms| ago_ms >= every.as_millis() as i64);
        let is_open = self.incident.condition == "open";
        if is_due && is_open && !self.is_quiet() && self.opens_in_ms == 0 {
            let wait_ms = self.route.pace.group_wait.as_millis() as i64;
            self.file(REPEATED, last.revision, last.repetition + 1, &last.severity, wait_ms);
        }
    }

    fn file(&mut self, event: &str, revision: i64, repetition: i32, severity: &str, due_in_ms: i64) {
        if self.last.as_ref().is_some_and(|last| (revision, repetition) <= (last.revision, last.repetition)) {
            return;
        }
        let last = LastNotification {
            event: event.to_owned(),
            severity: severity.to_owned(),
            revision,
            repetition,
            done_ago_ms: None,
        };
        self.filed.push(NewNotification {
            route: self.route.name.clone(),
            incident_id: self.incident.incident_id.clone(),
            revision,
            repetition,
            event: event.to_owned(),
            severity: severity.to_owned(),
            incident: as_of(self.incident, event, revision, severity).to_string(),
            due_in_ms,
        });
        self.last = Some(last);
    }
}

/// The incident as JSON, with the condition and severity of a revision and all other columns as they are now.
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
