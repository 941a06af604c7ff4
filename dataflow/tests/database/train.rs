//! `citytide train`: what it learns from, what it refuses, and what it tells.

use serde_json::Value;

use super::program::{Living, citytide, hours_ago, learn_in_parts, wait_for};
use super::scratch::{execute, number, with_database};

#[test]
fn before_there_is_enough_to_learn_from_the_reason_is_told_and_nothing_stored() {
    with_database(async |scratch| {
        let client = scratch.with_schema().await;
        let told = citytide(scratch, "train");
        assert_eq!((told.code, told.err.contains("nothing is committed")), (Some(78), true), "{}", told.err);
        execute(&client, "drop schema public cascade; create schema public").await;
        let few = "run --source simulation --sensors 40 --partitions 2 --rate 20 --count 500 --until-caught-up \
                   --start 2026-11-20T00:00:00Z";
        let told = citytide(scratch, few);
        assert_eq!(told.code, Some(0), "{}", told.err);
        let told = citytide(scratch, "train");
        assert_eq!((told.code, told.err.contains("at least 100 rows")), (Some(78), true), "{}", told.err);
        assert_eq!(number(&client, "select count(*) from models").await, 0);
    });
}

#[test]
fn a_model_by_hand_is_told_beside_the_one_in_force_and_may_be_promoted_at_once() {
    with_database(async |scratch| {
        let since = hours_ago(1);
        learn_in_parts(scratch, &since, 50, 165_000);
        let client = scratch.open().await;
        let before = number(&client, "select max(epoch) from commits").await;
        let run = Living::start(scratch, &since, "-w 2");
        wait_for(&client, &format!("select least(count(*), 1) from commits where epoch > {before}"), 1).await;
        wait_for(&client, "select least(count(*), 1) from model_changes", 1).await;
        let told = citytide(scratch, "train --promote");
        assert_eq!(told.code, Some(0), "{}", told.err);
        for part in ["stored as shadow", "beside model ", "both flag", "is in force from epoch 1"] {
            assert!(told.out.contains(part), "{part}: {}", told.out);
        }
        assert_eq!(run.end(), Some(0));

        let told = citytide(scratch, "train --json");
        let object: Value = serde_json::from_str(&told.out).expect("one object");
        let version = object["model"]["version"].as_i64().expect("a number");
        let in_force = number(&client, "select version::bigint from models where status = 'in_force'").await;
        assert_eq!(
            (&object["model"]["status"], object["in_force"].as_i64()),
            (&"shadow".into(), Some(in_force))
        );
        assert_eq!(number(&client, "select max(version)::bigint from models").await, version);
        // A reading of the last hour counts once, for its zone.
        let hour =
            "from sensor_data where recorded_at > (select max(watermark) from commits) - interval '1 hour'";
        let counted = number(&client, &format!("select count(*) {hour}")).await;
        assert_eq!(object["all"]["readings"].as_i64(), Some(counted));
        for (zone, counts) in object["zones"].as_object().expect("zones") {
            let in_zone = number(&client, &format!("select count(*) {hour} and zone = '{zone}'")).await;
            assert_eq!(counts["readings"].as_i64(), Some(in_zone), "{zone}");
        }
        let sampled = &object["model"]["figures"];
        let rows = object["model"]["rows"].as_i64().expect("a number");
        assert_eq!(sampled["left_out"].as_i64().map(|left_out| left_out + rows), sampled["sampled"].as_i64());

        execute(&client, "update models set model = 'x' where status = 'in_force'").await;
        let told = citytide(scratch, "train");
        assert!(told.out.contains("the model in force cannot be used: reading model"), "{}", told.out);
    });
}
