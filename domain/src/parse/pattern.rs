//! `pattern`: a metric's course, and where a zone has one of its own, what it has differently.

use super::nearest::nearest;
use super::reader::{At, Findings, Section};
use crate::{Day, Factor, Pattern, Season, Shape, Trend};

const PATTERN_KEYS: &[&str] = &[
    "mean",
    "amplitude",
    "peaks",
    "width",
    "valley",
    "hours",
    "weekend",
    "days",
    "season",
    "trend",
    "noise",
    "persistence",
    "memory",
    "offset",
    "gain",
    "proportional",
    "follows",
];
const DAY_KEYS: &[&str] = &["mean", "amplitude", "peaks", "width", "valley", "hours"];
const SEASON_KEYS: &[&str] = &["amplitude", "peak"];
const TREND_KEYS: &[&str] = &["by", "from", "until"];

/// Most hours at which a pattern peaks.
const PEAKS_MAX: usize = 24;
/// Width of a peak, in hours, where the file names none and there are several.
const PEAK_WIDTH_H: f64 = 2.2;
/// What is left between peaks where the file says nothing.
const VALLEY: f64 = 0.4;
/// Greatest spread of the sensors' gain: beyond it some would run backwards.
const GAIN_MAX: f64 = 0.25;
/// Greatest factor of a weekday.
const WEEKDAY_MAX: f64 = 10.0;
/// The sensors' spread, in standard deviations of the noise, where the file says nothing.
const OFFSET_SHARE: f64 = 0.6;
/// How long the noise remembers where the file says nothing.
const MEMORY_US: i64 = 20 * 60 * 1_000_000;

/// What was typed of a day's course.
#[derive(Default)]
struct TypedDay {
    mean: Option<At<f64>>,
    amplitude: Option<At<f64>>,
    peaks: Option<At<Vec<At<f64>>>>,
    width: Option<At<f64>>,
    valley: Option<At<f64>>,
    hours: Option<At<Vec<At<f64>>>>,
}

/// What was typed of a pattern.
#[derive(Default)]
pub(super) struct TypedPattern {
    day: TypedDay,
    weekend: Option<TypedDay>,
    days: Option<At<Vec<At<f64>>>>,
    season: Option<TypedSeason>,
    trend: Option<TypedTrend>,
    noise: Option<At<f64>>,
    persistence: Option<At<f64>>,
    memory_us: Option<At<i64>>,
    offset: Option<At<f64>>,
    gain: Option<At<f64>>,
    proportional: Option<At<bool>>,
    follows: Option<Vec<(At<String>, At<f64>)>>,
}

struct TypedSeason {
    amplitude: Option<At<f64>>,
    peak: Option<At<f64>>,
}

struct TypedTrend {
    by: Option<At<f64>>,
    from_at_us: Option<At<i64>>,
    until_at_us: Option<At<i64>>,
}

/// The pattern under `key` of a metric or of a zone's patterns.
pub(super) fn read_pattern(section: &Section<'_>, key: &str, findings: &mut Findings) -> TypedPattern {
    let Some(pattern) = section.table(key, "pattern", PATTERN_KEYS, findings) else {
        return TypedPattern::default();
    };
    let season = pattern.table("season", "season", SEASON_KEYS, findings);
    let trend = pattern.table("trend", "trend", TREND_KEYS, findings);
    TypedPattern {
        day: read_day(&pattern, findings),
        weekend: pattern
            .table("weekend", "weekend", DAY_KEYS, findings)
            .map(|weekend| read_day(&weekend, findings)),
        days: pattern.numbers("days", findings),
        season: season.map(|season| TypedSeason {
            amplitude: season.required_number("amplitude", findings),
            peak: season.required_number("peak", findings),
        }),
        trend: trend.map(|trend| TypedTrend {
            by: trend.required_number("by", findings),
            from_at_us: trend.required_date_us("from", findings),
            until_at_us: trend.required_date_us("until", findings),
        }),
        noise: pattern.number("noise", findings),
        persistence: pattern.number("persistence", findings),
        memory_us: pattern.duration_us("memory", false, findings),
        offset: pattern.number("offset", findings),
        gain: pattern.number("gain", findings),
        proportional: pattern.boolean("proportional", findings),
        follows: pattern.open_table("follows", "follows", findings).map(|follows| {
            let mut weights = Vec::new();
            for (factor, value) in follows.entries() {
                if let Some(weight) = follows.number_of(&factor.value, value, findings) {
                    weights.push((factor, weight));
                }
            }
            weights
        }),
    }
}

fn read_day(day: &Section<'_>, findings: &mut Findings) -> TypedDay {
    TypedDay {
        mean: day.number("mean", findings),
        amplitude: day.number("amplitude", findings),
        peaks: day.numbers("peaks", findings),
        width: day.number("width", findings),
        valley: day.number("valley", findings),
        hours: day.numbers("hours", findings),
    }
}

/// The course of a metric of which nothing is said: well inside `band`, half of it over a day, one peak after noon.
pub(super) fn default_pattern(band: (f64, f64)) -> Pattern {
    let width = band.1 - band.0;
    Pattern {
        day: Day {
            mean: band.0 + width * 0.4,
            amplitude: width * 0.12,
            shape: Shape::Peaks { hours: vec![14.0], width_h: None, valley: VALLEY },
        },
        weekend: None,
        days: [1.0; 7],
        season: None,
        trend: None,
        noise: width * 0.02,
        persistence: 0.5,
        memory_us: MEMORY_US,
        offset: width * 0.02 * OFFSET_SHARE,
        gain: 0.0,
        proportional: false,
        follows: Vec::new(),
    }
}

/// `base` with what was typed.
pub(super) fn used_pattern(
    typed: &TypedPattern,
    base: &Pattern,
    factors: &[Factor],
    findings: &mut Findings,
) -> Pattern {
    check_numbers(typed, findings);
    let day = used_day(&typed.day, &base.day, findings);
    let noise = typed.noise.as_ref().map(|at| at.value);
    let pattern = Pattern {
        weekend: match &typed.weekend {
            Some(weekend) => Some(used_day(weekend, base.weekend.as_ref().unwrap_or(&day), findings)),
            None => base.weekend.clone(),
        },
        day,
        days: typed.days.as_ref().map_or(base.days, |days| used_days(days, findings)),
        season: match &typed.season {
            Some(season) => Some(Season {
                amplitude: season.amplitude.as_ref().map_or(0.0, |at| at.value),
                peak_day: season.peak.as_ref().map_or(1.0, |at| at.value),
            }),
            None => base.season.clone(),
        },
        trend: match &typed.trend {
            Some(trend) => Some(used_trend(trend, findings)),
            None => base.trend.clone(),
        },
        noise: noise.unwrap_or(base.noise),
        persistence: typed.persistence.as_ref().map_or(base.persistence, |at| at.value),
        memory_us: typed.memory_us.as_ref().map_or(base.memory_us, |at| at.value),
        offset: match &typed.offset {
            Some(offset) => offset.value,
            None => noise.map_or(base.offset, |noise| noise * OFFSET_SHARE),
        },
        gain: typed.gain.as_ref().map_or(base.gain, |at| at.value),
        proportional: typed.proportional.as_ref().map_or(base.proportional, |at| at.value),
        follows: match &typed.follows {
            Some(follows) => used_follows(follows, factors, findings),
            None => base.follows.clone(),
        },
    };
    if let Some(at) = typed.proportional.as_ref().filter(|at| at.value && pattern.day.mean <= 0.0) {
        findings.add(&at.span, "what is `proportional` needs a `mean` above 0");
    }
    pattern
}

/// What can be said of each number alone.
fn check_numbers(typed: &TypedPattern, findings: &mut Findings) {
    let days = [Some(&typed.day), typed.weekend.as_ref()];
    let of_days = days.iter().flatten().map(|day| (&day.amplitude, "amplitude"));
    let own = [(&typed.noise, "noise"), (&typed.offset, "offset"), (&typed.gain, "gain")];
    for (at, key) in of_days.chain(own) {
        if let Some(at) = at.as_ref().filter(|at| at.value < 0.0) {
            findings.add(&at.span, format!("`{key}` in pattern cannot be negative"));
        }
    }
    if let Some(at) = typed.gain.as_ref().filter(|at| at.value > GAIN_MAX) {
        findings
            .add(&at.span, format!("`gain` in pattern is the sensors' spread around 1, at most {GAIN_MAX}"));
    }
    if let Some(at) = typed.persistence.as_ref().filter(|at| !(0.0..=1.0).contains(&at.value)) {
        findings.add(&at.span, "`persistence` in pattern is a share, from 0 to 1");
    }
    if let Some(at) = typed.memory_us.as_ref().filter(|at| at.value == 0) {
        findings.add(&at.span, "`memory` in pattern must be longer than 0");
    }
    if let Some(peak) = typed.season.as_ref().and_then(|season| season.peak.as_ref())
        && !(1.0..=366.0).contains(&peak.value)
    {
        findings.add(&peak.span, "`peak` in season is a day of the year, from 1 to 366");
    }
}

fn used_day(typed: &TypedDay, base: &Day, findings: &mut Findings) -> Day {
    Day {
        mean: typed.mean.as_ref().map_or(base.mean, |at| at.value),
        amplitude: typed.amplitude.as_ref().map_or(base.amplitude, |at| at.value),
        shape: used_shape(typed, &base.shape, findings),
    }
}

fn used_shape(typed: &TypedDay, base: &Shape, findings: &mut Findings) -> Shape {
    if let Some(at) = typed.width.as_ref().filter(|at| !(at.value > 0.0 && at.value <= 12.0)) {
        findings.add(&at.span, "`width` is that of a peak in hours, above 0 and at most 12");
    }
    if let Some(at) = typed.valley.as_ref().filter(|at| !(0.0..=1.0).contains(&at.value)) {
        findings.add(&at.span, "`valley` is what is left between peaks, from 0 to 1");
    }
    if let Some(hours) = &typed.hours {
        for (at, key) in [(&typed.width, "width"), (&typed.valley, "valley")] {
            if let Some(at) = at {
                findings.add(&at.span, format!("`{key}` goes with `peaks`; `hours` says it all"));
            }
        }
        if let Some(peaks) = &typed.peaks {
            findings.add(&peaks.span, "either `peaks` or `hours`, not both");
        }
        return used_hours(hours, findings);
    }
    let (base_hours, base_width_h, base_valley) = match base {
        Shape::Peaks { hours, width_h, valley } => (hours.as_slice(), *width_h, *valley),
        Shape::Hours(_) => (&[][..], None, VALLEY),
    };
    let hours = match &typed.peaks {
        Some(peaks) => used_peaks(peaks, findings),
        None => base_hours.to_vec(),
    };
    if hours.is_empty() {
        for at in [&typed.width, &typed.valley].into_iter().flatten() {
            findings.add(&at.span, "this goes with `peaks`, and the pattern it changes has `hours`");
        }
        return base.clone();
    }
    // One peak is a cosine over the day unless its width is typed; peaks that are replaced keep their width.
    let width_h = match (&typed.width, hours.len()) {
        (Some(width), _) => Some(width.value),
        (None, 1) => base_width_h.filter(|_| typed.peaks.is_none()),
        (None, _) => base_width_h.or(Some(PEAK_WIDTH_H)),
    };
    Shape::Peaks { width_h, valley: typed.valley.as_ref().map_or(base_valley, |at| at.value), hours }
}

fn used_peaks(peaks: &At<Vec<At<f64>>>, findings: &mut Findings) -> Vec<f64> {
    if peaks.value.is_empty() || peaks.value.len() > PEAKS_MAX {
        findings.add(&peaks.span, format!("`peaks` in pattern must list 1 to {PEAKS_MAX} hours"));
    }
    for peak in peaks.value.iter().filter(|peak| !(0.0..=24.0).contains(&peak.value)) {
        findings.add(&peak.span, "a peak is an hour of the day, from 0 to 24");
    }
    peaks.value.iter().map(|peak| peak.value).collect()
}

fn used_hours(hours: &At<Vec<At<f64>>>, findings: &mut Findings) -> Shape {
    for hour in hours.value.iter().filter(|hour| !(-1.0..=1.0).contains(&hour.value)) {
        findings.add(&hour.span, "an hour is between the lowest expectation, -1, and the highest, 1");
    }
    let values: Vec<f64> = hours.value.iter().map(|hour| hour.value).collect();
    match values.try_into() {
        Ok(values) => Shape::Hours(values),
        Err(values) => {
            let count = values.len();
            findings
                .add(&hours.span, format!("`hours` must list 24 numbers, one for each hour, not {count}"));
            Shape::default()
        }
    }
}

fn used_days(days: &At<Vec<At<f64>>>, findings: &mut Findings) -> [f64; 7] {
    for day in days.value.iter().filter(|day| !(0.0..=WEEKDAY_MAX).contains(&day.value)) {
        findings.add(&day.span, format!("a weekday's factor is a number from 0 to {WEEKDAY_MAX}"));
    }
    let values: Vec<f64> = days.value.iter().map(|day| day.value).collect();
    values.try_into().unwrap_or_else(|values: Vec<f64>| {
        let count = values.len();
        findings.add(&days.span, format!("`days` must list 7 factors, Monday's first, not {count}"));
        [1.0; 7]
    })
}

fn used_trend(typed: &TypedTrend, findings: &mut Findings) -> Trend {
    let (from, until) = (typed.from_at_us.as_ref(), typed.until_at_us.as_ref());
    if let (Some(from), Some(until)) = (from, until)
        && until.value < from.value
    {
        findings.add(&until.span, "`until` in trend cannot lie before `from`");
    }
    Trend {
        by: typed.by.as_ref().map_or(0.0, |at| at.value),
        from_at_us: from.map_or(0, |at| at.value),
        until_at_us: until.map_or(0, |at| at.value),
    }
}

fn used_follows(
    typed: &[(At<String>, At<f64>)],
    factors: &[Factor],
    findings: &mut Findings,
) -> Vec<(usize, f64)> {
    let mut follows = Vec::new();
    for (name, weight) in typed {
        match factors.iter().position(|factor| factor.name == name.value) {
            Some(index) => follows.push((index, weight.value)),
            None => {
                let advice = match nearest(&name.value, factors.iter().map(|factor| factor.name.as_str())) {
                    Some(known) => format!("did you mean `{known}`?"),
                    None => "describe it under [[generator.factors]]".to_owned(),
                };
                let name_typed = name.value.escape_debug();
                findings
                    .add(&name.span, format!("`follows` names the unknown factor `{name_typed}`; {advice}"));
            }
        }
    }
    follows
}
