//! Finding a record without an index, against a real server: the place is found, whatever lies between.

#[path = "follow/scratch.rs"]
mod scratch;

use std::collections::{BTreeMap, BTreeSet};

use citytide_store::find::{Raw, Search};
use citytide_store::postgres::Database;

use scratch::{NOON_MS, Random, Writer, with_database};

type Place = (i32, i64);

/// A partition without records for so long is silent.
const SILENCE_MS: i64 = 60_000;

/// What a search says of each place, and the most queries that one took.
async fn found(database: &Database, raw: Raw, places: &BTreeSet<Place>) -> (BTreeMap<Place, i64>, u32) {
    let mut client = database.connect("find").await.expect("a session");
    let snapshot = client.transaction().await.expect("a transaction");
    let (mut found, mut most) = (BTreeMap::new(), 0);
    for place in places {
        let mut search = Search::begin(&snapshot).await.expect("begun");
        let columns = "epoch, kafka_partition, kafka_offset";
        if let Some(row) = search.find(&snapshot, raw, columns, *place).await.expect("searched") {
            assert_eq!((row.get::<_, i32>(1), row.get::<_, i64>(2)), *place);
            found.insert(*place, row.get(0));
        }
        most = most.max(search.rounds);
    }
    (found, most)
}

async fn stored(writer: &Writer, view: &str) -> BTreeMap<Place, i64> {
    let sql = format!("select kafka_partition, kafka_offset, epoch from {view}");
    let rows = writer.client.query(&sql, &[]).await.expect("rows");
    rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect()
}

/// Places of each partition: its ends, both sides of each silence, some of what was replayed with its neighbours, and
/// some of the others, gaps among them.
fn worth_asking(
    readings: &BTreeMap<Place, i64>,
    letters: &BTreeMap<Place, i64>,
    replays: &BTreeSet<i64>,
    random: &mut Random,
) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for partition in 0..3 {
        let of_partition = |place: &Place| place.0 == partition;
        let mut epochs: Vec<(i64, i64, bool)> = (readings.iter().map(|of| (of, false)))
            .chain(letters.iter().map(|of| (of, true)))
            .filter(|((place, _), _)| of_partition(place))
            .map(|((place, epoch), is_dead)| (place.1, *epoch, is_dead))
            .collect();
        epochs.sort_unstable();
        let end = epochs.last().map_or(0, |last| last.0);
        let mut ask = |offset: i64| places.insert((partition, offset));
        for offset in [0, 1, end - 1, end, end + 1, end + 2] {
            ask(offset);
        }
        let in_order = epochs.iter().filter(|(_, epoch, _)| !replays.contains(epoch)).collect::<Vec<_>>();
        for pair in in_order.windows(2).filter(|pair| pair[1].1 - pair[0].1 > SILENCE_MS) {
            for offset in pair[0].0..=pair[1].0 {
                ask(offset);
            }
        }
        for (offset, _, _) in epochs.iter().filter(|(_, epoch, _)| replays.contains(epoch)).step_by(7) {
            for offset in offset - 1..=offset + 1 {
                ask(offset);
            }
        }
        for _ in 0..10 {
            ask(random.below(end as u64 + 1) as i64);
        }
    }
    places
}

#[test]
fn each_record_is_found_and_none_where_there_is_none_also_beside_silence_gaps_and_replays() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 21).await;
        let mut random = Random(4712);
        writer.execute("create table letters_all partition of dead_letter_records default").await;
        let mut sparse = 0;
        for number in 0..400 {
            // Some seconds, and hours of silence now and then.
            let below = if random.below(20) == 0 { 10_000_000 } else { 3_000 };
            writer.epoch += if number > 0 { random.below(below) as i64 } else { 0 };
            let readings = random.below(12);
            writer.commit(readings).await;
            let epoch = writer.epoch;
            if number == 7 || number > 300 && random.below(30) == 0 {
                let script = format!(
                    "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, \
                     is_late, is_anomaly, anomaly_score, model_version) values ({epoch}, 2, {sparse}, 'a', \
                     'Downtown', now(), false, false, 0, 0)"
                );
                writer.execute(&script).await;
                sparse += 2;
            }
        }
        // Some are dead, some are gone, and a replay brought some of the dead back.
        writer
            .execute(
                "insert into dead_letter_records select epoch, kafka_partition, kafka_offset, now(), 'empty', null, \
                 '', '', 0 from sensor_readings where kafka_partition < 2 and kafka_offset % 5 = 3; \
                 delete from sensor_readings where kafka_partition < 2 and kafka_offset % 5 >= 3; \
                 insert into runs (run_id, host, process_id, processes, workers, epoch_offset_ms) \
                 values (9, '', 0, 0, 0, 0)",
            )
            .await;
        let mut replays = BTreeSet::new();
        for _ in 0..3 {
            writer.commit(0).await;
            let epoch = writer.epoch;
            replays.insert(epoch);
            let script = format!(
                "update commits set run_id = 9 where epoch = {epoch}; \
                 insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, \
                 is_late, is_anomaly, anomaly_score, model_version) select {epoch}, kafka_partition, kafka_offset, \
                 'a', 'Downtown', now(), false, false, 0, 0 from (select * from dead_letter_records order by \
                 kafka_offset % 7, kafka_offset limit 20) as letters; \
                 delete from dead_letter_records where (kafka_partition, kafka_offset) in \
                 (select kafka_partition, kafka_offset from sensor_readings where epoch = {epoch})"
            );
            writer.execute(&script).await;
            writer.commit(30).await;
        }
        let (readings, letters) =
            (stored(&writer, "sensor_data").await, stored(&writer, "dead_letters").await);
        assert!(readings.len() > 1_000 && letters.len() > 200, "{} {}", readings.len(), letters.len());
        assert!(readings.values().any(|epoch| *epoch > NOON_MS + 10_000_000), "there is silence");
        let places = worth_asking(&readings, &letters, &replays, &mut random);
        assert!(places.len() > 100, "{} places", places.len());
        let only = |stored: &BTreeMap<Place, i64>| -> BTreeMap<Place, i64> {
            places.iter().filter_map(|place| Some((*place, *stored.get(place)?))).collect()
        };
        let (found_readings, most) = found(database, Raw::Readings, &places).await;
        assert_eq!(found_readings, only(&readings));
        assert!(most < 20, "{most} rounds");
        assert_eq!(found(database, Raw::DeadLetters, &places).await.0, only(&letters));
    });
}

#[test]
fn what_retention_removed_is_told_from_a_gap_also_beside_a_replay_and_in_a_partition_that_is_rarely_read() {
    with_database(async |database| {
        let mut writer = Writer::open(database, 22).await;
        let insert = async |writer: &Writer, (partition, offset): Place| {
            let epoch = writer.epoch;
            let script = format!(
                "insert into sensor_readings (epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, \
                 is_late, is_anomaly, anomaly_score, model_version) values ({epoch}, {partition}, {offset}, 'a', \
                 'Downtown', now(), false, false, 0, 0)"
            );
            writer.execute(&script).await;
        };
        writer.commit(60).await;
        let horizon = writer.epoch;
        writer.commit(0).await;
        let replay = writer.epoch;
        insert(&writer, (0, 3)).await;
        writer.commit(60).await;
        for offset in [0, 2] {
            writer.epoch += 5_000_000;
            writer.commit(1).await;
            insert(&writer, (2, offset)).await;
        }
        writer.epoch += 5_000_000;
        writer.commit(1).await;
        let script = format!(
            "insert into runs (run_id, host, process_id, processes, workers, epoch_offset_ms) values \
             (9, '', 0, 0, 0, 0); \
             update commits set run_id = 9 where epoch = {replay}; \
             update citytide_database set horizon_epoch = {horizon}; \
             delete from sensor_readings where epoch = {horizon} or (kafka_partition, kafka_offset) = (0, 50)"
        );
        writer.execute(&script).await;
        let mut client = database.connect("find").await.expect("a session");
        let snapshot = client.transaction().await.expect("a transaction");
        for (place, was_never_there) in [((0, 10), false), ((0, 50), true), ((2, 1), true)] {
            let mut search = Search::begin(&snapshot).await.expect("begun");
            for raw in [Raw::Readings, Raw::DeadLetters] {
                assert!(
                    search.find(&snapshot, raw, "epoch", place).await.expect("searched").is_none(),
                    "{place:?}"
                );
            }
            let is_behind = search.is_behind_what_is_left(&snapshot, place).await.expect("looked");
            assert_eq!(is_behind, was_never_there, "{place:?}");
        }
    });
}
