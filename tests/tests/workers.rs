//! Workers, processes and serialization change nothing, not even a bit.

use citytide_tests::city::City;
use citytide_tests::compare::{assert_tables, dump};
use citytide_tests::database::Database;
use citytide_tests::folder::Form;
use citytide_tests::load::Traffic;
use citytide_tests::oracle::expect;
use citytide_tests::process::Ended;
use citytide_tests::scene::{LIMIT, Scene};
use citytide_tests::snapshot::{Checker, check_once};

#[test]
fn any_number_of_workers_and_processes_writes_the_same_bits() {
    whatever_the_workers(Scene::new("workers", City::smart(), 4));
}

#[test]
fn any_number_of_workers_writes_the_same_bits_of_files() {
    whatever_the_workers(Scene::of_files("filebits", City::smart(), 4, Form::Json));
}

fn whatever_the_workers(scene: Scene) {
    Traffic::new(3, 50_000).send(&scene.topic, &scene.city, 4, 30_000);
    scene.topic.flush();
    let expected = expect(&scene.city, &scene.topic.sent(), scene.last_watermark());
    let mut first: Option<Vec<String>> = None;
    for arguments in ["-w 1", "-w 2", "-w 2 --zerocopy", "-w 3", "-n 2", "-n 2 -w 2"] {
        let database = Database::create(&scene.services, "workers");
        let checker = Checker::start(&database, &scene.city);
        let mut run = scene.run_on(&database, &format!("--until-caught-up {arguments}")).spawn();
        assert_eq!(run.wait(LIMIT), Ended::Exit(0), "{arguments}");
        check_once(&database.session, &scene.city);
        checker.finish();
        assert_tables(&database.session, &scene.city, &expected);
        let tables = dump(&database.session, &scene.city);
        let first = first.get_or_insert_with(|| tables.clone());
        for (one, other) in first.iter().zip(&tables) {
            assert_eq!(one, other, "-w 1 and {arguments} differ");
        }
        assert_eq!(first.len(), tables.len(), "-w 1 and {arguments} differ");
    }
}

#[test]
fn a_run_in_pieces_with_other_workers_each_time_writes_what_one_run_writes() {
    in_pieces(Scene::new("pieces", City::smart(), 3), "");
}

#[test]
fn files_that_grow_between_runs_write_what_one_run_writes() {
    // Nobody stamps lines, so some are minutes ahead: where a piece ends, the other files are not waited for, and the
    // detector would say so. By rules nothing depends on where a run ends.
    let rules = "--detector rules";
    in_pieces(Scene::of_files("filepieces", City::smart(), 3, Form::Json), rules);
    in_pieces(Scene::of_files("gzippieces", City::smart(), 3, Form::JsonGzip), rules);
}

fn in_pieces(scene: Scene, detector: &str) {
    let mut traffic = Traffic::new(4, 100_000);
    for (arguments, count) in [("-w 1", 3000), ("-n 2 -w 2", 50), ("-w 2", 4000), ("-n 2", 1), ("-w 1", 3000)]
    {
        traffic.send(&scene.topic, &scene.city, 3, count);
        scene.catch_up(&format!("{arguments} {detector}"));
        scene.assert_caught_up();
        check_once(&scene.database.session, &scene.city);
    }
    let before = scene.database.commits();
    scene.catch_up(&format!("-w 2 {detector}"));
    assert_eq!(scene.database.commits(), before, "when there is nothing to say, there is no transaction");
    let whole = Database::create(&scene.services, "pieces");
    let mut run = scene.run_on(&whole, &format!("--until-caught-up -w 2 {detector}")).spawn();
    assert_eq!(run.wait(LIMIT), Ended::Exit(0));
    assert!(
        dump(&whole.session, &scene.city) == dump(&scene.database.session, &scene.city),
        "in pieces and in one: the same"
    );
}

#[test]
fn partitions_that_were_added_to_the_topic_are_read_after_a_restart() {
    let scene = Scene::new("grow", City::smart(), 1);
    let mut traffic = Traffic::new(23, 100_000);
    traffic.send(&scene.topic, &scene.city, 1, 1000);
    scene.catch_up("-w 1");
    scene.topic.grow(3);
    traffic.send(&scene.topic, &scene.city, 3, 2000);
    scene.catch_up("-n 2");
    scene.assert_tables();
    check_once(&scene.database.session, &scene.city);
}
