//! What a run tells while it runs: `/metrics` equals the tables, health turns bad when nothing is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::TcpListener;

use citytide_tests::city::{City, SECOND};
use citytide_tests::http::{free_port, get, samples};
use citytide_tests::kafka::Meaning;
use citytide_tests::load::{DAWN, Reading, Traffic};
use citytide_tests::process::{CommandLine, Ended, send_signal};
use citytide_tests::proxy::Proxy;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;

/// What the tables say, under the names of the metrics.
fn figures(scene: &Scene) -> BTreeMap<String, f64> {
    let session = &scene.database.session;
    let mut figures = BTreeMap::new();
    let mut add = |name: String, value: i64| figures.insert(name, value as f64);
    add("events_processed_total".to_owned(), session.value("select count(*) from sensor_data"));
    let records = "select (select count(*) from sensor_data) + (select count(*) from dead_letters)";
    add("processing_latency_seconds_count".to_owned(), session.value(records));
    add("processing_latency_seconds_bucket{le=\"+Inf\"}".to_owned(), session.value(records));
    let anomalies = "select count(*) from sensor_data where is_anomaly and not is_late";
    add("anomalies_detected_total".to_owned(), session.value(anomalies));
    add("citytide_commits_total".to_owned(), session.value("select count(*) from commits"));
    add("citytide_committed_epoch".to_owned(), session.value("select max(epoch) from commits"));
    for row in session.query(
        "select kafka_partition, accepted, late, dead, lost, gaps, first_offset, next_offset from ingest_progress",
    ) {
        let partition: i32 = row.get(0);
        for (column, outcome) in ["accepted", "late", "dead", "lost", "gap"].into_iter().enumerate() {
            let name = format!("citytide_offsets_total{{partition=\"{partition}\",outcome=\"{outcome}\"}}");
            add(name, row.get(column + 1));
        }
        add(format!("citytide_partition_first_offset{{partition=\"{partition}\"}}"), row.get(6));
        add(format!("citytide_partition_committed_offset{{partition=\"{partition}\"}}"), row.get(7));
        add(format!("citytide_partition_end_offset{{partition=\"{partition}\"}}"), row.get(7));
        add(format!("kafka_consumer_lag{{partition=\"{partition}\"}}"), 0);
    }
    figures
}

/// The figures that do not equal those of the tables.
fn differences(scene: &Scene, port: u16, but: &[&str]) -> Vec<String> {
    let Some(told) = samples(port) else { return vec!["nobody answers".to_owned()] };
    let mut expected = figures(scene);
    expected.retain(|name, _| !but.contains(&name.as_str()));
    let differs = expected.into_iter().filter(|(name, value)| told.get(name) != Some(value));
    differs
        .map(|(name, value)| format!("{name}: {value} in the tables, {:?} told", told.get(&name)))
        .collect()
}

#[test]
fn the_metrics_of_a_run_equal_the_tables_whatever_its_shape() {
    let scene = Scene::new("metrics", City::smart(), 2);
    let mut traffic = Traffic::new(61, 100_000);
    for (arguments, but) in [
        ("-w 2", &[][..]),
        // What counts from the beginning of the process, and what only process 0's own partitions give.
        (
            "-n 2",
            &[
                "anomalies_detected_total",
                "citytide_commits_total",
                "processing_latency_seconds_count",
                "processing_latency_seconds_bucket{le=\"+Inf\"}",
            ][..],
        ),
    ] {
        let port = free_port();
        let mut run = scene.run(&format!("{arguments} --listen {port}")).spawn();
        traffic.send(&scene.topic, &scene.city, 2, 4000);
        scene.wait_committed(&mut run);
        let mut last = Vec::new();
        wait_until("the metrics equal the tables", LIMIT, || {
            last = differences(&scene, port, but);
            last.is_empty() || run.ended().is_some()
        });
        assert_eq!(last, Vec::<String>::new(), "{arguments}");
        assert_eq!(get(port, "/healthz").map(|answer| answer.0), Some(200));
        assert_eq!(get(port, "/readyz").map(|answer| answer.0), Some(200));
        assert_eq!(get(port, "/").map(|answer| answer.0), Some(404));
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}");
        assert_eq!(get(port, "/healthz"), None, "the port is given back");
        let log = run.log();
        assert!(log.contains(" dead letters · 0 lost"), "a summary at the end: {log}");
    }
    assert!(scene.database.session.value::<i64>("select count(*) from dead_letters") > 0, "some are dead");
    assert!(
        scene.database.session.value::<bool>("select exists (select from sensor_data where is_late)"),
        "some are late"
    );
}

#[test]
fn what_the_header_truth_says_is_compared_with_the_verdicts_of_all_processes() {
    let scene = Scene::new("labels", City::smart(), 2);
    // So few that a reader looks at each. The first of each partition says that the topic tells the truth.
    for at in 0..120_i64 {
        let (partition, number) = ((at % 2) as i32, at / 2);
        let value = if matches!(number % 10, 0 | 3) { 450.0 } else { 30.0 };
        let reading = Reading::plain(&scene.city, "7", "Downtown", DAWN + at * SECOND, value);
        let headers: &[(&str, Option<&[u8]>)] = match number % 10 {
            0 => &[("other", Some(b"x")), ("truth", Some(b"spike:temperature"))],
            1 => &[("truth", Some(b"drift:aqi"))],
            2 => &[("truth", Some(b""))],
            _ => &[],
        };
        let (received_at_ms, json) = (reading.event_us / 1000, reading.json(&scene.city));
        scene.topic.send_with_headers(partition, received_at_ms, json, Meaning::Reading(reading), headers);
    }
    scene.topic.flush();
    let port = free_port();
    let mut run = scene.run(&format!("-n 2 --listen {port}")).spawn();
    scene.wait_committed(&mut run);
    let count = |condition: &str| -> f64 {
        let sql = format!("select count(*) from sensor_data where not is_late and {condition}");
        scene.database.session.value::<i64>(&sql) as f64
    };
    let (truth, found) = ("kafka_offset % 10 < 2", "is_anomaly");
    let both = count(&format!("{truth} and {found}"));
    let expected = [
        ("citytide_labelled_readings_total{truth=\"anomaly\",verdict=\"anomaly\"}", both),
        (
            "citytide_labelled_readings_total{truth=\"normal\",verdict=\"anomaly\"}",
            count(&format!("not {truth} and {found}")),
        ),
        (
            "citytide_labelled_readings_total{truth=\"anomaly\",verdict=\"normal\"}",
            count(&format!("{truth} and not {found}")),
        ),
        (
            "citytide_labelled_readings_total{truth=\"normal\",verdict=\"normal\"}",
            count(&format!("not ({truth}) and not {found}")),
        ),
        ("model_precision", both / count(found)),
        ("model_recall", both / count(truth)),
    ];
    assert!(both > 0.0 && expected.iter().map(|(_, value)| value).take(4).sum::<f64>() == 120.0);
    wait_until("the metrics equal the tables", LIMIT, || {
        samples(port).is_some_and(|told| expected.iter().all(|(name, value)| told.get(*name) == Some(value)))
    });
    wait_until("a line of the log tells it", LIMIT, || run.log().contains(" · recall "));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
}

#[test]
fn the_inventory_in_the_docs_is_what_a_run_serves() {
    let scene = Scene::new("inventory", City::smart(), 1);
    Traffic::new(62, 100_000).send(&scene.topic, &scene.city, 1, 500);
    let port = free_port();
    let mut run = scene.run(&format!("--listen 127.0.0.1:{port}")).spawn();
    scene.wait_committed(&mut run);
    wait_until("it is ready", LIMIT, || get(port, "/readyz").is_some_and(|(status, _)| status == 200));
    let page = get(port, "/metrics").expect("an answer").1;
    let kinds = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let served: BTreeSet<String> = kinds
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    let inventory = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md"));
    let inventory = inventory.expect("docs/metrics.md");
    let rows = inventory.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    assert_eq!(rows.map(|(name, _)| name.to_owned()).collect::<BTreeSet<_>>(), served);
}

#[test]
fn a_new_generation_listens_again_and_its_counters_of_offsets_go_on() {
    let scene = Scene::new("again", City::smart(), 2);
    let mut traffic = Traffic::new(63, 100_000);
    traffic.send(&scene.topic, &scene.city, 2, 1000);
    let port = free_port();
    let mut run = scene.run(&format!("-w 1 --listen {port}")).spawn();
    scene.wait_committed(&mut run);
    let first = run.descendants();
    first.iter().for_each(|id| send_signal(*id, libc::SIGKILL));
    traffic.send(&scene.topic, &scene.city, 2, 1000);
    scene.wait_committed(&mut run);
    let own = ["anomalies_detected_total", "citytide_commits_total", "citytide_committed_epoch"];
    let latency = ["processing_latency_seconds_count", "processing_latency_seconds_bucket{le=\"+Inf\"}"];
    let but = [&own[..], &latency[..]].concat();
    let mut last = Vec::new();
    wait_until("the counters of offsets equal the tables", LIMIT, || {
        last = differences(&scene, port, &but);
        last.is_empty() || run.ended().is_some()
    });
    assert_eq!(last, Vec::<String>::new());
    assert!(run.descendants().iter().all(|id| !first.contains(id)), "another process answers");
}

#[test]
fn an_address_that_is_taken_is_named_and_nothing_is_begun() {
    let scene = Scene::new("taken", City::smart(), 1);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    for (arguments, code) in [("", 78), ("--no-supervise", 74)] {
        let (ended, said) = scene.run(&format!("{arguments} --listen {address}")).finish(LIMIT);
        assert_eq!(ended, Ended::Exit(code), "{said}");
        assert!(said.contains(&address) && said.contains("in use") && said.contains("--listen"), "{said}");
    }
    assert!(!scene.database.session.has_tables(), "the database is as it was");
    let (ended, said) = scene.run("--listen :80").finish(LIMIT);
    assert_eq!(ended, Ended::Exit(2), "{said}");
    assert!(said.contains("127.0.0.1:9464"), "an example is given: {said}");
}

#[test]
fn health_turns_bad_while_the_database_does_not_answer_and_good_again() {
    let scene = Scene::new("health", City::smart(), 2);
    let mut traffic = Traffic::new(64, 100_000);
    traffic.send(&scene.topic, &scene.city, 2, 500);
    let proxy = Proxy::to(&scene.database.url);
    let port = free_port();
    let mut run =
        CommandLine::run(&scene.services, &scene.topic.name, &proxy.url(&scene.database.url), "health")
            .args(["--listen", &port.to_string()])
            .spawn();
    let is = |path: &str, code: u16| get(port, path).is_some_and(|(status, _)| status == code);
    wait_until("it is ready", LIMIT, || is("/readyz", 200));
    assert!(is("/healthz", 200));
    proxy.hold(true);
    traffic.send(&scene.topic, &scene.city, 2, 500);
    scene.topic.flush();
    wait_until("it is unwell", LIMIT, || is("/healthz", 503));
    assert!(is("/readyz", 503));
    let why = get(port, "/healthz").expect("an answer").1;
    assert!(why.contains("nothing committed for"), "{why}");
    proxy.hold(false);
    wait_until("it is well again", LIMIT, || is("/healthz", 200) && is("/readyz", 200));
    scene.wait_committed(&mut run);
    // It took long enough for partitions to fall idle, which moves W: the tables are compared once nothing moves.
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    scene.assert_tables();
}
