//! Questions to what is committed: `citytide tap` shows it as it comes, `citytide why` says how it came about.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use citytide_tests::city::{City, SECOND};
use citytide_tests::kafka::Meaning;
use citytide_tests::load::{DAWN, Reading, Traffic, rfc3339, send};
use citytide_tests::oracle::{Expected, Row, Watermark, expect};
use citytide_tests::process::{CommandLine, Ended, Process};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{services, wait_until};
use serde_json::{Value, json};

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
        // Far more than a pipe and the queue hold. On a slow machine the tap may not have come that far.
        let committed = || {
            let readings = format!("select coalesce(sum(readings), 0)::bigint from commits where epoch > {begin}");
            scene.database.session.value::<i64>(&readings)
        };
        let wait_for_thousands = || {
            let enough = committed() + 5_000;
            wait_until("thousands of readings", LIMIT, || committed() > enough);
        };
        wait_for_thousands();
        let mut skipped = None;
        let mut seen = vec![first];
        for line in lines.by_ref() {
            let object: Value = serde_json::from_str(&line).expect("an object");
            if object["kind"] == "skipped" {
                skipped = Some((seen.len(), object["rows"].as_i64().expect("a number")));
                continue;
            }
            seen.push(object);
            if skipped.is_none() && seen.len().is_multiple_of(1_000) {
                assert!(seen.len() < 20_000, "the queue has a bound");
                wait_for_thousands();
            }
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
    expect(citytide(&scene, "why --reading 0:1").finish(LIMIT), 78, "holds no tables of citytide");
    let away = |command: &str| {
        CommandLine::new(&services().citytide, "asked")
            .args(command.split_whitespace())
            .args(["--database-url", "postgresql://nobody@127.0.0.1:1/x"])
            .finish(LIMIT)
    };
    expect(away("tap"), 69, "127.0.0.1:1");
    expect(away("tap --metric agi"), 2, "temperature");
    expect(away("tap --from yesterday"), 2, "epoch");
    expect(away("why --reading 0:1"), 69, "127.0.0.1:1");
    expect(away("why --reading 0"), 2, "0:4711");
    expect(away("why"), 2, "--reading <PARTITION:OFFSET>|--window <TIME>");
    Traffic::new(94, 100_000).send(&scene.topic, &scene.city, 1, 100);
    scene.catch_up("-w 1");
    expect(citytide(&scene, "tap --from 99999999999999").finish(LIMIT), 78, "the newest commit");
}

/// What `citytide why --json` answers.
fn why(scene: &Scene, question: &str) -> Value {
    let command = format!("why --json {question}");
    let (ended, said) = citytide(scene, &command).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// What it answers in words, each on a line of a terminal.
fn told(scene: &Scene, question: &str) -> String {
    let (ended, said) = citytide(scene, &format!("why {question}")).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    for line in said.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn why_tells_what_became_of_each_record_and_how_each_window_came_about() {
    let city = City { allowed_lateness_us: 60 * SECOND, built_in: false, ..City::smart() };
    let scene = Scene::new("why", city, 1);
    let reading = |sensor: &str, second: i64, value: f64| {
        let at_us = DAWN + second * SECOND;
        (at_us / 1000, Reading::plain(&scene.city, sensor, "Downtown", at_us, value))
    };
    let send = |sensor: &str, second: i64, value: f64| {
        let (_, reading) = reading(sensor, second, value);
        send(&scene.topic, &scene.city, 0, reading);
    };
    send("a", 10, 20.0);
    send("b", 20, 301.0);
    scene.topic.send(0, DAWN / 1000, b"hello".to_vec(), Meaning::Garbage { reason: "not_json", field: None });
    send("a", 70, 20.0);
    send("b", 75, 20.0);
    scene.catch_up("-w 1 --detector rules");
    let begun = why(&scene, "--zone Downtown --window 2024-01-01T00:01");
    assert_eq!((&begun["state"], &begun["row"]["reading_count"]), (&json!("early"), &json!(2)));
    // The first minute is final, and accepts one more.
    send("a", 30, 20.0);
    scene.catch_up("-w 1 --detector rules");
    // Late for the first minute, and a transaction, whose end is no record.
    send("a", 200, 20.0);
    send("b", 201, 20.0);
    send("a", 40, 20.0);
    let (received_ms, last) = reading("b", 202, 20.0);
    let record = (received_ms, last.json(&scene.city), Meaning::Reading(last));
    scene.topic.send_transaction(0, vec![record], true);
    send("a", 203, 20.0);
    scene.catch_up("-w 1 --detector rules");
    scene.assert_tables();
    let expected = expected(&scene);

    for (place, row) in &expected.rows {
        let answer = why(&scene, &format!("--reading {}:{}", place.0, place.1));
        assert_eq!(self::place(&answer), *place);
        assert_eq!(answer["fate"], if row.is_late { "late" } else { "accepted" }, "{answer}");
        let found = &answer["reading"];
        assert_eq!(found["sensor"], row.reading.sensor.as_str());
        assert_eq!(found["values"]["aqi"].as_f64(), row.reading.values[2]);
        let verdict = &found["verdict"];
        assert_eq!(verdict["is_anomaly"], !row.reasons.is_empty(), "{answer}");
        let reasons = verdict["reasons"].as_array().map_or(0, Vec::len);
        assert_eq!(reasons, row.reasons.len());
        for (at, reason) in row.reasons.iter().enumerate() {
            assert_eq!(verdict["reasons"][at]["rule"], reason.rule.as_str());
        }
        let sql = format!("select epoch from sensor_data where kafka_offset = {}", place.1);
        let epoch: i64 = scene.database.session.value(&sql);
        assert_eq!(found["epoch"], epoch);
        let sql = format!("select min(epoch) from commits where epoch >= {epoch}");
        assert_eq!(answer["commit"]["epoch"], scene.database.session.value::<i64>(&sql));
        let windows = found["windows"].as_array().expect("a list");
        assert_eq!(windows.len(), if row.is_late { 0 } else { 6 }, "its minute and five sliding windows");
        for window in windows {
            assert!(window["window_start"].as_str() <= found["recorded_at"].as_str(), "{window}");
            assert!(window["window_end"].as_str() > found["recorded_at"].as_str(), "{window}");
        }
    }
    let late = why(&scene, "--reading 0:8");
    assert_eq!(late["reading"]["lateness"]["allowed_lateness_ms"], 60_000);
    assert_eq!(late["reading"]["lateness"]["highest_accepted_before"], "2024-01-01T00:03:21+00:00");
    assert!(
        told(&scene, "--reading 0:8")
            .contains("had ended 1 min (allowed_lateness) or more before the watermark")
    );
    assert!(
        told(&scene, "--reading 0:0").contains("1min 00:00:00 – 00:01:00: final, corrected once, 3 readings")
    );
    assert!(told(&scene, "--reading 0:1").contains("flagged by a rule of the domain"));

    let dead = why(&scene, "--reading 0:2");
    assert_eq!((&dead["fate"], &dead["dead_letter"]["payload"]), (&json!("dead_letter"), &json!("hello")));
    assert_eq!(dead["dead_letter"]["reason"], "not_json");
    assert!(told(&scene, "--reading 0:2").contains("hello"));
    assert_eq!(why(&scene, "--reading 0:10")["fate"], "gap", "the end of the transaction");
    assert_eq!(why(&scene, "--reading 0:12")["fate"], "not_read_yet");
    assert!(
        told(&scene, "--reading 0:15").contains("committed up to offset 11, and this one is 4 further on")
    );
    assert_eq!(why(&scene, "--reading 5:0")["fate"], "unknown_partition");

    let windows = expected.windows[0].iter().map(|((_, start_us), row)| (*start_us, row));
    let states: Vec<(i64, Value)> = windows
        .map(|(start_us, row)| {
            let start = rfc3339(start_us);
            let answer = why(&scene, &format!("--zone Downtown --window {start}"));
            assert_eq!(answer["row"]["reading_count"], row.readings, "{answer}");
            assert_eq!(answer["row"]["anomaly_count"], row.anomalies, "{answer}");
            assert_eq!(answer["readings"]["accepted"], row.readings, "{answer}");
            assert_eq!(answer["panes"][0]["reading_count"], row.readings, "a minute is one pane");
            let sql = format!("select epoch from metrics_1min where window_start = '{start}'");
            assert_eq!(answer["written_by"]["epoch"], scene.database.session.value::<i64>(&sql));
            ((start_us - DAWN) / (60 * SECOND), answer)
        })
        .collect();
    let state = |minute: i64| &states.iter().find(|(at, _)| *at == minute).expect("a row").1;
    assert_eq!((&state(0)["state"], &state(0)["row"]["revision"]), (&json!("corrected"), &json!(1)));
    assert_eq!(state(0)["readings"], json!({"accepted": 3, "late": 1, "anomalies": 1}));
    assert_eq!(state(0)["sensors"], json!([{"sensor": "b", "anomalies": 1}]));
    let aqi = json!({"metric": "aqi", "by": "> 300", "count": 1});
    assert!(state(0)["reasons"].as_array().expect("a list").contains(&aqi), "{}", state(0));
    assert_eq!((&state(1)["state"], &state(1)["row"]["revision"]), (&json!("final"), &json!(0)));
    assert_eq!(state(1)["was_never_early"], false);
    let by = "select min(epoch) from commits where watermark >= '2024-01-01T00:02:00Z'";
    assert_eq!(state(1)["final_by"]["epoch"], scene.database.session.value::<i64>(by));
    assert_eq!((&state(3)["state"], &state(3)["final_by"]), (&json!("early"), &Value::Null));
    assert!(
        told(&scene, "--zone Downtown --window 2024-01-01T00:03").contains("s before its end; more readings")
    );

    // A longer window is made of panes; one that nothing was accepted for has no row.
    let five = why(&scene, "--zone Downtown --window 2024-01-01T00:00 --name 5min");
    assert_eq!(five["panes"].as_array().map(Vec::len), Some(3));
    assert_eq!(why(&scene, "--zone Downtown --window 2024-01-01T00:02")["state"], "no_row");
    assert!(told(&scene, "--zone Downtwon --window 2024-01-01T00:00").contains("zones are: Downtown"));
}

#[test]
fn tap_shows_the_changes_of_incidents_once_and_by_zone() {
    let scene = Scene::new("tap_incidents", City { built_in: false, ..City::smart() }, 1);
    for second in 0..400 {
        for (zone, sensor) in
            ["Fire", "Hell"].into_iter().flat_map(|zone| (0..4).map(move |sensor| (zone, sensor)))
        {
            if (second + sensor) % 5 == 0 {
                let at_us = DAWN + second * SECOND;
                let mut reading = Reading::plain(&scene.city, &format!("{zone} {sensor}"), zone, at_us, 20.0);
                reading.values[2] = Some(if (60..120).contains(&second) { 350.0 } else { 50.0 });
                send(&scene.topic, &scene.city, 0, reading);
            }
        }
    }
    let started =
        |arguments: &str| citytide(&scene, &format!("tap --incidents {arguments}")).own_group().spawn();
    scene.catch_up("--detector rules -w 2");
    let log = scene.database.session.query(
        "select concat_ws(' ', incident_id, revision, to_condition) from incident_changes where actor is null order by 1",
    );
    let expected: Vec<String> = log.iter().map(|row| row.get(0)).collect();
    assert_eq!(expected.len(), 6, "two of each: pending, open, cleared");
    let tap = started("--json --from 0");
    wait_until("all changes are shown", LIMIT, || count(&tap) >= 6);
    let shown = interrupted(tap);
    let text = |object: &Value, name: &str| object[name].as_str().expect("text").to_owned();
    let mut found: Vec<String> = shown
        .iter()
        .map(|one| format!("{} {} {}", text(one, "incident_id"), one["revision"], text(one, "to_condition")))
        .collect();
    found.sort();
    assert_eq!(found, expected);
    assert!(shown.iter().all(|object| object["kind"] == "incident"), "no reading was asked for");
    let mut tap = started("--from 0 --zone Hell");
    wait_until("the zone's changes are shown", LIMIT, || tap.log().matches("▼").count() == 1);
    tap.interrupt();
    assert_eq!(tap.wait(LIMIT), Ended::Signal(libc::SIGINT));
    let said = tap.log();
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.iter().all(|line| line.chars().count() <= 80) && !said.contains("Fire"), "{said}");
    assert_eq!(lines.len(), 5, "{said}");
    assert!(lines[0].starts_with("00:01:") && lines[0].contains(" Hell · pending · "), "{said}");
    assert!(lines[2].contains(" ▲ ") && lines[2].contains(" Hell · open · "), "{said}");
    assert!(lines[3].starts_with("         aqi 350 AQI, above the bound of 300; "), "{said}");
}
