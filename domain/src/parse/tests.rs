//! Every kind of mistake, its place, and what a file may leave out.

use proptest::prelude::*;

use super::mistakes::Mistakes;
use crate::{
    Day, DetectorSettings, Domain, Factor, Fields, Limits, Retention, Scope, Season, SessionBy,
    SessionWindow, Shape, TimeSettings, Trend, Window, Zone,
};

/// The least file that is a domain.
const LEAST: &str = "name = \"plant\"\ntopic = \"machines\"\n[[metrics]]\nname = \"vibration\"\n";

/// The settings that other programs rely on, with their defaults.
const EXAMPLE: &str = r#"
name = "smart-city"
topic = "sensor-data"

[fields]                      # JSON names in a reading
sensor = "sensor_id"
time = "timestamp"
zone = "zone"
time_zone = "UTC"             # of timestamps without offset

[time]
out_of_orderness = "5s"
allowed_lateness = "24h"         # late readings correct their windows; memory stays flat
jump_max = "10m"
idle_after = "10s"
future_max = "60s"
max_age = "366d"

[limits]
zones_max = 1000
sensors_max = 20000

[retention]
raw = "7d"                    # 0 = keep; windows and panes are kept unless set

[[metrics]]
name = "temperature"
unit = "°C"
decimals = 1
usual = [-10, 50]
anomalous = { below = -5, above = 40 }

[[metrics]]
name = "aqi"
unit = "AQI"
decimals = 0
usual = [0, 500]
anomalous = { above = 300 }

[[windows]]
name = "1min"                 # table metrics_1min
size = "1m"

[[windows]]
name = "5min"
size = "5m"
slide = "1m"

[[zones]]
name = "Downtown"
map = [2, 3]                  # column, row of the hex on the page
character = { traffic_flow = 1.6, noise_level = 1.15, aqi = 1.2 }
"#;

fn mistakes(text: &str) -> Mistakes {
    Domain::parse("plant.toml", text).expect_err("the text holds a mistake")
}

/// The one mistake of `text`: its line, column and sentence.
fn only(text: &str) -> (usize, usize, String) {
    let mistakes = mistakes(text);
    assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    let mistake = &mistakes.list[0];
    (mistake.line, mistake.column, mistake.sentence.clone())
}

/// The sentence of the one mistake of the least file with `addition` behind it.
fn only_with(addition: &str) -> String {
    only(&format!("{LEAST}{addition}\n")).2
}

/// As [`only_with`], for lines in front of the first table.
fn only_with_top(addition: &str) -> String {
    only(&format!("{addition}\n{LEAST}")).2
}

#[test]
fn the_example_has_the_defaults_of_a_file_that_leaves_everything_out() {
    let example = Domain::parse("example.toml", EXAMPLE).expect("it is the contract");
    let least = Domain::parse("least.toml", LEAST).expect("it has all that is required");
    assert_eq!(example.fields, least.fields);
    assert_eq!(example.time, least.time);
    assert_eq!(example.limits, least.limits);
    assert_eq!(example.retention, least.retention);
    assert_eq!(example.windows, least.windows);
    assert_eq!(
        least.fields,
        Fields {
            sensor: "sensor_id".into(),
            time: "timestamp".into(),
            zone: "zone".into(),
            time_zone: chrono_tz::Tz::UTC
        }
    );
    assert_eq!(
        least.time,
        TimeSettings {
            out_of_orderness_us: 5_000_000,
            allowed_lateness_us: 86_400_000_000,
            jump_max_us: 600_000_000,
            idle_after_us: 10_000_000,
            future_max_us: 60_000_000,
            max_age_us: 366 * 86_400_000_000,
        }
    );
    assert_eq!(least.detector, DetectorSettings::default());
    assert_eq!(least.limits, Limits { zones_max: 1000, sensors_max: 20_000 });
    assert_eq!(least.retention, Retention { raw_us: Some(7 * 86_400_000_000), windows_us: None });
    assert_eq!(
        least.windows,
        [
            Window { name: "1min".into(), size_us: 60_000_000, slide_us: 60_000_000 },
            Window { name: "5min".into(), size_us: 300_000_000, slide_us: 60_000_000 },
        ]
    );
    let metric = &least.metrics[0];
    assert_eq!((metric.unit.as_str(), metric.decimals, metric.usual), ("", 1, (0.0, 100.0)));
    assert_eq!((metric.below, metric.above, metric.show.as_deref()), (None, None, None));
    assert_eq!(
        example.zones,
        [Zone { name: "Downtown".into(), map: Some((2, 3)), character: vec![1.0, 1.2], patterns: vec![] }]
    );
}

#[test]
fn smart_city_has_eight_zones_on_the_map_and_the_five_metrics_with_their_rules() {
    let city = Domain::smart_city();
    assert_eq!((city.name.as_str(), city.topic.as_str()), ("smart-city", "sensor-data"));
    let zones: Vec<&str> = city.zones.iter().map(|zone| zone.name.as_str()).collect();
    assert_eq!(
        zones,
        [
            "Downtown",
            "University District",
            "Industrial Park",
            "Residential North",
            "Residential South",
            "Shopping District",
            "Tech Hub",
            "Medical Center"
        ]
    );
    let places: std::collections::HashSet<_> =
        city.zones.iter().map(|zone| zone.map.expect("a place")).collect();
    assert_eq!(places.len(), 8);
    let rules: Vec<_> = city
        .metrics
        .iter()
        .map(|metric| (metric.name.as_str(), metric.unit.as_str(), metric.usual, metric.below, metric.above))
        .collect();
    assert_eq!(
        rules,
        [
            ("temperature", "°C", (-10.0, 50.0), Some(-5.0), Some(40.0)),
            ("humidity", "%", (0.0, 100.0), None, None),
            ("aqi", "AQI", (0.0, 500.0), None, Some(300.0)),
            ("noise_level", "dB", (0.0, 120.0), None, Some(100.0)),
            ("traffic_flow", "vehicles/min", (0.0, 600.0), None, Some(500.0)),
        ]
    );
    let shows: Vec<_> = city.metrics.iter().map(|metric| metric.show.as_deref()).collect();
    assert_eq!(shows, [Some("{} °C"), None, Some("AQI {}"), None, Some("traffic {}")]);
    let tables: Vec<_> = city.windows.iter().map(Window::table).collect();
    assert_eq!(tables, ["metrics_1min", "metrics_5min"]);
    assert_eq!(city.pane_us(), 60_000_000);
}

#[test]
fn several_mistakes_are_reported_at_once_with_line_and_caret() {
    let text = "name = \"plant\"\ntopic = \"my machines\"\n\n[[metrics]]\nname = \"zone\"\n\tunti = \"°C\"\nusual = [50, \"high\"]\n\n[[windows]]\nname = \"1min\"\n";
    let expected = "\
error: Kafka takes topic names of 1 to 249 letters, digits, `.`, `_` and `-`, but not `.` or `..`
 --> plant.toml:2:9
  |
2 | topic = \"my machines\"
  |         ^^^^^^^^^^^^^

error: `zone` is a column that every reading has; choose another name for the metric
 --> plant.toml:5:8
  |
5 | name = \"zone\"
  |        ^^^^^^

error: unknown key `unti` in [[metrics]]; did you mean `unit`?
 --> plant.toml:6:2
  |
6 |     unti = \"°C\"
  |     ^^^^

error: `usual` in [[metrics]] must be a number, not text
 --> plant.toml:7:14
  |
7 | usual = [50, \"high\"]
  |              ^^^^^^

error: `size` is missing in [[windows]]
 --> plant.toml:9:1
  |
9 | [[windows]]
  | ^^^^^^^^^^^

error: plant.toml has 5 mistakes";
    assert_eq!(mistakes(text).to_string(), expected);
}

#[test]
fn every_error_of_syntax_is_reported_and_nothing_is_called_missing_because_of_it() {
    let mistakes =
        mistakes("name = \"plant\ntopic = machines\n[[metrics]]\nname = \"vibration\"\ndecimals = 99\n");
    let lines: Vec<usize> = mistakes.list.iter().map(|mistake| mistake.line).collect();
    assert_eq!(lines, [1, 2, 5], "{mistakes}");
}

#[test]
fn columns_count_characters_and_not_bytes() {
    let text = format!("{LEAST}unit = \"°°°\" x\n");
    let (line, column, _) = only(&text);
    assert_eq!((line, column), (5, 14));
}

#[test]
fn an_empty_file_lacks_name_topic_and_metrics() {
    let mistakes = mistakes("");
    assert_eq!(mistakes.list.len(), 3, "{mistakes}");
    assert!(mistakes.list.iter().all(|mistake| (mistake.line, mistake.column) == (1, 1)));
}

#[test]
fn names_must_be_columns_tables_and_topics() {
    for (name, word) in [
        ("Vibration", "lower-case"),
        ("2nd", "lower-case"),
        ("a b", "lower-case"),
        ("", "lower-case"),
        ("epoch", "every reading has"),
        ("is_late", "every reading has"),
        ("ctid", "every reading has"),
        ("order", "word of SQL"),
        ("timestamp", "JSON name"),
        ("a23456789_123456789_123456789_123456789_1", "at most 40"),
    ] {
        let sentence = only_with(&format!("[[metrics]]\nname = \"{name}\""));
        assert!(sentence.contains(word), "{name}: {sentence}");
    }
    for (name, word) in [("1 min", "a window is a table"), ("1min_detail", "cannot end in `_detail`")] {
        let sentence = only_with(&format!("[[windows]]\nname = \"{name}\"\nsize = \"1m\""));
        assert!(sentence.contains(word), "{name}: {sentence}");
    }
    for topic in ["", ".", "..", "a/b", &"x".repeat(250)] {
        let text = format!("name = \"plant\"\ntopic = \"{topic}\"\n[[metrics]]\nname = \"vibration\"\n");
        assert!(only(&text).2.contains("Kafka takes"), "{topic}");
    }
    assert!(only_with("[[zones]]\nname = \"\"").contains("cannot be empty"));
    assert!(only_with(&format!("[[zones]]\nname = \"{}\"", "z".repeat(201))).contains("at most 200 bytes"));
}

#[test]
fn a_metric_cannot_have_the_name_of_another_one_s_time() {
    let metrics = |names: [&str; 2]| names.map(|name| format!("[[metrics]]\nname = \"{name}\"\n")).concat();
    for names in [["load", "load_at"], ["load_at", "load"]] {
        let said = only_with(&metrics(names));
        assert!(said.contains("the metrics `load` and `load_at` cannot be together"), "{said}");
    }
    assert!(Domain::parse("plant.toml", &format!("{LEAST}{}", metrics(["load", "loaded_at"]))).is_ok());
}

#[test]
fn two_of_a_kind_cannot_share_a_name() {
    assert_eq!(only_with("[[metrics]]\nname = \"vibration\""), "a second metric is called `vibration`");
    let window = "[[windows]]\nname = \"1min\"\nsize = \"1m\"\n";
    assert_eq!(only_with(&window.repeat(2)), "a second window is called `1min`");
    assert_eq!(only_with(&"[[zones]]\nname = \"Hall\"\n".repeat(2)), "a second zone is called `Hall`");
    assert!(
        only_with("[fields]\nsensor = \"zone\"\nzone = \"place\"\ntime = \"zone\"").contains("another field")
    );
    assert!(only_with("[fields]\ntime = \"vibration\"").contains("JSON name of another field"));
}

#[test]
fn a_session_window_has_a_gap_and_stands_beside_the_others() {
    let parsed = |text: &str| Domain::parse("plant.toml", &format!("{LEAST}{text}")).expect("right");
    let visits = "[[windows]]\nname = \"visits\"\nkind = \"session\"\ngap = \"10m\"\n";
    let domain = parsed(visits);
    let expected = SessionWindow {
        name: "visits".to_owned(),
        gap_us: 600_000_000,
        max_us: 86_400_000_000,
        by: SessionBy::Zone,
    };
    assert_eq!(domain.sessions, std::slice::from_ref(&expected));
    let names: Vec<&str> = domain.windows.iter().map(|window| window.name.as_str()).collect();
    assert_eq!(names, ["1min", "5min"], "zone_status needs one");
    let hour = "[[windows]]\nname = \"hour\"\nkind = \"tumbling\"\nsize = \"1h\"\n";
    let domain = parsed(&format!("{visits}by = \"sensor\"\nmax = \"2h\"\n{hour}"));
    assert_eq!((domain.windows.len(), domain.pane_us()), (1, 3_600_000_000));
    let by_sensor = SessionWindow { max_us: 7_200_000_000, by: SessionBy::Sensor, ..expected };
    assert_eq!(domain.sessions, [by_sensor]);
}

#[test]
fn mistakes_in_session_windows_are_named() {
    let with = |keys: &str| only_with(&format!("[[windows]]\nname = \"visits\"\nkind = \"session\"\n{keys}"));
    assert_eq!(with(""), "`gap` is missing in [[windows]]");
    assert!(with("gap = \"500ms\"").contains("must be a multiple of 1s"));
    assert!(with("gap = \"1m\"\nmax = \"30s\"").contains("`max` (30s) must be from `gap` (60s) to 31d"));
    assert!(with("gap = \"1m\"\nby = \"street\"").contains("must be \"zone\" or \"sensor\""));
    assert!(with("gap = \"1m\"\nsize = \"1m\"").contains("unknown key `size` in [[windows]]"));
    let window = |keys: &str| only_with(&format!("[[windows]]\nname = \"w\"\nsize = \"2m\"\n{keys}"));
    assert!(window("kind = \"sesion\"").contains("must be \"tumbling\", \"sliding\" or \"session\""));
    assert!(window("kind = \"sliding\"").contains("a `slide` shorter than its `size`"));
    assert!(window("kind = \"tumbling\"\nslide = \"1m\"").contains("a \"tumbling\" one has not"));
    let named = "[[windows]]\nname = \"5min\"\nkind = \"session\"\ngap = \"1m\"";
    assert!(only_with(named).contains("there are `1min` and `5min`; choose another name"));
    let many: String = (0..9)
        .map(|number| format!("[[windows]]\nname = \"s{number}\"\nkind = \"session\"\ngap = \"1m\"\n"))
        .collect();
    assert!(only_with(&many).contains("at most 8 windows of kind \"session\""));
}

#[test]
fn ranges_and_rules_must_leave_something() {
    assert!(only_with("usual = [5, 5]").contains("from the lower"));
    assert!(only_with("usual = [5]").contains("two numbers"));
    assert!(only_with("usual = 5").contains("two numbers, as [0, 100], not an integer"));
    assert!(only_with("anomalous = { below = 5, above = 5 }").contains("greater than `below`"));
    assert!(only_with("anomalous = { above = inf }").contains("finite"));
    assert!(only_with("anomalous = { above = nan }").contains("finite"));
    assert!(only_with("anomalous = { above = 1e13 }").contains("10^12"));
    assert!(only_with("anomalous = { over = 5 }").contains("known here: below, above, clear"));
    let clear = |rule: &str| only_with(&format!("anomalous = {{ {rule} }}"));
    assert!(clear("above = 5, clear = 5").contains("`clear` (5) must be less than `above` (5)"));
    assert!(clear("below = 5, clear = 4").contains("`clear` (4) must be greater than `below` (5)"));
    assert!(clear("below = 5, above = 9, clear = 8").contains("two numbers, as [0, 100], not an integer"));
    assert!(clear("below = 5, above = 9, clear = [6, 9]").contains("must be less than `above`"));
    assert!(clear("below = 5, above = 9, clear = [8, 7]").contains("from the lower to the higher"));
    assert!(clear("above = 5, clear = [2, 4]").contains("a number, not a list of 2"));
    assert!(clear("clear = 4").contains("needs a bound"));
    assert!(only_with("decimals = 10").contains("from 0 to 9"));
    assert!(only_with("show = \"value\"").contains("hold `{}` once"));
    assert!(only_with("pattern = { peaks = [25] }").contains("from 0 to 24"));
    assert!(only_with("pattern = { peaks = [] }").contains("1 to 24 hours"));
    assert!(only_with("pattern = { noise = -1 }").contains("cannot be negative"));
}

#[test]
fn durations_and_limits_must_mean_something() {
    assert!(only_with("[time]\nmax_age = \"366\"").contains("its unit is missing"));
    assert!(only_with("[time]\nmax_age = \"366days\"").contains("`days` is not a unit"));
    assert!(only_with("[time]\nmax_age = 366").contains("a duration such as"));
    assert!(only_with("[time]\nidle_after = \"0s\"").contains("longer than 0"));
    assert!(only_with("[limits]\nzones_max = 0").contains("from 1 to"));
    assert!(only_with("[limits]\nsensors_max = 1.5").contains("not a float"));
    assert!(only_with("[time]\nfuture_max = \"25h\"").contains("`future_max` (90000s) must not be above"));
    assert!(
        only_with("[time]\njump_max = \"5s\"")
            .contains("`jump_max` (5s) must be above `out_of_orderness` (5s)")
    );
    assert!(only_with("[retention]\nwindows = \"366d\"").contains("longer than `max_age`"));
    let kept = Domain::parse("plant.toml", &format!("{LEAST}[retention]\nraw = 0\nwindows = \"367d\"\n"));
    assert_eq!(
        kept.expect("right").retention,
        Retention { raw_us: None, windows_us: Some(367 * 86_400_000_000) }
    );
}

#[test]
fn the_detectors_settings_are_shares_counts_and_metrics_of_the_file() {
    let sentence = |line: &str| only_with(&format!("[detector]\n{line}"));
    assert!(sentence("contamination = 0.9").contains("between 0.0001 and 0.5"));
    assert!(sentence("extension = 2").contains("from 0 to 1"));
    assert!(sentence("train_every = \"1s\"").contains("60s or longer"));
    assert!(sentence("train_every = \"2h\"\ntrain_window = \"1h\"").contains("must not be shorter"));
    assert!(sentence("logarithmic = [\"vibrations\"]").contains("did you mean \"vibration\"?"));
    assert!(sentence("logarithmic = \"vibration\"").contains("a list of texts"));
    let text = format!("{LEAST}[detector]\nlogarithmic = [\"vibration\"]\ntrees = 50\n");
    let detector = Domain::parse("plant.toml", &text).expect("nothing is wrong").detector;
    assert_eq!((detector.trees, detector.logarithmic), (50, vec![0]));
}

#[test]
fn smaller_limits_of_time_lower_the_default_of_future_max() {
    let text = format!("{LEAST}[time]\nout_of_orderness = \"2s\"\nallowed_lateness = \"0s\"\n");
    assert_eq!(Domain::parse("plant.toml", &text).expect("right").time.future_max_us, 2_000_000);
}

#[test]
fn a_greater_out_of_orderness_raises_the_default_of_jump_max() {
    let text = format!("{LEAST}[time]\nout_of_orderness = \"1h\"\n");
    assert_eq!(Domain::parse("plant.toml", &text).expect("right").time.jump_max_us, 2 * 3_600_000_000);
}

#[test]
fn sizes_and_slides_must_make_panes() {
    let window = |rest: &str| only_with(&format!("[[windows]]\nname = \"w\"\n{rest}"));
    assert!(
        window("size = \"5m\"\nslide = \"2m\"")
            .contains("`size` (300s) must be a multiple of `slide` (120s)")
    );
    assert!(window("size = \"1m\"\nslide = \"2m\"").contains("cannot be longer"));
    assert!(window("size = \"1500ms\"").contains("multiple of 1s"));
    assert!(window("size = \"0s\"").contains("multiple of 1s"));
    assert!(window("size = \"1001s\"\nslide = \"1s\"").contains("1001 panes of 1s"));
    let overlapping = |slide: &str| {
        format!(
            "[[windows]]\nname = \"short\"\nsize = \"1m\"\n[[windows]]\nname = \"long\"\nsize = \"16h\"\n\
             slide = \"1m\"\n[[windows]]\nname = \"hour\"\nsize = \"1h\"\nslide = \"{slide}\"\n"
        )
    };
    let refused = only_with(&overlapping("1m"));
    assert!(
        refused.contains("in 1021 windows at a time") && refused.contains("most of them, 960, are of `long`"),
        "{refused}"
    );
    assert!(Domain::parse("plant.toml", &format!("{LEAST}{}", overlapping("2m"))).is_ok());
    assert!(only_with_top("windows = []").contains("1 to 32 windows, not 0"));
    let text = format!(
        "{LEAST}[[windows]]\nname = \"a\"\nsize = \"90s\"\n[[windows]]\nname = \"b\"\nsize = \"60s\"\n"
    );
    assert_eq!(Domain::parse("plant.toml", &text).expect("right").pane_us(), 30_000_000);
}

#[test]
fn what_resembles_a_known_name_is_suggested() {
    assert!(only_with("[fields]\ntime_zone = \"Europe/Berln\"").contains("did you mean \"Europe/Berlin\"?"));
    assert!(
        only_with("[[zones]]\nname = \"Hall\"\ncharacter = { vibrations = 2 }")
            .contains("did you mean `vibration`?")
    );
    assert!(only_with("[[zones]]\nname = \"Hall\"\ncharacter = { vibration = 0 }").contains("above 0"));
    assert!(only_with("[[zones]]\nname = \"Hall\"\nmap = [1, 2.5]").contains("two whole numbers"));
    assert!(only_with_top("colour = 1").contains("unknown key `colour`; known here: name, topic"));
    assert!(only_with_top("time = 1").contains("`time` must be a table, not an integer"));
    assert!(only_with("[windows]").contains("each begun with [[windows]]"));
}

#[test]
fn a_pattern_tells_days_weekends_seasons_trends_and_what_it_follows() {
    let text = format!(
        "{LEAST}pattern = {{ mean = 5, peaks = [8, 17], weekend = {{ peaks = [14] }}, days = [1, 1, 1, 1, 1, 0.5, 0], \
         season = {{ amplitude = 2, peak = 200 }}, trend = {{ by = 1, from = 1970-01-02, until = 2026-11-21 }}, noise = 2, \
         memory = \"5m\", gain = 0.1, proportional = true, follows = {{ duty = -3 }} }}\n[[zones]]\nname = \"Hall\"\n\
         patterns = {{ vibration = {{ noise = 1, width = 1 }} }}\n[[generator.factors]]\nname = \"duty\"\n\
         shared_by = \"zone\"\nmemory = \"2h\"\n[generator.anomalies]\nspike = 1\n[generator.zone_event]\nvibration = 9\n"
    );
    let domain = Domain::parse("plant.toml", &text).expect("right");
    let pattern = &domain.metrics[0].pattern;
    let peaks = |hours: &[f64], width_h| Shape::Peaks { hours: hours.to_vec(), width_h, valley: 0.4 };
    assert_eq!(pattern.day, Day { mean: 5.0, amplitude: 12.0, shape: peaks(&[8.0, 17.0], Some(2.2)) });
    assert_eq!(pattern.weekend, Some(Day { mean: 5.0, amplitude: 12.0, shape: peaks(&[14.0], None) }));
    assert_eq!(pattern.days, [1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.0]);
    assert_eq!(pattern.season, Some(Season { amplitude: 2.0, peak_day: 200.0 }));
    let (from_at_us, until_at_us) = (86_400_000_000, 20_778 * 86_400_000_000);
    assert_eq!(pattern.trend, Some(Trend { by: 1.0, from_at_us, until_at_us }));
    assert_eq!((pattern.noise, pattern.memory_us, pattern.gain), (2.0, 300_000_000, 0.1));
    assert!((pattern.offset - 1.2).abs() < 1e-12, "{}", pattern.offset);
    assert_eq!((pattern.proportional, &pattern.follows[..]), (true, &[(0, -3.0)][..]));
    let (metric, own) = &domain.zones[0].patterns[0];
    assert_eq!((*metric, own.noise, &own.day.shape), (0, 1.0, &peaks(&[8.0, 17.0], Some(1.0))));
    assert_eq!((&own.weekend, &own.follows), (&pattern.weekend, &pattern.follows));
    let generator = &domain.generator;
    assert_eq!(
        generator.factors,
        [Factor { name: "duty".into(), shared_by: Scope::Zone, memory_us: 7_200_000_000 }]
    );
    assert_eq!(generator.anomalies, [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(generator.zone_event, [(0, 9.0)]);
}

#[test]
fn a_pattern_must_make_sense() {
    let pattern = |inside: &str| only_with(&format!("pattern = {{ {inside} }}"));
    assert!(pattern("hours = [1, 0]").contains("24 numbers, one for each hour, not 2"));
    assert!(pattern(&format!("hours = [{}]", "2, ".to_owned() + &"0, ".repeat(23))).contains("lowest"));
    assert!(pattern("width = 13").contains("above 0 and at most 12"));
    assert!(pattern("valley = 2").contains("from 0 to 1"));
    let hours = format!("hours = [{}]", "0, ".repeat(24));
    assert!(pattern(&format!("{hours}, width = 2")).contains("`width` applies to `peaks`"));
    assert!(pattern(&format!("{hours}, peaks = [2]")).contains("not both"));
    assert!(pattern(&format!("{hours}, weekend = {{ width = 2 }}")).contains("has `hours`"));
    assert!(pattern("days = [1, 1]").contains("7 factors, Monday's first, not 2"));
    assert!(pattern("days = [1, 1, 1, 1, 1, 1, -1]").contains("from 0 to 10"));
    assert!(pattern("weekend = { noise = 1 }").contains("unknown key `noise` in weekend"));
    assert!(pattern("weekend = { amplitude = -1 }").contains("cannot be negative"));
    assert!(pattern("season = { amplitude = 2 }").contains("`peak` is missing in season"));
    assert!(pattern("season = { amplitude = 2, peak = 367 }").contains("from 1 to 366"));
    assert!(pattern("trend = { by = 1, from = 2026-11-21 }").contains("`until` is missing in trend"));
    assert!(pattern("trend = { by = 1, from = \"2026-11-21\", until = 2026-11-22 }").contains("not text"));
    assert!(
        pattern("trend = { by = 1, from = 2026-11-21, until = 2026-11-22T05:00:00Z }").contains("not a time")
    );
    assert!(pattern("trend = { by = 1, from = 2026-11-21, until = 2026-11-20 }").contains("before `from`"));
    assert!(pattern("persistence = 1.5").contains("a share, from 0 to 1"));
    assert!(pattern("memory = \"0s\"").contains("longer than 0"));
    assert!(pattern("memory = 5").contains("a duration such as"));
    assert!(pattern("offset = -1").contains("cannot be negative"));
    assert!(pattern("gain = 0.5").contains("at most 0.25"));
    assert!(pattern("proportional = 1").contains("true or false, not an integer"));
    assert!(pattern("mean = 0, proportional = true").contains("needs a `mean` above 0"));
    assert!(pattern("follows = { weather = 1 }").contains("unknown factor `weather`; describe it under"));
    assert!(only_with("[[zones]]\nname = \"Hall\"\npatterns = { vibratoin = {} }").contains("did you mean"));
    assert!(
        only_with("[[zones]]\nname = \"Hall\"\npatterns = { vibration = 1 }").contains("must be a table")
    );
}

#[test]
fn a_factor_and_the_parts_of_the_anomalies_must_make_sense() {
    let factor = |inside: &str| only_with(&format!("[[generator.factors]]\n{inside}"));
    assert!(factor("shared_by = \"city\"").contains("`name` is missing"));
    assert!(factor("name = \"duty\"").contains("`shared_by` is missing"));
    assert!(factor("name = \"duty\"\nshared_by = \"street\"").contains("not by \"street\""));
    assert!(factor("name = \"duty\"\nshared_by = \"city\"\nmemory = \"0s\"").contains("longer than 0"));
    let twice = "[[generator.factors]]\nname = \"duty\"\nshared_by = \"city\"\n".repeat(2);
    assert!(only_with(&twice).contains("a second factor is called `duty`"));
    let near =
        "pattern = { follows = { dutty = 1 } }\n[[generator.factors]]\nname = \"duty\"\nshared_by = \"city\"";
    assert!(only_with(near).contains("did you mean `duty`?"));
    assert!(only_with("[generator.anomalies]\nspikes = 1\nrange = 1").contains("did you mean `spike`?"));
    assert!(only_with("[generator.anomalies]\nspike = -1\nrange = 1").contains("cannot be negative"));
    assert!(only_with("[generator.anomalies]\nspike = 0").contains("at least one kind"));
    assert!(only_with("[generator.zone_event]\nheat = 1").contains("unknown metric `heat`"));
    assert!(only_with("[generator]\nfire = 1").contains("known here: factors, anomalies, zone_event"));
}

#[test]
fn the_domain_files_in_the_pages_are_whole_and_that_of_the_readme_has_fifteen_lines_at_most() {
    let block = |page: &'static str| {
        let (_, rest) = page.split_once("\n```toml\nname = ").expect("a domain file");
        format!("name = {}", rest.split("```").next().unwrap_or_default())
    };
    let readme = block(include_str!("../../../README.md"));
    assert!(readme.lines().count() <= 15, "{readme}");
    for file in [readme, block(include_str!("../../../docs/domains.md"))] {
        let domain = Domain::parse("greenhouse.toml", &file).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!((&*domain.name, &*domain.topic), ("greenhouse", "probes"));
        assert!(domain.metrics.iter().any(|metric| metric.name == "co2"));
        assert!(domain.windows.iter().any(|window| window.name == "1min"));
    }
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics_and_its_mistakes_can_be_shown(text in ".{0,200}") {
        if let Err(mistakes) = Domain::parse("any.toml", &text) {
            prop_assert!(mistakes.to_string().contains("any.toml:"));
        }
    }

    #[test]
    fn an_example_with_a_part_overwritten_never_panics(at in 0..EXAMPLE.len(), length in 0..40usize, with in "[\\[\\]{}=\"'a-z0-9\\.\n\t\r°,-]{0,12}") {
        let mut text: Vec<char> = EXAMPLE.chars().collect();
        let at = at.min(text.len());
        let end = (at + length).min(text.len());
        text.splice(at..end, with.chars());
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = Domain::parse("any.toml", &text) {
            prop_assert!(!mistakes.list.is_empty());
            prop_assert!(mistakes.to_string().contains("any.toml:"));
        }
    }
}
