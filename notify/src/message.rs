//! Formats messages for each kind of receiver. The content depends only on the message, not on the time of sending.

use chrono::DateTime;
use citytide_store::notifications::{Message, Notification};
use serde_json::{Value, json};

use crate::decide::{CLEARED, ESCALATED, OPENED, REOPENED, REPEATED, SUPERSEDED, WITHDRAWN, is_end};
use crate::routes::rank;

/// The events in the order in which a message counts them.
const EVENTS: [&str; 7] = [OPENED, REOPENED, ESCALATED, REPEATED, CLEARED, WITHDRAWN, SUPERSEDED];
/// Maximum number of incidents in a text; the others are counted.
const LINES_MAX: usize = 20;

/// The identity of a notification, by which a receiver can detect duplicates.
pub fn key(route: &str, one: &Notification) -> String {
    let repetition = if one.repetition == 0 { String::new() } else { format!("/{}", one.repetition) };
    format!("{route}/{}/{}{repetition}", one.incident_id, one.revision)
}

fn text<'a>(one: &'a Notification, column: &str) -> &'a str {
    one.incident.get(column).and_then(Value::as_str).unwrap_or_default()
}

/// The words for an event.
fn words(event: &str) -> &str {
    match event {
        REOPENED => "opened again",
        REPEATED => "still open",
        SUPERSEDED => "joined with another",
        event => event,
    }
}

/// The highest severity of its notifications.
pub fn severity(message: &Message) -> &str {
    let all = message.notifications.iter().map(|one| text(one, "severity"));
    all.max_by_key(|severity| rank(severity)).unwrap_or("low")
}

/// The subject of a mail or the first line of a text.
pub fn title(message: &Message) -> String {
    if let [one] = &message.notifications[..] {
        let what = text(one, "text");
        let place = what.split_once(" since ").map_or(what, |(place, _)| place);
        let about = text(one, "metric");
        return format!("[{}] {}: {about} at {place}", text(one, "severity"), words(&one.event));
    }
    let counted = EVENTS.iter().filter_map(|event| {
        let count = message.notifications.iter().filter(|one| one.event == *event).count();
        (count > 0).then(|| format!("{count} {}", words(event)))
    });
    format!("[{}] incidents: {}", severity(message), counted.collect::<Vec<_>>().join(", "))
}

/// A line for one notification.
fn line(one: &Notification) -> String {
    let mut line = format!("{} · {} · {}", words(&one.event), text(one, "severity"), text(one, "text"));
    if is_end(&one.event)
        && let Some(at) = one.incident.get("cleared_at").and_then(Value::as_str)
        && let Ok(at) = DateTime::parse_from_rfc3339(at)
    {
        line += &format!("; over since {} UTC", at.to_utc().format("%H:%M"));
    }
    // The names of sensors and zones must not break the line.
    line.chars().map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// A text with a title and a line per notification, the highest severity first.
pub fn long_text(message: &Message) -> String {
    let mut order: Vec<&Notification> = message.notifications.iter().collect();
    order.sort_by_key(|one| (is_end(&one.event), std::cmp::Reverse(rank(text(one, "severity")))));
    let mut lines: Vec<String> = order.iter().take(LINES_MAX).map(|one| line(one)).collect();
    if order.len() > 1 {
        lines.insert(0, title(message));
    }
    if order.len() > LINES_MAX {
        lines.push(format!("and {} more", order.len() - LINES_MAX));
    }
    lines.join("\n")
}

/// A text of at most `max` characters.
pub fn short_text(message: &Message, max: usize) -> String {
    let long = match &message.notifications[..] {
        [one] => line(one),
        _ => title(message),
    };
    if long.chars().count() <= max {
        return long;
    }
    long.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// The text of a mail.
pub fn mail_text(message: &Message) -> String {
    let mut body = long_text(message);
    body += "\n\n";
    for one in message.notifications.iter().filter(|one| !is_end(&one.event)).take(LINES_MAX) {
        body += &format!("citytide incidents show {}\n", one.incident_id);
    }
    body += &format!("\nroute {}, message {}\n", message.route, message.message_id);
    body
}

/// The body of a webhook.
pub fn webhook_json(message: &Message) -> Value {
    let time = |ms: i64| DateTime::from_timestamp_millis(ms).map(|at| at.to_rfc3339());
    let notifications = message.notifications.iter().map(|one| {
        json!({
            "key": key(&message.route, one),
            "event": one.event,
            "filed_at": time(one.filed_ms),
            "incident": one.incident,
        })
    });
    let kind = match &message.notifications[..] {
        [one] => format!("incident.{}", one.event),
        _ => "incidents".to_owned(),
    };
    json!({
        "type": kind,
        "timestamp": message.notifications.first().and_then(|one| time(one.filed_ms)),
        "data": {
            "id": message.message_id,
            "route": message.route,
            "text": long_text(message),
            "notifications": notifications.collect::<Vec<_>>(),
        },
    })
}

/// A message for testing a route.
pub fn test_message(route: &str, now_ms: u64) -> Message {
    let at = i64::try_from(now_ms).unwrap_or_default();
    let incident = json!({
        "incident_id": "test",
        "condition": "open",
        "severity": "low",
        "zone": "nowhere",
        "metric": "nothing",
        "text": format!("nowhere since never: this is a test of the route {route}; nothing is wrong"),
    });
    Message {
        route: route.to_owned(),
        message_id: format!("{route}/test/{now_ms}"),
        tries: 1,
        notifications: vec![Notification {
            incident_id: "test".to_owned(),
            revision: 1,
            repetition: 0,
            event: "test".to_owned(),
            incident,
            filed_ms: at,
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(id: &str, event: &str, severity: &str) -> Notification {
        let incident = json!({
            "severity": severity, "metric": "aqi", "zone": "Downtown", "cleared_at": "2026-11-21T12:30:00+00:00",
            "text": "Downtown since 12:00 UTC: aqi 318 AQI,\nabove the bound of 300; 58 sensors",
        });
        let filed_ms = 1_795_262_400_000;
        Notification {
            incident_id: id.to_owned(),
            revision: 2,
            repetition: 0,
            event: event.to_owned(),
            incident,
            filed_ms,
        }
    }

    fn message(notifications: Vec<Notification>) -> Message {
        Message { route: "duty".to_owned(), message_id: "duty/a/2".to_owned(), tries: 1, notifications }
    }

    #[test]
    fn one_incident_is_a_sentence() {
        let one = message(vec![notification("a", OPENED, "high")]);
        assert_eq!(title(&one), "[high] opened: aqi at Downtown");
        let sentence =
            "opened · high · Downtown since 12:00 UTC: aqi 318 AQI, above the bound of 300; 58 sensors";
        assert_eq!(long_text(&one), sentence);
        assert_eq!(short_text(&one, 30), "opened · high · Downtown sinc…");
        let over = message(vec![notification("a", CLEARED, "high")]);
        assert!(long_text(&over).ends_with("; over since 12:30 UTC"), "{}", long_text(&over));
    }

    #[test]
    fn a_flood_is_counted_and_the_worst_stand_first() {
        let mut many: Vec<Notification> =
            (0..30).map(|number| notification(&format!("i{number}"), OPENED, "low")).collect();
        many.insert(0, notification("over", CLEARED, "high"));
        many.push(notification("bad", ESCALATED, "high"));
        let flood = message(many);
        assert_eq!(title(&flood), "[high] incidents: 30 opened, 1 escalated, 1 cleared");
        let text = long_text(&flood);
        assert_eq!(text.lines().count(), 22);
        assert!(text.lines().nth(1).is_some_and(|line| line.starts_with("escalated · high")), "{text}");
        assert!(text.ends_with("and 12 more"), "{text}");
        let body = webhook_json(&flood);
        assert_eq!(body["data"]["notifications"].as_array().map(Vec::len), Some(32), "all of them");
        assert_eq!(body["data"]["notifications"][0]["key"], "duty/over/2");
    }

    #[test]
    fn a_reminder_has_a_key_of_its_own() {
        let one = Notification { repetition: 3, ..notification("a", REPEATED, "high") };
        assert_eq!(key("duty", &one), "duty/a/2/3");
        assert_eq!(webhook_json(&message(vec![one]))["type"], "incident.repeated");
    }
}
