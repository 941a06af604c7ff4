//! The page in a real browser, over a real run. What is tried is in `serve/web/browser`; what it is tried on is made here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use citytide_tests::browser::Browser;
use citytide_tests::city::{City, Metric, SECOND};
use citytide_tests::database::Session;
use citytide_tests::generated::lines;
use citytide_tests::http::{free_port, get};
use citytide_tests::load::{Reading, send};
use citytide_tests::process::{CommandLine, Process};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::schemathesis;
use citytide_tests::services::{now_us, wait_until};

/// `citytide serve` on the scene's database.
fn serve(scene: &Scene, port: u16) -> Process {
    let server = CommandLine::new(&scene.services.citytide, scene.test)
        .args(["serve", "--listen", &port.to_string(), "--database-url", &scene.database.url])
        .domain(scene.file.as_deref())
        .spawn();
    wait_until("the page is served", LIMIT, || get(port, "/readyz").is_some_and(|(status, _)| status == 200));
    server
}

/// Readings of one zone in which a rule is broken for the last minutes, so that an incident is open.
fn send_smoke(scene: &Scene, zone: &str, seconds: std::ops::Range<i64>) {
    for second in seconds.step_by(2) {
        for sensor in 0..4 {
            let mut reading =
                Reading::plain(&scene.city, &format!("smoke {sensor}"), zone, second * SECOND, 20.0);
            reading.values[2] = Some(if sensor < 3 { 380.0 } else { 50.0 });
            send(&scene.topic, &scene.city, 0, reading);
        }
    }
}

#[test]
fn every_page_is_in_order_in_both_themes_and_widths_and_its_controls_work_over_a_city_that_lives() {
    let Some(browser) = Browser::find() else { return };
    let scene = Scene::new("page", City::smart(), 2);
    let now_s = now_us() / SECOND;
    for line in
        lines("--partitions 2 --sensors 60 --seed 9 --count 32000 --duration 80m", (now_s - 4_801) * SECOND)
    {
        line.send(&scene.topic);
    }
    send_smoke(&scene, "Tech Hub", now_s - 300..now_s);
    scene.topic.send(1, now_s * 1000, b"{\"sensor_id\": <b>".to_vec(), garbage());
    let port = free_port();
    let mut run = scene.run(&format!("--serve {port}")).spawn();
    scene.wait_committed(&mut run);
    let open = "select count(*) > 0 from incidents where condition = 'open'";
    wait_until("an incident is open", LIMIT, || scene.database.session.value(open));
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut sent_s = now_s;
            while !stop.load(Ordering::Relaxed) {
                let now_s = now_us() / SECOND;
                send_smoke(&scene, "Tech Hub", sent_s..now_s);
                for zone in &scene.city.zones {
                    let reading =
                        Reading::plain(&scene.city, &format!("{zone} 1"), zone, now_s * SECOND, 20.0);
                    send(&scene.topic, &scene.city, 1, reading);
                }
                sent_s = now_s;
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let _stop = Stop(&stop);
        for scenario in ["every", "controls"] {
            browser.run(scenario, port, |what| panic!("{scenario} asks for {what}"));
        }
    });
    assert_eq!(run.ended(), None, "the run goes on");
}

struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn garbage() -> citytide_tests::kafka::Meaning {
    citytide_tests::kafka::Meaning::Garbage { reason: "not_json", field: None }
}

/// Forty metrics and two hundred zones, named so that whoever takes a name for anything but text is found out.
fn odd_city() -> City {
    let metric = |number: usize| Metric {
        name: format!("metric_{number}"),
        unit: format!("u<i>{number}</i>"),
        usual: (0.0, 1000.0),
        below: None,
        above: (number == 2).then_some(300.0),
        clear: None,
    };
    let named = [
        "<script>alert(1)</script>",
        "مدينة الأعمال",
        "=cmd()",
        "A very long name of a zone that goes on and on",
    ];
    let zones =
        named.map(str::to_owned).into_iter().chain((named.len()..200).map(|zone| format!("Zone {zone}")));
    City {
        name: "odd".to_owned(),
        metrics: (0..40).map(metric).collect(),
        zones: zones.collect(),
        built_in: false,
        ..City::smart()
    }
}

#[test]
fn forty_metrics_and_two_hundred_zones_of_any_name_are_shown_as_text() {
    let Some(browser) = Browser::find() else { return };
    let scene = Scene::new("odd_page", odd_city(), 1);
    let now_s = now_us() / SECOND;
    for second in now_s - 420..now_s {
        for (number, zone) in
            scene.city.zones.iter().enumerate().filter(|(number, _)| *number as i64 % 20 == second % 20)
        {
            let at_us = second * SECOND;
            let value = 20.0 + number as f64 + (second % 7) as f64;
            send(
                &scene.topic,
                &scene.city,
                0,
                Reading::plain(&scene.city, &format!("<b>{number}</b>"), zone, at_us, value),
            );
        }
    }
    send_smoke(&scene, "<script>alert(1)</script>", now_s - 300..now_s);
    scene.catch_up("--detector rules");
    let port = free_port();
    let _server = serve(&scene, port);
    browser.run("odd", port, |what| panic!("odd asks for {what}"));
}

#[test]
fn the_page_tells_empty_loading_stale_and_error_apart_and_comes_back_by_itself() {
    let Some(browser) = Browser::find() else { return };
    let scene = Scene::new("page_states", City::smart(), 1);
    let run = || scene.run("--detector rules").spawn();
    let port = free_port();
    let mut running = Some(run());
    wait_until("the tables are there", LIMIT, || scene.database.session.has_tables());
    let mut server = Some(serve(&scene, port));
    let admin = Session::open(&scene.services.database_url);
    let allow = |is_allowed: bool| {
        admin.batch(&format!("alter database {} allow_connections {is_allowed}", scene.database.name));
    };
    let mut now_s = now_us() / SECOND;
    browser.run("states", port, |what| match what {
        "send readings" => {
            now_s = now_us() / SECOND;
            send_smoke(&scene, "Downtown", now_s - 600..now_s);
            scene.wait_committed(running.as_mut().expect("it runs"));
        }
        "kill the run" => running.take().expect("it runs").kill(),
        "start the run" => running = Some(run()),
        "take the database away" => {
            allow(false);
            admin.batch(&format!(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{}' \
                 and application_name <> 'citytide-tests'",
                scene.database.name
            ));
        }
        "give the database back" => {
            allow(true);
            // It takes a database that refuses it for one that somebody has closed.
            running = Some(run());
        }
        "end the server" => server.take().expect("it serves").kill(),
        "start the server" => server = Some(serve(&scene, port)),
        _ => panic!("the scenario asks for {what}"),
    });
}

#[test]
fn every_answer_of_the_api_is_as_its_document_says() {
    let scene = Scene::new("page_api", City::smart(), 1);
    let now_s = now_us() / SECOND;
    send_smoke(&scene, "Downtown", now_s - 600..now_s);
    scene.topic.send(0, now_s * 1000, b"{\"sensor_id\": <b>".to_vec(), garbage());
    scene.catch_up("--detector rules");
    let port = free_port();
    let _server = serve(&scene, port);
    let incident: String = scene.database.session.value("select incident_id from incidents limit 1");
    let known = [
        ("/api/v1/incidents/{id}", incident.as_str()),
        ("/api/v1/incidents/{id}/{action}", &incident),
        ("/api/v1/sensors/{id}", "smoke 0"),
    ];
    schemathesis::hold(port, &known);
    let acted = "select count(*) > 0 from incident_actions";
    assert!(scene.database.session.value::<bool>(acted), "actions were among what was asked");
}
