//! Sessions against a recompute from every accepted reading, over random streams, watermarks, commits and restarts.

use citytide_domain::SessionBy;
use proptest::prelude::*;

use super::*;
use crate::window::MetricSums;

const SECOND: i64 = 1_000_000;
/// A multiple of ten minutes, the `max` of these tests.
const START: i64 = 1_795_262_400 * SECOND;
const ZONES: [&str; 2] = ["Downtown", "Tech Hub"];

fn domain() -> Domain {
    let mut domain = Domain::smart_city();
    domain.metrics.truncate(1);
    let window = |name: &str, gap_s, by| SessionWindow {
        name: name.to_owned(),
        gap_us: gap_s * SECOND,
        max_us: 600 * SECOND,
        by,
    };
    domain.sessions = vec![window("zones", 10, SessionBy::Zone), window("sensors", 60, SessionBy::Sensor)];
    domain
}

/// An accepted reading: zone, sensor, time, value, whether it is anomalous.
type Accepted = (usize, u8, i64, f64, bool);

fn parts(readings: &[Accepted]) -> Vec<(SessionsOf, Session)> {
    let part = |window, &(zone, sensor, first_us, value, is_anomaly): &Accepted| {
        let sensor: Arc<str> = if window == 0 { "".into() } else { sensor.to_string().into() };
        let mut sums = PaneSums::empty(1);
        (sums.readings, sums.anomalies, sums.last_event_us) = (1, u64::from(is_anomaly), first_us);
        sums.metrics[0].add(value);
        let of = SessionsOf { window, zone: ZONES[zone].into(), sensor };
        (of, Session { first_us, sums, first_epoch: 0 })
    };
    (0..2).flat_map(|window| readings.iter().map(move |reading| part(window, reading))).collect()
}

/// A row by key: end, readings, anomalies, least and greatest value, sum, whether it is final.
type Rows = BTreeMap<Id, (i64, u64, u64, MetricSums, bool)>;

fn shown(row: &SessionRow) -> (i64, u64, u64, MetricSums, bool) {
    let sums = &row.session.sums;
    (row.end_us, sums.readings, sums.anomalies, sums.metrics[0], row.is_final)
}

/// From the definition: readings in order of time, a new session at each gap and at each multiple of `max`.
fn recompute(domain: &Domain, readings: &[Accepted], low_us: i64) -> Rows {
    let mut rows = Rows::new();
    let mut parts = parts(readings);
    parts.sort_by(|one, other| (&one.0, one.1.first_us).cmp(&(&other.0, other.1.first_us)));
    let mut last: Option<(Id, i64)> = None;
    for (of, part) in parts {
        let window = &domain.sessions[of.window];
        let cell = |at_us: i64| at_us.div_euclid(window.max_us);
        let at_us = part.first_us;
        let id = match &last {
            Some((id, last_us))
                if id.0 == of && at_us - last_us < window.gap_us && cell(at_us) == cell(id.1) =>
            {
                id.clone()
            }
            _ => (of, at_us),
        };
        let row = rows.entry(id.clone()).or_insert((0, 0, 0, MetricSums::NONE, false));
        row.0 = (at_us + window.gap_us).min((cell(at_us) + 1) * window.max_us);
        row.1 += 1;
        row.2 += part.sums.anomalies;
        let mut sums = PaneSums::empty(1);
        sums.metrics[0] = row.3;
        sums.merge(&part.sums);
        row.3 = sums.metrics[0];
        row.4 = row.0 <= low_us;
        last = Some((id, at_us));
    }
    rows
}

/// The table, as epochs write it: what is committed, and what is on its way.
#[derive(Default)]
struct Table {
    rows: BTreeMap<Id, SessionRow>,
    waiting: Vec<(u64, Vec<(SessionRow, isize)>)>,
}

impl Table {
    fn commit(&mut self, below: u64) {
        let (done, waiting) =
            std::mem::take(&mut self.waiting).into_iter().partition(|(epoch, _)| *epoch < below);
        self.waiting = waiting;
        let done: Vec<(u64, Vec<(SessionRow, isize)>)> = done;
        for (_, mut rows) in done {
            rows.sort_by_key(|(_, diff)| *diff);
            for (row, diff) in rows {
                let id = (row.of.clone(), row.session.first_us);
                if diff > 0 {
                    self.rows.insert(id, row);
                } else {
                    assert_eq!(self.rows.remove(&id).as_ref(), Some(&row), "what disappears was there");
                }
            }
        }
    }

    fn near(&self, sessions: &mut Sessions, asked: &SessionRange) {
        for row in self.rows.values().filter(|row| row.of == asked.of) {
            let gap_us = sessions.shapes[row.of.window].gap_us;
            if row.session.first_us < asked.until_us + gap_us && row.end_us > asked.from_us {
                sessions.load(row.of.clone(), row.session.clone(), row.is_final);
            }
        }
    }

    fn restart(&self, domain: &Domain, low_us: i64) -> Sessions {
        let mut sessions = Sessions::new(domain, low_us);
        let kept_from_us = sessions.kept_from_us();
        for row in self.rows.values().filter(|row| row.end_us >= kept_from_us) {
            sessions.load(row.of.clone(), row.session.clone(), row.is_final);
        }
        sessions
    }
}

/// A reading as it arrives: zone, sensor, seconds after the epoch's W (negative: late), value, whether it is anomalous.
type Arrival = (usize, u8, i64, i32, bool);

fn epochs() -> impl Strategy<Value = Vec<(i64, Vec<Arrival>, bool)>> {
    let ahead = prop_oneof![8 => -5i64..40, 2 => -300i64..0, 2 => -3_600i64..0];
    let arrival = (0usize..2, 0u8..3, ahead, -50i32..50, prop::bool::ANY);
    let step = prop_oneof![6 => 0i64..30, 2 => 30i64..400, 1 => 400i64..2_000];
    prop::collection::vec((step, prop::collection::vec(arrival, 0..8), prop::bool::weighted(0.05)), 1..100)
}

proptest! {
    #[test]
    fn rows_equal_a_recompute_whatever_is_late_evicted_or_restarted(epochs in epochs(), lag in 0u64..4) {
        let domain = domain();
        let mut table = Table::default();
        let mut sessions = Sessions::new(&domain, NEVER);
        let (mut all, mut low_us) = (Vec::new(), START);
        for (epoch, (step, arrived, restarts)) in (1u64..).zip(epochs) {
            if restarts {
                table.commit(u64::MAX);
                sessions = table.restart(&domain, if epoch == 1 { NEVER } else { low_us });
            }
            let brought: Vec<Accepted> = arrived
                .iter()
                .map(|&(zone, sensor, ahead, value, is_anomaly)| {
                    (zone, sensor, low_us + ahead * SECOND, f64::from(value) / 8.0, is_anomaly)
                })
                .collect();
            all.extend(brought.iter().copied());
            low_us += step * SECOND;
            let parts = parts(&brought);
            let asked = sessions.missing(&parts);
            // The answer is a snapshot of any moment from now on.
            table.commit(epoch.saturating_sub(lag));
            asked.iter().for_each(|asked| table.near(&mut sessions, asked));
            let rows = sessions.apply(epoch, parts, low_us);
            table.waiting.push((epoch, rows));
            let committed_below = epoch.saturating_sub(lag / 2);
            table.commit(committed_below);
            sessions.evict(committed_below);
        }
        table.commit(u64::MAX);
        let rows: Rows = table.rows.iter().map(|(id, row)| (id.clone(), shown(row))).collect();
        prop_assert_eq!(rows, recompute(&domain, &all, low_us));
    }
}

fn one(
    sessions: &mut Sessions,
    epoch: u64,
    seconds: &[i64],
    until: i64,
) -> Vec<(i64, i64, u64, bool, isize)> {
    let readings: Vec<Accepted> = seconds.iter().map(|at| (0, 0, START + at * SECOND, 1.0, false)).collect();
    let of_zones = parts(&readings).into_iter().filter(|(of, _)| of.window == 0).collect();
    let rows = sessions.apply(epoch, of_zones, START + until * SECOND);
    let row = |(row, diff): &(SessionRow, isize)| {
        let seconds = |at_us: i64| (at_us - START) / SECOND;
        let session = &row.session;
        (seconds(session.first_us), seconds(row.end_us), session.sums.readings, row.is_final, *diff)
    };
    rows.iter().map(row).collect()
}

#[test]
fn readings_a_gap_apart_are_two_sessions_and_a_late_one_joins_them() {
    let mut sessions = Sessions::new(&domain(), NEVER);
    assert_eq!(one(&mut sessions, 1, &[0, 9, 19], 15), [(0, 19, 2, false, 1), (19, 29, 1, false, 1)]);
    assert_eq!(one(&mut sessions, 2, &[], 19), [(0, 19, 2, false, -1), (0, 19, 2, true, 1)]);
    let joined = [(0, 19, 2, true, -1), (19, 29, 1, false, -1), (0, 29, 4, false, 1)];
    assert_eq!(one(&mut sessions, 3, &[12], 20), joined, "it is open again");
    assert_eq!(one(&mut sessions, 4, &[-3], 20), [(-3, 0, 1, true, 1)], "cut at a multiple of `max`");
}

#[test]
fn a_sensor_that_never_rests_is_cut_at_multiples_of_max_and_takes_no_more_memory() {
    let mut sessions = Sessions::new(&domain(), NEVER);
    let mut starts = Vec::new();
    for (epoch, at) in (1u64..).zip((0..86_400).step_by(5)) {
        let rows = one(&mut sessions, epoch, &[at], at - 5);
        starts.extend(rows.iter().filter(|row| row.3 && row.4 > 0).map(|row| (row.0, row.1)));
        sessions.evict(epoch);
        assert!(sessions.sessions() <= 4, "{} sessions", sessions.sessions());
        assert!(sessions.deadlines.len() + sessions.past.len() <= 8);
    }
    let expected: Vec<(i64, i64)> = (0..143).map(|cell| (cell * 600, cell * 600 + 600)).collect();
    assert_eq!(starts, expected);
}
