//! The detector's models: told, refused, put in force and taken back, with and without a run that lives.

use citytide_detector::{Layout, Model, Sample, SampleRow};
use citytide_domain::Domain;
use citytide_store::detector::models::{self, PromoteError, Promoted};
use citytide_store::detector::store;
use tokio_postgres::Client;

use super::program::{Living, citytide, hours_ago, learn_in_parts, wait_for};
use super::scratch::{NOON_MS, execute, number, with_database};

/// Stores a model of `rows` readings as shadow, or says why there is none.
async fn train(client: &Client, layout: &Layout, rows: i64) -> Result<Model, String> {
    let mut sample = Sample::of(&Domain::smart_city());
    for offset in 0..rows {
        let features =
            (0..layout.forest_features()).map(|feature| ((offset * 7 + feature as i64) % 13) as f32);
        let event_time_us = NOON_MS as i64 * 1000 + offset;
        let row = SampleRow { event_time_us, is_severe: false, features: features.collect() };
        sample.add(Sample::hash(0, offset), row);
    }
    execute(client, "begin").await;
    let stored =
        store(client, layout, &sample, NOON_MS as i64 * 1000 + rows, false).await.expect("the server");
    execute(client, "commit").await;
    stored
}

/// As a commit does that puts a model in force.
async fn put_in_force(client: &Client, epoch: i64, version: i32) {
    let script = format!(
        "update models set status = 'retired' where status = 'in_force'; \
         update models set status = 'in_force', in_force_from_epoch = {epoch} + 250 where version = {version}; \
         insert into model_changes values ({epoch}, {version}, {epoch} + 250); \
         delete from model_requests where version = {version}"
    );
    execute(client, &script).await;
}

#[test]
fn without_models_there_is_nothing_to_show_or_to_go_back_to() {
    with_database(async |scratch| {
        let told = citytide(scratch, "models list");
        assert_eq!(told.code, Some(78), "{}", told.err);
        scratch.with_schema().await;
        let told = citytide(scratch, "models list");
        assert_eq!((told.code, told.out.contains("no models yet")), (Some(0), true), "{}", told.out);
        for (arguments, says) in [
            ("models show", "no model is in force"),
            ("models show 1", "there is no model 1"),
            ("models promote 1", "there is no model 1"),
            ("models rollback", "no other model was in force before any"),
        ] {
            let told = citytide(scratch, arguments);
            assert_eq!((told.code, told.err.contains(says)), (Some(78), true), "{arguments}: {}", told.err);
        }
    });
}

#[test]
fn a_database_from_before_the_detector_says_how_it_gets_its_tables() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        execute(&client, "drop table models, model_requests, model_changes, model_disagreements").await;
        let told = citytide(scratch, "models list");
        assert_eq!((told.code, told.err.contains("schema apply")), (Some(78), true), "{}", told.err);
    });
}

#[test]
fn too_few_rows_store_nothing() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let layout = Layout::new(&Domain::smart_city());
        let refused = train(&client, &layout, 99).await.unwrap_err();
        assert!(refused.contains("at least 100 rows, and there are 99"), "{refused}");
        assert_eq!(number(&client, "select count(*) from models").await, 0);
    });
}

#[test]
fn models_are_told_with_what_they_are_made_of_and_when_they_judged() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let layout = Layout::new(&Domain::smart_city());
        for _ in 0..2 {
            train(&client, &layout, 300).await.expect("rows enough");
        }
        put_in_force(&client, NOON_MS as i64, 1).await;
        let told = citytide(scratch, "models list");
        assert!(told.out.contains("      1  in force  2026-11-21 12:00"), "{}", told.out);
        assert!(told.out.contains("      2  shadow"), "{}", told.out);
        let lines = citytide(scratch, "models list --json").out;
        let lines: Vec<serde_json::Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(
            (lines.len(), &lines[0]["version"], &lines[1]["status"]),
            (2, &1.into(), &"shadow".into())
        );
        let told = citytide(scratch, "models show");
        for part in ["model       1, in force", "300 readings", "usable      yes", "until now"] {
            assert!(told.out.contains(part), "{part}: {}", told.out);
        }
        let shown: serde_json::Value =
            serde_json::from_str(&citytide(scratch, "models show 2 --json").out).expect("JSON");
        assert_eq!((&shown["usable"], &shown["in_force"]), (&true.into(), &serde_json::json!([])));
    });
}

#[test]
fn what_was_tampered_with_or_is_of_another_domain_is_told_and_never_asked_for() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let layout = Layout::new(&Domain::smart_city());
        train(&client, &layout, 300).await.expect("rows enough");
        train(&client, &layout, 300).await.expect("rows enough");
        execute(
            &client,
            "update models set model = overlay(model placing '7'::bytea from octet_length(model) - 30) \
             where version = 1",
        )
        .await;
        // The second one is of a domain without the last metric.
        let mut domain = Domain::smart_city();
        domain.metrics.pop();
        let other = Layout::new(&domain);
        train(&client, &other, 300).await.expect("rows enough");
        for (version, says) in [(1, "its checksum is"), (3, "it judges")] {
            let told = citytide(scratch, &format!("models promote {version}"));
            assert_eq!((told.code, told.err.contains(says)), (Some(78), true), "{}", told.err);
            let told = citytide(scratch, &format!("models show {version}"));
            assert_eq!((told.code, told.out.contains("usable      no: ")), (Some(0), true), "{}", told.out);
        }
        assert_eq!(number(&client, "select count(*) from model_requests").await, 0);
        let told = citytide(scratch, "models promote 2");
        assert_eq!((told.code, told.out.contains("the next start")), (Some(0), true), "{}", told.err);
    });
}

#[test]
fn one_request_waits_and_is_withdrawn_by_asking_for_what_is_in_force() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let layout = Layout::new(&Domain::smart_city());
        for _ in 0..3 {
            train(&client, &layout, 300).await.expect("rows enough");
        }
        let epoch = NOON_MS as i64;
        put_in_force(&client, epoch, 1).await;
        for version in [2, 3, 3] {
            let promoted = models::promote(&client, &layout, version).await.expect("a good model");
            assert_eq!(promoted, Promoted::NextRun);
            assert_eq!(number(&client, "select sum(version) from model_requests").await, i64::from(version));
        }
        let told = citytide(scratch, "models list");
        assert!(told.out.ends_with("model 3 is requested; a run puts it into force\n"), "{}", told.out);
        let promoted = models::promote(&client, &layout, 1).await.expect("a good model");
        assert_eq!(promoted, Promoted::Already { from_epoch: epoch + 250, withdrawn: Some(3) });
        assert_eq!(number(&client, "select count(*) from model_requests").await, 0);
        // Only one model was ever in force; then another one, twice.
        assert!(matches!(models::before(&client).await, Err(PromoteError::NothingBefore(Some(1)))));
        put_in_force(&client, epoch + 1000, 2).await;
        put_in_force(&client, epoch + 2000, 2).await;
        assert_eq!(models::before(&client).await.expect("it was in force"), 1);
    });
}

#[test]
fn a_living_run_puts_in_force_what_is_asked_for_and_the_next_start_what_waits() {
    with_database(async |scratch| {
        let since = hours_ago(1);
        learn_in_parts(scratch, &since, 50, 165_000);
        let client = scratch.open().await;
        let before = number(&client, "select max(epoch) from commits").await;
        let run = Living::start(scratch, &since, "-w 2");
        wait_for(&client, &format!("select least(count(*), 1) from commits where epoch > {before}"), 1).await;
        wait_for(&client, "select least(count(*), 1) from model_changes", 1).await;
        // A training of the run's own may fall into the test: nothing depends on which versions there are.
        let changes = |version: i32| {
            format!(
                "select count(*) from model_changes where version = {version} \
                 and not exists (select from model_requests)"
            )
        };
        let layout = Layout::new(&Domain::smart_city());
        let mine = train(&client, &layout, 300).await.expect("rows enough").version();

        let promote = format!("models promote {mine}");
        let told = citytide(scratch, &promote);
        assert!(told.out.starts_with(&format!("model {mine} is in force from epoch 1")), "{}", told.out);
        assert_eq!(number(&client, &changes(mine)).await, 1);
        let told = citytide(scratch, "models rollback");
        let (first, second) = told.out.split_once('\n').expect("two lines");
        let back = first.strip_prefix("rolling back to model ").expect("which one");
        assert!(second.starts_with(&format!("model {back} is in force from epoch 1")), "{}", told.out);
        assert_ne!(back, mine.to_string());
        assert_eq!(run.end(), Some(0));

        let told = citytide(scratch, &promote);
        assert!(told.out.contains("no run is active, the next start"), "{} {}", told.out, told.err);
        assert_eq!(number(&client, "select count(*) from model_requests").await, 1);
        let run = Living::start(scratch, &since, "-w 1");
        wait_for(&client, &changes(mine), 2).await;
        assert_eq!(run.end(), Some(0));
        // From which reading on each model judged is written down.
        let told = citytide(scratch, "verify --verdicts");
        assert_eq!(told.code, Some(0), "{}", told.out);
        assert!(told.out.contains("readings agree"), "{}", told.out);
    });
}
