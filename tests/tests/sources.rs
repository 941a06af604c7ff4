//! The sources beside Kafka: the simulation against what the generator prints, files that grow, come, are cut and
//! replaced, and what is said of those that cannot be read.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use citytide_tests::city::City;
use citytide_tests::compare::{assert_tables, dump};
use citytide_tests::database::Database;
use citytide_tests::folder::{Form, gzip};
use citytide_tests::kafka::{Meaning, Sent};
use citytide_tests::load::{DAWN, Reading, Traffic, rfc3339};
use citytide_tests::oracle::{Watermark, expect};
use citytide_tests::process::{CommandLine, Ended, scratch};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{Services, services, unique, wait_until};
use citytide_tests::snapshot::{Checker, check_once};

const START: &str = "2026-06-01T00:00:00Z";
const START_MS: i64 = 1_780_272_000_000;
/// The generator's own rate where nothing paces it.
const RATE: i64 = 10_000;

/// What `citytide-generator --stdout` prints, as logs.
fn generated(services: &Services, city: &City, count: usize) -> Vec<Vec<Sent>> {
    generated_with(services, city, &format!("--count {count}"), count)
}

fn generated_with(services: &Services, city: &City, arguments: &str, count: usize) -> Vec<Vec<Sent>> {
    let (ended, said) = CommandLine::new(&services.generator, "generated")
        .args(["--stdout", "--quiet", "--rate", "0", "--seed", "7", "--partitions", "3"])
        .args(["--sensors", "100", "--start", START])
        .args(arguments.split_whitespace())
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let mut logs = vec![Vec::new(); 3];
    for (number, line) in said.lines().enumerate() {
        let (partition, json) = line.split_once('\t').expect("partition, tab, JSON");
        let object: serde_json::Value = serde_json::from_str(json).expect("a reading");
        let text = |name: &str| object[name].as_str().expect("text").to_owned();
        let at = chrono::DateTime::parse_from_rfc3339(&text(&city.time)).expect("a time");
        let reading = Reading {
            sensor: text(&city.sensor),
            zone: text(&city.zone),
            event_us: at.timestamp_micros(),
            values: city.metrics.iter().map(|metric| object[&metric.name].as_f64()).collect(),
        };
        let partition: usize = partition.parse().expect("a partition");
        logs[partition].push(Sent {
            received_at_ms: START_MS + number as i64 * 1000 / RATE,
            payload: json.as_bytes().to_vec(),
            meaning: Meaning::Reading(reading),
        });
    }
    assert_eq!(logs.iter().map(Vec::len).sum::<usize>(), count);
    logs
}

fn simulation(services: &Services, database: &Database, arguments: &str) -> CommandLine {
    CommandLine::new(&services.citytide, "simulation")
        .args(["run", "--source", "simulation", "--database-url", &database.url, "--start", START])
        .args(["--rate", "10000", "--partitions", "3", "--sensors", "100"])
        .args(arguments.split_whitespace())
}

#[test]
fn a_simulation_is_what_the_generator_prints_with_any_number_of_workers_and_processes() {
    let (services, city) = (services(), City::smart());
    let expected = expect(&city, &generated(&services, &city, 20_000), Watermark::OfAllPartitions);
    let mut first: Option<Vec<String>> = None;
    for arguments in ["-w 1", "-w 2", "-w 2 -z", "-n 2"] {
        let database = Database::create(&services, "simulated");
        let arguments = format!("--seed 7 --count 20000 --until-caught-up {arguments}");
        let (ended, said) = simulation(&services, &database, &arguments).finish(LIMIT);
        assert_eq!(ended, Ended::Exit(0), "{said}");
        check_once(&database.session, &city);
        assert_tables(&database.session, &city, &expected);
        let tables = dump(&database.session, &city);
        assert!(*first.get_or_insert_with(|| tables.clone()) == tables, "-w 1 and {arguments} differ");
    }
}

#[test]
fn a_simulation_with_a_history_is_what_the_generator_prints_also_when_it_is_killed_in_it() {
    let (services, city) = (services(), City::smart());
    let database = Database::create(&services, "simhistory");
    let parameters = "--history 2h --count 5000";
    // By rules, as the oracle judges.
    let rules = "--detector rules";
    let arguments = format!("--seed 7 {parameters} -w 1 {rules} --no-supervise --fail-at after-commit:1");
    let (ended, said) = simulation(&services, &database, &arguments).finish(LIMIT);
    assert_eq!(ended, Ended::Signal(libc::SIGKILL), "{said}");
    let arguments = format!("--seed 7 {parameters} -w 2 {rules} --until-caught-up");
    let (ended, said) = simulation(&services, &database, &arguments).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let logs = generated_with(&services, &city, parameters, 120 * 100 + 5_000);
    assert_tables(&database.session, &city, &expect(&city, &logs, Watermark::OfAllPartitions));
    // Without its history the same offsets would mean other readings.
    let (ended, said) =
        simulation(&services, &database, "--seed 7 --count 5000 --until-caught-up").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("history=7200s"), "{said}");
}

#[test]
fn a_simulation_that_is_killed_goes_on_where_it_was_with_other_workers_and_not_with_another_seed() {
    let (services, city) = (services(), City::smart());
    let database = Database::create(&services, "simkills");
    for (point, workers) in
        [("between-copy-and-commit:1", "-w 2"), ("after-commit:1", "-w 1"), ("before-copy:2", "-w 3")]
    {
        let arguments = format!("--seed 7 --count 60000 {workers} --no-supervise --fail-at {point}");
        let (ended, said) = simulation(&services, &database, &arguments).finish(LIMIT);
        assert_eq!(ended, Ended::Signal(libc::SIGKILL), "{point}: {said}");
        check_once(&database.session, &city);
    }
    let (ended, said) =
        simulation(&services, &database, "--seed 8 --count 60000 --until-caught-up").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("seed=7") && said.contains("seed=8"), "both are named: {said}");
    // Nor with a topic, which is not waited for either.
    let (ended, said) = CommandLine::run(&services, "no-such-topic", &database.url, "simkills").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    let (ended, said) =
        simulation(&services, &database, "--seed 7 --count 60000 --until-caught-up -n 2").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let logs = generated(&services, &city, 60_000);
    assert_tables(&database.session, &city, &expect(&city, &logs, Watermark::OfAllPartitions));
    let (ended, said) = CommandLine::new(&services.citytide, "verify")
        .args(["verify", "--database-url", &database.url])
        .finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

#[test]
fn a_live_simulation_starts_now_and_a_later_run_catches_up_with_the_clock() {
    let services = services();
    let database = Database::create(&services, "simlive");
    let live = || {
        CommandLine::new(&services.citytide, "simlive")
            .args(["run", "--source", "simulation", "--database-url", &database.url, "--rate", "500"])
            .spawn()
    };
    let mut run = live();
    wait_until("the simulation commits", LIMIT, || database.committed_offsets() > 500);
    run.kill();
    let before = database.committed_offsets();
    // Readings go on having their turn meanwhile.
    std::thread::sleep(Duration::from_secs(2));
    let mut run = live();
    wait_until("the pause has been caught up with", LIMIT, || database.committed_offsets() > before + 1000);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    check_once(&database.session, &City::smart());
    let odd: i64 = database.session.value(
        "select count(*) from (select kafka_offset - lag(kafka_offset) over (partition by kafka_partition order by \
         kafka_offset) as step from sensor_data) as steps where step <> 1",
    );
    assert_eq!(odd, 0, "no offset is missing, none is there twice");
}

#[test]
fn csv_is_read_as_json_is() {
    let scene = Scene::of_files("csv", City::smart(), 3, Form::Csv);
    let mut traffic = Traffic { garbage_per_mille: 0, ..Traffic::new(61, 50_000) };
    for (arguments, count) in [("-w 2", 6000), ("-w 1", 3000)] {
        traffic.send(&scene.topic, &scene.city, 3, count);
        scene.catch_up(arguments);
        scene.assert_caught_up();
    }
    let (ended, said) = scene.verify();
    assert_eq!(ended, Ended::Exit(0), "{said}");
}

/// A directory of the test's own, and a run on it.
struct Place {
    services: Services,
    database: Database,
    path: PathBuf,
}

impl Place {
    fn new(test: &str) -> Place {
        let services = services();
        let database = Database::create(&services, test);
        let path = scratch().join(unique(test));
        std::fs::create_dir_all(&path).expect("a directory");
        Place { services, database, path }
    }

    fn run(&self, paths: &[&str], arguments: &[&str]) -> CommandLine {
        CommandLine::new(&self.services.citytide, "place")
            .args(["run", "--source", "files", "--database-url", &self.database.url, "--no-supervise"])
            .args(paths.iter().map(|path| self.path.join(path)))
            .args(arguments.iter().copied())
    }

    fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path.join(name);
        std::fs::write(&path, bytes).expect("writing a file");
        path
    }

    fn append(&self, name: &str, bytes: &[u8]) {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(self.path.join(name));
        file.as_mut().expect("opening a file").write_all(bytes).expect("appending to a file");
    }

    /// Ends with `code`, says every word, and adds nothing to the database.
    fn refuses(&self, run: CommandLine, code: i32, words: &[&str]) {
        let before = self.database.committed_offsets();
        let (ended, said) = run.finish(LIMIT);
        assert_eq!(ended, Ended::Exit(code), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word} is not in: {said}"));
        assert_eq!(self.database.committed_offsets(), before, "nothing was written: {said}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// A reading of now as a line.
fn line(sensor: &str) -> Vec<u8> {
    let now_us = citytide_tests::services::now_us();
    let city = City::smart();
    let mut line = Reading::plain(&city, sensor, "Downtown", now_us, 20.0).json(&city);
    line.push(b'\n');
    line
}

#[test]
fn a_file_that_was_cut_or_replaced_since_is_refused_before_anything_is_written() {
    let place = Place::new("cut");
    let lines = [line("a"), line("b"), line("c")].concat();
    let file = place.put("readings.jsonl", &lines);
    place.put("other.jsonl", &line("x"));
    let (ended, said) = place.run(&["."], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(place.database.committed_offsets(), 4);
    // Whatever else there is to read waits until the matter is settled.
    place.append("other.jsonl", &line("y"));
    let name = "readings.jsonl";
    std::fs::write(&file, &lines[..lines.len() - 10]).expect("cutting a file");
    place.refuses(place.run(&["."], &[]), 78, &[name, "line 3", "bytes", "cut or replaced"]);
    std::fs::write(&file, [line("z"), line("b"), line("c"), line("d")].concat()).expect("replacing a file");
    place.refuses(place.run(&["."], &[]), 78, &[name, "its beginning is another one"]);
    let mut other = lines.clone();
    let at = other.len() - 4;
    other[at] = b'1';
    std::fs::write(&file, [other, line("d")].concat()).expect("replacing a file");
    place.refuses(place.run(&["."], &[]), 78, &[name]);
    std::fs::write(&file, [lines, line("d")].concat()).expect("bringing the file back");
    let (ended, said) = place.run(&["."], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(place.database.committed_offsets(), 6);
}

#[test]
fn a_last_line_without_a_line_end_counts_and_must_not_grow_afterwards() {
    let place = Place::new("lastline");
    let (first, second) = (line("a"), line("b"));
    place.put("x.jsonl", &[&first[..], &second[..second.len() - 1]].concat());
    let (ended, said) = place.run(&["x.jsonl"], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(place.database.session.value::<i64>("select count(*) from sensor_data"), 2);
    place.append("x.jsonl", &[b"\r\n", &line("c")[..]].concat());
    let (ended, said) = place.run(&["x.jsonl"], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "a line end is no growth: {said}");
    assert_eq!(place.database.session.value::<i64>("select count(*) from sensor_data"), 3);
    let whole = std::fs::read(place.path.join("x.jsonl")).expect("the file");
    place.put("y.jsonl", &whole[..whole.len() - 1]);
    let (ended, said) = place.run(&["."], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    place.append("y.jsonl", b" \n");
    place.refuses(place.run(&["."], &[]), 78, &["y.jsonl", "has grown since"]);
}

#[test]
fn what_stands_in_lines_beside_readings_is_counted_and_kept() {
    let place = Place::new("lines");
    let long = vec![b'x'; 2_000_000];
    let lines = [&b"\xef\xbb\xbf"[..], &line("a"), b"\n\r\n", &long, b"\n", b"{}\r\n", &line("b")].concat();
    place.put("a.json", &lines);
    let header = "zone,timestamp,sensor_id,aqi\n";
    let now = rfc3339(citytide_tests::services::now_us());
    let rows = format!("{header}Z,{now},s,1\nZ,{now},s\n\nZ,{now},\"s,1\n Z ,{now},s,warm\nZ,{now},s,\n");
    place.put("b.csv", rows.as_bytes());
    place.put("c.csv.gz", &gzip(format!("{header}Z,{now},s,5").as_bytes()));
    place.put("ignored.txt", b"what is this");
    place.put(".hidden.json", b"half a copy");
    let (ended, said) = place.run(&["."], &["-w", "2"]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let session = &place.database.session;
    let dead: Vec<String> = session
        .query(
            "select format('%s/%s %s %s', kafka_partition, kafka_offset, reason, payload_bytes) from dead_letters \
             order by kafka_partition, kafka_offset",
        )
        .iter()
        .map(|row| row.get(0))
        .collect();
    let row = |text: &str| text.len();
    let expected = [
        "0/3 too_long 2000000".to_owned(),
        "0/4 missing_field 2".to_owned(),
        format!("1/1 not_csv {}", row(&format!("Z,{now},s"))),
        format!("1/3 not_csv {}", row(&format!("Z,{now},\"s,1"))),
        format!("1/4 wrong_type {}", row(&format!(" Z ,{now},s,warm"))),
        format!("1/5 no_metric {}", row(&format!("Z,{now},s,"))),
    ];
    assert_eq!(dead, expected);
    let kept: Vec<u8> = session.value("select payload from dead_letters where kafka_offset = 1");
    assert_eq!(kept, format!("Z,{now},s").into_bytes(), "the line as it was");
    let progress: Vec<String> = session
        .query("select format('%s %s %s %s', source, next_offset, accepted, gaps) from ingest_progress order by kafka_partition")
        .iter()
        .map(|row| row.get(0))
        .collect();
    let path = std::fs::canonicalize(&place.path).expect("the directory").display().to_string();
    let files = [("a.json", "6 2 2"), ("b.csv", "6 1 1"), ("c.csv.gz", "1 1 0")];
    assert_eq!(progress, files.map(|(name, counts)| format!("file:{path}/{name} {counts}")));
    assert!(session.value::<bool>("select bool_and(holds) from conservation"));
}

#[test]
fn a_directory_that_is_followed_brings_lines_once_they_have_ended_and_files_as_they_come() {
    let place = Place::new("follow");
    let mut run = place.run(&["."], &["--follow", "-w", "2"]).spawn();
    let checker = Checker::start(&place.database, &City::smart());
    let readings = |wanted: i64| {
        wait_until(&format!("{wanted} readings are committed"), LIMIT, || {
            place.database.session.has_tables()
                && place.database.session.value::<i64>("select count(*) from sensor_data") == wanted
        });
    };
    let whole = line("a");
    place.put("b.jsonl", &whole);
    readings(1);
    // Half a line is none yet.
    place.append("b.jsonl", &whole[..20]);
    place.put("a.jsonl", &line("other"));
    readings(2);
    place.append("b.jsonl", &whole[20..]);
    readings(3);
    let packed = gzip(&[line("c"), line("d")].concat());
    place.put("c.jsonl.gz", &packed[..packed.len() / 2]);
    place.put("d.csv", b"zone,timestamp,sen");
    place.append("a.jsonl", &line("other"));
    readings(4);
    assert_eq!(run.ended(), None, "a file that is still being written is waited for");
    place.put("c.jsonl.gz", &packed);
    let now = rfc3339(citytide_tests::services::now_us());
    place.append("d.csv", format!("sor_id,aqi\nZ,{now},s,1\n").as_bytes());
    readings(7);
    run.kill();
    place.append("b.jsonl", &line("e"));
    let mut run = place.run(&["."], &["--follow"]).spawn();
    readings(8);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    checker.finish();
    let twice: i64 = place
        .database
        .session
        .value("select count(*) - count(distinct (kafka_partition, kafka_offset)) from sensor_data");
    assert_eq!(twice, 0);
}

#[test]
fn more_files_than_are_open_at_once_are_all_read_and_the_last_day_is_final() {
    let place = Place::new("days");
    let city = City::smart();
    for day in 0..50_i64 {
        let at = |second: i64| DAWN + (day * 86_400 + second) * 1_000_000;
        let lines =
            (0..40).map(|minute| Reading::plain(&city, "s", "Downtown", at(minute * 60), 20.0).json(&city));
        let bytes: Vec<u8> = lines.flat_map(|line| [line, b"\n".to_vec()].concat()).collect();
        let path = place.put(&format!("day-{day:03}.jsonl"), &bytes);
        let modified = std::time::UNIX_EPOCH + Duration::from_micros(at(0) as u64 + 3_600_000_000);
        std::fs::File::options()
            .append(true)
            .open(path)
            .and_then(|file| file.set_modified(modified))
            .expect("a time");
    }
    let (ended, said) = place.run(&["."], &["-w", "2"]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    let session = &place.database.session;
    assert_eq!(session.value::<i64>("select count(*) from sensor_data where not is_late"), 2000);
    assert_eq!(
        session.value::<i64>("select count(*) from metrics_1min where not is_final"),
        2,
        "the last minutes"
    );
    check_once(session, &city);
    let commits = place.database.commits();
    let (ended, said) = place.run(&["."], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(0), "{said}");
    assert_eq!(place.database.commits(), commits, "when there is nothing to say, there is no transaction");
}

#[test]
fn files_that_cannot_be_read_are_named_with_what_to_do() {
    let place = Place::new("unread");
    place.put("good.jsonl", &line("a"));
    place.put("readings.xml", b"<x/>");
    place.put("array.json", b"[\n{}\n]\n");
    place.put("wide.csv", b"\xff\xfez\0o\0");
    place.put("semicolons.csv", b"timestamp;zone;sensor_id;aqi\n");
    place.put("timeless.csv", b"zone,sensor_id,aqi\nZ,s,1\n");
    let mut damaged = gzip(&(0..5000).flat_map(|_| line("g")).collect::<Vec<u8>>());
    damaged.truncate(damaged.len() / 2);
    place.put("half.jsonl.gz", &damaged);
    place.put("no.jsonl.gz", b"this is no gzip");
    std::fs::create_dir(place.path.join("empty")).expect("a directory");
    let refuses = |path: &str, code: i32, words: &[&str]| {
        place.refuses(place.run(&[path], &[]), code, &[&[path], words].concat());
    };
    refuses("nowhere.jsonl", 78, &["no such file or directory"]);
    refuses("readings.xml", 78, &[".ndjson", ".csv"]);
    refuses("array.json", 78, &["one JSON array", "jq -c"]);
    refuses("wide.csv", 78, &["UTF-16", "iconv"]);
    refuses("semicolons.csv", 78, &["no column \"timestamp\"", "timestamp;zone"]);
    refuses("timeless.csv", 78, &["no column \"timestamp\""]);
    refuses("no.jsonl.gz", 78, &["damaged", "gzip"]);
    refuses("empty", 78, &["no file to read", "--follow"]);
    let (ended, said) = place.run(&["half.jsonl.gz"], &[]).finish(LIMIT);
    assert_eq!(ended, Ended::Exit(78), "{said}");
    assert!(said.contains("half.jsonl.gz is damaged after line"), "{said}");
    let usage = |paths: &[&str], arguments: &[&str], words: &[&str]| {
        let (ended, said) = place.run(paths, arguments).finish(LIMIT);
        assert!(matches!(ended, Ended::Exit(2 | 78)), "{ended:?}: {said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word} is not in: {said}"));
    };
    usage(&[], &[], &["PATH"]);
    usage(&[], &["-"], &["exactly once"]);
    usage(&["good.jsonl"], &["-n", "2"], &["one process", "-w"]);
    assert!(Path::new(&place.path).join("good.jsonl").exists());
}
