//! Whether the readings are plausible: rush hours, weekends, weather and correlations of the city, and those of a
//! plant.

use citytide_domain::Domain;

use super::City;
use super::tests::PLANT_MACHINES;
use crate::reading::Reading;
use crate::schedule::Schedule;
use crate::settings::{CitySettings, Disorder};

/// Monday 2026-11-16, 00:00 UTC.
const MONDAY_US: i64 = 1_794_787_200_000_000;
const HOURS: usize = 7 * 24;

/// A city without anomalies in which each of its sensors reports every `interval_s` seconds, in one partition.
fn city(domain: &Domain, sensors: u32, interval_s: f64, start_us: i64) -> City {
    let disorder = Disorder { out_of_order: 0.0, ..Disorder::default() };
    let settings = CitySettings { seed: 3, sensors, partitions: 1, anomalies: 0.0, disorder };
    let rate = f64::from(sensors) / interval_s;
    let schedule = Schedule { start_us, rate, speed: 1.0, first_offsets: vec![0] };
    City::new(domain, &settings, schedule).expect("right")
}

/// The values of one metric of one sensor, numbered from 0, in order.
fn series(city: &City, sensors: i64, sensor: i64, metric: usize, count: i64) -> Vec<f64> {
    let mut reading = Reading::default();
    (0..count)
        .map(|place| {
            city.fill(0, place * sensors + sensor, &mut reading);
            reading.values[metric]
        })
        .collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (mean_a, mean_b) = (mean(a), mean(b));
    let sum: f64 = a.iter().zip(b).map(|(a, b)| (a - mean_a) * (b - mean_b)).sum();
    sum / a.len() as f64 / (deviation(a) * deviation(b))
}

/// Mean by hour of the week over the zone's sensors: each reports every ten minutes, over four weeks.
fn week(zone: &str, metric: &str) -> Vec<f64> {
    let domain = Domain::smart_city();
    let zone = domain.zones.iter().position(|known| known.name == zone).expect("a zone");
    let metric = domain.metrics.iter().position(|known| known.name == metric).expect("a metric");
    let city = city(&domain, 32, 600.0, MONDAY_US);
    let mut hours = vec![Vec::new(); HOURS];
    for sensor in (0..4).map(|round| round * 8 + zone as i64) {
        for (place, value) in series(&city, 32, sensor, metric, 4 * 7 * 144).into_iter().enumerate() {
            hours[place / 6 % HOURS].push(value);
        }
    }
    hours.iter().map(|values| mean(values)).collect()
}

fn peak(week: &[f64], hours: std::ops::Range<usize>) -> usize {
    hours.max_by(|a, b| week[*a].total_cmp(&week[*b])).expect("some hours")
}

#[test]
fn rush_hours_differ_between_downtown_and_residential_north_and_weekends_have_none() {
    let (downtown, north) = (week("Downtown", "traffic_flow"), week("Residential North", "traffic_flow"));
    for day in 0..5 {
        let hour = |hour: usize| day * 24 + hour;
        assert!(peak(&north, hour(0)..hour(12)) < peak(&downtown, hour(0)..hour(12)));
        assert!(peak(&north, hour(13)..hour(24)) > peak(&downtown, hour(13)..hour(24)));
        assert!(downtown[hour(8)] > 1.2 * downtown[hour(12)] && downtown[hour(12)] > 2.0 * downtown[hour(3)]);
    }
    assert!((0..HOURS).all(|hour| downtown[hour] > north[hour]));
    for day in 5..7 {
        let hour = |hour: usize| day * 24 + hour;
        assert!(downtown[hour(8)] < 0.6 * downtown[8]);
        assert!((13..=16).contains(&(peak(&downtown, hour(0)..hour(24)) - hour(0))));
    }
}

#[test]
fn the_weather_moves_all_zones_together_and_today_like_yesterday_evening() {
    let domain = Domain::smart_city();
    let city = city(&domain, 8, 3_600.0, MONDAY_US);
    // What is left of temperature when the hour and the season are taken away: 60 days of two zones.
    let rest = |sensor: i64| {
        let expected =
            |hour: i64| city.signals.expected(sensor as usize, 0, MONDAY_US + hour * 3_600_000_000).0.value;
        let values = series(&city, 8, sensor, 0, 1_440);
        values.iter().zip(0..).map(|(value, hour)| value - expected(hour)).collect::<Vec<f64>>()
    };
    let (one, other) = (rest(0), rest(5));
    assert!(correlation(&one, &other) > 0.8, "{}", correlation(&one, &other));
    let later = |hours: usize| correlation(&one[hours..], &one[..one.len() - hours]);
    assert!(
        later(3) > 0.8 && later(12) > 0.45 && later(200) < 0.5,
        "{} {} {}",
        later(3),
        later(12),
        later(200)
    );
    assert!((1.8..4.5).contains(&deviation(&one)), "{}", deviation(&one));
}

/// What is left of a metric of one sensor in a day of working hours, a reading a minute.
fn residual(city: &City, metric: usize) -> Vec<f64> {
    let values = series(city, 8, 0, metric, 5 * 1_440);
    let expected = |minute: i64| city.signals.expected(0, metric, MONDAY_US + minute * 60_000_000);
    let rest = values.iter().zip(0..).map(|(value, minute)| {
        let (expected, deviation) = expected(minute);
        (value - expected.value) / deviation
    });
    let rest: Vec<f64> = rest.collect();
    // The slow part, which weather and the sensor's own level have, is taken away by the mean of the hours around.
    (0..rest.len())
        .map(|at| rest[at] - mean(&rest[at.saturating_sub(120)..(at + 120).min(rest.len())]))
        .collect()
}

#[test]
fn traffic_is_heard_and_breathed_and_warm_air_is_dry() {
    let domain = Domain::smart_city();
    let city = city(&domain, 8, 60.0, MONDAY_US);
    let [aqi, noise, traffic] = [2, 3, 4].map(|metric| residual(&city, metric));
    assert!((0.4..0.9).contains(&correlation(&traffic, &noise)), "{}", correlation(&traffic, &noise));
    assert!((0.3..0.9).contains(&correlation(&noise, &aqi)), "{}", correlation(&noise, &aqi));
    let hourly = super::plausible::city(&domain, 8, 3_600.0, MONDAY_US);
    let [warm, damp] = [0, 1].map(|metric| series(&hourly, 8, 2, metric, 1_440));
    assert!(correlation(&warm, &damp) < -0.5, "{}", correlation(&warm, &damp));
}

#[test]
fn noise_persists_and_its_tails_are_heavier_than_a_bell_s() {
    let city = city(&Domain::smart_city(), 8, 60.0, MONDAY_US);
    for metric in 0..5 {
        let rest = residual(&city, metric);
        let soon = correlation(&rest[1..], &rest[..rest.len() - 1]);
        let later = correlation(&rest[60..], &rest[..rest.len() - 60]);
        assert!((0.25..0.97).contains(&soon) && later < soon - 0.15, "{metric}: {soon} {later}");
        let steps: Vec<f64> = rest.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let fourth = mean(&steps.iter().map(|step| step.powi(4)).collect::<Vec<f64>>());
        assert!(fourth / deviation(&steps).powi(4) > 3.3, "{metric}: {}", fourth / deviation(&steps).powi(4));
    }
}

#[test]
fn a_sensor_keeps_its_own_level() {
    let city = city(&Domain::smart_city(), 80, 600.0, MONDAY_US);
    // Sensors 0, 8, 16, … share their zone: their mean humidity of two different days.
    let days = |first: i64| -> Vec<f64> {
        (0..10)
            .map(|round| {
                let values = series(&city, 80, round * 8, 1, (first + 1) * 144);
                mean(&values[(first * 144) as usize..])
            })
            .collect()
    };
    let (monday, friday) = (days(0), days(4));
    assert!(correlation(&monday, &friday) > 0.7, "{}", correlation(&monday, &friday));
    assert!((0.7..3.0).contains(&deviation(&monday)), "{}", deviation(&monday));
}

#[test]
fn machines_follow_their_shifts_their_load_and_their_wear() {
    let domain = Domain::parse("machines.toml", PLANT_MACHINES).expect("right");
    // Forty days from Monday on; the bearing wears from 2026-11-26 to 2026-12-16.
    let city = city(&domain, 6, 600.0, MONDAY_US);
    let load = series(&city, 6, 0, 0, 40 * 144);
    let vibration = series(&city, 6, 0, 1, 40 * 144);
    let day = |values: &[f64], day: usize| mean(&values[day * 144..(day + 1) * 144]);
    assert!(day(&load, 5) < 0.3 * day(&load, 2), "weekends are quiet");
    let shift = mean(&load[144 + 8 * 6..144 + 12 * 6]);
    let night = mean(&load[144 + 6..144 + 4 * 6]);
    assert!(shift > 2.0 * night, "{shift} {night}");
    assert!((day(&vibration, 36) - day(&vibration, 1) - 2.0).abs() < 0.6);
    assert!((day(&vibration, 8) - day(&vibration, 1)).abs() < 0.5);
    // Load and vibration of a working day share what the machine is put to.
    let working = |values: &[f64]| -> Vec<f64> {
        (0..4).flat_map(|day| values[day * 144 + 48..day * 144 + 96].to_vec()).collect()
    };
    assert!(correlation(&working(&load), &working(&vibration)) > 0.4);
    // What nothing is said of stays inside its range and moves over the day.
    let pressure = series(&city, 6, 0, 2, 10 * 144);
    assert!(pressure.iter().all(|value| (0.0..=10.0).contains(value)) && deviation(&pressure) > 0.3);
}
