//! Parses `pattern`: the pattern of a metric, and what differs in a zone.

use toml::Spanned;

use super::section::Section;
use super::typed::Typed;
use crate::{Day, Factor, MINUTE_US, Pattern, Season, Shape, Trend};

/// Maximum number of hours at which a pattern peaks.
const PEAKS_MAX: usize = 24;
/// The default width of a peak, in hours, if there are several.
const PEAK_WIDTH_H: f64 = 2.2;
/// The default level between peaks.
const VALLEY: f64 = 0.4;
/// Greatest spread of the sensors' gain: beyond it some gains would be negative.
const GAIN_MAX: f64 = 0.25;
/// Greatest factor of a weekday.
const WEEKDAY_MAX: f64 = 10.0;
/// The default spread of the sensors' offsets, in standard deviations of the noise.
const OFFSET_SHARE: f64 = 0.6;
/// The default time scale of the noise.
const MEMORY_US: i64 = 20 * MINUTE_US;

/// The default pattern of a metric: inside `band`, with a daily range of a quarter of it and one peak after noon.
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

/// Parses a pattern; keys that the section does not have are taken from `base`.
pub(super) fn read_pattern(pattern: &Section<'_>, base: &Pattern, factors: &[Factor]) -> Pattern {
    let day = read_day(pattern, &base.day);
    let weekend = pattern.table("weekend", "weekend");
    let weekend = match weekend.is_present() {
        true => Some(read_day(&weekend, base.weekend.as_ref().unwrap_or(&day))),
        false => base.weekend.clone(),
    };
    let days = read_days(pattern).unwrap_or(base.days);
    let season = read_season(&pattern.table("season", "season")).or(base.season.clone());
    let trend = read_trend(&pattern.table("trend", "trend")).or(base.trend.clone());
    let noise = not_negative(pattern, "noise").option();
    let persistence =
        pattern.number("persistence").check(|share| (0.0..=1.0).contains(share), "is a share, from 0 to 1");
    let memory = pattern.duration_us("memory").check(|us| *us > 0, "must be longer than 0");
    let offset = not_negative(pattern, "offset").or(noise.map_or(base.offset, |noise| noise * OFFSET_SHARE));
    let gain = not_negative(pattern, "gain")
        .check(|gain| *gain <= GAIN_MAX, format!("is the sensors' spread around 1, at most {GAIN_MAX}"));
    let proportional = pattern.boolean("proportional").refuse_if(|is_proportional| {
        (*is_proportional && day.mean <= 0.0).then(|| "`proportional` needs a `mean` above 0".to_owned())
    });
    Pattern {
        weekend,
        days,
        season,
        trend,
        noise: noise.unwrap_or(base.noise),
        persistence: persistence.or(base.persistence),
        memory_us: memory.or(base.memory_us),
        offset,
        gain: gain.or(base.gain),
        proportional: proportional.or(base.proportional),
        follows: read_follows(&pattern.table("follows", "follows"), factors)
            .unwrap_or_else(|| base.follows.clone()),
        day,
    }
}

fn not_negative<'a>(section: &Section<'a>, key: &'a str) -> Typed<'a, f64> {
    section.number(key).check(|number| *number >= 0.0, "cannot be negative")
}

fn read_day(day: &Section<'_>, base: &Day) -> Day {
    Day {
        mean: day.number("mean").or(base.mean),
        amplitude: not_negative(day, "amplitude").or(base.amplitude),
        shape: read_shape(day, &base.shape),
    }
}

fn read_shape(day: &Section<'_>, base: &Shape) -> Shape {
    let peaks = day
        .numbers("peaks")
        .check(|hours| (1..=PEAKS_MAX).contains(&hours.len()), format!("must list 1 to {PEAKS_MAX} hours"))
        .each(|hour| (0.0..=24.0).contains(&hour), "a peak is an hour of the day, from 0 to 24");
    let width = day.number("width").check(
        |width| *width > 0.0 && *width <= 12.0,
        "is the width of a peak in hours, above 0 and at most 12",
    );
    let valley = day
        .number("valley")
        .check(|valley| (0.0..=1.0).contains(valley), "is the level between peaks, from 0 to 1");
    let hours = day
        .numbers("hours")
        .each(
            |hour| (-1.0..=1.0).contains(&hour),
            "an hour must lie between -1, the lowest expected value, and 1, the highest",
        )
        .refuse_if(|hours| {
            let count = hours.len();
            (count != 24).then(|| format!("`hours` must list 24 numbers, one for each hour, not {count}"))
        });

    if hours.at.is_some() {
        width.refuse_if(|_| Some("`width` applies to `peaks`, not to `hours`".to_owned()));
        valley.refuse_if(|_| Some("`valley` applies to `peaks`, not to `hours`".to_owned()));
        peaks.refuse_if(|_| Some("give either `peaks` or `hours`, not both".to_owned()));
        return hours.values().and_then(|hours| hours.try_into().ok()).map_or(Shape::default(), Shape::Hours);
    }
    let (base_hours, base_width_h, base_valley) = match base {
        Shape::Peaks { hours, width_h, valley } => (hours.clone(), *width_h, *valley),
        Shape::Hours(_) => (Vec::new(), None, VALLEY),
    };
    let are_new = peaks.at.is_some();
    let hours = peaks.values().unwrap_or(base_hours);
    if hours.is_empty() {
        for number in [width, valley] {
            let sentence = "this applies to `peaks`, but the pattern that it changes has `hours`";
            number.refuse_if(|_| Some(sentence.to_owned()));
        }
        return base.clone();
    }
    // One peak is a cosine over the day unless its width is typed; peaks that are replaced keep their width.
    let width_h = width.option().or(match hours.len() {
        1 => base_width_h.filter(|_| !are_new),
        _ => base_width_h.or(Some(PEAK_WIDTH_H)),
    });
    Shape::Peaks { width_h, valley: valley.or(base_valley), hours }
}

fn read_days(pattern: &Section<'_>) -> Option<[f64; 7]> {
    let days = pattern
        .numbers("days")
        .each(
            |day| (0.0..=WEEKDAY_MAX).contains(&day),
            format!("a weekday's factor is a number from 0 to {WEEKDAY_MAX}"),
        )
        .refuse_if(|days| {
            let count = days.len();
            (count != 7).then(|| format!("`days` must list 7 factors, Monday's first, not {count}"))
        });
    days.values()?.try_into().ok()
}

fn read_season(season: &Section<'_>) -> Option<Season> {
    let amplitude = season.required_number("amplitude");
    let peak = season
        .required_number("peak")
        .check(|day| (1.0..=366.0).contains(day), "is a day of the year, from 1 to 366");
    season.is_present().then(|| Season { amplitude: amplitude.or(0.0), peak_day: peak.or(1.0) })
}

fn read_trend(trend: &Section<'_>) -> Option<Trend> {
    let by = trend.required_number("by").or(0.0);
    let from_at_us = trend.required_date_us("from").option();
    let until = trend
        .required_date_us("until")
        .check(|until_at_us| Some(*until_at_us) >= from_at_us, "cannot lie before `from`");
    trend.is_present().then(|| Trend { by, from_at_us: from_at_us.unwrap_or(0), until_at_us: until.or(0) })
}

fn read_follows(follows: &Section<'_>, factors: &[Factor]) -> Option<Vec<(usize, f64)>> {
    let weight = |name: &'_ Spanned<_>| {
        let known = factors.iter().map(|factor| factor.name.as_str());
        let otherwise = Some("describe it under [[generator.factors]]");
        follows.findings.index_of(name, known, "`follows` names the unknown factor", '`', otherwise)
    };
    let weights = follows.keys().filter_map(|name| weight(name).zip(follows.number(name.get_ref()).option()));
    let weights = weights.collect();
    follows.is_present().then_some(weights)
}
