//! Followers: registered, advanced, dropped, and waited for by retention.

use citytide_store::followers::{FollowerError, advance, list, register};
use citytide_store::upkeep::{raise_horizon, retention_horizon};
use serde_json::Value;

use super::program::citytide;
use super::scratch::{DAY_MS, NOON_MS, execute, number, texts, with_database};

const DAY_US: i64 = DAY_MS as i64 * 1000;
const HORIZON: &str = "select horizon_epoch from citytide_database";

fn commit(epoch: u64, before: u64) -> String {
    format!("insert into commits (epoch, previous_epoch, run_id, readings) values ({epoch}, {before}, 0, 1);")
}

#[test]
fn retention_waits_for_the_slowest_follower_and_goes_on_when_it_is_dropped() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        let now_ms = NOON_MS + 3 * DAY_MS;
        execute(
            &client,
            &(commit(NOON_MS, 0) + &commit(NOON_MS + 50, NOON_MS) + &commit(now_ms, NOON_MS + 50)),
        )
        .await;
        let (slow, fast) = (NOON_MS as i64, NOON_MS as i64 + 50);
        assert_eq!(register(&mut client, "slow", 0).await.expect("registered"), 0);
        register(&mut client, "fast", fast).await.expect("registered");
        advance(&client, "slow", slow).await.expect("advanced");
        advance(&client, "slow", 1).await.expect("nothing to do");
        raise_horizon(&mut client, 0, DAY_US, now_ms).await.expect("raised");
        assert_eq!(number(&client, HORIZON).await, slow, "up to where the slowest is");

        let wanted = retention_horizon(DAY_US, now_ms);
        let found = list(&client, Some(wanted)).await.expect("listed");
        assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["slow", "fast"]);
        assert!(found.iter().all(|one| one.holds_retention));
        assert_eq!(found[0].behind_ms, 3 * DAY_MS as i64);
        assert!(found[0].updated_us.is_some() && found[1].updated_us.is_none());

        let told = citytide(scratch, "followers drop slow");
        assert_eq!(told.code, Some(0), "{}", told.err);
        let says = format!("dropped the follower slow, which had taken everything up to epoch {slow}\n");
        assert!(told.out.starts_with(&says), "{}", told.out);
        raise_horizon(&mut client, 0, DAY_US, now_ms).await.expect("raised");
        assert_eq!(number(&client, HORIZON).await, fast);
        citytide(scratch, "followers drop fast");
        raise_horizon(&mut client, 0, DAY_US, now_ms).await.expect("raised");
        assert_eq!(number(&client, HORIZON).await, wanted);
    });
}

#[test]
fn a_follower_that_is_not_registered_is_told_which_ones_are() {
    with_database(async |scratch| {
        let told = citytide(scratch, "followers list");
        assert_eq!(told.code, Some(78), "{}", told.err);
        let mut client = scratch.with_schema().await;
        let told = citytide(scratch, "followers drop page");
        assert_eq!(told.code, Some(78), "{}", told.err);
        assert!(told.err.contains("no follower is called page: none is registered"), "{}", told.err);
        for name in ["kafka", "parquet"] {
            register(&mut client, name, 0).await.expect("registered");
        }
        let told = citytide(scratch, "followers drop page");
        assert!(
            told.err.contains("no follower is called page: registered are kafka, parquet"),
            "{}",
            told.err
        );
        let error = advance(&client, "page", 5).await.unwrap_err();
        assert!(matches!(error, FollowerError::Unknown { .. }), "{error}");
        assert_eq!(texts(&client, "select name from followers order by 1").await, ["kafka", "parquet"]);
        let listed = citytide(scratch, "followers list --json").out;
        let first: Value = serde_json::from_str(listed.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["name"], "kafka");
        assert_eq!(
            (&first["epoch"], &first["behind_ms"], &first["updated_at"]),
            (&0.into(), &0.into(), &Value::Null)
        );
    });
}

#[test]
fn nobody_registers_behind_the_horizon_and_who_is_there_keeps_his_place() {
    with_database(async |scratch| {
        let mut client = scratch.with_schema().await;
        execute(&client, &format!("{} update citytide_database set horizon_epoch = 7", commit(9, 0))).await;
        let error = register(&mut client, "late", 6).await.unwrap_err();
        assert!(matches!(error, FollowerError::BehindHorizon { horizon: 7, .. }), "{error}");
        assert_eq!(register(&mut client, "page", 7).await.expect("registered"), 7);
        assert_eq!(register(&mut client, "page", 0).await.expect("registered"), 7);
        assert_eq!(texts(&client, "select name from followers").await, ["page"]);
    });
}
