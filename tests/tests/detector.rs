//! The learned detector: what it knows outlives its process, and every verdict can be found again.

use std::time::Duration;

use citytide_tests::city::City;
use citytide_tests::load::{Random, Traffic};
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};

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

#[test]
fn rules_alone_keep_no_state_and_are_sure_of_nothing() {
    let scene = Scene::new("rulesonly", City::smart(), 2);
    Traffic::new(5, 2_000).send(&scene.topic, &scene.city, 2, 1000);
    scene.catch_up("--detector rules");
    scene.assert_caught_up();
    let session = &scene.database.session;
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where confidence is not null"), 0);
    assert_eq!(session.value::<i64>("select count(*) from detector_state"), 0);
    assert_eq!(session.value::<i64>("select count(*) from detector_minutes"), 0);
}
