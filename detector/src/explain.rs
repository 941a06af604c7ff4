//! Why a reading was flagged: which metrics, what would have been typical, and a sentence.
//!
//! A metric's share is how much less surprising the reading would have been with that metric at its baseline, found
//! by asking again without it. Only flagged rows are explained.

use crate::layout::MetricLayout;
use crate::member::Member;
use crate::observe::Scene;

/// Most reasons of the model for one reading.
const REASONS_MAX: usize = 3;
/// Least share of a metric that is named beside the first.
const SHARE_MIN: f32 = 0.15;

/// One metric of a flagged reading.
pub(crate) struct Cause<'a> {
    pub(crate) metric: &'a MetricLayout,
    /// NaN where it is missing.
    pub(crate) actual: f64,
    pub(crate) scene: &'a Scene,
    pub(crate) lane: usize,
    /// How much of the surprise goes with it.
    pub(crate) drop: f32,
}

/// The reasons of a reading as a JSON array: broken rules first, then what the model found.
pub(crate) fn reasons(causes: &mut [Cause<'_>], found_by: Option<Member>) -> String {
    let mut reasons: Vec<String> = Vec::new();
    for cause in causes.iter() {
        if cause.scene.broken >> cause.lane & 1 == 1 {
            reasons.push(broken_rule(cause));
        }
    }
    if let Some(member) = found_by {
        causes.sort_by(|a, b| b.drop.total_cmp(&a.drop));
        let all: f32 = causes.iter().map(|cause| cause.drop).sum();
        for (rank, cause) in causes.iter().enumerate().take(REASONS_MAX) {
            let share = if all > 0.0 { cause.drop / all } else { 1.0 };
            if rank == 0 || share >= SHARE_MIN {
                reasons.push(finding(cause, share, member));
            }
            if all <= 0.0 {
                break;
            }
        }
    }
    format!("[{}]", reasons.join(","))
}

fn broken_rule(cause: &Cause<'_>) -> String {
    let metric = cause.metric;
    let (sign, bound) = if cause.actual < metric.below { ('<', metric.below) } else { ('>', metric.above) };
    // Rust prints the shortest digits that read back as the same number, without exponent, which is JSON.
    format!(r#"{{"metric":{},"actual":{},"rule":"{sign} {bound}"}}"#, json(&metric.name), cause.actual)
}

fn finding(cause: &Cause<'_>, share: f32, member: Member) -> String {
    let (metric, scene, lane) = (cause.metric, cause.scene, cause.lane);
    let is_missed = scene.missed >> lane & 1 == 1;
    let actual = if cause.actual.is_nan() { "null".to_owned() } else { cause.actual.to_string() };
    let (typical, spread) = typical(cause);
    let decimals = usize::from(metric.decimals);
    let number = |value: f64| if value.is_finite() { format!("{value:.decimals$}") } else { "?".to_owned() };
    let unit = if metric.unit.is_empty() { String::new() } else { format!(" {}", metric.unit) };
    let usual = format!("{} ± {}", number(typical), number(spread));
    let name = &metric.name;
    let text = match member {
        _ if is_missed => format!(
            "{name} is missing; this sensor sends it in {:.0} % of its readings",
            (scene.presence[lane] * 100.0).floor()
        ),
        Member::Stuck => {
            format!(
                "{name} {}{unit} for {:.0} readings in a row",
                number(cause.actual),
                scene.run[lane] + 1.0
            )
        }
        Member::Drift => {
            format!(
                "{name} {}{unit}, long on one side of what is typical here, {usual}",
                number(cause.actual)
            )
        }
        Member::Misfit => format!(
            "{name} {}{unit} does not go with the other metrics; typical here at this hour {usual}",
            number(cause.actual)
        ),
        _ => format!("{name} {}{unit}, typical here at this hour {usual}", number(cause.actual)),
    };
    let rounded = |value: f64| {
        let scale = 10f64.powi(i32::from(metric.decimals) + 2);
        let value = (value * scale).round() / scale;
        if value.is_finite() { value.to_string() } else { "null".to_owned() }
    };
    format!(
        r#"{{"metric":{},"actual":{actual},"typical":{},"spread":{},"unit":{},"share":{:.2},"member":"{}","text":{}}}"#,
        json(name),
        rounded(typical),
        rounded(spread),
        json(&metric.unit),
        share,
        member.as_str(),
        json(&text),
    )
}

/// What would have been typical and one standard deviation, in the metric's own unit.
fn typical(cause: &Cause<'_>) -> (f64, f64) {
    let (scene, lane) = (cause.scene, cause.lane);
    if scene.spread[lane] <= 0.0 {
        return (f64::NAN, f64::NAN);
    }
    let (typical, spread) = (scene.typical[lane], f64::from(scene.spread[lane]));
    let low = cause.metric.shown(typical - spread);
    let high = cause.metric.shown(typical + spread);
    (cause.metric.shown(typical), (high - low) / 2.0)
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}
