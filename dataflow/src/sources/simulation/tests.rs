//! Which offsets exist when, and that they say the same whoever asks.

use super::*;

fn settings() -> SimulationSettings {
    SimulationSettings {
        seed: 7,
        sensors: 40,
        partitions: 3,
        rate: 1_000.0,
        anomalies: 0.05,
        start_us: Some(1_700_000_000_000_000),
        history_us: None,
        count: Some(1_000),
    }
}

fn simulation(settings: &SimulationSettings) -> Arc<Simulation> {
    Arc::new(Simulation::new(&Domain::smart_city(), settings, None, 1_800_000_000_000_000).expect("a city"))
}

/// Everything that a reader of these partitions delivers, by (partition, offset).
fn read(simulation: &Arc<Simulation>, assigned: &[Assigned]) -> BTreeMap<(i32, i64), (i64, Vec<u8>)> {
    let intake = simulation.read(0, assigned, Arc::new(|| ()));
    let mut records = BTreeMap::new();
    let mut ended = BTreeSet::new();
    while ended.len() < assigned.len() {
        let chunk = intake.chunks.recv_timeout(Duration::from_secs(60)).expect("a chunk");
        let mut from = 0;
        for (index, offset) in chunk.offsets.iter().enumerate() {
            let end = chunk.ends[index] as usize;
            let record = (chunk.received_at_ms[index], chunk.payloads[from..end].to_vec());
            assert!(records.insert((chunk.partition, *offset), record).is_none(), "once");
            from = end;
        }
        if chunk.reach.at_end {
            ended.insert(chunk.partition);
        }
    }
    intake.control.stop();
    records
}

#[test]
fn every_reading_of_a_count_is_delivered_once_with_the_time_of_its_turn() {
    let simulation = simulation(&settings());
    let assigned = simulation.assign(&Ledger::default());
    assert_eq!(assigned.iter().map(|one| one.end_offset).sum::<i64>(), 1_000);
    let records = read(&simulation, &assigned);
    assert_eq!(records.len(), 1_000);
    let mut times: Vec<i64> = records.values().map(|(at_ms, _)| *at_ms).collect();
    times.sort_unstable();
    assert_eq!(times, (0..1_000).map(|number| 1_700_000_000_000 + number).collect::<Vec<_>>());
}

#[test]
fn the_truth_about_each_reading_is_told_beside_it() {
    let simulation = simulation(&settings());
    let assigned = simulation.assign(&Ledger::default());
    let intake = simulation.read(0, &assigned, Arc::new(|| ()));
    let chunks: Vec<Chunk> = (0..3)
        .map(|_| intake.chunks.recv_timeout(Duration::from_secs(60)).expect("a partition's chunk"))
        .collect();
    intake.control.stop();
    let records: usize = chunks.iter().map(Chunk::records).sum();
    let truth: Vec<(i64, bool)> = chunks.iter().flat_map(|chunk| chunk.truth.clone()).collect();
    let anomalous = truth.iter().filter(|(_, is_anomalous)| *is_anomalous).count();
    assert!(truth.len() > records * 9 / 10 && truth.len() <= records, "{} of {records}", truth.len());
    assert!((1..records / 4).contains(&anomalous), "some are anomalous: {anomalous}");
    for chunk in &chunks {
        assert!(chunk.truth.iter().all(|(offset, _)| chunk.offsets.contains(offset)));
    }
}

#[test]
fn who_goes_on_in_the_middle_reads_what_the_first_one_would_have_read() {
    let simulation = simulation(&settings());
    let mut assigned = simulation.assign(&Ledger::default());
    let whole = read(&simulation, &assigned);
    assigned.iter_mut().for_each(|one| one.next_offset = 100);
    let rest = read(&self::simulation(&settings()), &assigned);
    assert_eq!(rest.len(), 700);
    assert!(rest.iter().all(|(place, record)| whole[place] == *record));
}

#[test]
fn a_history_has_a_reading_a_minute_from_each_sensor_and_the_stream_follows_without_a_gap() {
    let with_history = SimulationSettings { history_us: Some(3_600_000_000), ..settings() };
    let simulation = simulation(&with_history);
    let assigned = simulation.assign(&Ledger::default());
    let whole = read(&simulation, &assigned);
    assert_eq!(whole.len(), 60 * 40 + 1_000);
    let mut times: Vec<i64> = whole.values().map(|(at_ms, _)| *at_ms).collect();
    times.sort_unstable();
    let history = (0..2_400).map(|number| 1_699_996_400_000 + number * 1_500);
    assert_eq!(times, history.chain((0..1_000).map(|number| 1_700_000_000_000 + number)).collect::<Vec<_>>());
    // In the order of the log no partition goes back, and none has a hole.
    for partition in 0..3 {
        let log: Vec<(&(i32, i64), i64)> = whole
            .iter()
            .filter(|(place, _)| place.0 == partition)
            .map(|(place, (at, _))| (place, *at))
            .collect();
        assert!(log.iter().enumerate().all(|(offset, (place, _))| place.1 == offset as i64));
        assert!(log.windows(2).all(|two| two[0].1 < two[1].1));
    }
    // Taken up within the history: the rest of it, and the stream.
    let mut later = assigned.clone();
    later.iter_mut().for_each(|one| one.next_offset = 700);
    let rest = read(&self::simulation(&with_history), &later);
    assert_eq!(rest.len(), whole.len() - 3 * 700);
    assert!(rest.iter().all(|(place, record)| whole[place] == *record));
    assert!(
        simulation.identity().contains(" anomalies=0.05 history=3600s start="),
        "{}",
        simulation.identity()
    );
}

#[test]
fn a_start_that_nobody_gave_is_the_databases_or_now() {
    let domain = Domain::smart_city();
    let unstarted = SimulationSettings { start_us: None, ..settings() };
    let first = Simulation::new(&domain, &unstarted, None, 1_750_000_000_123_456).expect("a city");
    assert!(first.identity().ends_with("rate=1000 anomalies=0.05 start=2025-06-15T15:06:40Z"));
    let later = Simulation::new(&domain, &unstarted, Some(&first.identity()), 1_760_000_000_000_000);
    assert_eq!(later.expect("a city").identity(), first.identity());
    let other = SimulationSettings { seed: 8, ..unstarted };
    let other = Simulation::new(&domain, &other, Some(&first.identity()), 1_760_000_000_000_000);
    assert_ne!(other.expect("a city").identity(), first.identity());
}

#[test]
fn what_cannot_be_simulated_is_refused() {
    let domain = Domain::smart_city();
    let refused = |settings: SimulationSettings| {
        Simulation::new(&domain, &settings, None, 1_800_000_000_000_000).expect_err("refused").to_string()
    };
    assert!(refused(SimulationSettings { rate: 0.0, ..settings() }).contains("a rate of 0"));
    assert!(refused(SimulationSettings { partitions: 5_000, ..settings() }).contains("5000 partitions"));
    assert!(refused(SimulationSettings { partitions: 0, ..settings() }).contains("at least one partition"));
    assert!(
        refused(SimulationSettings { start_us: Some(1_900_000_000_000_000), ..settings() })
            .contains("2030-03-17T17:46:40Z, which is in the future")
    );
}
