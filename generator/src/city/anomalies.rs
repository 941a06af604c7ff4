//! Each kind of anomaly by its definition, how much of them there is, and what else goes wrong with records.

use std::collections::HashMap;

use citytide_domain::{Domain, Kind};

use super::City;
use super::tests::{PLANT_MACHINES, readings};
use crate::json::Encoder;
use crate::reading::{Malformation, Reading};
use crate::schedule::Schedule;
use crate::settings::{CitySettings, Disorder};

/// Monday 2026-11-16, 00:00 UTC.
const MONDAY_US: i64 = 1_794_787_200_000_000;
const DAY_S: f64 = 86_400.0;

/// A city in which every sensor reports every `interval_s` seconds.
fn city(domain: &Domain, sensors: u32, interval_s: f64, anomalies: f64, disorder: Disorder) -> City {
    let settings = CitySettings { seed: 7, sensors, partitions: 4, anomalies, disorder };
    let rate = f64::from(sensors) / interval_s;
    let schedule = Schedule { start_us: MONDAY_US, rate, speed: 1.0, first_offsets: vec![0; 4] };
    City::new(domain, &settings, schedule).expect("right")
}

fn smart_city(sensors: u32, interval_s: f64, anomalies: f64) -> City {
    city(&Domain::smart_city(), sensors, interval_s, anomalies, Disorder::default())
}

/// A domain whose anomalies are all of one kind, in readings that are otherwise smart-city's.
fn only(kind: Kind) -> Domain {
    let mut domain = Domain::smart_city();
    domain.generator.anomalies = [0.0; 8];
    domain.generator.anomalies[kind as usize] = 1.0;
    domain
}

/// The readings of each event, in order, of 80 sensors reporting every minute for `days`, with the reading that the
/// same city has without anomalies.
fn events(kind: Kind, days: f64) -> Vec<Vec<(Reading, Reading)>> {
    let domain = only(kind);
    let disorder = Disorder { out_of_order: 0.0, ..Disorder::default() };
    let (with, without) =
        (city(&domain, 80, 60.0, 0.05, disorder.clone()), city(&domain, 80, 60.0, 0.0, disorder));
    let mut events: HashMap<(u64, u32), Vec<(Reading, Reading)>> = HashMap::new();
    for number in 0..(80.0 * days * 1_440.0) as i64 {
        let (partition, offset) = with.place_of(number);
        let reading = with.reading(partition, offset);
        if let Some(truth) = reading.truth {
            assert_eq!(truth.kind, kind);
            let normal = without.reading(partition, offset);
            events.entry((truth.event, reading.sensor)).or_default().push((reading, normal));
        }
    }
    // Those cut off by the beginning or the end are left out.
    let (first, last) =
        (MONDAY_US / 1_000 + 60_000, MONDAY_US / 1_000 + (days * DAY_S * 1e3) as i64 - 120_000);
    let whole = |event: &Vec<(Reading, Reading)>| {
        event.first().is_some_and(|(reading, _)| reading.at_ms > first)
            && event.last().is_some_and(|(reading, _)| reading.at_ms < last)
    };
    let events: Vec<_> = events.into_values().filter(whole).collect();
    assert!(events.len() > 5, "{kind:?}: {}", events.len());
    events
}

/// The one metric that an event befell.
fn metric(event: &[(Reading, Reading)]) -> usize {
    let metrics = event[0].0.truth.expect("an anomaly").metrics;
    assert!(event.iter().all(|(reading, _)| reading.truth.is_some_and(|truth| truth.metrics == metrics)));
    metrics.iter().next().expect("a metric")
}

/// A sensor's normal spread of a metric at a reading.
fn sigma(city: &City, reading: &Reading, metric: usize) -> f64 {
    city.signals.expected(reading.zone, metric, reading.at_ms * 1_000).1
}

#[test]
fn a_spike_is_one_reading_5_to_12_deviations_off() {
    let city = smart_city(80, 60.0, 0.0);
    for event in events(Kind::Spike, 0.1) {
        assert_eq!(event.len(), 1);
        let (reading, normal) = &event[0];
        let metric = metric(&event);
        let off = (reading.values[metric] - normal.values[metric]).abs() / sigma(&city, reading, metric);
        // Rounding to whole vehicles at night.
        assert!((4.2..13.0).contains(&off), "{off} {metric}");
        let others = (0..5).filter(|other| *other != metric);
        assert!(others.into_iter().all(|other| reading.values[other] == normal.values[other]));
    }
}

#[test]
fn what_is_out_of_range_breaks_its_rule_or_leaves_its_usual_range() {
    let domain = Domain::smart_city();
    for event in events(Kind::Range, 0.1) {
        assert_eq!(event.len(), 1);
        let (metric, value) = (metric(&event), event[0].0.values[metric(&event)]);
        let rule = &domain.metrics[metric];
        let is_broken =
            rule.below.is_some_and(|below| value < below) || rule.above.is_some_and(|above| value > above);
        assert!(is_broken || value < rule.usual.0 || value > rule.usual.1, "{} {value}", rule.name);
        assert!(is_broken || (rule.below, rule.above) == (None, None));
    }
}

#[test]
fn a_stuck_sensor_repeats_its_last_normal_value_20_to_100_times() {
    for event in events(Kind::Stuck, 1.0) {
        assert!((20..=100).contains(&event.len()), "{}", event.len());
        let first = &event[0].0;
        let metrics = first.truth.expect("stuck").metrics;
        assert!(metrics.iter().count() == 1 || metrics.iter().count() == 5);
        for (reading, normal) in &event {
            for metric in 0..5 {
                let expected = if metrics.contains(metric) { first } else { normal };
                assert_eq!(reading.values[metric], expected.values[metric]);
            }
        }
    }
    let disorder = Disorder { out_of_order: 0.0, ..Disorder::default() };
    let city = city(&only(Kind::Stuck), 80, 60.0, 0.05, disorder);
    let mut before: HashMap<u32, Reading> = HashMap::new();
    let mut begun = 0;
    for reading in readings(&city, 80 * 1_440) {
        if let (Some(truth), Some(last)) = (reading.truth, before.get(&reading.sensor))
            && last.truth.is_none()
        {
            assert!(truth.metrics.iter().all(|metric| reading.values[metric] == last.values[metric]));
            begun += 1;
        }
        before.insert(reading.sensor, reading);
    }
    assert!(begun > 20, "{begun}");
}

#[test]
fn a_drift_grows_from_its_start_to_4_to_8_deviations_over_hours() {
    let city = smart_city(80, 60.0, 0.0);
    for event in events(Kind::Drift, 2.0) {
        assert!((120..=361).contains(&event.len()), "{}", event.len());
        let metric = metric(&event);
        let off = |(reading, normal): &(Reading, Reading)| {
            (reading.values[metric] - normal.values[metric]).abs() / sigma(&city, reading, metric)
        };
        let (early, late) = (off(&event[2]), off(&event[event.len() - 1]));
        assert!(early < 0.8 && (3.5..8.5).contains(&late), "{early} {late} {metric}");
        let middle = off(&event[event.len() / 2]);
        assert!((0.3..0.7).contains(&(middle / late)), "{middle} {late} {metric}");
    }
}

#[test]
fn a_dropout_is_one_metric_without_a_value_or_a_sensor_that_says_nothing() {
    for event in events(Kind::Dropout, 0.3) {
        // Beside its own turns a sensor may have those of a silent one.
        assert!(event.iter().filter(|(reading, _)| reading.silence.is_none()).count() <= 20);
        let metric = metric(&event);
        for (reading, _) in &event {
            assert!((0..5).all(|index| reading.values[index].is_nan() == (index == metric)));
        }
    }
    let city = city(&only(Kind::Dropout), 80, 60.0, 0.05, Disorder::default());
    let mut silent: HashMap<u64, Vec<u32>> = HashMap::new();
    for reading in readings(&city, 80 * 1_440) {
        if let Some(silence) = reading.silence {
            assert_ne!(silence.sensor, reading.sensor);
            silent.entry(silence.event).or_default().push(silence.sensor);
        }
    }
    let turns: usize = silent.values().map(Vec::len).sum();
    assert!((0.035..0.065).contains(&(turns as f64 / (80.0 * 1_440.0))), "{turns}");
    assert!(silent.values().all(|turns| turns.len() <= 60 && turns.iter().all(|one| *one == turns[0])));
}

#[test]
fn a_value_out_of_context_is_normal_at_another_hour_and_4_deviations_off_here() {
    let (domain, city) = (Domain::smart_city(), smart_city(80, 60.0, 0.0));
    for event in events(Kind::Contextual, 0.5) {
        assert!((6..=31).contains(&event.len()), "{}", event.len());
        let metric = metric(&event);
        let mean = event
            .iter()
            .map(|(reading, normal)| {
                let (value, rule) = (reading.values[metric], &domain.metrics[metric]);
                assert!(rule.below.is_none_or(|below| value >= below));
                assert!(rule.above.is_none_or(|above| value <= above));
                (value - normal.values[metric]) / sigma(&city, reading, metric)
            })
            .sum::<f64>()
            / event.len() as f64;
        assert!(mean.abs() > 3.5, "{mean} {metric}");
    }
}

#[test]
fn a_broken_correlation_turns_noise_and_air_against_traffic_and_leaves_the_rest() {
    for event in events(Kind::Correlation, 1.0) {
        assert!((20..=71).contains(&event.len()), "{}", event.len());
        let metrics: Vec<usize> = event[0].0.truth.expect("broken").metrics.iter().collect();
        assert_eq!(metrics, [2, 3], "aqi and noise_level run against traffic_flow");
        for (reading, normal) in &event {
            assert!([0, 1, 4].iter().all(|metric| reading.values[*metric] == normal.values[*metric]));
        }
    }
}

#[test]
fn a_fire_raises_temperature_and_air_of_every_sensor_of_its_zone() {
    let city = city(&only(Kind::ZoneEvent), 80, 60.0, 0.02, Disorder::default());
    let mut fires: HashMap<u64, (usize, std::collections::HashSet<u32>)> = HashMap::new();
    for reading in readings(&city, 80 * 1_440 * 2) {
        let Some(truth) = reading.truth else { continue };
        assert_eq!((truth.kind, truth.metrics.iter().collect::<Vec<_>>()), (Kind::ZoneEvent, vec![0, 2]));
        let fire = fires.entry(truth.event).or_insert((reading.zone, Default::default()));
        assert_eq!(fire.0, reading.zone);
        fire.1.insert(reading.sensor);
    }
    assert!(fires.len() > 8, "{}", fires.len());
    let whole = fires.values().filter(|(_, sensors)| sensors.len() == 10).count();
    assert!(whole + 1 >= fires.len(), "{whole} of {}", fires.len());
    for event in events(Kind::ZoneEvent, 2.0) {
        assert!(event.iter().all(|(reading, normal)| {
            reading.values[0] > normal.values[0] + 1.5 && reading.values[2] > normal.values[2] + 20.0
        }));
    }
}

#[test]
fn the_share_of_a_day_is_what_was_asked_for() {
    for (sensors, interval_s, asked, tolerance) in [
        (100, 30.0, 0.05, 0.006),
        (100, 30.0, 0.01, 0.003),
        (100, 30.0, 0.3, 0.03),
        (12, 10.0, 0.05, 0.02),
        (100, 600.0, 0.05, 0.012),
        (200, 3_600.0, 0.05, 0.015),
    ] {
        let city = smart_city(sensors, interval_s, asked);
        let count = (f64::from(sensors) * DAY_S / interval_s) as i64;
        let mut reading = Reading::default();
        let mut anomalous = 0;
        for number in 0..count {
            let (partition, offset) = city.place_of(number);
            city.fill(partition, offset, &mut reading);
            anomalous += i64::from(reading.truth.is_some());
        }
        let share = anomalous as f64 / count as f64;
        assert!((share - asked).abs() < tolerance, "{sensors} sensors every {interval_s} s: {share}");
    }
}

#[test]
fn without_anomalies_nothing_is_wrong_and_with_nothing_else_everything_is() {
    let calm = readings(&smart_city(80, 60.0, 0.0), 40_000);
    assert!(calm.iter().all(|reading| reading.truth.is_none() && reading.silence.is_none()));
    assert!(readings(&smart_city(80, 60.0, 1.0), 5_000).iter().all(|reading| reading.truth.is_some()));
}

#[test]
fn every_kind_happens_in_a_week_about_as_often_as_the_domain_says() {
    let city = smart_city(60, 60.0, 0.05);
    let count = 60 * 1_440 * 7;
    let mut found = [0.0; 8];
    for number in 0..count {
        let (partition, offset) = city.place_of(number);
        if let Some(truth) = city.reading(partition, offset).truth {
            found[truth.kind as usize] += 100.0 / count as f64;
        }
    }
    for (kind, expected) in Kind::ALL.into_iter().zip([0.5, 0.5, 1.0, 1.0, 0.5, 0.75, 0.5, 0.25]) {
        let share = found[kind as usize];
        assert!((0.5..1.6).contains(&(share / expected)), "{} {share}", kind.name());
    }
}

#[test]
fn readings_without_truth_break_no_rule_and_stay_in_their_usual_range() {
    let machines = Domain::parse("machines.toml", PLANT_MACHINES).expect("right");
    for domain in [Domain::smart_city(), machines] {
        // A year in hourly readings.
        let city = city(&domain, 8, 3_600.0, 0.05, Disorder::default());
        for reading in readings(&city, 8 * 24 * 365).iter().filter(|reading| reading.truth.is_none()) {
            for (metric, value) in domain.metrics.iter().zip(&reading.values) {
                assert!((metric.usual.0..=metric.usual.1).contains(value), "{} {value}", metric.name);
                assert!(metric.below.is_none_or(|below| *value >= below), "{} {value}", metric.name);
                assert!(metric.above.is_none_or(|above| *value <= above), "{} {value}", metric.name);
            }
        }
    }
}

#[test]
fn late_duplicate_and_malformed_records_have_the_shares_that_were_asked_for() {
    let disorder = Disorder { out_of_order: 0.1, late: 0.02, duplicate: 0.05, malformed: 0.04 };
    let domain = Domain::smart_city();
    let city = city(&domain, 400, 2.0, 0.05, disorder);
    let encoder = Encoder::new(&domain, &city);
    let ms = |us: i64| us / 1_000;
    let (out_of_orderness_ms, lateness_ms, pane_ms) =
        (ms(domain.time.out_of_orderness_us), ms(domain.time.allowed_lateness_us), ms(domain.pane_us()));
    let mut highest: HashMap<u32, i64> = HashMap::new();
    let mut kinds: HashMap<Malformation, usize> = HashMap::new();
    let (mut late, mut duplicates, mut behind, count) = (0, 0, 0, 60_000);
    let (mut json, mut earlier) = (Vec::new(), Vec::new());
    for number in 0..count {
        let (partition, offset) = city.place_of(number);
        let reading = city.reading(partition, offset);
        encoder.encode(&reading, &mut json);
        if let Some(original) = reading.duplicate_of {
            duplicates += 1;
            assert!(original < offset);
            encoder.encode(&city.reading(partition, original), &mut earlier);
            assert_eq!(json, earlier);
            continue;
        }
        if let Some(malformation) = reading.malformed {
            *kinds.entry(malformation).or_default() += 1;
            let parsed: Option<serde_json::Value> = serde_json::from_slice(&json).ok();
            let is_whole = parsed.is_some_and(|value| {
                value["zone"].is_string()
                    && value["timestamp"].as_str().is_some_and(|time| time.starts_with("20"))
                    && value["temperature"].is_number()
            });
            assert!(!is_whole, "{malformation:?}");
            continue;
        }
        let highest = highest.entry(partition).or_insert(i64::MIN / 2);
        let pane_end = (reading.at_ms.div_euclid(pane_ms) + 1) * pane_ms;
        if pane_end + lateness_ms <= *highest - out_of_orderness_ms {
            late += 1;
        } else {
            assert!(reading.at_ms > *highest - out_of_orderness_ms);
            behind += i64::from(reading.at_ms < *highest - 500);
            *highest = reading.at_ms.max(*highest);
        }
    }
    let share = |number: usize| number as f64 / count as f64;
    assert!((0.015..0.022).contains(&share(late)), "{late}");
    assert!((0.044..0.056).contains(&share(duplicates)), "{duplicates}");
    assert!((0.033..0.042).contains(&share(kinds.values().sum())), "{kinds:?}");
    assert_eq!(kinds.len(), Malformation::ALL.len());
    assert!((0.06..0.1).contains(&(behind as f64 / count as f64)), "{behind}");
}
