//! The detector's lines of the status: its model and zones, what is wrong, and precision and recall if the stream
//! carries labels.
//!
//! ```text
//! detector  no model yet · 8 zones · 8 warming up, 3 by rules alone
//! detector  model 3 · 8 zones · 2 warming up
//! training  failed: …; the model in force stays                     ┐ only when it is so,
//! sensors   2 partitions at sensors_max                             ┘ and something is wrong
//! truth     precision 0.93 · recall 0.85 · last hour
//! ```

use citytide_core::batch::Labelled;

use super::{Line, thousands};
use crate::telemetry::{DetectorFigures, Snapshot};

/// The lines of the block.
pub fn lines(snapshot: &Snapshot, columns: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    if let Some(detector) = &snapshot.detector {
        let zones = match detector.zones.iter().sum() {
            0 => "no zone yet".to_owned(),
            zones => counted(zones, "zone"),
        };
        let parts = [model(detector), zones].into_iter().chain(warming_up(detector, thousands));
        lines.push(Line::new("detector", &parts.collect::<Vec<_>>().join(" · "), columns));
        let troubles = [("training", failure(detector)), ("sensors", too_many(detector))];
        for (label, what) in troubles {
            lines.extend(what.map(|what| Line { alarm: true, ..Line::new(label, &what, columns) }));
        }
    }
    let labelled = &snapshot.last_hour;
    if labelled.readings() > 0 {
        lines.push(Line::new("truth", &format!("{} · last hour", rightness(labelled)), columns));
    }
    lines
}

/// What the line of a log says.
pub fn parts(snapshot: &Snapshot) -> Vec<String> {
    let mut parts = Vec::new();
    if let Some(detector) = &snapshot.detector {
        parts.push(model(detector));
        parts.extend(warming_up(detector, |zones| counted(zones as usize, "zone")));
        parts.extend(failure(detector).map(|failure| format!("training {failure}")));
        parts.extend(too_many(detector));
    }
    if snapshot.last_hour.readings() > 0 {
        parts.push(rightness(&snapshot.last_hour));
    }
    parts
}

fn model(detector: &DetectorFigures) -> String {
    match detector.version {
        0 => "no model yet".to_owned(),
        version => format!("model {version}"),
    }
}

/// Zones that have not taught enough themselves: first rules alone judge them, then what other zones have taught too.
fn warming_up(detector: &DetectorFigures, shown: impl Fn(i64) -> String) -> Option<String> {
    let [by_rules, by_type, _] = detector.zones.map(|zones| zones as i64);
    let rules = match by_rules {
        0 => String::new(),
        zones => format!(", {} by rules alone", thousands(zones)),
    };
    (by_rules + by_type > 0).then(|| format!("{} warming up{rules}", shown(by_rules + by_type)))
}

fn failure(detector: &DetectorFigures) -> Option<String> {
    let why = detector.training_failure.as_deref()?;
    let why = why.strip_prefix("training a model: ").unwrap_or(why);
    Some(format!("failed: {why}"))
}

fn counted(number: usize, what: &str) -> String {
    format!("{} {what}{}", thousands(number as i64), if number == 1 { "" } else { "s" })
}

fn too_many(detector: &DetectorFigures) -> Option<String> {
    let full = detector.partitions_full;
    (full > 0).then(|| format!("{} at sensors_max", counted(full, "partition")))
}

fn rightness(labelled: &Labelled) -> String {
    let shown = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |share| format!("{share:.2}"));
    format!("precision {} · recall {}", shown(labelled.precision()), shown(labelled.recall()))
}
