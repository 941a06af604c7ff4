//! The learned detector: what it knows outlives its process, and every verdict can be found again.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use citytide_tests::city::{City, SECOND};
use citytide_tests::database::Database;
use citytide_tests::generated::lines;
use citytide_tests::kafka::Meaning;
use citytide_tests::load::{DAWN, Random, Traffic};
use citytide_tests::process::{CommandLine, Ended, scratch};
use citytide_tests::scene::{LIMIT, Scene};

const HOUR: i64 = 3600 * SECOND;

/// What `citytide verify --verdicts` says.
fn verify_verdicts(scene: &Scene) -> (Ended, String) {
    CommandLine::new(&scene.services.citytide, scene.test)
        .args(["verify", "--verdicts", "--database-url", &scene.database.url])
        .finish(LIMIT)
}

#[test]
fn killed_and_restarted_with_other_workers_it_judges_as_if_nothing_had_happened() {
    let scene = Scene::new("verdicts", City::smart(), 4);
    // Two hours of a city in twenty seconds, so that zones warm up and a model is trained on the way.
    let generator = CommandLine::new(&scene.services.generator, scene.test)
        .args([
            "--brokers",
            &scene.services.brokers,
            "--topic",
            &scene.topic.name,
            "--sensors",
            "80",
            "--quiet",
        ])
        .args(["--duration", "2h", "--speed", "360", "--rate", "3000"]);
    let mut generator = generator.spawn();
    let session = &scene.database.session;
    let mut random = Random(11);
    let shapes = ["-w 2", "-w 1", "-w 3", "-n 2"];
    let mut killed = 0;
    for shape in shapes.iter().cycle() {
        let mut run = scene.run(&format!("{shape} --take-over")).spawn();
        std::thread::sleep(Duration::from_millis(2500 + random.bits() % 2000));
        run.kill();
        killed += 1;
        if let Some(ended) = generator.ended() {
            assert_eq!(ended, Ended::Exit(0), "{}", generator.log());
            break;
        }
    }
    assert!(killed >= 4, "every shape was killed");
    let mut run = scene.run("--until-caught-up -w 2").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{}", run.log());

    let model: i64 = session.value("select count(*) from models where status = 'in_force'");
    assert_eq!(model, 1, "a model was trained and came into force");
    let by_model: i64 = session.value("select count(*) from sensor_data where model_version > 0");
    assert!(by_model > 5_000, "it has judged {by_model} readings");
    let flagged: i64 = session.value("select count(*) from sensor_data where detector = 'model'");
    assert!(flagged > 0, "some of them are anomalous and break no rule");
    let wrong: i64 = session.value(
        "select count(*) from sensor_data where is_anomaly <> (detector is not null) \
         or is_anomaly <> (severity is not null) or is_anomaly <> (reasons is not null) \
         or anomaly_score not between 0 and 1 or confidence not between 0 and 1 or confidence is null",
    );
    assert_eq!(wrong, 0, "columns of a verdict go together");

    let (ended, said) = verify_verdicts(&scene);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert!(said.contains("✓ verdicts:"), "{said}");

    // The comparison can fail: a verdict that was tampered with is found.
    session.batch(
        "update sensor_readings set anomaly_score = anomaly_score / 2 where (kafka_partition, kafka_offset) = \
         (select kafka_partition, kafka_offset from sensor_data where detector = 'model' limit 1)",
    );
    let (ended, said) = verify_verdicts(&scene);
    assert_eq!(ended, Ended::Exit(1), "{said}");
    assert!(said.contains("✗ verdicts: 1 of"), "{said}");
}

/// What is said of each reading, by partition and offset: score, confidence, version, who flagged it, and why.
type Said = BTreeMap<(i32, i64), (f32, f32, i32, Option<String>, Option<String>)>;

fn said(database: &Database) -> Said {
    let sql = "select kafka_partition, kafka_offset, anomaly_score, confidence, model_version, detector, reasons::text \
               from sensor_data";
    let rows = database.session.query(sql).into_iter();
    rows.map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3), row.get(4), row.get(5), row.get(6))))
        .collect()
}

/// Panics at the first difference.
fn assert_same(expected: &Said, found: &Said, how: &str) {
    assert_eq!(found.len(), expected.len(), "{how}");
    for (key, verdict) in expected {
        assert_eq!(found.get(key), Some(verdict), "{how}: partition and offset {key:?}");
    }
}

/// Which readings `citytide evaluate` flags, by partition and offset, with the scores of those that break no rule.
fn evaluated(scene: &Scene, city: &[&str]) -> BTreeMap<(i32, i64), (bool, f32)> {
    let folder = scratch();
    let file = |name: &str| folder.join(format!("{}-{name}", scene.database.name));
    let (lines, truth, scores) = (file("city.jsonl"), file("truth.csv"), file("scores.csv"));
    let output = File::create(&lines).expect("a file");
    let mut generator = CommandLine::new(&scene.services.generator, scene.test)
        .args(["--stdout", "--quiet", "--truth"])
        .args([truth.as_path()])
        .args(city)
        .stdout(output)
        .spawn();
    assert_eq!(generator.wait(LIMIT), Ended::Exit(0), "{}", generator.log());
    let (ended, told) = CommandLine::new(&scene.services.citytide, scene.test)
        .args([OsStr::new("evaluate"), OsStr::new("--input"), lines.as_os_str(), OsStr::new("--truth")])
        .args([truth.as_os_str(), OsStr::new("--scores"), scores.as_os_str()])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{told}");
    let read = |path: &Path| std::fs::read_to_string(path).expect("it was just written");
    let mut next: BTreeMap<i32, i64> = BTreeMap::new();
    let lines = read(&lines);
    let keys: Vec<(i32, i64)> = lines
        .lines()
        .map(|line| {
            let partition = line.split('\t').next().expect("a partition").parse().expect("a number");
            let offset = next.entry(partition).or_insert(0);
            *offset += 1;
            (partition, *offset - 1)
        })
        .collect();
    let flag = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        let row: usize = fields[0].parse().expect("a row");
        (keys[row - 1], (fields[3] == "1", fields[2].parse().expect("a score")))
    };
    read(&scores).lines().skip(1).map(flag).collect()
}

#[test]
fn the_same_log_gives_the_same_verdicts_however_it_is_read_and_those_of_evaluate() {
    let scene = Scene::new("onelog", City::smart(), 4);
    let city = "--sensors 120 --seed 9 --rate 0 --count 160000 --duration 3h --start 2026-11-02T05:00:00Z";
    let city: Vec<&str> = city.split(' ').collect();
    let mut generator = CommandLine::new(&scene.services.generator, scene.test)
        .args(["--brokers", &scene.services.brokers, "--topic", &scene.topic.name, "--quiet"])
        .args(&city)
        .spawn();
    assert_eq!(generator.wait(LIMIT), Ended::Exit(0), "{}", generator.log());
    let read = |database: &Database, arguments: &str| {
        let mut run = scene.run_on(database, &format!("--until-caught-up {arguments}")).spawn();
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}: {}", run.log());
    };
    read(&scene.database, "-w 1");
    let expected = said(&scene.database);
    assert!(expected.len() > 159_000, "{}", expected.len());
    assert!(expected.values().any(|(_, _, version, ..)| *version > 0), "a model has judged");
    let flagged = expected.values().filter(|(.., flagged_by, _)| flagged_by.is_some()).count();
    assert!(flagged > 3_000, "{flagged}");

    for shape in ["-w 2", "-n 2 -w 2", "-w 3 -z"] {
        let database = Database::create(&scene.services, "onelog");
        read(&database, shape);
        assert_same(&expected, &said(&database), shape);
    }

    // Killed at any moment, and stopped in the middle for as long as one likes: a later start goes on.
    let database = Database::create(&scene.services, "onelog");
    let mut random = Random(3);
    for shape in ["-w 2", "-w 1", "-w 3", "-n 2", "-w 2"] {
        let mut run = scene.run_on(&database, &format!("{shape} --take-over")).spawn();
        std::thread::sleep(Duration::from_millis(900 + random.bits() % 900));
        run.kill();
    }
    let mut run = scene.run_on(&database, "-w 2 --take-over").spawn();
    std::thread::sleep(Duration::from_millis(900));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{}", run.log());
    read(&database, "-w 2");
    assert_same(&expected, &said(&database), "killed and stopped");

    let flags = evaluated(&scene, &city);
    assert_eq!(flags.len(), expected.len());
    for (key, (score, _, _, flagged_by, _)) in &expected {
        let (is_flagged, evaluated) = flags[key];
        assert_eq!(is_flagged, flagged_by.is_some(), "partition and offset {key:?}");
        if matches!(flagged_by.as_deref(), None | Some("model")) {
            assert_eq!(evaluated, *score, "partition and offset {key:?}");
        }
    }
}

#[test]
fn a_run_that_was_away_for_eight_hours_judges_as_one_that_reads_all_of_it() {
    let scene = Scene::new("away", City::smart(), 3);
    // A living run reads two hours and is stopped; the city goes on for eight, and the next run finds them waiting.
    let stopped_us = DAWN + 2 * HOUR;
    let mut lines = lines("--partitions 3 --sensors 60 --seed 9 --count 120000 --duration 10h", DAWN)
        .into_iter()
        .peekable();
    for is_first in [true, false] {
        while let Some(line) = lines.next_if(|line| !is_first || line.at_us < stopped_us) {
            line.send(&scene.topic);
        }
        let mut run = scene.run("-w 2").spawn();
        scene.wait_committed(&mut run);
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{}", run.log());
    }
    let database = Database::create(&scene.services, "away");
    let mut run = scene.run_on(&database, "--until-caught-up -w 1").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{}", run.log());
    let expected = said(&database);
    assert!(
        expected.values().filter(|(_, _, version, ..)| *version > 0).count() > 60_000,
        "a model has judged"
    );
    assert_same(&expected, &said(&scene.database), "stopped for eight hours");
    let (ended, said) = verify_verdicts(&scene);
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn readings_of_one_worker_wait_for_models_although_the_partitions_of_all_others_have_ended() {
    let scene = Scene::new("uneven", City::smart(), 2);
    // The first worker's partition ends after an hour, before the second one's first boundary of trainings.
    for line in lines("--partitions 2 --sensors 40 --seed 9 --count 60000 --duration 8h", DAWN) {
        if line.partition == 1 || line.at_us < DAWN + HOUR {
            line.send(&scene.topic);
        }
    }
    scene.catch_up("-w 2");
    let models: i64 = scene.database.session.value("select count(*) from detector_models where version > 0");
    assert!(models >= 2, "{models} models");
    let database = Database::create(&scene.services, "uneven");
    let mut run = scene.run_on(&database, "--until-caught-up -w 1").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{}", run.log());
    assert_same(&said(&database), &said(&scene.database), "with a worker for each");
    let (ended, said) = verify_verdicts(&scene);
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn verdicts_are_found_again_beside_partitions_that_end_with_garbage() {
    let scene = Scene::new("garbageend", City::smart(), 3);
    // One partition brings nothing but garbage, another one from half past on.
    let mut lines =
        lines("--partitions 2 --sensors 40 --seed 9 --count 20000 --duration 2h", DAWN).into_iter();
    let mut next = lines.next();
    for minute in 0..120 {
        let end_us = DAWN + minute * 60 * SECOND;
        while let Some(line) = next.take_if(|line| line.at_us < end_us) {
            if line.partition == 0 || minute < 30 {
                line.send(&scene.topic);
            }
            next = lines.next();
        }
        for partition in 1..3 {
            let garbage = Meaning::Garbage { reason: "not_json", field: None };
            scene.topic.send(partition, end_us / 1000, b"{".to_vec(), garbage);
        }
    }
    scene.catch_up("-w 2");
    let (ended, says) = verify_verdicts(&scene);
    assert_eq!(ended, Ended::Exit(0), "{says}");
    let judged: i64 = scene.database.session.value("select count(*) from sensor_data");
    let all = says.lines().find(|line| line.starts_with("✓ verdicts:")).expect("they are compared");
    let digits: String = all.chars().filter(char::is_ascii_digit).collect();
    assert_eq!(digits, judged.to_string(), "all are compared: {says}");

    // Once the first readings are gone, nothing can be found again, and that is no agreement.
    scene
        .database
        .session
        .batch("update citytide_database set horizon_epoch = (select min(epoch) from commits)");
    let (ended, says) = verify_verdicts(&scene);
    assert_eq!(ended, Ended::Exit(1), "{says}");
    assert!(
        says.contains("✗ verdicts: nothing was compared; retention has dropped the first readings"),
        "{says}"
    );
}

#[test]
fn rules_alone_keep_no_state_and_are_sure_of_nothing() {
    let scene = Scene::new("rulesonly", City::smart(), 2);
    Traffic::new(5, 2_000).send(&scene.topic, &scene.city, 2, 1000);
    scene.catch_up("--detector rules");
    scene.assert_caught_up();
    let session = &scene.database.session;
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where confidence is not null"), 0);
    assert_eq!(session.value::<i64>("select count(*) from detector_state"), 0);
    assert_eq!(session.value::<i64>("select count(*) from detector_models"), 0);
    assert_eq!(session.value::<i64>("select count(*) from detector_lifts"), 0);
}
