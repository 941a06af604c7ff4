//! A domain as the tests know it, and the file that tells the product.

use std::fmt::Write as _;
use std::path::PathBuf;

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;

/// A metric and its rule.
#[derive(Debug, Clone)]
pub struct Metric {
    /// JSON field and column.
    pub name: String,
    /// Unit, for people.
    pub unit: String,
    /// Least and greatest usual value.
    pub usual: (f64, f64),
    /// Anomalous when less.
    pub below: Option<f64>,
    /// Anomalous when greater.
    pub above: Option<f64>,
    /// What must be passed downwards before the incident of `above` is cleared.
    pub clear: Option<f64>,
}

/// A window; its table is `metrics_<name>`.
#[derive(Debug, Clone)]
pub struct Window {
    /// Name.
    pub name: String,
    /// Length in microseconds.
    pub size_us: i64,
    /// Distance of two starts in microseconds.
    pub slide_us: i64,
}

/// A session window; its table is `metrics_<name>`.
#[derive(Debug, Clone)]
pub struct SessionWindow {
    /// Name.
    pub name: &'static str,
    /// Readings this far apart are two sessions; microseconds.
    pub gap_us: i64,
    /// Sessions are cut at multiples of this, microseconds.
    pub max_us: i64,
    /// Whether each sensor has sessions of its own.
    pub by_sensor: bool,
}

/// A domain. Durations in microseconds.
#[derive(Debug, Clone)]
pub struct City {
    /// Name.
    pub name: String,
    /// JSON field of the sensor.
    pub sensor: String,
    /// JSON field of the time.
    pub time: String,
    /// JSON field of the zone.
    pub zone: String,
    /// Zone of timestamps without offset.
    pub time_zone: String,
    /// Metrics in the order of the columns.
    pub metrics: Vec<Metric>,
    /// Windows in the order of the file.
    pub windows: Vec<Window>,
    /// Session windows.
    pub sessions: Vec<SessionWindow>,
    /// Zones that the file names.
    pub zones: Vec<String>,
    /// How far a partition's watermark stays behind its greatest accepted event time.
    pub out_of_orderness_us: i64,
    /// A reading is late when its pane ended this long before its partition's watermark.
    pub allowed_lateness_us: i64,
    /// Farther ahead of its watermark, a partition needs a second witness.
    pub jump_max_us: i64,
    /// A partition at its end that brings no accepted reading for so long does not hold W.
    pub idle_after_us: i64,
    /// How far a reading may lie ahead of Kafka's timestamp.
    pub future_max_us: i64,
    /// How far a reading may lie behind it.
    pub max_age_us: i64,
    /// Zones beyond the named ones, per partition.
    pub zones_max: usize,
    /// Whether the product is given a file, or left to its built-in default.
    pub built_in: bool,
}

impl City {
    /// `smart-city`: what the product uses when it is given no file.
    pub fn smart() -> City {
        let metric = |name: &str, unit: &str, usual, below, above| Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            usual,
            below,
            above,
            clear: None,
        };
        let window = |name: &str, size_s: i64, slide_s: i64| Window {
            name: name.to_owned(),
            size_us: size_s * SECOND,
            slide_us: slide_s * SECOND,
        };
        City {
            name: "smart-city".to_owned(),
            sensor: "sensor_id".to_owned(),
            time: "timestamp".to_owned(),
            zone: "zone".to_owned(),
            time_zone: "UTC".to_owned(),
            metrics: vec![
                metric("temperature", "°C", (-10.0, 50.0), Some(-5.0), Some(40.0)),
                metric("humidity", "%", (0.0, 100.0), None, None),
                metric("aqi", "AQI", (0.0, 500.0), None, Some(300.0)),
                metric("noise_level", "dB", (0.0, 120.0), None, Some(100.0)),
                metric("traffic_flow", "vehicles/min", (0.0, 600.0), None, Some(500.0)),
            ],
            windows: vec![window("1min", 60, 60), window("5min", 300, 60)],
            sessions: Vec::new(),
            zones: [
                "Downtown",
                "University District",
                "Industrial Park",
                "Residential North",
                "Residential South",
                "Shopping District",
                "Tech Hub",
                "Medical Center",
            ]
            .map(str::to_owned)
            .to_vec(),
            out_of_orderness_us: 5 * SECOND,
            allowed_lateness_us: 86_400 * SECOND,
            jump_max_us: 600 * SECOND,
            idle_after_us: 10 * SECOND,
            future_max_us: 60 * SECOND,
            max_age_us: 366 * 86_400 * SECOND,
            zones_max: 1000,
            built_in: true,
        }
    }

    /// `smart-city` from a file, with partitions that are idle after one second.
    pub fn impatient() -> City {
        City { idle_after_us: SECOND, built_in: false, ..City::smart() }
    }

    /// Nothing in it is called as in `smart-city`.
    pub fn harbour() -> City {
        let metric = |name: &str, unit: &str, below, above| Metric {
            name: name.to_owned(),
            unit: unit.to_owned(),
            usual: (-1000.0, 1000.0),
            below,
            above,
            clear: None,
        };
        let window = |name: &str, size_s: i64, slide_s: i64| Window {
            name: name.to_owned(),
            size_us: size_s * SECOND,
            slide_us: slide_s * SECOND,
        };
        City {
            name: "harbour".to_owned(),
            sensor: "buoy".to_owned(),
            time: "at".to_owned(),
            zone: "berth".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            metrics: vec![
                metric("wind_speed", "m/s", None, Some(32.5)),
                metric("water_level", "u", Some(-1.25), Some(4.0)),
                metric("salinity", "", None, None),
            ],
            windows: vec![window("10s", 10, 10), window("quarter", 90, 30), window("2min", 120, 120)],
            sessions: Vec::new(),
            zones: ["North Quay", "Dock 4"].map(str::to_owned).to_vec(),
            out_of_orderness_us: 2 * SECOND,
            allowed_lateness_us: 20 * SECOND,
            jump_max_us: 120 * SECOND,
            idle_after_us: 3 * SECOND,
            future_max_us: 10 * SECOND,
            max_age_us: 3 * 86_400 * SECOND,
            zones_max: 3,
            built_in: false,
        }
    }

    /// Length of a pane: the greatest common divisor of all sizes and slides.
    pub fn pane_us(&self) -> i64 {
        fn gcd(a: i64, b: i64) -> i64 {
            if b == 0 { a } else { gcd(b, a % b) }
        }
        self.windows.iter().fold(0, |pane, window| gcd(gcd(pane, window.size_us), window.slide_us))
    }

    /// The domain file.
    pub fn toml(&self) -> String {
        let mut file = String::new();
        let ms = |us: i64| format!("\"{}ms\"", us / 1000);
        let City { name, sensor, time, zone, time_zone, zones_max, .. } = self;
        let _ = write!(
            file,
            "name = {name:?}\ntopic = \"unused-{name}\"\n\n[fields]\nsensor = {sensor:?}\ntime = {time:?}\n\
             zone = {zone:?}\ntime_zone = {time_zone:?}\n\n[time]\nout_of_orderness = {}\nallowed_lateness = {}\n\
             jump_max = {}\nidle_after = {}\nfuture_max = {}\nmax_age = {}\n\n[limits]\nzones_max = {zones_max}\n",
            ms(self.out_of_orderness_us),
            ms(self.allowed_lateness_us),
            ms(self.jump_max_us),
            ms(self.idle_after_us),
            ms(self.future_max_us),
            ms(self.max_age_us),
        );
        for metric in &self.metrics {
            let keys = [("below", metric.below), ("above", metric.above), ("clear", metric.clear)];
            let bounds: Vec<String> = keys
                .into_iter()
                .filter_map(|(key, bound)| bound.map(|bound| format!("{key} = {bound}")))
                .collect();
            let _ = write!(
                file,
                "\n[[metrics]]\nname = {:?}\nunit = {:?}\ndecimals = 1\nusual = [{}, {}]\n",
                metric.name, metric.unit, metric.usual.0, metric.usual.1
            );
            if !bounds.is_empty() {
                let _ = writeln!(file, "anomalous = {{ {} }}", bounds.join(", "));
            }
        }
        for window in &self.windows {
            let _ = write!(file, "\n[[windows]]\nname = {:?}\nsize = {}\n", window.name, ms(window.size_us));
            if window.slide_us != window.size_us {
                let _ = writeln!(file, "slide = {}", ms(window.slide_us));
            }
        }
        for window in &self.sessions {
            let (gap, max) = (ms(window.gap_us), ms(window.max_us));
            let by = if window.by_sensor { "sensor" } else { "zone" };
            let _ = write!(
                file,
                "\n[[windows]]\nname = {:?}\nkind = \"session\"\ngap = {gap}\nmax = {max}\nby = {by:?}\n",
                window.name
            );
        }
        for zone in &self.zones {
            let _ = write!(file, "\n[[zones]]\nname = {zone:?}\n");
        }
        file
    }

    /// Writes the domain file for `test` and says where; `None` for the built-in domain.
    pub fn file(&self, test: &str) -> Option<PathBuf> {
        if self.built_in {
            return None;
        }
        let path = crate::process::scratch().join(format!("{}.toml", crate::services::unique(test)));
        std::fs::write(&path, self.toml()).expect("writing a domain file");
        Some(path)
    }
}
