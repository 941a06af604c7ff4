//! What a log says, wherever chunks begin and end.

use proptest::prelude::*;

use super::*;

/// 2026-11-21T05:26:00Z.
const NOON_MS: i64 = 1_795_238_760_000;

fn domain(zones_max: usize) -> Domain {
    let mut domain = Domain::smart_city();
    domain.limits.zones_max = zones_max;
    domain
}

fn payload(sensor: i64, zone: &str) -> Vec<u8> {
    format!(r#"{{"sensor_id":"{sensor}","timestamp":{NOON_MS},"zone":"{zone}","aqi":{}}}"#, sensor % 500)
        .into_bytes()
}

fn start(partition: i32, next_offset: i64, zones: &[&str]) -> Mark {
    let new_zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
    Mark { new_zones, ..Mark::at_start(partition, next_offset) }
}

fn chunk(partition: i32, records: &[(i64, Vec<u8>)]) -> Chunk {
    let mut chunk = Chunk { partition, ..Chunk::default() };
    records.iter().for_each(|(offset, payload)| chunk.push(*offset, NOON_MS, payload));
    chunk
}

fn zones_of(batch: &Batch) -> Vec<&str> {
    (0..batch.rows()).map(|row| &**batch.zone(row)).collect()
}

#[test]
fn the_first_zones_in_the_log_are_admitted_and_later_ones_are_dead_letters() {
    let mut assembler = Assembler::new(&domain(2), &[start(0, 0, &[])]);
    let zones = ["Harbour", "Downtown", "Airport", "Docks", "Harbour", "Docks", "Tech Hub"];
    let records: Vec<_> = zones.iter().zip(0..).map(|(zone, at)| (at, payload(at, zone))).collect();
    let batch = assembler.assemble(&chunk(0, &records));
    assert_eq!(zones_of(&batch), ["Harbour", "Downtown", "Airport", "Harbour", "Tech Hub"]);
    assert_eq!(batch.new_zones.iter().map(|zone| &**zone).collect::<Vec<_>>(), ["Harbour", "Airport"]);
    let dead: Vec<_> =
        batch.dead.iter().map(|dead| (dead.offset, dead.reason, dead.field.as_deref())).collect();
    assert_eq!(dead, [(3, Reason::TooManyZones, Some("zone")), (5, Reason::TooManyZones, Some("zone"))]);
    assert_eq!(batch.progress.next_offset, 7);
}

#[test]
fn an_event_time_is_held_against_the_readers_clock_where_the_senders_is_ahead_of_it() {
    let mut assembler = Assembler::new(&domain(2), &[start(0, 0, &[])]);
    let records: Vec<_> = (0..3).map(|at| (at, payload(at, "Downtown"))).collect();
    // All timestamps say noon; the reader's clock says that noon is a minute off, and a minute and a millisecond.
    let ahead = vec![(1, NOON_MS - 60_000), (2, NOON_MS - 60_001)];
    let batch = assembler.assemble(&Chunk { ahead, ..chunk(0, &records) });
    let dead: Vec<_> = batch.dead.iter().map(|dead| (dead.offset, dead.reason)).collect();
    assert_eq!((batch.offsets, dead), (vec![0, 1], vec![(2, Reason::InTheFuture)]));
    assert!(batch.dead[0].message.contains("the clock 2026-11-21T05:24:59.999"), "{}", batch.dead[0].message);
}

#[test]
fn a_zone_that_is_refused_is_not_remembered() {
    let mut assembler = Assembler::new(&domain(0), &[start(0, 0, &[])]);
    let records: Vec<_> = (0..50).map(|at| (at, payload(at, &format!("zone {at}")))).collect();
    let batch = assembler.assemble(&chunk(0, &records));
    assert_eq!((batch.rows(), batch.dead.len()), (0, 50));
    assert_eq!(batch.zone_names.len(), Domain::smart_city().zones.len());
}

#[test]
fn every_partition_has_its_own_count_of_zones() {
    let mut assembler = Assembler::new(&domain(1), &[start(0, 0, &[]), start(1, 0, &[])]);
    let first = assembler.assemble(&chunk(0, &[(0, payload(1, "Harbour"))]));
    let second = assembler.assemble(&chunk(1, &[(0, payload(1, "Docks")), (1, payload(1, "Harbour"))]));
    assert_eq!((zones_of(&first), zones_of(&second)), (vec!["Harbour"], vec!["Docks"]));
    assert_eq!(second.dead[0].reason, Reason::TooManyZones, "known to partition 0 alone");
    assert_eq!(second.new_zones.len(), 1);
}

#[test]
fn zones_that_a_partition_had_brought_before_a_restart_still_count() {
    let mut assembler = Assembler::new(&domain(1), &[start(0, 10, &["Harbour"])]);
    let records = [(10, payload(1, "Docks")), (11, payload(1, "Harbour"))];
    let batch = assembler.assemble(&chunk(0, &records));
    assert_eq!(zones_of(&batch), ["Harbour"]);
    assert_eq!((batch.dead[0].offset, batch.new_zones.len()), (10, 0));
}

#[test]
fn what_retention_deleted_is_lost_and_what_kafka_left_out_is_a_gap() {
    let mut assembler = Assembler::new(&domain(1), &[start(0, 10, &[])]);
    let mut read = chunk(0, &[(103, payload(1, "Downtown")), (105, payload(1, "Downtown"))]);
    read.lost_below = Some(100);
    let progress = assembler.assemble(&read).progress;
    assert_eq!((progress.lost, progress.gaps, progress.next_offset), (90, 4, 106));
}

#[test]
fn a_loss_below_what_was_read_is_none_and_one_without_records_moves_on() {
    let mut assembler = Assembler::new(&domain(1), &[start(0, 10, &[])]);
    let told = |lost_below| Chunk { lost_below: Some(lost_below), ..Chunk::default() };
    let before = assembler.assemble(&told(5)).progress;
    assert_eq!((before.lost, before.next_offset), (0, 10));
    let after = assembler.assemble(&told(25)).progress;
    assert_eq!((after.lost, after.gaps, after.next_offset), (15, 0, 25));
}

#[test]
fn what_is_delivered_twice_counts_once() {
    let mut assembler = Assembler::new(&domain(1), &[start(0, 0, &[])]);
    let records = [(0, payload(1, "Downtown")), (1, payload(2, "Downtown")), (2, b"?".to_vec())];
    assembler.assemble(&chunk(0, &records));
    let again = [records[1].clone(), records[2].clone(), (3, payload(3, "Downtown"))];
    let batch = assembler.assemble(&chunk(0, &again));
    assert_eq!((batch.offsets.as_slice(), batch.dead.len(), batch.progress.gaps), (&[3][..], 0, 0));
}

#[test]
fn a_dead_record_keeps_its_first_64_kib_and_its_length() {
    let mut assembler = Assembler::new(&domain(1), &[start(0, 0, &[])]);
    let batch = assembler.assemble(&chunk(0, &[(0, vec![b'x'; 70_000])]));
    assert_eq!((batch.dead[0].payload.len(), batch.dead[0].payload_bytes), (65_536, 70_000));
}

#[test]
fn cutting_a_chunk_leaves_what_lies_below_the_offset() {
    let records = [(4, payload(1, "Downtown")), (7, payload(2, "Downtown")), (9, payload(3, "Downtown"))];
    for (offset, left) in [(0, 0), (4, 0), (5, 1), (7, 1), (8, 2), (100, 3)] {
        let mut cut = chunk(0, &records);
        cut.cut_at(offset);
        let expected = chunk(0, &records[..left]);
        assert_eq!((cut.records(), &cut.payloads, &cut.ends), (left, &expected.payloads, &expected.ends));
        assert_eq!(cut.received_at_ms.len(), left);
    }
}

/// What a run of batches says, without regard to where they end.
#[derive(Debug, Default, PartialEq)]
struct Said {
    readings: Vec<(i64, String, String, i64, Vec<u64>)>,
    dead: Vec<(i64, Reason, String, Vec<u8>)>,
    new_zones: Vec<String>,
    gaps: i64,
    lost: i64,
    next_offset: i64,
}

impl Said {
    fn add(&mut self, batch: &Batch) {
        for row in 0..batch.rows() {
            self.readings.push((
                batch.offsets[row],
                String::from_utf8(batch.sensor(row).to_vec()).expect("UTF-8"),
                batch.zone(row).to_string(),
                batch.event_times_us[row],
                batch.metrics.iter().map(|column| column[row].to_bits()).collect(),
            ));
        }
        let dead = batch.dead.iter();
        self.dead
            .extend(dead.map(|dead| (dead.offset, dead.reason, dead.message.clone(), dead.payload.clone())));
        self.new_zones.extend(batch.new_zones.iter().map(|zone| zone.to_string()));
        self.gaps += batch.progress.gaps;
        self.lost += batch.progress.lost;
        self.next_offset = batch.progress.next_offset;
    }
}

fn record() -> impl Strategy<Value = (i64, Vec<u8>)> {
    let zone = prop::sample::select(vec!["Downtown", "Harbour", "Docks", "Airport", "Tech Hub", "Mill"]);
    let payload = prop_oneof![
        8 => (0..1000_i64, zone).prop_map(|(sensor, zone)| payload(sensor, zone)),
        1 => Just(b"no reading".to_vec()),
        1 => Just(Vec::new()),
    ];
    (prop_oneof![6 => Just(0_i64), 1 => 1..4_i64], payload)
}

proptest! {
    #[test]
    fn chunks_split_anywhere_and_delivered_twice_say_the_same(
        records in prop::collection::vec(record(), 1..60),
        cuts in prop::collection::vec(prop::bool::weighted(0.2), 60),
        repeats in prop::collection::vec(0..3_usize, 60),
        zones_max in 0..5_usize,
    ) {
        let mut offset = 10;
        let records: Vec<(i64, Vec<u8>)> = records.into_iter().map(|(gap, payload)| {
            offset += gap + 1;
            (offset - 1, payload)
        }).collect();
        let begin = || Assembler::new(&domain(zones_max), &[start(0, 5, &[]), start(1, 0, &[])]);

        let mut whole = Said::default();
        let mut at_once = chunk(0, &records);
        at_once.lost_below = Some(8);
        whole.add(&begin().assemble(&at_once));

        let mut split = Said::default();
        let mut assembler = begin();
        let mut from = 0;
        for (index, cut) in (1..=records.len()).zip(cuts) {
            if cut || index == records.len() {
                // Another partition of the same worker brings zones of its own in between.
                assembler.assemble(&chunk(1, &[(index as i64, payload(1, "Mill"))]));
                let mut part = chunk(0, &records[from.max(repeats[index - 1]) - repeats[index - 1]..index]);
                part.lost_below = (from == 0).then_some(8);
                split.add(&assembler.assemble(&part));
                from = index;
            }
        }
        prop_assert_eq!(&split, &whole);
        prop_assert_eq!(
            whole.next_offset - 5,
            whole.readings.len() as i64 + whole.dead.len() as i64 + whole.gaps + whole.lost
        );
        prop_assert_eq!(whole.lost, 3);
    }
}
