//! Incidents for people, in lines of at most 80 columns, and for programs.

use chrono::DateTime;
use citytide_store::compare::AsOf;
use citytide_store::incidents::shown::{At, Counts, ShownChange, ShownIncident, ShownLoad, ShownOccurrence};
use serde_json::Value;

use crate::cli::models::print::{COLUMNS, when, wrapped};
use crate::cli::status::{coarse, thousands};
use crate::cli::tap::print::escaped;

/// Characters of an identity in a list.
const SHORT: usize = 8;
/// Columns of a sentence that stay, whoever has the incident.
const SENTENCE_MIN: usize = 20;

/// An incident, or what belongs to one, as one JSON object.
pub fn json(one: &ShownIncident) -> Value {
    serde_json::to_value(one).expect("rows can be written")
}

/// What is listed, and of what.
pub struct Listed<'a> {
    pub incidents: &'a [ShownIncident],
    /// How many there are that were asked for.
    pub all: i64,
    /// How many there are, whatever was asked for.
    pub counts: Counts,
    pub as_of: AsOf,
}

impl Listed<'_> {
    /// A line for each, and one about all.
    pub fn text(&self) -> String {
        let Listed { incidents, all, counts, as_of } = self;
        let mut text = String::new();
        if !incidents.is_empty() {
            text += "id       severity since (UTC) lasts    what\n";
            incidents.iter().for_each(|one| text += &line(one, as_of));
        }
        let mut says = match (incidents.len() as i64, *counts) {
            (0, Counts { open: 0, pending: 0, .. }) => "nothing is wrong".to_owned(),
            (0, _) => format!("no such incident; of all {}", counted(counts)),
            (shown, _) if shown < *all => {
                format!("{shown} of {}; of all {}", thousands(*all), counted(counts))
            }
            _ => counted(counts),
        };
        says += &format!("\nas of {}\n", told(as_of));
        text + &says
    }
}

/// Ten minutes as one JSON object.
pub fn load_json(one: &ShownLoad) -> Value {
    serde_json::to_value(one).expect("rows can be written")
}

/// How much incidents ask of people: a line for each ten minutes.
pub fn load(load: &[ShownLoad], as_of: &AsOf) -> String {
    if load.is_empty() {
        return format!("no incident has opened yet\nas of {}\n", told(as_of));
    }
    let mut text =
        String::from("from (UTC)        opened flood high medium   low top ten chatter stale to ack\n");
    let percent = |share: Option<f64>| match share {
        Some(share) => format!("{:.0} %", share * 100.0),
        None => "–".to_owned(),
    };
    for one in load {
        let minutes =
            one.minutes_to_acknowledge.map_or("–".to_owned(), |minutes| format!("{minutes:.0} min"));
        let [high, medium, low, top] =
            [one.high_share, one.medium_share, one.low_share, one.top_ten_share].map(percent);
        let line = format!(
            "{:<16} {:>7} {:<5} {high:>4} {medium:>6} {low:>5} {top:>7} {:>7} {:>5} {minutes:>6}",
            &when(one.ten_minutes.0)[..16],
            thousands(one.opened),
            if one.is_flood { "flood" } else { "" },
            thousands(one.chattering),
            thousands(one.stale),
        );
        text += line.trim_end();
        text.push('\n');
    }
    let floods = load.iter().filter(|one| one.is_flood).count();
    let opened: i64 = load.iter().map(|one| one.opened).sum();
    text + &format!(
        "{} opened in {} times ten minutes, of which {floods} in a flood\nas of {}\n",
        thousands(opened),
        load.len(),
        told(as_of)
    )
}

fn counted(counts: &Counts) -> String {
    let Counts { open, pending, need_attention, .. } = counts;
    let need = if *need_attention == 1 { "needs" } else { "need" };
    let [open, pending, attention] = [open, pending, need_attention].map(|count| thousands(*count));
    format!("{open} open, {pending} pending, {attention} {need} attention")
}

fn told(as_of: &AsOf) -> String {
    match (as_of.epoch, as_of.watermark_us) {
        (None, _) => "no commit yet".to_owned(),
        (Some(epoch), None) => format!("commit {epoch}, no watermark yet"),
        (Some(epoch), Some(at_us)) => format!("commit {epoch}, W {} UTC", when(at_us)),
    }
}

/// An incident on a line, with who has it at the end.
pub fn line(one: &ShownIncident, as_of: &AsOf) -> String {
    let id: String = one.incident_id.chars().take(SHORT).collect();
    let since = DateTime::from_timestamp_micros(one.opened_at.0)
        .map_or_else(String::new, |at| at.format("%m-%d %H:%M").to_string());
    let head = format!("{id:SHORT$} {:<8} {since:<11} {:<8} ", one.severity, lasts(one, as_of));
    let mut notes = people(one);
    if one.condition != "open" {
        notes.insert(0, one.condition.clone());
    }
    // The time stands in a column of its own.
    let (what, since) = one.text.split_once(" since ").unwrap_or((&one.text, ""));
    let why = since.split_once(": ").map_or(String::new(), |(_, why)| format!(": {why}"));
    let room = COLUMNS - head.chars().count();
    let notes = if notes.is_empty() { String::new() } else { format!(" · {}", notes.join(", ")) };
    let notes = cut(&escaped(&notes), room - SENTENCE_MIN);
    let sentence = cut(&escaped(&format!("{what}{why}")), room - notes.chars().count());
    format!("{head}{sentence}{notes}\n")
}

/// How long it has lasted in event time: until it was over, or until W.
fn lasts(one: &ShownIncident, as_of: &AsOf) -> String {
    let is_current = matches!(one.condition.as_str(), "open" | "pending");
    let until_us = match one.cleared_at {
        Some(At(at_us)) => at_us,
        None if is_current => as_of.watermark_us.unwrap_or(one.last_seen_at.0),
        None => one.last_seen_at.0,
    };
    coarse(u64::try_from((until_us - one.opened_at.0) / 1_000_000).unwrap_or(0))
}

/// What people and policy say, a few words each.
fn people(one: &ShownIncident) -> Vec<String> {
    let mut notes = Vec::new();
    notes.extend(one.acknowledged_by.as_ref().map(|who| format!("seen by {who}")));
    notes.extend(one.assignee.as_ref().map(|who| format!("for {who}")));
    notes.extend(one.shelved_until.map(|At(at_us)| format!("shelved until {}", &when(at_us)[11..16])));
    if one.is_out_of_service {
        notes.push("out of service".to_owned());
    }
    let short = |id: &String| id.chars().take(SHORT).collect::<String>();
    notes.extend(one.suppressed_by.as_ref().map(|by| format!("explained by {}", short(by))));
    notes.extend(one.superseded_by.as_ref().map(|by| format!("joined with {}", short(by))));
    notes
}

fn cut(text: &str, columns: usize) -> String {
    match text.chars().count() > columns {
        true => text.chars().take(columns.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// An incident with all that belongs to it.
pub struct Described {
    pub incident: ShownIncident,
    pub occurrences: Vec<ShownOccurrence>,
    pub changes: Vec<ShownChange>,
    pub as_of: AsOf,
}

impl Described {
    /// Everything, for people.
    pub fn text(&self) -> String {
        let Described { incident: one, occurrences, changes, as_of } = self;
        let mut text = String::new();
        let mut say = |label: &str, says: &str| wrapped(&mut text, label, &escaped(says));
        let by = one.superseded_by.as_ref().map_or(String::new(), |by| format!(" by {by}"));
        say("incident", &format!("{}, {}{by}", one.incident_id, one.condition));
        say("what", &one.text);
        let of = one.sensor_id.as_ref().map_or(String::new(), |sensor| format!(", sensor {sensor}"));
        say("about", &format!("{}, {} in {}{of}", one.kind, one.metric, one.zone));
        say("severity", &format!("{}, {} at worst", one.severity, one.severity_peak));
        let since = when(one.opened_at.0);
        say("since", &format!("{since} UTC, {}; last seen {}", lasts(one, as_of), when(one.last_seen_at.0)));
        if let Some(At(at_us)) = one.cleared_at {
            say("over", &format!("{} UTC", when(at_us)));
        }
        let first = one.first_epoch.map_or("unknown".to_owned(), |epoch| epoch.to_string());
        say(
            "known",
            &format!("since commit {first}; revision {}, written by commit {}", one.revision, one.epoch),
        );
        let counts = [one.readings, one.sensors, one.occurrences, one.flaps].map(thousands);
        let [readings, sensors, times, again] = &counts;
        say(
            "evidence",
            &format!("readings {readings} · sensors {sensors} · open {times} times, {again} times again"),
        );
        say("peak", &peak(one));
        people_at_length(one).iter().for_each(|(label, says)| say(label, says));
        say("attention", if one.needs_attention { "needed" } else { "not needed" });
        for (at, occurrence) in occurrences.iter().enumerate() {
            let label = if at == 0 { "occurrences" } else { "" };
            let ShownOccurrence { first_at, last_at, readings, sensors, reason } = occurrence;
            let (from, until) = (when(first_at.0), when(last_at.0));
            let counts = format!("readings {} · sensors {}", thousands(*readings), thousands(*sensors));
            say(label, &format!("{from} … {until} · {counts} · {reason}"));
        }
        for (at, change) in changes.iter().enumerate() {
            say(if at == 0 { "changes" } else { "" }, &told_change(change));
        }
        say("as of", &told(as_of));
        text
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let mut object = json(&self.incident);
        object["occurrences"] = serde_json::to_value(&self.occurrences).expect("rows can be written");
        object["changes"] = serde_json::to_value(&self.changes).expect("rows can be written");
        object
    }
}

fn peak(one: &ShownIncident) -> String {
    let number = |value: f64| format!("{}", (value * 100.0).round() / 100.0);
    let value = one.peak_value.map_or("no value".to_owned(), number);
    let typical = one.typical.map_or(String::new(), |typical| {
        let spread = one.spread.map_or(String::new(), |spread| format!(" ± {}", number(spread)));
        format!(", typical {}{spread}", number(typical))
    });
    let model =
        if one.model_version == 0 { "rules only".to_owned() } else { format!("model {}", one.model_version) };
    format!("{} {value} {}{typical}; {model}", one.metric, one.unit)
}

fn people_at_length(one: &ShownIncident) -> Vec<(&'static str, String)> {
    let at = |at: Option<At>| at.map_or(String::new(), |At(at_us)| format!(" {} UTC", when(at_us)));
    let said = |words: &Option<String>| words.as_ref().map_or(String::new(), |words| format!(": {words}"));
    let mut says = Vec::new();
    if let Some(who) = &one.acknowledged_by {
        says.push((
            "seen",
            format!("by {who}{}{}", at(one.acknowledged_at), said(&one.acknowledged_comment)),
        ));
    }
    says.extend(one.assignee.as_ref().map(|who| ("assigned", format!("to {who}"))));
    if let Some(who) = &one.shelved_by {
        says.push((
            "shelved",
            format!("until{} by {who}{}", at(one.shelved_until), said(&one.shelved_reason)),
        ));
    }
    if one.is_out_of_service {
        says.push(("service", "out of service".to_owned()));
    }
    says.extend(one.suppressed_by.as_ref().map(|by| ("explained", format!("by {by}, of the whole zone"))));
    says
}

/// A change as a sentence: when in event time, what, and why.
fn told_change(change: &ShownChange) -> String {
    let at = change.event_at.or(change.changed_at).map_or("unknown".to_owned(), |At(at_us)| when(at_us));
    let evidence = &change.evidence.0;
    let of = |name: &str| evidence.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let comment = change.comment.as_ref().map_or(String::new(), |comment| format!(": {comment}"));
    let what = match change.cause.as_str() {
        "operator" => {
            let to = [of("assignee"), of("until")].join(" ");
            let who = change.actor.as_deref().unwrap_or("somebody");
            format!("{} {} by {who}{comment}", of("action").replace('_', " "), to.trim())
        }
        "shelf_expired" => format!("no longer shelved, as {} had asked", of("shelved_by")),
        cause => {
            let from = change.from_condition.as_deref().unwrap_or("nothing");
            let to = change.to_condition.as_deref().unwrap_or("nothing");
            format!("{from} → {to} ({}) · {} · {}", cause.replace('_', " "), of("severity"), of("reason"))
        }
    };
    format!("{at} {}", what.split_whitespace().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests;
