//! What may happen to a topic while it is read: it grows, loses its beginning, is deleted and made again.

use std::time::Duration;

use citytide_tests::city::{City, SECOND};
use citytide_tests::load::{DAWN, Reading, send};
use citytide_tests::process::Ended;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;
use citytide_tests::snapshot::{Checker, check_once};

/// The topic is looked at every half second instead of every ten.
const SOON: &str = "--kafka-property topic.metadata.refresh.interval.ms=500";
/// Longer than a fetch that waits for records (fetch.wait.max.ms): afterwards the broker holds no request.
const FETCH: Duration = Duration::from_secs(2);

fn readings(scene: &Scene, partition: i32, seconds: std::ops::Range<i64>) {
    let sensor = format!("s{partition}");
    for second in seconds {
        let reading = Reading::plain(&scene.city, &sensor, "Downtown", DAWN + second * SECOND, 20.0);
        send(&scene.topic, &scene.city, partition, reading);
    }
}

#[test]
fn partitions_that_are_added_are_read_without_a_restart_by_whichever_process_they_fall_to() {
    let scene = Scene::new("grow", City::impatient(), 1);
    let checker = Checker::start(&scene.database, &scene.city);
    let mut run = scene.run(&format!("-n 2 -w 2 {SOON}")).spawn();
    readings(&scene, 0, 0..60);
    scene.wait_committed(&mut run);
    let reached = scene.database.watermark_us();

    // Those that were there before are at their end when they have to wait for the new ones: a record must not be
    // passed over when they go on (librdkafka counts a partition's end as a record that was read).
    scene.topic.grow(6);
    for partition in 1..5 {
        readings(&scene, partition, 30..90);
    }
    readings(&scene, 0, 60..120);
    // Partition 5 stays empty, and holds nothing back.
    scene.wait_committed(&mut run);
    scene.assert_tables();
    assert!(scene.database.watermark_us() >= reached, "W never falls");
    assert_eq!(scene.database.session.value::<i64>("select count(*) from runs"), 1, "nothing was restarted");
    wait_until("W goes on with all of them", LIMIT, || {
        for partition in 0..5 {
            readings(&scene, partition, 200..201);
        }
        scene.database.watermark_us() >= Some(DAWN + 195 * SECOND)
    });
    scene.wait_committed(&mut run);
    scene.assert_tables();
    checker.finish();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));

    // A later run finds them in the ledger.
    (0..6).for_each(|partition| readings(&scene, partition, 300..310));
    scene.catch_up("-w 3");
    scene.assert_tables();
    check_once(&scene.database.session, &scene.city);
    scene.topic.flush();
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn what_retention_deletes_before_a_running_reader_comes_to_it_is_counted_as_lost() {
    let scene = Scene::new("lost", City::impatient(), 2);
    let mut run = scene.run("-w 2 --no-supervise").spawn();
    (0..2).for_each(|partition| readings(&scene, partition, 0..30));
    scene.wait_committed(&mut run);
    // The reader sleeps while records come and go.
    run.signal(libc::SIGSTOP);
    std::thread::sleep(FETCH);
    (0..2).for_each(|partition| readings(&scene, partition, 30..60));
    scene.topic.delete_before(0, 30, 50);
    scene.topic.delete_before(1, 30, 60);
    run.signal(libc::SIGCONT);
    scene.wait_committed(&mut run);
    (0..2).for_each(|partition| readings(&scene, partition, 60..90));
    scene.wait_committed(&mut run);
    scene.assert_tables();
    let lost = "select string_agg(lost::text, ' ' order by kafka_partition) from ingest_progress";
    assert_eq!(scene.database.session.value::<String>(lost), "20 30");
    assert_eq!(scene.database.session.value::<i64>("select count(*) from runs"), 1, "nothing was restarted");
    let said = run.log();
    for told in ["partition 0", "20 offsets from 30 on", "partition 1", "30 offsets from 30 on", "lost"] {
        assert!(said.contains(told), "{told} is told: {said}");
    }
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    check_once(&scene.database.session, &scene.city);
}

#[test]
fn a_topic_that_was_made_again_is_refused_although_it_is_longer_than_the_one_that_was_read() {
    let mut scene = Scene::new("again", City::impatient(), 1);
    readings(&scene, 0, 0..30);
    scene.catch_up("-w 1");
    scene.assert_caught_up();
    let tables = || -> String {
        scene.database.session.value(
            "select (select count(*) from runs) || ' ' || (select max(epoch) from commits) || ' ' || \
             (select count(*) from sensor_readings)",
        )
    };
    let before = tables();
    scene.topic.make_again();
    readings(&scene, 0, 0..60);
    scene.topic.flush();
    let (ended, said) = scene.run("--until-caught-up").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("the topic was deleted and created again"), "{said}");
    assert_eq!(tables(), before, "nothing was written, not even a run");

    // Who knows that the records are the same may say so.
    scene.database.session.batch("update citytide_database set topic_id = null, cluster_id = null");
    scene.catch_up("-w 1");
    let known = "select cluster_id is not null and topic_id is not null from citytide_database";
    assert!(scene.database.session.value::<bool>(known));
    scene.database.session.batch("update citytide_database set cluster_id = 'another'");
    let (ended, said) = scene.run("--until-caught-up").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("cluster with the id another"), "{said}");
}

#[test]
fn a_topic_that_is_made_again_while_it_is_read_ends_the_run() {
    let mut scene = Scene::new("meanwhile", City::impatient(), 1);
    let mut run = scene.run(SOON).spawn();
    readings(&scene, 0, 0..30);
    scene.wait_committed(&mut run);
    scene.topic.make_again();
    assert_eq!(run.wait(LIMIT), Ended::Exit(78));
    let said = run.log();
    assert!(said.contains("was deleted and created again"), "{said}");
    assert_eq!(scene.database.committed_offsets(), 30, "what was read is committed, and nothing else");
}
