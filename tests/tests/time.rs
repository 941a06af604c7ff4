//! Late, final, idle, returning, leading: how event time is documented to pass.

use std::time::Duration;

use citytide_tests::city::{City, SECOND};
use citytide_tests::http::{free_port, samples};
use citytide_tests::kafka::{Meaning, Stamp};
use citytide_tests::load::{DAWN, Reading, Traffic, send};
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{now_us, wait_until};
use citytide_tests::snapshot::{Checker, check_once};

const MINUTE: i64 = 60 * SECOND;
const DAY: i64 = 24 * 60 * MINUTE;

fn reading(scene: &Scene, partition: i32, at_us: i64, value: f64) {
    let sensor = format!("s{partition}");
    send(
        &scene.topic,
        &scene.city,
        partition,
        Reading::plain(&scene.city, &sensor, "Downtown", at_us, value),
    );
}

/// Two sensors with the same reading: whatever its time is, it has a witness.
fn witnessed(scene: &Scene, partition: i32, at_us: i64, value: f64) {
    for sensor in ["a", "b"] {
        let reading = Reading::plain(&scene.city, sensor, "Downtown", at_us, value);
        send(&scene.topic, &scene.city, partition, reading);
    }
}

#[test]
fn a_reading_is_late_when_its_pane_ended_a_minute_before_the_watermark_and_not_a_microsecond_earlier() {
    let city = City { allowed_lateness_us: MINUTE, built_in: false, ..City::smart() };
    let scene = Scene::new("late", city, 1);
    // The watermark is the highest earlier event time less five seconds; panes end with the minute.
    let edge = DAWN + 10 * MINUTE;
    for (highest, at) in [
        (edge + 65 * SECOND - 1, edge - 1),
        (edge + 65 * SECOND, edge - 1),
        (edge + 65 * SECOND, edge),
        (edge + 65 * SECOND, edge - MINUTE),
    ] {
        // A late reading and those that would make it late in the same batch: log order decides.
        for (sensor, at) in [("a", highest), ("b", highest), ("s", at)] {
            let received_at_ms = highest / 1000 + 1;
            let reading = Reading::plain(&scene.city, sensor, "Downtown", at, 20.0);
            scene.topic.send(0, received_at_ms, reading.json(&scene.city), Meaning::Reading(reading));
        }
    }
    scene.catch_up("-w 1");
    scene.assert_caught_up();
    let late: Vec<i64> = scene
        .database
        .session
        .query("select kafka_offset from sensor_data where is_late order by 1")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(late, [5, 11]);
}

#[test]
fn partitions_that_hold_nothing_do_not_hold_the_watermark_back() {
    let scene = Scene::new("empty", City::smart(), 4);
    for minute in 0..20 {
        reading(&scene, 1, DAWN + minute * MINUTE, 20.0);
        reading(&scene, 3, DAWN + minute * MINUTE / 2, 20.0);
    }
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    assert_eq!(scene.database.watermark_us(), Some(DAWN + 19 * MINUTE / 2 - 5 * SECOND));
}

#[test]
fn a_partition_that_holds_nothing_but_garbage_holds_the_watermark_back() {
    let scene = Scene::new("nothing", City::smart(), 2);
    (0..300).for_each(|second| reading(&scene, 0, DAWN + second * SECOND, 20.0));
    scene.topic.send(1, DAWN / 1000, b"x".to_vec(), Meaning::Garbage { reason: "not_json", field: None });
    scene.catch_up("-w 2");
    scene.assert_caught_up();
    assert_eq!(scene.database.watermark_us(), None);
}

#[test]
fn an_idle_partition_lets_the_others_go_on_and_its_return_corrects_final_windows() {
    let scene = Scene::new("idle", City::impatient(), 2);
    let session = &scene.database.session;
    let checker = Checker::start(&scene.database, &scene.city);
    let mut run = scene.run("-w 2").spawn();
    for second in 0..60 {
        reading(&scene, 0, DAWN + second * SECOND, 20.0);
        reading(&scene, 1, DAWN + second * SECOND, 21.0);
    }
    scene.wait_committed(&mut run);
    // Partition 0 goes on for half an hour, partition 1 is silent.
    let mut now = DAWN + MINUTE;
    wait_until("the silent partition is idle and W goes on", LIMIT, || {
        assert_eq!(run.ended(), None);
        if now < DAWN + 30 * MINUTE {
            reading(&scene, 0, now, 22.0);
            now += 20 * SECOND;
        }
        std::thread::sleep(Duration::from_millis(20));
        scene.database.watermark_us() > Some(DAWN + 29 * MINUTE)
    });
    scene.wait_committed(&mut run);
    scene.assert_tables();
    assert!(session.value::<bool>("select is_idle from ingest_progress where kafka_partition = 1"));
    let reached = scene.database.watermark_us();

    // It returns with a reading of a minute that it had, by its own watermark not late, and final for everybody else.
    let revisions = |at_us: i64| -> Vec<(String, i32)> {
        let mut revisions = Vec::new();
        for window in &scene.city.windows {
            let table = format!("metrics_{}", window.name);
            for row in session.query(&format!(
                "select window_start::text, revision from {table} where zone = 'Downtown' and is_final and \
                 extract(epoch from window_start) * 1000000 <= {at_us} and \
                 extract(epoch from window_end) * 1000000 > {at_us} order by 1"
            )) {
                revisions.push((format!("{table} {}", row.get::<_, &str>(0)), row.get(1)));
            }
        }
        revisions
    };
    let returned = DAWN + 30 * SECOND;
    let before = revisions(returned);
    assert_eq!(before.len(), 6, "one minute and five sliding windows, all final");
    reading(&scene, 1, returned, 99.5);
    scene.wait_committed(&mut run);
    let after: Vec<(String, i32)> =
        before.iter().map(|(row, revision)| (row.clone(), revision + 1)).collect();
    assert_eq!(revisions(returned), after, "one commit, one revision");
    scene.assert_tables();
    assert!(scene.database.watermark_us() >= reached, "finality is never reset");

    // And with a later one, which moves its own watermark, and not W.
    witnessed(&scene, 1, DAWN + 20 * MINUTE + 1, -20.0);
    scene.wait_committed(&mut run);
    scene.assert_tables();
    checker.finish();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));

    // After a restart the panes are not in memory at all.
    reading(&scene, 1, DAWN + 20 * MINUTE + 30 * SECOND, 10.0);
    scene.catch_up("-w 1");
    scene.assert_tables();
    check_once(session, &scene.city);
}

#[test]
fn a_partition_that_goes_on_with_garbage_and_late_readings_holds_no_window_of_the_others_back() {
    let scene = Scene::new("garbage", City::impatient(), 4);
    let checker = Checker::start(&scene.database, &scene.city);
    let mut run = scene.run("-w 2").spawn();
    (0..4).for_each(|partition| witnessed(&scene, partition, DAWN, 20.0));
    scene.wait_committed(&mut run);
    // It brings records all the time, many of them within the second after which a silent partition is idle.
    let mut second = 0;
    wait_until("W goes on with the healthy partitions", LIMIT, || {
        assert_eq!(run.ended(), None);
        second += 1;
        for partition in 0..3 {
            reading(&scene, partition, DAWN + second * 5 * SECOND, 21.0);
        }
        let garbage = Meaning::Garbage { reason: "not_json", field: None };
        scene.topic.send(3, DAWN / 1000, b"{".to_vec(), garbage);
        reading(&scene, 3, DAWN - 2 * DAY, 22.0);
        std::thread::sleep(Duration::from_millis(20));
        scene.database.watermark_us() > Some(DAWN + 2 * MINUTE)
    });
    scene.wait_committed(&mut run);
    scene.assert_tables();
    let session = &scene.database.session;
    let is_idle = "select is_idle and dead > 0 and late > 0 from ingest_progress where kafka_partition = 3";
    assert!(session.value::<bool>(is_idle));
    let is_final = "select is_final from metrics_1min where window_start = '2024-01-01T00:00:00Z'";
    assert!(session.value::<bool>(is_final));

    // Its next accepted reading wakes it.
    reading(&scene, 3, DAWN + MINUTE, 23.0);
    scene.wait_committed(&mut run);
    scene.assert_tables();
    checker.finish();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
}

#[test]
fn a_row_first_written_after_its_end_is_final_with_revision_zero() {
    let scene = Scene::new("first", City::impatient(), 2);
    let mut run = scene.run("-w 1").spawn();
    witnessed(&scene, 1, DAWN, 20.0);
    witnessed(&scene, 0, DAWN, 20.0);
    scene.wait_committed(&mut run);
    witnessed(&scene, 0, DAWN + 30 * MINUTE, 20.0);
    wait_until("W has left the first minutes behind", LIMIT, || {
        scene.database.watermark_us() > Some(DAWN + 29 * MINUTE)
    });
    reading(&scene, 1, DAWN + 20 * MINUTE, 20.0);
    scene.wait_committed(&mut run);
    let row = "from metrics_1min where window_start = '2024-01-01T00:20:00Z'";
    assert!(scene.database.session.value::<bool>(&format!("select is_final and revision = 0 {row}")));
    scene.assert_tables();
}

#[test]
fn a_device_that_was_offline_for_two_hours_corrects_its_windows_by_default() {
    let scene = Scene::new("offline", City::smart(), 1);
    let session = &scene.database.session;
    let checker = Checker::start(&scene.database, &scene.city);
    let mut run = scene.run("-w 2 --detector rules").spawn();
    (0..300).for_each(|minute| witnessed(&scene, 0, DAWN + minute * MINUTE, 20.0));
    scene.wait_committed(&mut run);
    // Back again, it sends what it had measured meanwhile. Nearly all of these panes have left memory.
    for minute in 170..290 {
        reading(&scene, 0, DAWN + minute * MINUTE + 30 * SECOND, 30.0);
    }
    scene.wait_committed(&mut run);
    scene.assert_tables();
    let corrected = "select count(*) from metrics_1min where is_final and revision = 1 and reading_count = 3";
    assert_eq!(session.value::<i64>(corrected), 120);
    let late = "select count(*) from sensor_data where is_late";
    assert_eq!(session.value::<i64>(late), 0);

    // Beyond a day a reading is late, whose pane ends there: 24 hours and five seconds behind the newest one.
    witnessed(&scene, 0, DAWN + 10 * MINUTE + DAY + 5 * SECOND, 20.0);
    reading(&scene, 0, DAWN + 10 * MINUTE - 1, 30.0);
    reading(&scene, 0, DAWN + 10 * MINUTE, 30.0);
    scene.wait_committed(&mut run);
    scene.assert_tables();
    assert_eq!(session.value::<i64>(late), 1);
    assert_eq!(session.value::<i64>(corrected), 121);
    checker.finish();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
}

#[test]
fn a_partition_hours_ahead_of_the_others_changes_nothing_in_the_tables() {
    let scene = Scene::new("ahead", City::smart(), 3);
    // Partition 0 has few readings over ten hours, partition 1 many over the same, partition 2 many over one hour.
    for step in 0..3600 {
        reading(&scene, 0, DAWN + step * 10 * SECOND, 20.0);
    }
    for step in 0..18_000 {
        reading(&scene, 1, DAWN + step * 2 * SECOND, 21.0);
    }
    for step in 0..3600 {
        reading(&scene, 2, DAWN + step * SECOND, 22.0);
    }
    let checker = Checker::start(&scene.database, &scene.city);
    // By rules, as the oracle judges.
    scene.catch_up("-w 2 --detector rules");
    checker.finish();
    scene.assert_caught_up();
}

#[test]
fn while_one_partition_holds_the_watermark_back_memory_keeps_a_bounded_number_of_anomalies_ahead() {
    let city = City { idle_after_us: 3600 * SECOND, built_in: false, ..City::smart() };
    let scene = Scene::new("held", city, 2);
    let port = free_port();
    let start = |arguments: &str| scene.run(&format!("{arguments} --detector rules --listen {port}")).spawn();
    let mut run = start("-w 2");
    // Partition 1 brings ten hours of anomalies, partition 0 the first minute of them.
    (0..2).for_each(|partition| witnessed(&scene, partition, DAWN, 1000.0));
    (0..60).for_each(|second| reading(&scene, 0, DAWN + second * SECOND, 1000.0));
    for step in 0..120_000 {
        let at_us = DAWN + step * 300_000;
        let sensor = format!("s{}", step % 50);
        let reading = Reading::plain(&scene.city, &sensor, "Tech Hub", at_us, 1000.0);
        send(&scene.topic, &scene.city, 1, reading);
    }
    let assert_bounded = || {
        let ahead = || samples(port)?.get("citytide_anomalies_ahead").copied();
        // As of the first epoch that has seen the commit.
        wait_until("what is committed has left memory", LIMIT, || {
            ahead().is_some_and(|ahead| ahead > 0.0 && ahead <= 100_000.0)
        });
    };
    scene.wait_committed(&mut run);
    assert_bounded();
    scene.assert_tables();
    assert_eq!(scene.database.watermark_us(), Some(DAWN + 54 * SECOND));

    // W comes to what has left memory, in steps and in a leap, also after a restart.
    for minute in [100, 252, 300, 540] {
        if minute == 300 {
            run.signal(libc::SIGTERM);
            assert_eq!(run.wait(LIMIT), Ended::Exit(0));
            run = start("-w 1");
        }
        witnessed(&scene, 0, DAWN + minute * MINUTE, 1000.0);
        scene.wait_committed(&mut run);
        assert_bounded();
        scene.assert_tables();
        assert_eq!(scene.database.watermark_us(), Some(DAWN + minute * MINUTE - 5 * SECOND));
    }
    check_once(&scene.database.session, &scene.city);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
}

#[test]
fn where_the_broker_stamps_a_lying_clock_is_found_out() {
    let scene = Scene::stamped("stamp", City::smart(), 1, Stamp::LogAppendTime);
    let now_us = now_us() / SECOND * SECOND;
    for at in
        [now_us - 10 * SECOND, now_us + 3600 * SECOND, now_us - 367 * 86_400 * SECOND, now_us - 5 * SECOND]
    {
        // The record claims to be as old as the reading; the broker knows better.
        send(&scene.topic, &scene.city, 0, Reading::plain(&scene.city, "s", "Tech Hub", at, 20.0));
    }
    scene.catch_up("-w 1");
    let reasons: Vec<String> = scene
        .database
        .session
        .query("select kafka_offset || ' ' || reason from dead_letters order by kafka_offset")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(reasons, ["1 in_the_future", "2 too_old"]);
    assert_eq!(scene.database.session.value::<i64>("select count(*) from sensor_data where not is_late"), 2);
}

#[test]
fn a_jump_of_time_counts_once_it_has_a_witness_however_often_the_run_starts_anew() {
    let scene = Scene::new("witness", City::smart(), 2);
    let send = |partition, sensor: &str, at_us| {
        let reading = Reading::plain(&scene.city, sensor, "Downtown", at_us, 20.0);
        send(&scene.topic, &scene.city, partition, reading);
    };
    let watermark = || {
        scene.catch_up("-w 1");
        scene.assert_caught_up();
        scene.database.watermark_us().map(|us| us - DAWN + 5 * SECOND)
    };
    // In partition 0 the very first line is tomorrow's, in partition 1 a later one.
    send(0, "fast", DAWN + DAY);
    send(1, "a", DAWN);
    send(1, "b", DAWN);
    assert_eq!(watermark(), None);
    send(0, "a", DAWN + SECOND);
    send(1, "fast", DAWN + DAY);
    assert_eq!(watermark(), Some(0));
    // When time has gone on without it, the claim of tomorrow is forgotten.
    for second in 1..=720 {
        send(0, ["a", "b"][second as usize % 2], DAWN + second * SECOND);
        send(1, ["a", "b"][second as usize % 2], DAWN + second * SECOND);
    }
    assert_eq!(watermark(), Some(12 * MINUTE));
    // After two silent hours the first sensor of each partition is alone with what it says.
    let later = DAWN + 120 * MINUTE;
    send(0, "a", later);
    send(1, "a", later);
    assert_eq!(watermark(), Some(12 * MINUTE));
    send(0, "b", later + SECOND);
    send(1, "a", later + SECOND);
    assert_eq!(watermark(), Some(12 * MINUTE), "partition 1 has no witness");
    send(1, "a", later + 2 * SECOND);
    assert_eq!(watermark(), Some(120 * MINUTE + SECOND));
    let session = &scene.database.session;
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where is_late"), 0);
}

#[test]
fn where_senders_stamp_a_lying_clock_is_held_against_the_readers() {
    let scene = Scene::new("senders", City::smart(), 1);
    let now_us = now_us() / SECOND * SECOND;
    // Both timestamps are the sender's. More than an hour ahead, Kafka itself would refuse the record.
    for (sensor, at) in [("a", now_us - SECOND), ("fast", now_us + 30 * MINUTE), ("b", now_us)] {
        send(&scene.topic, &scene.city, 0, Reading::plain(&scene.city, sensor, "Tech Hub", at, 20.0));
    }
    scene.catch_up("-w 1");
    let session = &scene.database.session;
    let letter = "select kafka_offset || ' ' || reason from dead_letters where message like '%the clock % of the reader%'";
    assert_eq!(session.value::<String>(letter), "1 in_the_future");
    let (ended, said) = CommandLine::new(&scene.services.citytide, scene.test)
        .args(["dead-letters", "replay", "--database-url", &scene.database.url])
        .finish(LIMIT);
    assert_eq!(
        (ended, said.contains("0 are readings now · 1 still in_the_future")),
        (Ended::Exit(0), true),
        "{said}"
    );
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where not is_late"), 2);
}

#[test]
fn disorder_across_many_restarts_is_judged_in_log_order() {
    let scene = Scene::new(
        "disorder",
        City { allowed_lateness_us: 90 * SECOND, built_in: false, ..City::smart() },
        2,
    );
    let mut traffic = Traffic::new(21, 400_000);
    for round in 0..4 {
        traffic.send(&scene.topic, &scene.city, 2, 700);
        scene.catch_up(if round % 2 == 0 { "-w 2" } else { "-w 1" });
    }
    scene.assert_caught_up();
}
