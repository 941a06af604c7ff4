//! A statement has as many arguments as its text names, and the arrays of one statement tell of the same rows in the
//! same order. That PostgreSQL agrees is tested against a real one.

use std::sync::Arc;

use bytes::BytesMut;
use citytide_core::NEVER;
use citytide_core::detect::{Agreement, Note};
use citytide_core::position::{Activity, Counts, Mark, Position, Reach};
use citytide_core::window::{Applied, PaneState, PaneSums, WindowRow};
use tokio_postgres::types::{IsNull, Type};

use super::*;
use crate::commit::plan::{Onto, ViewRow};
use crate::views::schema;

/// The elements of an array in PostgreSQL's binary format, `None` for null.
fn elements(array: &(dyn ToSql + Sync + Send), element: Type) -> Vec<Option<Vec<u8>>> {
    let array_type = match element {
        Type::TEXT => Type::TEXT_ARRAY,
        Type::TIMESTAMPTZ => Type::TIMESTAMPTZ_ARRAY,
        Type::INT8 => Type::INT8_ARRAY,
        Type::INT4 => Type::INT4_ARRAY,
        Type::BOOL => Type::BOOL_ARRAY,
        Type::BYTEA => Type::BYTEA_ARRAY,
        Type::FLOAT8 => Type::FLOAT8_ARRAY,
        other => panic!("no array of {other}"),
    };
    let mut bytes = BytesMut::new();
    let null = array.to_sql_checked(&array_type, &mut bytes).expect("the type of the statement");
    assert!(matches!(null, IsNull::No));
    // Dimensions, whether there are nulls, the elements' type, then length and lower bound of the one dimension.
    let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    assert_eq!((int(0), int(8) as u32, int(16)), (1, element.oid(), 1));
    let mut at = 20;
    let elements = (0..int(12)).map(|_| {
        let length = int(at);
        at += 4;
        (length >= 0).then(|| {
            at += length as usize;
            bytes[at - length as usize..at].to_vec()
        })
    });
    elements.collect()
}

fn texts(array: &(dyn ToSql + Sync + Send)) -> Vec<String> {
    let texts = elements(array, Type::TEXT).into_iter();
    texts.map(|text| String::from_utf8(text.expect("not null")).expect("UTF-8")).collect()
}

fn int8s(array: &(dyn ToSql + Sync + Send)) -> Vec<Option<i64>> {
    numbers(elements(array, Type::INT8))
}

/// Microseconds of the Unix epoch.
fn timestamps(array: &(dyn ToSql + Sync + Send)) -> Vec<Option<i64>> {
    let from_2000 = numbers(elements(array, Type::TIMESTAMPTZ)).into_iter();
    from_2000.map(|at_us| at_us.map(|at_us| at_us + 10_957 * 86_400_000_000)).collect()
}

fn doubles(array: &(dyn ToSql + Sync + Send)) -> Vec<Option<f64>> {
    let bits = numbers(elements(array, Type::FLOAT8)).into_iter();
    bits.map(|bits| bits.map(|bits| f64::from_bits(bits as u64))).collect()
}

fn numbers(elements: Vec<Option<Vec<u8>>>) -> Vec<Option<i64>> {
    let number = |bytes: Vec<u8>| i64::from_be_bytes(bytes.try_into().expect("8 bytes"));
    elements.into_iter().map(|element| element.map(number)).collect()
}

fn arguments(sql: &str) -> usize {
    (1..).take_while(|number| sql.contains(&format!("${number}::"))).count()
}

fn domain() -> Domain {
    let mut domain = Domain::smart_city();
    domain.metrics.truncate(2);
    domain
}

/// A plan with several rows of every kind; every number of a row follows from the row's own.
fn plan() -> Plan {
    let mut plan = Plan::default();
    for number in 1..5_i64 {
        let zone: Arc<str> = Arc::from(format!("zone {number}"));
        let value = number as f64;
        let mut sums = PaneSums { readings: number as u64, ..PaneSums::empty(2) };
        sums.metrics[0].add(value);
        let row = WindowRow {
            window: (number % 2) as usize,
            zone: zone.clone(),
            start_us: number,
            end_us: 10 * number,
            readings: number as u64,
            anomalies: 100 + number as u64,
            figures: vec![Some((value, value - 0.5, value + 0.5)), None],
            is_final: number > 2,
        };
        let pane = PaneState { zone: zone.clone(), start_us: number, sums, first_epoch: 7, last_epoch: 9 };
        plan.apply(Applied { windows: vec![row], panes: vec![pane], facts: vec![] });
        let partition = number as i32;
        plan.mark(Mark {
            partition,
            position: Position {
                first_offset: 0,
                next_offset: number,
                counts: Counts { accepted: number, ..Counts::default() },
                watermark_us: if number == 1 { NEVER } else { number },
                claim: (number == 3).then(|| Claim {
                    sensor: "a \"fast\" one".into(),
                    highest_us: 9,
                    alone_us: vec![8, 9],
                    since_us: 3,
                }),
                cursor: (number == 2).then(|| "line 2".into()),
            },
            reach: Reach {
                activity: if number == 4 { Activity::Idle } else { Activity::Empty },
                ..Reach::default()
            },
            new_zones: if number == 3 { vec!["Docks".to_owned(), "Mill".to_owned()] } else { vec![] },
        });
        let diff = if number == 1 { -1 } else { 1 };
        let zone = Value::Text(zone);
        let key = vec![zone.clone(), Value::Integer(2)];
        let rest = vec![Value::Text(number.to_string().into()), Value::Integer(5), Value::Time(number)];
        let hot = ViewRow { view: 0, key, rest, onto: Onto::Replaces, has_start: false };
        let mut rest = vec![Value::Null; 4];
        if number > 2 {
            rest[..2].clone_from_slice(&[Value::Time(number), Value::Integer(3)]);
            rest[3] = Value::Float(value.to_bits());
        }
        rest.extend([Value::Null, Value::Integer(6), Value::Time(number)]);
        let status = ViewRow { view: 1, key: vec![zone], rest, onto: Onto::Replaces, has_start: false };
        plan.views(vec![(hot, diff), (status, diff)]);
    }
    plan
}

#[test]
fn every_statement_takes_as_many_arrays_as_its_text_names_and_none_when_there_is_nothing_to_say() {
    let (domain, plan, empty) = (domain(), plan(), Plan::default());
    let source = |partition: i32| format!("topic {partition}");
    let pairs = |plan: &Plan| {
        let mut pairs = vec![
            (upsert_window(&domain, 0), window_arrays(plan, 0, 2)),
            (upsert_window(&domain, 1), window_arrays(plan, 1, 2)),
            (upsert_panes(&domain), pane_arrays(plan, 2)),
            (upsert_progress(), progress_arrays(plan, source)),
            (INSERT_ZONES.to_owned(), zone_arrays(plan)),
        ];
        for (view, table) in schema(&domain).live_tables().iter().enumerate().take(2) {
            pairs.push((delete_from_view(table), gone_arrays(plan, view)));
            pairs.push((upsert_view(table), view_arrays(plan, view)));
        }
        pairs
    };
    for (sql, arrays) in pairs(&plan) {
        assert_eq!(arrays.map(|arrays| arrays.len()), Some(arguments(&sql)), "{sql}");
    }
    for (sql, arrays) in pairs(&empty) {
        assert!(arrays.is_none(), "{sql}");
    }
}

#[test]
fn a_shadows_counts_are_summed_over_epochs_and_workers_before_they_are_added() {
    let agreed = |version: i32, zone: &str, readings: u64| {
        let agreement = Agreement { readings, both: 1, only_in_force: 2, only_beside: 3 };
        Note::Agreed { version, zone: Arc::from(zone), agreement }
    };
    let in_force = Note::Model { from_us: 60_000_000, version: 2 };
    let notes =
        vec![(50, agreed(2, "b", 10)), (100, in_force), (100, agreed(2, "a", 7)), (150, agreed(2, "b", 5))];
    let plan = Plan { notes, ..Plan::default() };
    let arrays = disagreement_arrays(&plan).expect("counts");
    assert_eq!(arrays.len(), arguments(ADD_DISAGREEMENTS));
    assert_eq!(texts(&*arrays[1]), ["a", "b"]);
    let numbers: Vec<_> = arrays[2..].iter().map(|array| int8s(&**array)).collect();
    let expected = [[7, 15], [1, 2], [2, 4], [3, 6], [100, 50]];
    assert_eq!(numbers, expected.map(|row| row.map(Some).to_vec()));
    assert!(disagreement_arrays(&Plan::default()).is_none());
}

#[test]
fn a_model_and_a_lift_that_several_workers_note_are_written_once() {
    let model = |from_us: i64, version: i32| Note::Model { from_us, version };
    let lifted = |offset: i64, minute: i64| Note::Lifted { partition: 3, offset, minute };
    let notes = vec![
        (50, model(60, 1)),
        (50, lifted(7, 2)),
        (100, model(60, 1)),
        (100, lifted(7, 3)),
        (100, model(120, 2)),
        (150, Note::Joined { partition: 3, offset: 9, minute: 4 }),
    ];
    let plan = Plan { epoch: 150, notes, ..Plan::default() };
    let judges = judge_arrays(&plan).expect("models");
    assert_eq!(judges.len(), arguments(INSERT_JUDGES));
    assert_eq!(timestamps(&*judges[0]), [Some(60), Some(120)]);
    assert_eq!(int8s(&*judges[2]), [Some(50), Some(100)], "the first that says so");
    let lifts = lift_arrays(&plan).expect("lifts");
    assert_eq!(lifts.len(), arguments(UPSERT_LIFTS));
    assert_eq!(int8s(&*lifts[1]), [Some(7), Some(9)]);
    assert_eq!(timestamps(&*lifts[2]), [Some(180_000_000), None]);
    assert_eq!(timestamps(&*lifts[3]), [None, Some(240_000_000)]);
    assert!(model_change(&plan).is_some() && request_arrays(&plan).is_some());
    let promoted = Note::Promoted { partition: 3, offset: 8, version: 5, from_us: 180 };
    let by_hand = Plan { notes: vec![(100, promoted)], ..Plan::default() };
    let promotions = promotion_arrays(&by_hand).expect("one");
    assert_eq!(promotions.len(), arguments(INSERT_PROMOTIONS));
    assert_eq!((int8s(&*promotions[1]), timestamps(&*promotions[3])), (vec![Some(8)], vec![Some(180)]));
    assert!(model_change(&by_hand).is_some() && request_arrays(&by_hand).is_some());
    assert!(promotion_arrays(&plan).is_none());
    let none = Plan { notes: vec![(50, lifted(7, 2))], ..Plan::default() };
    assert!(
        model_change(&none).is_none() && judge_arrays(&none).is_none() && request_arrays(&none).is_none()
    );
}

#[test]
fn the_arrays_of_a_window_tell_of_the_same_rows_in_the_same_order() {
    let arrays = window_arrays(&plan(), 1, 2).expect("rows of window 1");
    let mut zones = texts(&*arrays[3]);
    let numbers: Vec<i64> = zones.iter().map(|zone| zone[5..].parse().expect("a number")).collect();
    let told = |each: fn(i64) -> i64| numbers.iter().map(|number| Some(each(*number))).collect::<Vec<_>>();
    assert_eq!(timestamps(&*arrays[1]), told(|number| number));
    assert_eq!(timestamps(&*arrays[2]), told(|number| 10 * number));
    assert_eq!(int8s(&*arrays[4]), told(|number| number));
    assert_eq!(int8s(&*arrays[5]), told(|number| 100 + number));
    let finals = numbers.iter().map(|number| Some(vec![u8::from(*number > 2)])).collect::<Vec<_>>();
    assert_eq!(elements(&*arrays[12], Type::BOOL), finals);
    for (array, more) in arrays[6..9].iter().zip([0.0, -0.5, 0.5]) {
        let expected = numbers.iter().map(|number| Some(*number as f64 + more)).collect::<Vec<_>>();
        assert_eq!(doubles(&**array), expected);
    }
    arrays[9..12].iter().for_each(|array| assert_eq!(doubles(&**array), vec![None; numbers.len()]));
    zones.sort();
    assert_eq!(zones, ["zone 1", "zone 3"], "those of window 1 alone");
}

#[test]
fn a_metric_without_values_leaves_nulls_in_a_pane_and_its_count_is_zero() {
    let arrays = pane_arrays(&plan(), 2).expect("panes");
    assert_eq!(int8s(&*arrays[6]), [Some(1); 4]);
    let sums = elements(&*arrays[7], Type::BYTEA);
    assert!(sums.iter().all(|sum| sum.as_ref().is_some_and(|sum| sum.len() == 16)));
    assert_eq!(doubles(&*arrays[8]), doubles(&*arrays[9]), "one value is the least and the greatest");
    assert_eq!(int8s(&*arrays[10]), [Some(0); 4]);
    assert_eq!(elements(&*arrays[11], Type::BYTEA), vec![None; 4]);
    assert_eq!(doubles(&*arrays[12]), [None; 4]);
    assert_eq!(doubles(&*arrays[13]), [None; 4]);
}

#[test]
fn a_partition_before_its_first_reading_has_no_watermark() {
    let arrays = progress_arrays(&plan(), |partition| format!("topic {partition}")).expect("marks");
    assert_eq!(texts(&*arrays[1]), ["topic 1", "topic 2", "topic 3", "topic 4"]);
    assert_eq!(timestamps(&*arrays[9]), [None, Some(2), Some(3), Some(4)]);
    assert_eq!(elements(&*arrays[11], Type::TEXT), [None, Some(b"line 2".to_vec()), None, None]);
    assert_eq!(elements(&*arrays[10], Type::BOOL), [0, 0, 0, 1].map(|idle| Some(vec![idle])));
}

#[test]
fn zones_and_rows_of_views_go_where_they_belong() {
    let plan = plan();
    let zones = zone_arrays(&plan).expect("new zones");
    assert_eq!(texts(&*zones[1]), ["Docks", "Mill"]);
    assert_eq!(elements(&*zones[0], Type::INT4), vec![Some(vec![0, 0, 0, 3]); 2]);
    let gone = gone_arrays(&plan, 0).expect("gone");
    assert_eq!(texts(&*gone[1]), ["zone 1"]);
    assert_eq!(elements(&*gone[2], Type::INT4), [Some(vec![0, 0, 0, 2])]);
    assert_eq!(texts(&*gone_arrays(&plan, 1).expect("gone")[1]), ["zone 1"]);
    assert_eq!(texts(&*view_arrays(&plan, 0).expect("rows")[3]), ["2", "3", "4"]);
    let status = view_arrays(&plan, 1).expect("rows");
    assert_eq!(timestamps(&*status[2]), [None, Some(3), Some(4)], "no final window yet, no start");
    assert_eq!(doubles(&*status[5]), [None, Some(3.0), Some(4.0)]);
    assert_eq!(doubles(&*status[6]), [None; 3]);
    assert_eq!(int8s(&*status[7]), [Some(6); 3]);
}

#[test]
fn a_correction_of_a_final_row_raises_its_revision() {
    let sql = upsert_window(&domain(), 0);
    assert!(
        sql.starts_with(
            "insert into metrics_1min as kept (revision, updated_at, epoch, window_start, window_end, zone, "
        ),
        "{sql}"
    );
    assert!(sql.contains(
        "on conflict (zone, window_start) do update set revision = kept.revision + kept.is_final::integer, "
    ));
    assert!(!sql.contains("zone = excluded.zone") && !sql.contains("window_start = excluded"), "{sql}");
}

#[test]
fn what_a_commit_writes_bears_its_epoch_and_what_it_deletes_leaves_its_key() {
    let domain = domain();
    for sql in [upsert_window(&domain, 1), upsert_view(&schema(&domain).live_tables()[0])] {
        assert!(
            sql.contains("epoch") && sql.contains("$1::bigint") && sql.contains("epoch = excluded.epoch"),
            "{sql}"
        );
    }
    let sql = delete_from_view(&schema(&domain).live_tables()[0]);
    assert_eq!(
        sql,
        "with deleted as (delete from hot_sensors as kept using unnest($2::text[], $3::integer[]) as gone (zone, rank) \
         where kept.zone = gone.zone and kept.rank = gone.rank returning gone.*) insert into changes (epoch, table_name, \
         key) select $1::bigint, 'hot_sensors', to_jsonb(deleted) from deleted"
    );
}
