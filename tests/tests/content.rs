//! What a topic may bring, and what a domain file may ask for.

use std::path::PathBuf;
use std::time::Duration;

use citytide_tests::city::{City, Metric, SECOND};
use citytide_tests::kafka::{Headers, Meaning};
use citytide_tests::load::{DAWN, Random, Reading, Traffic, garbage, rfc3339, send, text};
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;
use citytide_tests::snapshot::{Checker, check_once};

/// The broker's cleaner looks for something to do every 15 seconds (log.cleaner.backoff.ms).
const COMPACTION: Duration = Duration::from_secs(120);

#[test]
fn every_kind_of_garbage_becomes_a_dead_letter_with_its_reason_and_its_bytes() {
    let scene = Scene::new("garbage", City::smart(), 2);
    let good = Reading::plain(&scene.city, "s", "Downtown", DAWN, 21.0);
    for (at, (payload, reason, field)) in garbage(&scene.city, &good).into_iter().enumerate() {
        scene.topic.send((at % 2) as i32, DAWN / 1000, payload, Meaning::Garbage { reason, field });
        send(&scene.topic, &scene.city, 0, good.clone());
        send(&scene.topic, &scene.city, 1, good.clone());
    }
    scene.catch_up("-w 2");
    scene.assert_caught_up();
}

#[test]
fn a_flood_of_garbage_does_not_stop_the_stream() {
    let scene = Scene::new("flood", City::smart(), 2);
    let mut run = scene.run("-w 2").spawn();
    let checker = Checker::start(&scene.database, &scene.city);
    let good = Reading::plain(&scene.city, "s", "Downtown", DAWN, 21.0);
    let kinds = garbage(&scene.city, &good);
    let mut random = Random(31);
    let big = vec![b'x'; 100_000];
    for at in 0..6000_i64 {
        let (payload, reason, field) = kinds[random.below(kinds.len() as i64) as usize].clone();
        scene.topic.send(0, (DAWN + at * 1000) / 1000, payload, Meaning::Garbage { reason, field });
        if at % 500 == 0 {
            let meaning = Meaning::Garbage { reason: "not_json", field: None };
            scene.topic.send(0, (DAWN + at * 1000) / 1000, big.clone(), meaning);
            send(&scene.topic, &scene.city, 0, Reading { event_us: DAWN + at * 1000, ..good.clone() });
            send(&scene.topic, &scene.city, 1, Reading { event_us: DAWN + at * 1000, ..good.clone() });
        }
    }
    scene.wait_committed(&mut run);
    checker.finish();
    scene.assert_tables();
    assert_eq!(run.ended(), None, "the run goes on");
}

#[test]
fn another_domain_file_means_other_fields_metrics_windows_and_tables() {
    let scene = Scene::new("harbour", City::harbour(), 2);
    let mut traffic = Traffic::new(41, 30_000);
    traffic.send(&scene.topic, &scene.city, 2, 6000);
    // Times and sensors in every form that is allowed. Berlin is an hour ahead of UTC in January.
    let City { sensor, time, zone, .. } = &scene.city;
    let at = traffic.now_us / SECOND * SECOND;
    let local = rfc3339(at + 3600 * SECOND);
    let local = local.trim_end_matches('Z');
    let times = [
        text(local),
        text(&local.replace('T', " ")),
        text(&local.replace('.', ".000000999").replace("999000000", "999")),
        text(&rfc3339(at).replace('T', "t").replace('Z', "z")),
        text(&format!("{}+05:30", rfc3339(at + 19_800 * SECOND).trim_end_matches('Z'))),
        (at / SECOND).to_string(),
        format!("{}.0", at / SECOND),
        (at / 1000).to_string(),
        format!("{}.25e0", at / 1000),
    ];
    for (index, written) in times.iter().enumerate() {
        let buoy = if index % 2 == 0 { "\"42\"" } else { "42" };
        let payload = format!(
            "{{\"x\":{{\"at\":1}}, {}:{{}}, {}:\"Dock 4\",\"wind_speed\":-0.0,{}:{buoy},\"salinity\":null,{}:{written}}}",
            text("unknown"),
            text(zone),
            text(sensor),
            text(time),
        );
        let event_us = if written.ends_with("e0") { at + 250 } else { at };
        let reading = Reading {
            sensor: "42".to_owned(),
            zone: "Dock 4".to_owned(),
            event_us,
            values: vec![Some(0.0), None, None],
        };
        scene.topic.send(1, at / 1000, payload.into_bytes(), Meaning::Reading(reading));
    }
    // Numbers whose last bit is easily lost.
    for value in [
        0.1,
        1.0 / 3.0,
        23.456789012345678,
        1e12,
        -1e12,
        123_456_789.123_456_79,
        5e-324,
        0.003906250000000001,
    ] {
        send(&scene.topic, &scene.city, 1, Reading::plain(&scene.city, "bits", "North Quay", at, value));
    }
    let checker = Checker::start(&scene.database, &scene.city);
    scene.catch_up("-w 2");
    checker.finish();
    scene.assert_caught_up();
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn the_defaults_of_a_database_change_nothing() {
    let scene = Scene::new("defaults", City::smart(), 2);
    for setting in [
        "timezone = 'Asia/Kolkata'",
        "datestyle = 'German'",
        "intervalstyle = 'iso_8601'",
        "extra_float_digits = -10",
        "bytea_output = 'escape'",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "synchronous_commit = off",
        "lc_numeric = 'C'",
    ] {
        scene.database.session.batch(&format!("alter database {} set {setting}", scene.database.name));
    }
    let mut traffic = Traffic::new(44, 100_000);
    for arguments in ["-w 2", "-w 1"] {
        traffic.send(&scene.topic, &scene.city, 2, 2000);
        scene.catch_up(arguments);
        scene.assert_caught_up();
    }
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn zones_beyond_the_limit_are_dead_letters_per_partition_and_in_log_order_also_after_a_restart() {
    let scene = Scene::new("zones", City::harbour(), 2);
    // Three further zones are allowed per partition; a late reading takes its place as well.
    let mut step = 0;
    let mut show = |partition: i32, zone: &str, late: bool| {
        step += 1;
        let now = DAWN + step * SECOND;
        let event_us = if late { now - 1000 * SECOND } else { now };
        let reading = Reading::plain(&scene.city, "s", zone, event_us, 1.0);
        scene.topic.send(partition, now / 1000, reading.json(&scene.city), Meaning::Reading(reading));
    };
    for (partition, zone) in [(0, "A"), (0, "Dock 4"), (0, "B"), (1, "D"), (0, "A")] {
        show(partition, zone, false);
    }
    scene.catch_up("-w 1");
    show(0, "C", true);
    for (partition, zone) in [(0, "D"), (0, "B"), (0, "North Quay"), (1, "A"), (0, "C"), (1, "B"), (1, "C")] {
        show(partition, zone, false);
    }
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    let dead: i64 =
        scene.database.session.value("select count(*) from dead_letters where reason = 'too_many_zones'");
    assert_eq!(dead, 2);
}

#[test]
fn ten_thousand_zones_are_as_good_as_eight() {
    let city = City { zones_max: 20_000, built_in: false, ..City::smart() };
    let scene = Scene::new("many", city, 2);
    for at in 0..20_000_i64 {
        let zone = format!("zone {}", at % 10_000);
        let reading = Reading::plain(&scene.city, "s", &zone, DAWN + at * 20_000, 20.0);
        send(&scene.topic, &scene.city, (at % 2) as i32, reading);
    }
    scene.catch_up("-w 2");
    scene.assert_caught_up();
}

#[test]
fn offsets_that_kafka_never_delivers_are_gaps_and_what_it_deleted_unread_is_lost() {
    let scene = Scene::new("offsets", City::smart(), 2);
    let mut at = DAWN;
    let mut record = || {
        at += SECOND;
        let reading = Reading::plain(&scene.city, "s", "Downtown", at, 20.0);
        (at / 1000, reading.json(&scene.city), Meaning::Reading(reading))
    };
    let mut records =
        |count: usize| -> Vec<(i64, Vec<u8>, Meaning)> { (0..count).map(|_| record()).collect() };
    let plain = |partition, records: Vec<(i64, Vec<u8>, Meaning)>| {
        for (received_at_ms, payload, meaning) in records {
            scene.topic.send(partition, received_at_ms, payload, meaning);
        }
    };
    plain(0, records(5));
    scene.topic.send_transaction(0, records(3), true);
    scene.topic.send_transaction(0, records(4), false);
    plain(0, records(2));
    // Partition 1 ends with records that are never delivered.
    plain(1, records(3));
    scene.topic.send_transaction(1, records(2), false);
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    // Retention runs ahead of us in partition 1; in partition 0 everything unread is gone.
    let (first, second) = (scene.topic.sent()[0].len() as i64, scene.topic.sent()[1].len() as i64);
    plain(0, records(6));
    plain(1, records(6));
    scene.topic.delete_before(0, first, first + 6);
    scene.topic.delete_before(1, second, second + 4);
    scene.catch_up("-w 1");
    scene.assert_caught_up();
    check_once(&scene.database.session, &scene.city);
}

#[test]
fn offsets_that_compaction_removed_before_they_were_read_are_gaps() {
    let scene = Scene::new("compacted", City::smart(), 1);
    scene.topic.configure(&[
        ("cleanup.policy", "compact"),
        ("segment.ms", "60000"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
        ("delete.retention.ms", "0"),
    ]);
    let keyed = |second: i64, key: &str, stays: bool| {
        let event_us = DAWN + second * SECOND;
        let reading = Reading::plain(&scene.city, key, "Downtown", event_us, 20.0);
        let json = reading.json(&scene.city);
        let meaning = if stays { Meaning::Reading(reading) } else { Meaning::Gap };
        scene.topic.send_keyed(0, event_us / 1000, key, Some(json), meaning);
    };
    // The newest segment is never compacted. A record later than segment.ms begins a new one.
    let next_segment = |second: i64, key: &str| {
        scene.topic.flush();
        keyed(second, key, true);
        scene.topic.flush();
    };
    let wait_compacted = |left: &[i64]| {
        wait_until(&format!("compaction has left {left:?}"), COMPACTION, || scene.topic.delivered(0) == left);
    };
    for (offset, key) in (0..).zip(["a", "b", "c", "a", "b", "c"]) {
        keyed(offset, key, true);
    }
    scene.catch_up("-w 1");
    scene.assert_caught_up();

    // The next run begins where a record was; of those behind it the last one of each key stays.
    for (offset, key) in (6..).zip(["a", "b", "d", "c", "a", "b", "c"]) {
        keyed(offset, key, [8, 10, 12].contains(&offset));
    }
    scene.topic.send_keyed(0, DAWN / 1000 + 13_000, "b", None, Meaning::Gap);
    next_segment(600, "e");
    // A tombstone outlives the records of its key by one compaction.
    wait_compacted(&[8, 10, 12, 13, 14]);
    next_segment(1200, "f");
    wait_compacted(&[8, 10, 12, 14, 15]);
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    let counts = "select concat_ws(' ', first_offset, next_offset, accepted, late, dead, lost, gaps, holds) \
                  from conservation";
    assert_eq!(scene.database.session.value::<String>(counts), "0 16 11 0 0 0 5 t");
    check_once(&scene.database.session, &scene.city);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn a_further_metric_adds_its_columns_and_a_metric_that_is_gone_is_refused() {
    let mut scene = Scene::new("metric", City::harbour(), 1);
    let session = &scene.database.session;
    let old = scene.city.clone();
    let value = |city: &City, second: i64| Reading::plain(city, "s", "Dock 4", DAWN + second * SECOND, 2.5);
    (0..30).for_each(|second| send(&scene.topic, &old, 0, value(&old, second)));
    scene.catch_up("-w 1");
    scene.assert_caught_up();

    let swell = Metric {
        name: "swell".to_owned(),
        unit: "m".to_owned(),
        usual: (0.0, 9.0),
        below: None,
        above: Some(2.0),
        clear: None,
    };
    scene.city.metrics.insert(1, swell);
    scene.file = scene.city.file("metric");
    (30..60).for_each(|second| send(&scene.topic, &scene.city, 0, value(&scene.city, second)));
    scene.catch_up("-w 2");
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where swell = 2.5"), 30);
    assert_eq!(
        session.value::<i64>("select count(*) from sensor_data where swell is null and wind_speed = 2.5"),
        30
    );
    // An early row of the old file goes on with the new one: nulls do not count.
    assert_eq!(
        session.value::<i64>("select sum(reading_count)::bigint from metrics_10s where avg_swell = 2.5"),
        30
    );
    check_once(session, &scene.city);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");

    let file = old.file("metric");
    let (ended, said) = CommandLine::run(&scene.services, &scene.topic.name, &scene.database.url, "metric")
        .domain(file.as_deref())
        .args(["--until-caught-up"])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("swell"), "the metric is named: {said}");
    check_once(session, &scene.city);
}

#[test]
fn a_usual_range_that_is_changed_holds_for_what_is_read_from_then_on() {
    let mut scene = Scene::new("usual", City { built_in: false, ..City::smart() }, 1);
    let mut second = 0;
    let wide = scene.file.clone();
    let mut run_on_with = |file: Option<PathBuf>, readings: i64, unusual: i64| {
        scene.file = file;
        for _ in 0..readings {
            second += 20;
            let reading = Reading::plain(&scene.city, "s", "Tech Hub", DAWN + second * SECOND, 45.0);
            send(&scene.topic, &scene.city, 0, reading);
        }
        scene.catch_up("-w 1");
        let sums = "select concat_ws(' ', sum(count_humidity), sum(unusual_humidity), sum(unusual_aqi)) \
                    from quality_counts";
        let all = second / 20;
        assert_eq!(scene.database.session.value::<String>(sums), format!("{all} {unusual} 0"));
        // Whatever the file says by now, each reading was held against the range of its own time.
        for file in [wide.clone(), scene.file.clone()] {
            scene.file = file;
            let (ended, said) = scene.verify();
            assert_eq!(ended, Ended::Exit(0), "{said}");
        }
    };
    run_on_with(wide.clone(), 10, 0);
    let mut narrow = City { built_in: false, ..City::smart() };
    narrow.metrics[1].usual = (0.0, 40.0);
    let narrow = narrow.file("narrow");
    run_on_with(narrow.clone(), 5, 5);
    run_on_with(narrow, 1, 6);
    run_on_with(wide.clone(), 3, 6);
}

#[test]
fn a_live_run_shows_new_readings_within_moments_and_follows_partitions_that_were_empty() {
    let scene = Scene::new("live", City::impatient(), 3);
    let mut run = scene.run("-n 2").spawn();
    for step in 0..40 {
        for partition in 0..=(step / 15) as i32 {
            let reading = Reading::plain(&scene.city, "s", "Tech Hub", DAWN + step * 5 * SECOND, 20.0);
            send(&scene.topic, &scene.city, partition, reading);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.wait_committed(&mut run);
    scene.assert_tables();
    wait_until("all partitions are idle", LIMIT, || {
        scene.database.session.value("select bool_and(is_idle) from ingest_progress")
    });
    let stands = scene.database.watermark_us();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(scene.database.watermark_us(), stands, "with all partitions idle, W stands still");
    assert_eq!(run.ended(), None);
}

#[test]
fn names_may_hold_whatever_text_holds() {
    let scene = Scene::new("names", City::smart(), 1);
    let names = [
        "\u{1}\t\n\r",
        "\\N",
        "O'Neil; drop table commits; --",
        "\"quoted\" {a,b}",
        "🌊 Übersee\u{2028}",
        " ",
        "%s",
    ];
    let longest = "ü".repeat(100);
    for (at, name) in names.into_iter().chain([longest.as_str()]).enumerate() {
        let event_us = DAWN + at as i64 * SECOND;
        let values = vec![Some(600.0), None, None, None, Some(1e6)];
        let reading = Reading { sensor: name.to_owned(), zone: name.to_owned(), event_us, values };
        send(&scene.topic, &scene.city, 0, reading);
    }
    // An hour later all of it is final.
    send(&scene.topic, &scene.city, 0, Reading::plain(&scene.city, "s", " ", DAWN + 240 * SECOND, 600.0));
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    check_once(&scene.database.session, &scene.city);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn a_record_without_a_value_is_an_empty_one() {
    let scene = Scene::new("null", City::smart(), 1);
    let meaning = Meaning::Garbage { reason: "empty", field: None };
    scene.topic.send_keyed(0, DAWN / 1000, "key", None, meaning);
    send(&scene.topic, &scene.city, 0, Reading::plain(&scene.city, "s", "Downtown", DAWN, 20.0));
    scene.catch_up("-w 1");
    scene.assert_caught_up();
}

#[test]
fn a_live_run_counts_gaps_at_the_end_of_a_partition_and_takes_it_for_idle() {
    let scene = Scene::new("tail", City::impatient(), 2);
    let mut run = scene.run("-w 2").spawn();
    for second in 0..30 {
        for partition in 0..2 {
            let reading = Reading::plain(&scene.city, "s", "Downtown", DAWN + second * SECOND, 20.0);
            send(&scene.topic, &scene.city, partition, reading);
        }
    }
    scene.wait_committed(&mut run);
    scene.topic.send_transaction(1, vec![(DAWN / 1000, b"x".to_vec(), Meaning::Gap)], false);
    for sensor in ["s", "its witness"] {
        let reading = Reading::plain(&scene.city, sensor, "Downtown", DAWN + 1200 * SECOND, 20.0);
        send(&scene.topic, &scene.city, 0, reading);
    }
    wait_until("the partition that ends with gaps is idle, and W goes on", LIMIT, || {
        assert_eq!(run.ended(), None);
        scene.database.watermark_us() == Some(DAWN + 1195 * SECOND)
    });
    scene.wait_committed(&mut run);
    scene.assert_tables();
}

#[test]
fn every_compression_is_read() {
    let scene = Scene::new("codecs", City::smart(), 1);
    for (at, codec) in ["gzip", "snappy", "lz4", "zstd", "none"].into_iter().enumerate() {
        let records = (0..200_i64).map(|step| {
            let event_us = DAWN + (at as i64 * 200 + step) * SECOND / 10;
            let reading = Reading::plain(&scene.city, codec, "Downtown", event_us, 20.0);
            (event_us / 1000, reading.json(&scene.city), Meaning::Reading(reading))
        });
        scene.topic.send_compressed(0, codec, records.collect());
    }
    scene.catch_up("-w 1");
    scene.assert_caught_up();
}

#[test]
fn headers_and_keys_change_no_reading() {
    let scene = Scene::new("headers", City::smart(), 1);
    let long = vec![b'h'; 200_000];
    let headers: [&Headers<'_>; 4] = [
        &[("truth", Some(b"spike:temperature"))],
        &[("", None), ("sensor_id", Some(b"another")), ("sensor_id", Some(b"\xff\x00"))],
        &[("long", Some(&long))],
        &[("empty", Some(b""))],
    ];
    for (second, headers) in headers.into_iter().enumerate() {
        let event_us = DAWN + second as i64 * SECOND;
        let reading = Reading::plain(&scene.city, "s", "Downtown", event_us, 20.0);
        let (at, json) = (event_us / 1000, reading.json(&scene.city));
        scene.topic.send_with_headers(0, at, json, Meaning::Reading(reading), headers);
        let meaning = Meaning::Garbage { reason: "not_json", field: None };
        scene.topic.send_with_headers(0, at, b"no".to_vec(), meaning, headers);
    }
    scene.catch_up("-w 1");
    scene.assert_caught_up();
}

#[test]
fn a_record_of_a_megabyte_is_a_reading_or_a_dead_letter_like_any_other() {
    const LONG: usize = 1_000_000;
    let scene = Scene::new("megabyte", City::smart(), 2);
    let mut at = DAWN;
    // A reading with `more` in front of its members: one more member, or white space.
    let mut record = |more: &str| {
        at += SECOND;
        let reading = Reading::plain(&scene.city, "s", "Downtown", at, 20.0);
        let json = String::from_utf8(reading.json(&scene.city)).expect("UTF-8");
        (reading, json.replacen('{', &format!("{{{more}"), 1))
    };
    let long = "x".repeat(LONG);
    let paddings = [
        format!("\"note\":\"{long}\","),
        format!("\"{long}\":null,"),
        format!("\"note\":[{}0],", "0,".repeat(LONG / 2)),
        format!("\"note\":\"{}\",", "\\u00e9".repeat(LONG / 6)),
        " ".repeat(LONG),
    ];
    for round in 0..4 {
        for more in &paddings {
            let (reading, json) = record(more);
            scene.topic.send(
                round % 2,
                reading.event_us / 1000,
                json.into_bytes(),
                Meaning::Reading(reading),
            );
        }
        let (reading, mut cut) = record(&paddings[0]);
        cut.pop();
        let named = Reading { sensor: long.clone(), ..reading.clone() }.json(&scene.city);
        let mut torn = paddings[4].clone().into_bytes();
        torn.push(0xff);
        let garbage = [
            (long.clone().into_bytes(), "not_json", None),
            (cut.into_bytes(), "not_json", None),
            (torn, "not_utf8", None),
            (named, "too_long", Some(scene.city.sensor.clone())),
        ];
        for (payload, reason, field) in garbage {
            assert!(payload.len() >= LONG);
            scene.topic.send(round % 2, reading.event_us / 1000, payload, Meaning::Garbage { reason, field });
        }
    }
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    let kept = "select count(*) from dead_letters where length(payload) = 65536 and payload_bytes >= 1000000";
    assert_eq!(scene.database.session.value::<i64>(kept), 16);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}
