//! Models for people, in lines of at most 80 characters, and for programs.

use std::fmt::Write;

use chrono::DateTime;
use citytide_core::detect::Agreement;
use citytide_store::detector::models::{IN_FORCE_WITHIN, Promoted, StoredModel, Term};
use serde_json::{Value, json};

use crate::cli::status::thousands;

/// Columns of a terminal.
pub const COLUMNS: usize = 80;
/// Columns of the labels.
pub const LABEL: usize = 12;
/// Terms of a model that are printed, the newest ones; the JSON holds all.
const TERMS_MAX: usize = 10;

/// Zones that are printed; the JSON holds all.
const ZONES_MAX: usize = 20;
/// Columns of a zone.
const NAME: usize = 26;

/// A model with what `models` itself does not say.
pub struct Described<'a> {
    /// Its row.
    pub model: &'a StoredModel,
    /// Why it cannot be used, if so.
    pub refused: Option<String>,
    /// When it was in force.
    pub terms: Vec<Term>,
    /// How far it agreed with the one in force, by zone, since an epoch.
    pub agreements: Vec<(String, i64, Agreement)>,
}

/// All models, a line for each.
pub fn table(models: &[StoredModel]) -> String {
    if models.is_empty() {
        return "no models yet: a run trains the first one as soon as it has enough readings\n".to_owned();
    }
    let mut text =
        String::from("version  status    fitted until        rows  in force from (UTC)          epoch\n");
    for model in models {
        let (since, epoch) = match model.in_force_from_epoch {
            Some(epoch) => (of_epoch(epoch), epoch.to_string()),
            None => ("–".to_owned(), "–".to_owned()),
        };
        line(
            &mut text,
            format_args!(
                "{:>7}  {:<8}  {:<16}  {:>6}  {since:<19}  {epoch:>13}",
                model.version,
                status(model),
                &when(model.fitted_until_us)[..16],
                thousands(model.rows),
            ),
        );
    }
    for model in models.iter().filter(|model| model.requested_at_us.is_some()) {
        line(&mut text, format_args!("model {} is requested; a run puts it into force", model.version));
    }
    text
}

/// A model as one JSON object.
pub fn json(model: &StoredModel) -> Value {
    json!({
        "version": model.version,
        "status": model.status,
        "fitted_from": rfc3339(model.fitted_from_us),
        "fitted_until": rfc3339(model.fitted_until_us),
        "rows": model.rows,
        "parameters": model.parameters,
        "figures": model.figures,
        "bytes": model.bytes,
        "in_force_from_epoch": model.in_force_from_epoch,
        "created_at": rfc3339(model.created_at_us),
        "requested_at": model.requested_at_us.map(rfc3339),
    })
}

impl Described<'_> {
    /// Everything, for people.
    pub fn text(&self) -> String {
        let Described { model, refused, terms, agreements } = self;
        let mut text = String::new();
        let mut say = |label: &str, says: &str| wrapped(&mut text, label, says);
        say("model", &format!("{}, {}", model.version, status(model)));
        let (from, until) = (when(model.fitted_from_us), when(model.fitted_until_us));
        say("fitted on", &format!("{} readings, {from} … {until} UTC", thousands(model.rows)));
        say("parameters", &pairs(&model.parameters));
        say("figures", &pairs(&model.figures));
        say("stored", &format!("{} bytes, {} UTC", thousands(model.bytes), when(model.created_at_us)));
        match refused {
            None => say("usable", "yes: its checksum and its metrics fit"),
            Some(reason) => say("usable", &format!("no: {reason}")),
        }
        if terms.is_empty() {
            say("in force", "never");
        }
        let shown = terms.iter().rev().take(TERMS_MAX);
        for (at, term) in shown.enumerate() {
            let from = format!("epoch {} ({})", term.from_epoch, of_epoch(term.from_epoch));
            let until =
                term.until_epoch.map_or("until now".to_owned(), |epoch| format!("to {}", of_epoch(epoch)));
            say(if at == 0 { "in force" } else { "" }, &format!("{from} {until}"));
        }
        if terms.len() > TERMS_MAX {
            say("", &format!("and {} times before", terms.len() - TERMS_MAX));
        }
        if let Some(at_us) = model.requested_at_us {
            say("requested", &format!("{} UTC; a run puts it into force", when(at_us)));
        }
        if let Some(since) = agreements.iter().map(|(_, since, _)| *since).min() {
            line(&mut text, format_args!("\nbeside the model in force since {} UTC:", of_epoch(since)));
            let zones = agreements.iter().map(|(zone, _, agreement)| (zone.as_str(), *agreement));
            text += &by_zone(zones, ["in force", "shadow"]);
        }
        text
    }

    /// Everything, for programs.
    pub fn json(&self) -> Value {
        let term = |term: &Term| json!({"from_epoch": term.from_epoch, "until_epoch": term.until_epoch});
        let mut object = json(self.model);
        object["usable"] = self.refused.is_none().into();
        object["refused"] = self.refused.clone().into();
        object["in_force"] = self.terms.iter().map(term).collect();
        let zone = |(zone, since, of): &(String, i64, Agreement)| {
            let mut counts = counts(*of, "only_shadow");
            counts["since_epoch"] = (*since).into();
            (zone.clone(), counts)
        };
        object["beside"] = Value::Object(self.agreements.iter().map(zone).collect());
        object
    }
}

/// Who flags what, by zone: a line of headings, zones, all.
pub fn by_zone<'a>(zones: impl Iterator<Item = (&'a str, Agreement)>, only: [&str; 2]) -> String {
    let mut text = String::new();
    let heading = only.map(|name| format!("only {name}"));
    line(
        &mut text,
        format_args!(
            "{:NAME$}  {:>10}  {:>10}  {:>13}  {:>11}",
            "zone", "readings", "both flag", heading[0], heading[1]
        ),
    );
    let row = |text: &mut String, name: &str, of: Agreement| {
        let [readings, both, in_force, other] =
            [of.readings, of.both, of.only_in_force, of.only_beside].map(|count| thousands(count as i64));
        let name: String = name.chars().take(NAME).collect();
        line(text, format_args!("{name:NAME$}  {readings:>10}  {both:>10}  {in_force:>13}  {other:>11}"));
    };
    let (mut all, mut count) = (Agreement::default(), 0);
    for (zone, of) in zones {
        all.merge(of);
        count += 1;
        if count <= ZONES_MAX {
            row(&mut text, zone, of);
        }
    }
    if count > ZONES_MAX {
        line(&mut text, format_args!("… and {} more zones", count - ZONES_MAX));
    }
    row(&mut text, "all", all);
    text
}

/// The same counts for programs; `other` is what flags of the other model alone are called.
pub fn counts(of: Agreement, other: &str) -> Value {
    json!({
        "readings": of.readings,
        "both": of.both,
        "only_in_force": of.only_in_force,
        other: of.only_beside,
    })
}

/// What became of asking for a model, for people.
pub fn promoted(version: i32, promoted: Promoted) -> String {
    match promoted {
        Promoted::Already { from_epoch, withdrawn } => {
            let is = format!(
                "model {version} is in force already, from epoch {from_epoch} ({} UTC)",
                of_epoch(from_epoch)
            );
            match withdrawn {
                Some(other) => format!("{is}; the request for model {other} is withdrawn"),
                None => is,
            }
        }
        Promoted::InForce { from_epoch } => {
            format!("model {version} is in force from epoch {from_epoch} ({} UTC)", of_epoch(from_epoch))
        }
        Promoted::NextRun => {
            format!("model {version} is requested; no run is active, the next start puts it into force")
        }
        Promoted::NotYet { run_id } => format!(
            "model {version} is requested; run {run_id} has not put it into force within {} s, and will do so \
             with the next readings that it commits (unless it runs with --detector rules)",
            IN_FORCE_WITHIN.as_secs()
        ),
    }
}

/// The status in words.
fn status(model: &StoredModel) -> String {
    model.status.replace('_', " ")
}

/// An object's members as words: `trees 100, extension 1, metrics heat, count`.
fn pairs(object: &Value) -> String {
    let Value::Object(members) = object else { return object.to_string() };
    let word = |(name, value): (&String, &Value)| {
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) if number.is_i64() => thousands(number.as_i64().expect("just asked")),
            Value::Number(number) => {
                number.as_f64().map_or(number.to_string(), |number| format!("{number:.3}"))
            }
            Value::Null => "–".to_owned(),
            value => value.to_string(),
        };
        format!("{} {value}", name.replace('_', " "))
    };
    members.iter().map(word).collect::<Vec<_>>().join(" · ")
}

/// A label and what it says, in lines that a terminal holds.
pub fn wrapped(text: &mut String, label: &str, says: &str) {
    let mut at = format!("{label:LABEL$}");
    let mut is_first = true;
    for word in says.split(' ') {
        if !is_first && at.chars().count() + 1 + word.chars().count() > COLUMNS {
            line(text, format_args!("{}", at.trim_end()));
            (at, is_first) = (" ".repeat(LABEL), true);
        }
        if !is_first {
            at.push(' ');
        }
        at += word;
        is_first = false;
    }
    line(text, format_args!("{}", at.trim_end()));
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("memory takes text");
    text.push('\n');
}

/// An event time, UTC.
pub fn when(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us)
        .map_or_else(|| "unknown            ".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S").to_string())
}

/// The time of an epoch, UTC.
fn of_epoch(epoch: i64) -> String {
    when(epoch.saturating_mul(1000))
}

/// An event time as JSON has it.
pub fn rfc3339(at_us: i64) -> Option<String> {
    DateTime::from_timestamp_micros(at_us).map(|at| at.to_rfc3339())
}

#[cfg(test)]
mod tests;
