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
    /// Where the zone is and what is typical for it, on the judged scale, if it has moved as a whole.
    pub(crate) whole_zone: Option<(f64, f64)>,
}

/// The reasons of a reading as a JSON array: broken rules first, then what the model found.
pub(crate) fn reasons(causes: &mut [Cause<'_>], found_by: Option<Member>) -> String {
    let mut json = Json(String::with_capacity(REASONS_BYTES));
    json.0.push('[');
    for cause in causes.iter() {
        if cause.scene.broken >> cause.lane & 1 == 1 {
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
    json.0.push(']');
    json.0
}

/// Room for the reasons of most readings.
const REASONS_BYTES: usize = 384;

/// JSON under way, written straight into its text: one flagged reading in twenty is explained, at full rate.
struct Json(String);

impl Json {
    /// Room for the next element of the array.
    fn next(&mut self) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
    }

    /// As the rules alone tell it, and what is typical where that is known.
    fn broken_rule(&mut self, cause: &Cause<'_>) {
        let metric = cause.metric;
        let (sign, side, bound) = if cause.actual < metric.below {
            ('<', ", below the bound of ", metric.below)
        } else {
            ('>', ", above the bound of ", metric.above)
        };
        let (typical, spread) = typical(cause);
        let is_known = typical.is_finite() && spread.is_finite();
        self.0.push_str(r#"{"metric":"#);
        self.quoted(&metric.name);
        self.0.push_str(r#","actual":"#);
        self.shortest(cause.actual, metric.decimals);
        if is_known {
            self.typical(metric, typical, spread);
        }
        self.0.push_str(r#","unit":"#);
        self.quoted(&metric.unit);
        self.0.push_str(r#","rule":""#);
        self.0.push(sign);
        self.0.push(' ');
        self.shortest(bound, metric.decimals);
        self.0.push_str(r#"","text":""#);
        self.escaped(&metric.name);
        self.0.push(' ');
        // All digits: rounded, a value just beyond its bound would seem to be on it.
        self.shortest(cause.actual, metric.decimals);
        self.unit(metric);
        self.0.push_str(side);
        self.shortest(bound, metric.decimals);
        if is_known {
            self.0.push_str(", typical here at this hour ");
            self.known(typical, metric.decimals);
            self.0.push_str(" ± ");
            self.known(spread, metric.decimals);
        }
        self.0.push_str(r#""}"#);
    }

    fn finding(&mut self, cause: &Cause<'_>, share: f32, member: Member) {
        let metric = cause.metric;
        let (typical, spread) = typical(cause);
        self.0.push_str(r#"{"metric":"#);
        self.quoted(&metric.name);
        self.0.push_str(r#","actual":"#);
        self.shortest(cause.actual, metric.decimals);
        self.typical(metric, typical, spread);
        self.0.push_str(r#","unit":"#);
        self.quoted(&metric.unit);
        self.0.push_str(r#","share":"#);
        self.fixed(f64::from(share), 2);
        self.0.push_str(r#","member":""#);
        self.0.push_str(member.as_str());
        self.0.push_str(r#"","text":""#);
        self.sentence(cause, member, (typical, spread));
        self.0.push_str(r#""}"#);
    }

    fn typical(&mut self, metric: &MetricLayout, typical: f64, spread: f64) {
        self.0.push_str(r#","typical":"#);
        self.shortest(rounded(typical, metric), metric.decimals + FINER);
        self.0.push_str(r#","spread":"#);
        self.shortest(rounded(spread, metric), metric.decimals + FINER);
    }

    /// What a person reads.
    fn sentence(&mut self, cause: &Cause<'_>, member: Member, usual: (f64, f64)) {
        let (metric, scene, lane) = (cause.metric, cause.scene, cause.lane);
        if let (Member::Zone, Some((level, typical))) = (member, cause.whole_zone) {
            self.0.push_str("the whole zone: ");
            self.measured(metric, metric.shown(level));
            self.0.push_str(", typical here at this hour ");
            self.known(metric.shown(typical), metric.decimals);
            return;
        }
        if scene.missed >> lane & 1 == 1 {
            self.escaped(&metric.name);
            self.0.push_str(" is missing; this sensor sends it in ");
            self.fixed(f64::from((scene.presence[lane] * 100.0).floor()), 0);
            self.0.push_str(" % of its readings");
            return;
        }
        self.measured(metric, cause.actual);
        match member {
            Member::Stuck => {
                self.0.push_str(" for ");
                self.fixed(f64::from(scene.run[lane] + 1.0), 0);
                self.0.push_str(" readings in a row");
                return;
            }
            Member::Drift => self.0.push_str(", long on one side of what is typical here, "),
            Member::Against => {
                self.0.push_str(" moves against the other metrics; typical here at this hour ");
            }
            _ => self.0.push_str(", typical here at this hour "),
        }
        self.known(usual.0, metric.decimals);
        self.0.push_str(" ± ");
        self.known(usual.1, metric.decimals);
    }

    /// Name, value and unit.
    fn measured(&mut self, metric: &MetricLayout, value: f64) {
        self.escaped(&metric.name);
        self.0.push(' ');
        self.known(value, metric.decimals);
        self.unit(metric);
    }

    fn unit(&mut self, metric: &MetricLayout) {
        if !metric.unit.is_empty() {
            self.0.push(' ');
            self.escaped(&metric.unit);
        }
    }

    fn quoted(&mut self, text: &str) {
        self.0.push('"');
        self.escaped(text);
        self.0.push('"');
    }

    fn escaped(&mut self, text: &str) {
        if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
            self.0.push_str(text);
        } else {
            let quoted = serde_json::to_string(text).expect("text is JSON");
            self.0.push_str(&quoted[1..quoted.len() - 1]);
        }
    }

    /// A number in a sentence, where there is one.
    fn known(&mut self, value: f64, decimals: u8) {
        if value.is_finite() { self.fixed(value, decimals) } else { self.0.push('?') }
    }

    /// The shortest digits that read back as the same number, `null` where there is none. Most values have no more
    /// decimals than their metric shows.
    fn shortest(&mut self, value: f64, decimals: u8) {
        if !value.is_finite() {
            return self.0.push_str("null");
        }
        let ten = 10f64.powi(i32::from(decimals.min(DECIMALS_FAST)));
        let whole = (value * ten).round();
        if whole.abs() < WHOLE_FAST && whole / ten == value {
            let (mut digits, mut decimals) = (whole as i64, decimals.min(DECIMALS_FAST));
            while decimals > 0 && digits % 10 == 0 {
                (digits, decimals) = (digits / 10, decimals - 1);
            }
            self.digits(digits, decimals);
        } else {
            // Rust prints the shortest digits without an exponent, which is JSON.
            self.0.push_str(&value.to_string());
        }
    }

    /// A finite number with so many decimals.
    fn fixed(&mut self, value: f64, decimals: u8) {
        let whole = (value * 10f64.powi(i32::from(decimals))).round();
        if decimals <= DECIMALS_FAST && whole.abs() < WHOLE_FAST {
            self.digits(whole as i64, decimals);
        } else {
            let decimals = usize::from(decimals);
            self.0.push_str(&format!("{value:.decimals$}"));
        }
    }

    /// Digits with a point before the last `decimals` of them.
    fn digits(&mut self, digits: i64, decimals: u8) {
        if digits < 0 {
            self.0.push('-');
        }
        let mut text = [b'0'; 24];
        let (mut at, mut left, mut place) = (text.len(), digits.unsigned_abs(), 0);
        while left > 0 || place <= decimals {
            if place == decimals && place > 0 {
                at -= 1;
                text[at] = b'.';
            }
            at -= 1;
            text[at] = b'0' + (left % 10) as u8;
            (left, place) = (left / 10, place + 1);
        }
        self.0.push_str(std::str::from_utf8(&text[at..]).expect("digits"));
    }
}

/// Decimals and whole numbers up to which digits are written without a detour.
const DECIMALS_FAST: u8 = 9;
const WHOLE_FAST: f64 = 9e15;
/// What is typical is told with so many decimals more than the metric shows.
const FINER: u8 = 2;

fn rounded(value: f64, metric: &MetricLayout) -> f64 {
    let scale = 10f64.powi(i32::from(metric.decimals + FINER));
    (value * scale).round() / scale
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_rust_writes_them() {
        let of = |write: &dyn Fn(&mut Json)| {
            let mut json = Json(String::new());
            write(&mut json);
            json.0
        };
        let values = [0.0, 0.05, -0.3, 1.0, -12.34, 71.3, 100.0, 1e15, 1e300, 0.1 + 0.2, -7.0, 1234.5678];
        for value in values {
            for decimals in 0..12 {
                assert_eq!(of(&|json| json.shortest(value, decimals)), value.to_string(), "{decimals}");
            }
            for decimals in [0usize, 1, 2, 3, 12] {
                let is_tie = (value * 10f64.powi(decimals as i32)).fract().abs() == 0.5;
                let fixed = of(&|json| json.fixed(value, decimals as u8));
                let expected = format!("{value:.decimals$}");
                let is_zero = expected.trim_start_matches('-').bytes().all(|byte| b"0.".contains(&byte));
                assert!(is_tie || is_zero || fixed == expected, "{fixed} {expected}");
            }
        }
        assert_eq!(of(&|json| json.shortest(f64::NAN, 1)), "null");
        assert_eq!(of(&|json| json.quoted("a \"b\"\n")), r#""a \"b\"\n""#);
    }
}
