//! The reasons of a flagged reading: metrics, typical values, and a sentence for each.
//!
//! A metric's share is how much lower the surprise would have been with that metric at its baseline. Only flagged rows
//! are explained.

mod json;

use self::json::Json;
use crate::layout::MetricLayout;
use crate::member::Member;
use crate::observe::Observation;

/// Most reasons of the model for one reading.
const REASONS_MAX: usize = 3;
/// Least share of the second and third metric that are named.
const SHARE_MIN: f32 = 0.15;

/// One metric of a flagged reading.
pub(crate) struct Cause<'a> {
    pub(crate) metric: &'a MetricLayout,
    /// NaN where it is missing.
    pub(crate) actual: f64,
    pub(crate) observation: &'a Observation,
    pub(crate) lane: usize,
    /// How far the surprise falls without it.
    pub(crate) drop: f32,
    /// The zone's level and the typical one, on the judged scale, if the whole zone has moved.
    pub(crate) whole_zone: Option<(f64, f64)>,
}

/// The reasons of a reading as a JSON array: broken rules first, then what the model found. `flagged` says how many of
/// its sensor's last eight readings were flagged, where that is known.
pub(crate) fn reasons(causes: &mut [Cause<'_>], found_by: Option<Member>, flagged: Option<u32>) -> String {
    let mut json = Json { text: String::with_capacity(REASONS_BYTES), flagged };
    json.text.push('[');
    for cause in causes.iter() {
        if cause.observation.broken >> cause.lane & 1 == 1 {
            json.next();
            json.broken_rule(cause);
        }
    }
    if let Some(member) = found_by {
        causes.sort_by(|a, b| b.drop.total_cmp(&a.drop));
        let all: f32 = causes.iter().map(|cause| cause.drop).sum();
        for (rank, cause) in causes.iter().enumerate().take(REASONS_MAX) {
            let share = if all > 0.0 { cause.drop / all } else { 1.0 };
            if rank == 0 || share >= SHARE_MIN {
                json.next();
                json.finding(cause, share, member);
            }
            if all <= 0.0 {
                break;
            }
        }
    }
    json.text.push(']');
    json.text
}

/// Room for the reasons of most readings.
const REASONS_BYTES: usize = 384;

impl Json {
    /// A broken rule, with what is typical where that is known.
    fn broken_rule(&mut self, cause: &Cause<'_>) {
        let metric = cause.metric;
        let (sign, side, bound) = if cause.actual < metric.below {
            ('<', ", below the bound of ", metric.below)
        } else {
            ('>', ", above the bound of ", metric.above)
        };
        let (typical, spread) = typical(cause);
        let is_known = typical.is_finite() && spread.is_finite();
        self.text.push_str(r#"{"metric":"#);
        self.quoted(&metric.name);
        self.text.push_str(r#","actual":"#);
        self.shortest(cause.actual, metric.decimals);
        if is_known {
            self.typical(metric, typical, spread);
        }
        self.text.push_str(r#","unit":"#);
        self.quoted(&metric.unit);
        self.text.push_str(r#","rule":""#);
        self.text.push(sign);
        self.text.push(' ');
        self.shortest(bound, metric.decimals);
        self.text.push('"');
        self.persistence();
        self.text.push_str(r#","text":""#);
        self.escaped(&metric.name);
        self.text.push(' ');
        // All digits: a rounded value just beyond its bound would seem to equal it.
        self.shortest(cause.actual, metric.decimals);
        self.unit(metric);
        self.text.push_str(side);
        self.shortest(bound, metric.decimals);
        if is_known {
            self.text.push_str(", typical here at this hour ");
            self.known(typical, metric.decimals);
            self.text.push_str(" ± ");
            self.known(spread, metric.decimals);
        }
        self.text.push_str(r#""}"#);
    }

    fn finding(&mut self, cause: &Cause<'_>, share: f32, member: Member) {
        let metric = cause.metric;
        let (typical, spread) = typical(cause);
        self.text.push_str(r#"{"metric":"#);
        self.quoted(&metric.name);
        self.text.push_str(r#","actual":"#);
        self.shortest(cause.actual, metric.decimals);
        self.typical(metric, typical, spread);
        self.text.push_str(r#","unit":"#);
        self.quoted(&metric.unit);
        self.text.push_str(r#","share":"#);
        self.fixed(f64::from(share), 2);
        self.text.push_str(r#","member":""#);
        self.text.push_str(member.as_str());
        self.text.push('"');
        self.persistence();
        self.text.push_str(r#","text":""#);
        self.sentence(cause, member, (typical, spread));
        self.text.push_str(r#""}"#);
    }

    /// How many of the sensor's last eight readings were flagged.
    fn persistence(&mut self) {
        if let Some(flagged) = self.flagged {
            self.text.push_str(r#","flagged_of_8":"#);
            self.fixed(f64::from(flagged), 0);
        }
    }

    fn typical(&mut self, metric: &MetricLayout, typical: f64, spread: f64) {
        self.text.push_str(r#","typical":"#);
        self.shortest(rounded(typical, metric), metric.decimals + FINER);
        self.text.push_str(r#","spread":"#);
        self.shortest(rounded(spread, metric), metric.decimals + FINER);
    }

    /// The text for people.
    fn sentence(&mut self, cause: &Cause<'_>, member: Member, usual: (f64, f64)) {
        let (metric, observation, lane) = (cause.metric, cause.observation, cause.lane);
        if let (Member::Zone, Some((level, typical))) = (member, cause.whole_zone) {
            self.text.push_str("the whole zone: ");
            self.measured(metric, metric.shown(level));
            self.text.push_str(", typical here at this hour ");
            self.known(metric.shown(typical), metric.decimals);
            return;
        }
        if observation.missed >> lane & 1 == 1 {
            self.escaped(&metric.name);
            self.text.push_str(" is missing; this sensor sends it in ");
            self.fixed(f64::from((observation.presence[lane] * 100.0).floor()), 0);
            self.text.push_str(" % of its readings");
            return;
        }
        self.measured(metric, cause.actual);
        match member {
            Member::Stuck => {
                self.text.push_str(" for ");
                self.fixed(f64::from(observation.run[lane] + 1.0), 0);
                self.text.push_str(" readings in a row");
                return;
            }
            Member::Drift => self.text.push_str(", long on one side of what is typical here, "),
            Member::Against => {
                self.text.push_str(" moves against the other metrics; typical here at this hour ");
            }
            _ => self.text.push_str(", typical here at this hour "),
        }
        self.known(usual.0, metric.decimals);
        self.text.push_str(" ± ");
        self.known(usual.1, metric.decimals);
    }

    /// Name, value and unit.
    fn measured(&mut self, metric: &MetricLayout, value: f64) {
        self.escaped(&metric.name);
        self.text.push(' ');
        self.known(value, metric.decimals);
        self.unit(metric);
    }

    fn unit(&mut self, metric: &MetricLayout) {
        if !metric.unit.is_empty() {
            self.text.push(' ');
            self.escaped(&metric.unit);
        }
    }

    /// A number in a sentence; `?` if it is not finite.
    fn known(&mut self, value: f64, decimals: u8) {
        if value.is_finite() { self.fixed(value, decimals) } else { self.text.push('?') }
    }
}

/// Decimals of typical values beyond those that the metric shows.
const FINER: u8 = 2;

fn rounded(value: f64, metric: &MetricLayout) -> f64 {
    let scale = 10f64.powi(i32::from(metric.decimals + FINER));
    (value * scale).round() / scale
}

/// The typical value and one standard deviation, in the metric's own unit; NaN where nothing is known.
fn typical(cause: &Cause<'_>) -> (f64, f64) {
    let (observation, lane) = (cause.observation, cause.lane);
    if observation.spread[lane] <= 0.0 {
        return (f64::NAN, f64::NAN);
    }
    let (typical, spread) = (observation.typical[lane], f64::from(observation.spread[lane]));
    let low = cause.metric.shown(typical - spread);
    let high = cause.metric.shown(typical + spread);
    (cause.metric.shown(typical), (high - low) / 2.0)
}
