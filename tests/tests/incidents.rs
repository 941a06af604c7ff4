//! Incidents: a scripted day row by row, and every snapshot against a recompute while runs are killed.

use citytide_tests::city::{City, SECOND};
use citytide_tests::incidents::look;
use citytide_tests::load::{DAWN, Random, Reading, send};
use citytide_tests::process::Ended;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::snapshot::Checker;

/// Readings of two zones with four sensors each, one every five seconds from each, in the order of time.
fn send_day(scene: &Scene, seconds: std::ops::Range<i64>, is_broken: impl Fn(&str, i64, i64) -> bool) {
    for second in seconds {
        for sensor in (0..4).filter(|sensor| (second + sensor) % 5 == 0) {
            for zone in ["Calm", "Fire"] {
                let aqi = if is_broken(zone, sensor, second) { 350.0 } else { 50.0 };
                send_one(scene, zone, sensor, second, aqi);
            }
        }
    }
}

fn send_one(scene: &Scene, zone: &str, sensor: i64, second: i64, aqi: f64) {
    let at_us = DAWN + second * SECOND;
    let mut reading = Reading::plain(&scene.city, &format!("{zone} {sensor}"), zone, at_us, 20.0);
    reading.values[2] = Some(aqi);
    send(&scene.topic, &scene.city, 0, reading);
}

/// The log, a line for each change: seconds of the day, zone, what changed, why, how many readings and sensors.
fn log(scene: &Scene) -> Vec<String> {
    let rows = scene.database.session.query(
        "select format('%s %s %s>%s %s %s/%s', extract(epoch from event_at - '2024-01-01T00:00:00Z')::int, zone, \
         coalesce(from_condition, ''), coalesce(to_condition, ''), cause, evidence ->> 'readings', evidence ->> 'sensors') \
         from incident_changes as c join incident_states using (incident_id) \
         order by c.event_at, zone, incident_id, c.revision",
    );
    rows.iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_scripted_day_is_logged_row_by_row() {
    let scene = Scene::new("scripted", City { built_in: false, ..City::smart() }, 1);
    // A fire for three minutes, again within ten minutes of being cleared, and once more much later; a single blip
    // elsewhere.
    send_day(&scene, 0..3_600, |zone, sensor, second| {
        let burns = [100..280, 800..900, 3_000..3_100].iter().any(|times| times.contains(&second));
        (zone == "Fire" && burns) || (zone, sensor, second) == ("Calm", 1, 904)
    });
    scene.catch_up("--detector rules -w 2");
    assert_eq!(
        log(&scene),
        [
            "110 Fire >pending condition 8/4",
            "140 Fire pending>open condition 32/4",
            "400 Fire open>cleared condition 144/4",
            "840 Fire cleared>open condition 176/4",
            "1020 Fire open>cleared condition 224/4",
            "3010 Fire >pending condition 8/4",
            "3040 Fire pending>open condition 32/4",
            "3220 Fire open>cleared condition 80/4",
        ]
    );
    let texts =
        scene.database.session.query("select text, flaps, condition from incidents order by opened_at");
    let texts: Vec<(String, i64, String)> =
        texts.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect();
    let said = "Fire since 00:01 UTC: aqi 350 AQI, above the bound of 300; 4 sensors".to_owned();
    assert_eq!(texts[0], (said, 1, "cleared".to_owned()), "{:#?}", log(&scene));
    assert_eq!(texts.len(), 2, "the blip is none: {texts:?}");
    let near_misses =
        "select count(*) from incident_changes where from_condition = 'pending' and to_condition is null";
    assert_eq!(scene.database.session.value::<i64>(near_misses), 1);
    // An hour passes. Readings that were held back join what was two incidents, and say that they were one.
    send_day(&scene, 3_600..7_200, |_, _, _| false);
    scene.catch_up("--detector rules");
    for second in (900..3_000).step_by(60) {
        send_one(&scene, "Fire", 1, second, 320.0);
    }
    scene.catch_up("--detector rules -w 3");
    assert_eq!(
        log(&scene)[8..],
        ["7190 Fire cleared>superseded merge 80/4"],
        "the first one is as it was, but longer: {:#?}",
        log(&scene)
    );
    let successor = "select count(*) from incidents a join incidents b on a.superseded_by = b.incident_id \
                     where b.condition = 'cleared' and b.opened_at < a.opened_at and b.readings = 339";
    assert_eq!(scene.database.session.value::<i64>(successor), 1, "the gap is filled");
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(look(&scene.database.session, &scene.city).expect("a snapshot").0, Vec::<String>::new());
}

/// Half an hour of a city in which rules are broken for a while here and there; some of it is held back for up to an
/// hour.
fn send_episodes(
    scene: &Scene,
    random: &mut Random,
    held: &mut Vec<(i64, Reading)>,
    minutes: std::ops::Range<i64>,
) {
    let mut broken: Vec<(usize, i64)> = Vec::new();
    for second in minutes.start * 60..minutes.end * 60 {
        if random.chance(20) {
            let zone = random.below(4) as usize;
            broken.push((zone, second + random.below(240)));
        }
        broken.retain(|(_, until)| *until > second);
        for sensor in 0..4_i64 {
            let zone = (sensor + second) as usize % 4;
            let is_broken = broken.iter().any(|(of, _)| *of == zone) && random.chance(700);
            let name = &scene.city.zones[zone];
            let mut reading = Reading::plain(
                &scene.city,
                &format!("s{sensor}"),
                name,
                DAWN + second * SECOND + random.below(SECOND),
                20.0,
            );
            // Near the rule, and beyond a clear limit where the city has one.
            let is_near = scene.city.metrics[2].clear.is_some() && random.chance(6);
            reading.values[2] = Some(match (is_broken, is_near) {
                (true, _) => 301.0 + random.below(100) as f64,
                (false, true) => 285.0,
                (false, false) => 50.0,
            });
            match random.below(100) {
                0..4 => held.push((second + random.below(4_000), reading)),
                _ => send(&scene.topic, &scene.city, sensor as i32 % 3, reading),
            }
        }
        for (_, reading) in held.extract_if(.., |(until, _)| *until <= second) {
            let partition = (reading.event_us / SECOND % 3) as i32;
            send(&scene.topic, &scene.city, partition, reading);
        }
    }
    scene.topic.flush();
}

/// Kills runs of these shapes while episodes come and all snapshots are looked at; how many incidents there are.
fn snapshots_while_killed(scene: &Scene, shapes: &[&str]) -> usize {
    let mut random = Random(11);
    let mut held = Vec::new();
    // The tables are there before anything is killed.
    scene.catch_up("-w 1");
    let checker = Checker::start(&scene.database, &scene.city);
    for (turn, shape) in (0..).zip(shapes) {
        send_episodes(scene, &mut random, &mut held, turn * 30..turn * 30 + 30);
        let mut run = scene.run(shape).spawn();
        std::thread::sleep(std::time::Duration::from_millis(800 + random.below(1_500) as u64));
        run.kill();
        let (wrong, _) = look(&scene.database.session, &scene.city).expect("a snapshot");
        assert_eq!(wrong, Vec::<String>::new(), "{shape}");
    }
    scene.catch_up("-w 2");
    checker.finish();
    let (wrong, incidents) = look(&scene.database.session, &scene.city).expect("a snapshot");
    assert_eq!(wrong, Vec::<String>::new());
    let mut run = scene.run("--until-caught-up").spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
    incidents
}

#[test]
fn every_snapshot_has_the_incidents_of_its_readings_while_runs_are_killed() {
    let scene = Scene::new("incidents", City::smart(), 3);
    let shapes = ["-w 1", "-w 2", "-w 3", "-n 2 -w 2", "-w 2", "-n 2"];
    let incidents = snapshots_while_killed(&scene, &shapes);
    assert!(incidents > 20, "{incidents}");
    let late = "select count(*) from incident_changes where cause in ('late_data', 'merge')";
    assert!(scene.database.session.value::<i64>(late) > 0);
}

/// smart-city, where AQI must fall to 280 before an incident of its rule is cleared.
fn with_clear_limit() -> City {
    let mut city = City { built_in: false, ..City::smart() };
    city.metrics[2].clear = Some(280.0);
    city
}

#[test]
fn every_snapshot_has_its_incidents_where_a_rule_has_a_clear_limit() {
    let scene = Scene::new("lingering", with_clear_limit(), 3);
    let incidents = snapshots_while_killed(&scene, &["--detector rules -w 2", "-n 2 -w 2", "-w 3"]);
    assert!(incidents > 5, "{incidents}");
    let before = "select count(*) from incident_occurrences where begins_at > first_at";
    assert!(scene.database.session.value::<i64>(before) > 0, "some lingered before their first anomaly");
    let alone = "select count(*) from incident_occurrences where readings = 0";
    assert!(scene.database.session.value::<i64>(alone) > 0, "some lingered alone");
}

#[test]
fn an_incident_stays_open_between_bound_and_clear_limit() {
    let scene = Scene::new("hysteresis", with_clear_limit(), 1);
    // Near the bound before it is broken, for seven minutes behind that, and much later again, which is no incident.
    let aqi = |second| match second {
        40..100 | 160..580 | 1_500..1_700 => 290.0,
        100..160 => 350.0,
        _ => 50.0,
    };
    for second in 0..2_400 {
        send_one(&scene, "Fire", second % 4, second, aqi(second));
    }
    scene.catch_up("--detector rules -w 2");
    let expected = [
        "110 Fire >pending condition 10/4",
        "140 Fire pending>open condition 40/4",
        "700 Fire open>cleared condition 60/4",
    ];
    assert_eq!(log(&scene), expected);
    // A reading that was held back broke the rule before the second time: that was an incident too, and is long over.
    for second in 1_510..1_550 {
        send_one(&scene, "Fire", 1, second, 310.0);
    }
    scene.catch_up("--detector rules -w 3");
    assert_eq!(log(&scene)[3..], ["2390 Fire >cleared late_data 40/1"]);
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(look(&scene.database.session, &scene.city).expect("a snapshot").0, Vec::<String>::new());
}
