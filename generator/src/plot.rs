//! `citytide-generator plot`: draws days of a city, a small chart for each zone and metric.
//!
//! The charts show one sensor of each zone, the one with the lowest number, which reports every [`STEP_MINUTES`]: the
//! same readings that a topic would get, with anomalies marked. [`chart`] renders the SVG.

mod chart;
mod scale;

use std::io::{ErrorKind, Write};

use chrono::{Datelike, Days, NaiveDate, TimeZone};
use citytide_domain::{DAY_US, Domain, Metric};
use citytide_generator::{City, Disorder, Reading, Schedule};

use crate::failure::Failure;
use crate::options::Plot;
use chart::{Chart, Picture, Point};

pub const STEP_MINUTES: i64 = 15;
/// Partitions of the imagined topic.
const PARTITIONS: u32 = 4;

pub fn plot(options: &Plot, domain: &Domain, now_us: i64) -> Result<(), Failure> {
    let days = i64::from(options.days);
    let zone = domain.fields.time_zone;
    let today = chrono::DateTime::from_timestamp_micros(now_us).unwrap_or_default().with_timezone(&zone);
    let first = options
        .start
        .unwrap_or_else(|| today.date_naive() - Days::new(u64::from(options.days.saturating_sub(1))));
    let midnight = first.and_hms_opt(0, 0, 0).unwrap_or_default();
    // Where clocks are set forward at midnight there is no local midnight; use that of UTC.
    let start = zone.from_local_datetime(&midnight).earliest().map_or(midnight.and_utc(), |at| at.to_utc());

    let sensors = options.city.sensors;
    let rate = f64::from(sensors) / (STEP_MINUTES as f64 * 60.0);
    let schedule = Schedule {
        start_us: start.timestamp_micros(),
        rate,
        speed: 1.0,
        first_offsets: vec![0; PARTITIONS as usize],
    };
    let city = City::new(domain, &crate::settings(&options.city, PARTITIONS, Disorder::default()), schedule)?;
    let readings = first_sensors(&city, start.timestamp_micros(), days);
    let picture = Picture {
        title: title(domain, first, days, options.city.seed),
        days: (0..options.days).map(|day| first + Days::new(u64::from(day))).map(heading).collect(),
        rows: city.zones().to_vec(),
        columns: domain.metrics.iter().map(column).collect(),
        charts: (0..city.zones().len())
            .map(|row| {
                (0..domain.metrics.len())
                    .map(|metric| chart(&readings[row], metric, start.timestamp_millis(), days))
                    .collect()
            })
            .collect(),
    };
    let svg = picture.svg();
    match &options.output {
        None => match std::io::stdout().lock().write_all(svg.as_bytes()) {
            // A reader that has read enough is no mistake.
            Err(reason) if reason.kind() == ErrorKind::BrokenPipe => Ok(()),
            written => written.map_err(Failure::Stdout),
        },
        Some(file) => {
            std::fs::write(file, svg).map_err(|reason| Failure::Picture { file: file.clone(), reason })
        }
    }
}

/// By zone: the readings of its sensor with the lowest number, by event time.
fn first_sensors(city: &City, start_us: i64, days: i64) -> Vec<Vec<Reading>> {
    let mut of_zones: Vec<Vec<Reading>> = vec![Vec::new(); city.zones().len()];
    let mut reading = Reading::default();
    for number in 0.. {
        if city.schedule().turn_us(number) >= start_us + days * DAY_US {
            break;
        }
        let (partition, offset) = city.place_of(number);
        city.fill(partition, offset, &mut reading);
        // Sensors are assigned to zones in turn, from 1 on.
        if reading.sensor as usize == reading.zone + 1
            && reading.silence.is_none()
            && reading.malformed.is_none()
        {
            of_zones[reading.zone].push(reading.clone());
        }
    }
    of_zones.iter_mut().for_each(|readings| readings.sort_by_key(|reading| reading.at_ms));
    of_zones
}

fn chart(readings: &[Reading], metric: usize, start_ms: i64, days: i64) -> Chart {
    let point = |reading: &Reading| Point {
        at: (reading.at_ms - start_ms) as f64 / (days * DAY_US / 1_000) as f64,
        value: Some(reading.values[metric]).filter(|value| !value.is_nan()),
        is_marked: reading.truth.is_some_and(|truth| truth.metrics.contains(metric)),
    };
    Chart { points: readings.iter().map(point).filter(|point| point.at >= 0.0).collect() }
}

fn title(domain: &Domain, first: NaiveDate, days: i64, seed: u64) -> String {
    let last = first + Days::new(days as u64 - 1);
    let from = match (first.year(), first.month()) == (last.year(), last.month()) {
        true => "%-d",
        false => "%-d %B %Y",
    };
    format!(
        "{}: a sensor of each zone, {} to {} ({}), seed {seed}",
        domain.name,
        first.format(from),
        last.format("%-d %B %Y"),
        domain.fields.time_zone
    )
}

/// Name and unit, or the unit alone if it equals the name.
fn column(metric: &Metric) -> String {
    match metric.unit.eq_ignore_ascii_case(&metric.name) || metric.unit.is_empty() {
        true if metric.unit.is_empty() => metric.name.replace('_', " "),
        true => metric.unit.clone(),
        false => format!("{}, {}", metric.name.replace('_', " "), metric.unit),
    }
}

/// The weekday, and whether it is at the weekend.
fn heading(day: NaiveDate) -> (String, bool) {
    (day.format("%a").to_string(), day.weekday().number_from_monday() > 5)
}
