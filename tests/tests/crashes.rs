//! Killed at any point, deprived of its connections, stopped and overtaken: the tables stay exact.

use std::time::Duration;

use citytide_tests::city::City;
use citytide_tests::folder::Form;
use citytide_tests::load::{Random, Traffic};
use citytide_tests::process::{CommandLine, Ended, scratch, send_signal};
use citytide_tests::proxy::Proxy;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::{unique, wait_until};
use citytide_tests::snapshot::{Checker, check_once};

/// Within this time a lost connection ends the generation and the next one commits.
const NOTICED: Duration = Duration::from_secs(20);

#[test]
fn killed_at_each_point_of_the_commit_and_restarted_with_other_workers_it_loses_and_repeats_nothing() {
    killed_at_each_point(Scene::new("points", City::smart(), 4));
}

#[test]
fn killed_at_each_point_of_the_commit_while_it_follows_files_it_loses_and_repeats_nothing() {
    killed_at_each_point(Scene::of_files("filepoints", City::smart(), 4, Form::Json));
}

fn killed_at_each_point(scene: Scene) {
    let session = &scene.database.session;
    let mut traffic = Traffic::new(5, 50_000);
    let rounds = [
        ("before-copy:1", "-w 2"),
        ("between-copy-and-commit:1", "-w 1"),
        ("after-commit:1", "-w 2"),
        ("between-copy-and-commit:2", "-w 3"),
        ("after-commit:2", "-w 1"),
        ("before-copy:2", "-w 2"),
    ];
    for (point, workers) in rounds {
        traffic.send(&scene.topic, &scene.city, 4, 2500);
        scene.topic.flush();
        let before = scene.database.commits();
        let mut run = scene.run(&format!("{workers} --no-supervise --fail-at {point}")).spawn();
        // The second passage needs something to commit after the first.
        wait_until(&format!("the run is killed at {point}"), LIMIT, || {
            traffic.send(&scene.topic, &scene.city, 4, 10);
            run.ended().is_some()
        });
        assert_eq!(run.wait(LIMIT), Ended::Signal(libc::SIGKILL), "{point}");
        if scene.database.session.has_tables() {
            check_once(session, &scene.city);
            let (raw, seen): (i64, i64) = (
                session.value("select count(*) from sensor_readings"),
                session.value("select count(*) from sensor_data"),
            );
            if point.starts_with("between") {
                assert!(raw > seen, "{point}: raw rows wait above the committed epoch");
            }
            if point == "after-commit:1" {
                assert!(scene.database.commits() > before, "killed after a commit");
            }
        }
    }
    scene.catch_up("-n 2 -w 2");
    scene.assert_tables();
    check_once(session, &scene.city);
    let leftovers: i64 =
        session.value("select (select count(*) from sensor_readings) - (select count(*) from sensor_data)");
    assert_eq!(leftovers, 0, "what was never committed is gone");
}

#[test]
fn killed_at_random_under_load_every_snapshot_stays_consistent() {
    killed_at_random(Scene::new("kills", City::smart(), 4));
}

#[test]
fn killed_at_random_while_files_grow_every_snapshot_stays_consistent() {
    killed_at_random(Scene::of_files("filekills", City::smart(), 4, Form::Json));
}

fn killed_at_random(scene: Scene) {
    let checker = Checker::start(&scene.database, &scene.city);
    let mut random = Random(11);
    scene.under_load(4, 6, || {
        for arguments in ["-w 2", "-n 2", "-w 1", "-n 2 -w 2", "-w 3", "-w 2"] {
            let mut run = scene.run(arguments).spawn();
            let before = scene.newest_run();
            wait_until("the restarted run commits", LIMIT, || {
                assert_eq!(run.ended(), None, "{arguments}");
                scene.newest_run() > before
            });
            std::thread::sleep(Duration::from_millis(random.below(800) as u64));
            // A process below the supervisor: the supervisor begins a new generation.
            let below = run.descendants();
            let victim = below[random.below(below.len() as i64) as usize];
            let before = scene.newest_run();
            send_signal(victim, libc::SIGKILL);
            wait_until("the supervisor's next generation commits", LIMIT, || {
                assert_eq!(run.ended(), None, "the supervisor outlives its children");
                scene.newest_run() > before
            });
            std::thread::sleep(Duration::from_millis(random.below(800) as u64));
            run.kill();
        }
    });
    scene.catch_up("-w 2");
    checker.finish();
    scene.assert_tables();
}

#[test]
fn the_children_of_a_supervisor_that_is_killed_die_with_it() {
    let scene = Scene::new("orphans", City::smart(), 2);
    Traffic::new(7, 50_000).send(&scene.topic, &scene.city, 2, 500);
    let mut run = scene.run("-n 2").spawn();
    scene.wait_committed(&mut run);
    let below = run.descendants();
    assert!(below.len() >= 2, "two processes work below the supervisor");
    run.signal(libc::SIGKILL);
    run.wait(LIMIT);
    wait_until("the children are gone", Duration::from_secs(20), || {
        below.iter().all(|id| !std::path::Path::new(&format!("/proc/{id}/exe")).exists())
    });
}

#[test]
fn losing_any_database_connection_ends_the_generation_and_the_next_one_goes_on_exactly() {
    let scene = Scene::new("connections", City::smart(), 2);
    let checker = Checker::start(&scene.database, &scene.city);
    let session = &scene.database.session;
    let sessions = "from pg_stat_activity where datname = current_database() and backend_type = 'client backend' and \
                    application_name <> 'citytide-tests'";
    scene.under_load(2, 8, || {
        let mut run = scene.run("-w 2").spawn();
        wait_until("the first run commits", LIMIT, || scene.newest_run() > 0);
        // Sessions that nobody is in a hurry for are opened last.
        std::thread::sleep(Duration::from_secs(1));
        // A session's name may hold the number of its run.
        let names: Vec<String> = session
            .query(&format!(
                "select distinct regexp_replace(application_name, ':[0-9]+:', ':%:') {sessions} order by 1"
            ))
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(!names.is_empty(), "the run has sessions");
        for name in &names {
            let before = scene.newest_run();
            // The new generation has the same sessions; the one that writes only now and then may come later.
            wait_until(&format!("there is a session {name} to end"), LIMIT, || {
                !session
                    .query(&format!(
                        "select pg_terminate_backend(pid) {sessions} and application_name like '{}' limit 1",
                        name.replace('\'', "''")
                    ))
                    .is_empty()
            });
            wait_until(&format!("a new generation commits after {name} was lost"), NOTICED, || {
                assert_eq!(run.ended(), None, "the supervisor goes on after {name} was lost");
                scene.newest_run() > before
            });
        }
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    });
    scene.catch_up("-w 1");
    checker.finish();
    scene.assert_tables();
}

/// Another run takes over from one under load, which is stopped for a while, or lives; the first one must write nothing
/// more, also when it wakes up.
fn overtaken(
    test: &'static str,
    first_arguments: &str,
    second_arguments: &str,
    stopped_for: Option<Duration>,
) {
    let scene = Scene::new(test, City::smart(), 2);
    let checker = Checker::start(&scene.database, &scene.city);
    let session = &scene.database.session;
    scene.under_load(2, 9, || {
        let mut first = scene.run(first_arguments).spawn();
        wait_until("the first run commits", LIMIT, || scene.newest_run() > 0 && scene.database.commits() > 5);
        let old = scene.newest_run();
        let tree = if stopped_for.is_some() { first.tree() } else { Vec::new() };
        tree.iter().for_each(|id| send_signal(*id, libc::SIGSTOP));
        std::thread::sleep(stopped_for.unwrap_or_default());
        let mut second = scene.run(second_arguments).spawn();
        let taken = || session.value::<i64>(&format!("select count(*) from commits where run_id > {old}"));
        wait_until("the second run commits", LIMIT, || {
            assert_eq!(second.ended(), None, "the second run goes on");
            taken() > 5
        });
        tree.iter().for_each(|id| send_signal(*id, libc::SIGCONT));
        assert_eq!(first.wait(LIMIT), Ended::Exit(73), "the first run gives up");
        let before = taken();
        wait_until("the second run still commits", LIMIT, || taken() > before + 5);
        let late: i64 = session.value(&format!(
            "select count(*) from commits where run_id = {old} and epoch > (select min(epoch) from commits where \
             run_id > {old})"
        ));
        assert_eq!(late, 0, "commits of the overtaken run");
        second.signal(libc::SIGTERM);
        assert_eq!(second.wait(LIMIT), Ended::Exit(0));
    });
    scene.catch_up("-w 1");
    checker.finish();
    scene.assert_tables();
    let leftovers: i64 =
        session.value("select (select count(*) from sensor_readings) - (select count(*) from sensor_data)");
    assert_eq!(leftovers, 0, "nothing slipped in beside the committed epochs");
}

#[test]
fn a_run_that_was_stopped_and_taken_over_writes_nothing_more_when_it_wakes_up() {
    overtaken("fence", "-w 2", "-w 1 --take-over", Some(Duration::ZERO));
}

#[test]
fn a_run_whose_heartbeat_is_old_may_be_taken_over_without_being_asked() {
    overtaken("heartbeat", "-n 2", "-w 2", Some(Duration::from_secs(6)));
}

/// What the first run committed while the second one was starting lies beyond the end offsets that it asked for first.
#[test]
fn a_run_that_lives_is_taken_over_when_that_is_asked_for() {
    overtaken("takeover", "-w 2", "-w 2 --take-over", None);
}

#[test]
fn a_line_to_the_database_that_is_cut_or_held_at_any_moment_loses_and_repeats_nothing() {
    let scene = Scene::new("line", City::smart(), 3);
    let proxy = Proxy::to(&scene.database.url);
    let checker = Checker::start(&scene.database, &scene.city);
    let mut random = Random(13);
    scene.under_load(3, 14, || {
        let mut run =
            CommandLine::run(&scene.services, &scene.topic.name, &proxy.url(&scene.database.url), scene.test)
                .args(["-w", "2"])
                .spawn();
        for round in 0..7 {
            wait_until("a generation commits", LIMIT, || {
                assert_eq!(run.ended(), None, "the supervisor goes on");
                scene.is_advancing()
            });
            std::thread::sleep(Duration::from_millis(random.below(500) as u64));
            match round % 3 {
                0 => proxy.cut(),
                1 => {
                    // What the server has done stays unknown to the run: a commit may be among it.
                    proxy.hold(true);
                    std::thread::sleep(Duration::from_millis(300));
                    proxy.refuse(true);
                    proxy.cut();
                    proxy.hold(false);
                    std::thread::sleep(Duration::from_millis(500));
                    proxy.refuse(false);
                }
                _ => {
                    proxy.hold(true);
                    std::thread::sleep(Duration::from_millis(1500));
                    proxy.hold(false);
                }
            }
        }
        wait_until("the run goes on", LIMIT, || scene.is_advancing());
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    });
    scene.catch_up("-w 1");
    checker.finish();
    scene.assert_tables();
}

#[test]
fn members_that_are_started_one_by_one_find_each_other_and_go_on_when_one_of_them_is_killed() {
    let scene = Scene::new("members", City::smart(), 4);
    let free = || std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let (first, second) = (free(), free());
    let addresses: Vec<String> = [&first, &second]
        .iter()
        .map(|listener| listener.local_addr().expect("an address").to_string())
        .collect();
    drop((first, second));
    let hostfile = scratch().join(format!("{}.hosts", unique("members")));
    std::fs::write(&hostfile, addresses.join("\n")).expect("writing a hostfile");
    let member = |process: usize| {
        scene.run(&format!("-w 1 -n 2 -p {process} --hostfile")).args([hostfile.as_path()]).spawn()
    };
    let checker = Checker::start(&scene.database, &scene.city);
    scene.under_load(4, 15, || {
        let mut members = [member(0), member(1)];
        for victim in [1, 0] {
            let before = scene.newest_run();
            wait_until("both members commit", LIMIT, || scene.newest_run() > before || scene.is_advancing());
            std::thread::sleep(Duration::from_millis(700));
            // The process that works below this member's supervisor; the other one is lost with it.
            let below = members[victim].descendants();
            let before = scene.newest_run();
            send_signal(below[0], libc::SIGKILL);
            wait_until("the next generation of both commits", LIMIT, || {
                assert!(members.iter_mut().all(|member| member.ended().is_none()), "both supervisors go on");
                scene.newest_run() > before
            });
        }
        members.iter().for_each(|member| member.signal(libc::SIGTERM));
        members.iter_mut().for_each(|member| assert_eq!(member.wait(LIMIT), Ended::Exit(0)));
    });
    scene.catch_up("-w 1");
    checker.finish();
    scene.assert_tables();
}
