//! A shadow model beside a run: each committed reading is counted once, whatever happens to the run.

use super::program::{citytide, hours_ago, learn_in_parts};
use super::scratch::{number, texts, with_database};

#[test]
fn a_shadow_counts_every_committed_reading_once_also_through_crashes() {
    with_database(async |scratch| {
        let since = hours_ago(3);
        let run = |count: u32, more: &str| {
            let arguments = format!(
                "run --no-supervise --source simulation --sensors 40 --partitions 2 --rate 20 --start {since} \
                 --count {count} --until-caught-up {more}"
            );
            citytide(scratch, &arguments)
        };
        learn_in_parts(scratch, &since, 20, 135_000);
        let told = run(140_000, "-w 2");
        assert_eq!(told.code, Some(0), "{}", told.err);
        let client = scratch.open().await;
        let told = citytide(scratch, "train --json");
        let object: serde_json::Value =
            serde_json::from_str(&told.out).unwrap_or_else(|_| panic!("{}", told.err));
        let shadow = object["model"]["version"].as_i64().expect("a number");
        let before = number(&client, "select max(epoch) from commits").await;

        let told = run(150_000, "--shadow 99");
        assert_eq!((told.code, told.err.contains("there is no model 99")), (Some(78), true), "{}", told.err);
        let deaths = [
            (160_000, "between-copy-and-commit:1"),
            (170_000, "after-commit:1"),
            (180_000, "between-copy-and-commit:1"),
        ];
        for (count, dies) in deaths {
            let told = run(count, &format!("-w 2 -z --shadow {shadow} --fail-at {dies}"));
            assert_ne!(told.code, Some(0), "{dies}: {}", told.err);
        }
        assert_eq!(run(200_000, &format!("-w 1 --shadow {shadow}")).code, Some(0));

        let counted = "select zone || ' ' || readings || ' ' || flagged_by_both + only_in_force \
                       from model_disagreements order by zone";
        let committed = format!(
            "select zone || ' ' || count(*) || ' ' || count(*) filter (where is_anomaly) from sensor_data \
             where epoch > {before} group by zone order by zone"
        );
        assert_eq!(texts(&client, counted).await, texts(&client, &committed).await);
        assert_eq!(number(&client, "select sum(readings)::bigint from model_disagreements").await, 60_000);
        let first = format!("select min(epoch) from sensor_data where epoch > {before}");
        let since_epoch = number(&client, "select min(since_epoch) from model_disagreements").await;
        assert_eq!(since_epoch, number(&client, &first).await);
        let told = citytide(scratch, &format!("models show {shadow}"));
        assert!(told.out.contains("beside the model in force since"), "{}", told.out);
        assert!(told.out.contains("60,000"), "{}", told.out);
    });
}
