//! What goes wrong around a run: nobody reads what it writes, or PostgreSQL refuses what it says.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

use citytide_tests::city::City;
use citytide_tests::http::{free_port, samples};
use citytide_tests::load::Traffic;
use citytide_tests::process::{CommandLine, Ended};
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::services::wait_until;

/// A pipe whose reader has gone.
fn closed() -> PipeWriter {
    std::io::pipe().expect("a pipe").1
}

/// A pipe that is full, and its reader, who has not begun to read.
fn full() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let descriptor = writer.as_raw_fd();
    // SAFETY: fcntl has no memory effects with this command.
    let set_flags = |flags: i32| assert_eq!(unsafe { libc::fcntl(descriptor, libc::F_SETFL, flags) }, 0);
    set_flags(libc::O_NONBLOCK);
    for piece in [4096, 1] {
        while writer.write(&vec![b'\n'; piece]).is_ok() {}
    }
    set_flags(0);
    (reader, writer)
}

#[test]
fn a_command_whose_reader_has_gone_ends_as_other_programs_do() {
    let scene = Scene::new("unread", City::smart(), 2);
    Traffic::new(81, 100_000).send(&scene.topic, &scene.city, 2, 500);
    scene.catch_up("-w 1");
    let (brokers, url) = (scene.services.brokers.as_str(), scene.database.url.as_str());
    for arguments in [
        "completions bash",
        "man",
        "config show",
        "schema print",
        &format!("schema diff --database-url {url}"),
        &format!("verify --database-url {url}"),
        &format!("check --database-url {url} --brokers {brokers} --topic {}", scene.topic.name),
        &format!("followers list --database-url {url}"),
        &format!("models list --database-url {url}"),
        &format!("tap --from 0 --database-url {url}"),
        &format!("why --reading 0:1 --database-url {url}"),
        &format!("dead-letters list --database-url {url}"),
        &format!("topics create --if-not-exists --brokers {brokers} --topic {}", scene.topic.name),
    ] {
        let (ended, said) = CommandLine::new(&scene.services.citytide, "unread")
            .args(arguments.split_whitespace())
            .stdout(closed())
            .finish(LIMIT);
        assert_eq!((ended, said.as_str()), (Ended::Signal(libc::SIGPIPE), ""), "citytide {arguments}");
    }
    let (ended, said) =
        CommandLine::new(&scene.services.citytide, "unread").args(["--help"]).stdout(closed()).finish(LIMIT);
    assert!(matches!(ended, Ended::Exit(0)) && said.is_empty(), "{ended:?} {said}");
}

#[test]
fn a_run_whose_reader_has_gone_drains_and_ends() {
    for arguments in ["-w 2", "-n 2", "-w 1 --no-supervise"] {
        let scene = Scene::new("head", City::smart(), 2);
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        scene.under_load(2, 82, || {
            let mut run = scene.run(&format!("{arguments} --show")).stdout(writer).spawn();
            let mut first = [0; 64];
            reader.read_exact(&mut first).expect("a line is shown");
            drop(reader);
            assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}");
            let said = run.log();
            // By level: that a peer's port is not open yet is an ordinary line with an "os error".
            assert!(!said.contains(" error: ") && !said.contains(" warning: "), "{arguments}: {said}");
        });
        scene.catch_up("-w 1");
        scene.assert_caught_up();
    }
}

#[test]
fn a_run_commits_although_nobody_reads_its_log_or_what_it_shows() {
    for arguments in ["-w 2", "-w 1 --no-supervise"] {
        let scene = Scene::new("stalled", City::smart(), 2);
        let (shown, show) = full();
        let (mut logged, log) = full();
        let port = free_port();
        let mut run = scene
            .run(&format!("{arguments} --show --log-level trace --listen {port}"))
            .stdout(show)
            .stderr(log)
            .spawn();
        let mut traffic = Traffic::new(83, 100_000);
        let dropped = "citytide_lines_dropped_total{stream=\"log\"}";
        wait_until("lines of the log are dropped", LIMIT, || {
            traffic.send(&scene.topic, &scene.city, 2, 200);
            assert_eq!(run.ended(), None, "the run goes on");
            samples(port).is_some_and(|samples| samples.get(dropped).is_some_and(|lines| *lines > 0.0))
        });
        scene.wait_committed(&mut run);
        let log = std::thread::spawn(move || {
            let mut said = String::new();
            logged.read_to_string(&mut said).expect("a log");
            said
        });
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}");
        let said = log.join().expect("a reader");
        assert!(said.contains("lines of the log are missing here"), "{arguments}: {said}");
        drop(shown);
        scene.assert_tables();
    }
}

#[test]
fn a_statement_that_postgresql_always_refuses_is_a_bug_and_not_tried_for_ever() {
    let scene = Scene::new("refused", City::smart(), 2);
    Traffic::new(84, 100_000).send(&scene.topic, &scene.city, 2, 500);
    scene.catch_up("-w 1");
    scene.database.session.batch("alter table metrics_1min add check (reading_count < 0) not valid");
    Traffic::new(85, 100_000).send(&scene.topic, &scene.city, 2, 500);
    scene.topic.flush();
    for arguments in ["-w 2", "-w 1 --no-supervise"] {
        let (ended, said) = scene.run(arguments).finish(LIMIT);
        assert_eq!(ended, Ended::Exit(70), "{arguments}: {said}");
        for words in ["metrics_1min", "SQLSTATE 23514", "will reject this statement again"] {
            assert!(said.contains(words), "{arguments}: {words} is not in: {said}");
        }
    }
}
