//! What a training has learnt and how the model differs, in lines of at most 80 characters, and as JSON.

use std::fmt::Write;

use citytide_core::detect::Comparison;
use citytide_store::detector::models::StoredModel;
use serde_json::{Value, json};

use crate::cli::models::print::{by_zone, counts, rfc3339, when};
use crate::cli::status::thousands;

/// What is printed about a training.
pub struct Report<'a> {
    /// The model.
    pub stored: &'a StoredModel,
    /// How it differs from the one in force.
    pub comparison: &'a Comparison,
    /// Whether the last hour had more readings than were compared.
    pub is_cut: bool,
    /// Why the model in force cannot be used, if so.
    pub refused: Option<String>,
}

impl Report<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let Report { stored, .. } = self;
        let mut text = String::new();
        let mut say = |label: &str, says: String| {
            writeln!(text, "{label:12}{says}").expect("memory takes text");
        };
        let (from, until) = (when(stored.fitted_from_us), when(stored.fitted_until_us));
        say("model", format!("{}, stored as shadow: {} bytes", stored.version, thousands(stored.bytes)));
        say("fitted on", format!("{} readings, {from} … {until} UTC", thousands(stored.rows)));
        let count = |name: &str| thousands(stored.figures[name].as_i64().unwrap_or(0));
        let sampled = count("sampled");
        say("left out", format!("{} of {sampled} sampled: of high severity, or too old", count("left_out")));
        let score = |name: &str| match stored.figures[name].as_f64() {
            Some(score) => format!("{score:.3}"),
            None => "–".to_owned(),
        };
        let [half, most, nearly_all] = ["score_median", "score_p95", "score_p99"].map(score);
        say("scores", format!("half below {half} · 95 % below {most} · 99 % below {nearly_all}"));
        self.compared(&mut text);
        text
    }

    fn compared(&self, text: &mut String) {
        let Report { comparison, is_cut, refused, .. } = self;
        let mut say = |line: String| {
            text.push_str(line.trim_end());
            text.push('\n');
        };
        let readings = thousands(comparison.all().readings as i64);
        let beside = match comparison.in_force {
            0 => "the rules, because no model is in force".to_owned(),
            version => format!("model {version}, which is in force"),
        };
        say(String::new());
        if let Some(reason) = refused {
            say(format!("the model in force cannot be used: {reason}"));
        }
        say(format!("the last hour beside {beside}:"));
        say(match is_cut {
            true => format!("its {readings} newest readings; there are more"),
            false => format!("{readings} readings"),
        });
        let name = |version: i32| if version == 0 { "rules".to_owned() } else { version.to_string() };
        let zones = comparison.zones.iter().map(|(zone, of)| (&**zone, *of));
        say(by_zone(zones, [&name(comparison.in_force), &name(comparison.other)]));
        if comparison.rescored > 0 {
            let rescored = thousands(comparison.rescored as i64);
            say(format!("scores differ on {rescored} readings, by at most {:.3}", comparison.furthest));
        }
        if comparison.differences.is_empty() {
            return;
        }
        say(format!("\n{:57}  {:>8}  {:>8}", "furthest apart", "before", "now"));
        for one in &comparison.differences {
            let sensor = format!("{}, {}", one.sensor, one.zone);
            let sensor: String = sensor.chars().take(36).collect();
            say(format!(
                "{}  {sensor:36}  {:>8.3}  {:>8.3}",
                when(one.event_time_us),
                one.in_force,
                one.other
            ));
        }
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let Report { stored, comparison, is_cut, refused } = self;
        let zones = comparison.zones.iter().map(|(zone, of)| (zone.to_string(), counts(*of, "only_new")));
        let differences = comparison.differences.iter().map(|one| {
            json!({
                "zone": &*one.zone,
                "sensor": one.sensor,
                "recorded_at": rfc3339(one.event_time_us),
                "partition": one.partition,
                "offset": one.offset,
                "score_in_force": one.in_force,
                "score_new": one.other,
            })
        });
        json!({
            "model": crate::cli::models::print::json(stored),
            "in_force": (comparison.in_force > 0).then_some(comparison.in_force),
            "in_force_refused": refused,
            "is_cut": is_cut,
            "all": counts(comparison.all(), "only_new"),
            "rescored": comparison.rescored,
            "furthest": comparison.furthest,
            "zones": zones.collect::<serde_json::Map<_, _>>(),
            "differences": differences.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests;
