//! Questions to what is committed: `citytide tap` shows it as it comes.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use citytide_tests::city::City;
use citytide_tests::load::Traffic;
use citytide_tests::oracle::{Expected, Row, Watermark, expect};
use citytide_tests::process::{CommandLine, Ended, Process};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{services, wait_until};
use serde_json::Value;

type Place = (i32, i64);

fn citytide(scene: &Scene, command: &str) -> CommandLine {
    CommandLine::new(&scene.services.citytide, scene.test)
        .args(command.split_whitespace())
        .args(["--database-url", &scene.database.url])
        .domain(scene.file.as_deref())
}

/// The objects that were printed so far: whole lines alone.
fn objects(text: &str) -> Vec<Value> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let objects = whole.lines().filter(|line| line.starts_with('{'));
    objects.map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

/// How many objects were printed so far.
fn count(tap: &Process) -> usize {
    tap.log().lines().filter(|line| line.starts_with('{')).count()
}

fn place(object: &Value) -> Place {
    let number = |name: &str| object[name].as_i64().expect("a number");
    (number("partition") as i32, number("offset"))
}

/// The places of the objects of a kind, in the order in which they came.
fn places(objects: &[Value], kind: &str) -> Vec<Place> {
    objects.iter().filter(|object| object["kind"] == kind).map(place).collect()
}

fn expected(scene: &Scene) -> Expected {
    expect(&scene.city, &scene.topic.sent(), Watermark::Given(scene.database.watermark_us()))
}

/// Stops it as a terminal does, and returns what it printed.
fn interrupted(mut tap: Process) -> Vec<Value> {
    assert_eq!(tap.ended(), None, "{}", tap.log());
    tap.interrupt();
    assert_eq!(tap.wait(LIMIT), Ended::Signal(libc::SIGINT));
    let said = tap.log();
    assert!(said.lines().all(|line| line.starts_with('{')), "it ends without a word: {said}");
    objects(&said)
}

#[test]
fn tap_shows_every_reading_once_in_the_order_of_epochs_whatever_becomes_of_the_runs() {
    let scene = Scene::new("tap", City::smart(), 2);
    let mut tap = None;
    scene.under_load(2, 91, || {
        for kills in 0..3 {
            let before = scene.database.commits();
            let mut run = scene.run("-w 2 --detector rules").spawn();
            wait_until("the run commits", LIMIT, || scene.database.commits() > before + 5);
            if kills == 0 {
                let command = citytide(&scene, "tap --json --readings --dead-letters --from 0");
                tap = Some(command.own_group().spawn());
            }
            run.kill();
        }
    });
    let tap = tap.expect("started beside the first run");
    scene.catch_up("-w 1 --detector rules");
    let expected = expected(&scene);
    let all = expected.rows.len() + expected.dead.len();
    assert!(expected.rows.len() > 500 && expected.dead.len() > 5, "{all}");
    wait_until("everything is shown", LIMIT, || count(&tap) >= all);
    let shown = interrupted(tap);
    let readings: Vec<&Value> = shown.iter().filter(|object| object["kind"] == "reading").collect();
    let order = |object: &Value| (object["epoch"].as_i64().expect("an epoch"), place(object));
    assert!(readings.windows(2).all(|two| order(two[0]) < order(two[1])), "in order, none twice");
    assert_eq!(shown.len(), all);
    let set = |kind| places(&shown, kind).into_iter().collect::<BTreeSet<Place>>();
    assert_eq!(set("reading"), expected.rows.keys().copied().collect());
    assert_eq!(set("dead_letter"), expected.dead.keys().copied().collect());
    for object in readings {
        let row = &expected.rows[&place(object)];
        assert_eq!(object["is_late"], row.is_late, "{object}");
        assert_eq!(object["is_anomaly"], !row.reasons.is_empty(), "{object}");
        for (metric, value) in scene.city.metrics.iter().zip(&row.reading.values) {
            assert_eq!(object["values"][&metric.name].as_f64(), *value, "{object}");
        }
    }
    assert_eq!(
        scene.database.session.value::<i64>("select count(*) from followers"),
        0,
        "it holds nothing back"
    );
}

#[test]
fn tap_shows_what_was_asked_for_and_nothing_else() {
    let scene = Scene::new("filters", City::smart(), 2);
    Traffic::new(92, 100_000).send(&scene.topic, &scene.city, 2, 6_000);
    scene.catch_up("-w 2 --detector rules");
    let expected = expected(&scene);
    let of_zone = |row: &Row, zone: &str| row.reading.zone == zone;
    let named = |row: &Row, metric: &str| row.reasons.iter().any(|reason| reason.metric == metric);
    let aqi = |row: &Row| row.reading.values[2].is_some() || named(row, "aqi");
    type Filter<'a> = Box<dyn Fn(&Row) -> bool + 'a>;
    let cases: [(&str, bool, Filter); 8] = [
        ("--zone Downtown", false, Box::new(|row| of_zone(row, "Downtown"))),
        ("--anomalies", false, Box::new(|row| !row.reasons.is_empty())),
        ("--late", false, Box::new(|row| row.is_late)),
        ("--late --anomalies", false, Box::new(|row| row.is_late || !row.reasons.is_empty())),
        ("--dead-letters", true, Box::new(|_| false)),
        ("--metric aqi", false, Box::new(aqi)),
        ("--metric aqi --anomalies --dead-letters", true, Box::new(|row| named(row, "aqi"))),
        ("--sensor s7 --sensor s11", false, Box::new(|row| ["s7", "s11"].contains(&&*row.reading.sensor))),
    ];
    for (arguments, letters, filter) in cases {
        let rows = expected.rows.iter().filter(|(_, row)| filter(row)).map(|(place, _)| *place);
        let rows: BTreeSet<Place> = rows.collect();
        let dead: BTreeSet<Place> = expected.dead.keys().copied().filter(|_| letters).collect();
        assert!(!rows.is_empty() || letters, "{arguments}: the traffic has some");
        assert!(rows.len() < expected.rows.len(), "{arguments}: and others");
        let tap = citytide(&scene, &format!("tap --json --from 0 {arguments}")).own_group().spawn();
        wait_until("all of it is shown", LIMIT, || count(&tap) >= rows.len() + dead.len());
        let shown = interrupted(tap);
        assert_eq!(shown.len(), rows.len() + dead.len(), "{arguments}");
        assert_eq!(places(&shown, "reading").into_iter().collect::<BTreeSet<_>>(), rows, "{arguments}");
        assert_eq!(places(&shown, "dead_letter").into_iter().collect::<BTreeSet<_>>(), dead, "{arguments}");
    }

    // Lines for people: as wide as a terminal, and a second one for each anomaly.
    let mut tap = citytide(&scene, "tap --from 0 --readings --dead-letters").own_group().spawn();
    let anomalies = expected.rows.values().filter(|row| !row.reasons.is_empty()).count();
    let all = expected.rows.len() + anomalies + expected.dead.len();
    wait_until("all of it is shown", LIMIT, || tap.log().lines().count() >= all);
    tap.interrupt();
    assert_eq!(tap.wait(LIMIT), Ended::Signal(libc::SIGINT));
    let said = tap.log();
    assert_eq!(said.lines().count(), all);
    for line in said.lines() {
        assert!(line.chars().count() <= 80 && !line.chars().any(char::is_control), "{line:?}");
    }
    let ((partition, offset), row) =
        expected.rows.iter().find(|(_, row)| !row.reasons.is_empty()).expect("an anomaly");
    let second =
        said.lines().find(|line| line.contains(&format!(" {partition}:{offset} · "))).expect("its line");
    let sentence: String = row.reasons[0].text.chars().take(30).collect();
    assert!(second.contains(&format!("high · {sentence}")) || second.contains(&sentence), "{second}");
}

#[test]
fn a_tap_that_is_read_too_slowly_says_how_many_rows_are_missing_and_goes_on() {
    let scene = Scene::new("slowtap", City::smart(), 2);
    scene.under_load(2, 93, || {
        let mut run = scene.run("-w 2 --detector rules").spawn();
        wait_until("the first commit", LIMIT, || scene.database.commits() > 0);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut tap = citytide(&scene, "tap --json").stdout(writer).own_group().spawn();
        let mut lines = BufReader::new(reader).lines().map(|line| line.expect("a pipe"));
        let first: Value = serde_json::from_str(&lines.next().expect("a line")).expect("an object");
        let begin = first["epoch"].as_i64().expect("an epoch");
        // Far more than a pipe and the queue hold.
        let readings = format!("select coalesce(sum(readings), 0)::bigint from commits where epoch > {begin}");
        wait_until("thousands of readings", LIMIT, || scene.database.session.value::<i64>(&readings) > 5_000);
        let mut skipped = None;
        let mut seen = vec![first];
        for line in lines.by_ref() {
            let object: Value = serde_json::from_str(&line).expect("an object");
            if object["kind"] == "skipped" {
                skipped = Some((seen.len(), object["rows"].as_i64().expect("a number")));
                continue;
            }
            seen.push(object);
            // Some behind the gap, and the last commit of them whole.
            if skipped.is_some_and(|(at, _)| seen.len() > at + 500) {
                break;
            }
        }
        let (at, rows) = skipped.expect("the queue is bounded");
        let of = |object: &Value| (object["epoch"].as_i64().expect("an epoch"), place(object));
        let ((before, (p, o)), (after, (q, r))) = (of(&seen[at - 1]), of(&seen[at]));
        let between = format!(
            "select count(*) from sensor_data where (epoch, kafka_partition, kafka_offset) > ({before}, {p}, {o}) \
             and (epoch, kafka_partition, kafka_offset) < ({after}, {q}, {r})"
        );
        assert_eq!(scene.database.session.value::<i64>(&between), rows, "what is missing is counted");
        assert_eq!((run.ended(), tap.ended()), (None, None));
        tap.interrupt();
        assert_eq!(tap.wait(LIMIT), Ended::Signal(libc::SIGINT));
    });
}

#[test]
fn what_cannot_be_asked_ends_with_the_codes_of_the_other_commands() {
    let scene = Scene::new("asked", City::smart(), 1);
    let expect = |(ended, said): (Ended, String), code: i32, word: &str| {
        assert_eq!(ended, Ended::Exit(code), "{said}");
        assert!(said.contains(word), "{word} is not in: {said}");
    };
    expect(citytide(&scene, "tap").finish(LIMIT), 78, "holds no tables of citytide");
    let away = |command: &str| {
        CommandLine::new(&services().citytide, "asked")
            .args(command.split_whitespace())
            .args(["--database-url", "postgresql://nobody@127.0.0.1:1/x"])
            .finish(LIMIT)
    };
    expect(away("tap"), 69, "127.0.0.1:1");
    expect(away("tap --metric agi"), 2, "temperature");
    expect(away("tap --from yesterday"), 2, "epoch");
    Traffic::new(94, 100_000).send(&scene.topic, &scene.city, 1, 100);
    scene.catch_up("-w 1");
    expect(citytide(&scene, "tap --from 99999999999999").finish(LIMIT), 78, "the newest commit");
}
