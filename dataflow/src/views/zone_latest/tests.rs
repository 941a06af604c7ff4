//! The newest values against a recompute, whatever the order, the epochs and the restarts.

use proptest::prelude::*;

use super::*;

fn brought(zone: u8, metric: usize, at: (i64, i8)) -> Newest {
    Newest { zone: zone.to_string().into(), metric, at: (at.0, f64::from(at.1)) }
}

fn epochs() -> impl Strategy<Value = Vec<Vec<Newest>>> {
    let one =
        (0..3_u8, 0..2_usize, (0..6_i64, -2..3_i8)).prop_map(|(zone, metric, at)| brought(zone, metric, at));
    prop::collection::vec(prop::collection::vec(one, 0..6), 0..8)
}

/// What stands in the table behind these changes; a row is taken away only when it is there.
fn write(table: &mut Vec<Row>, changes: Vec<(Row, isize)>) {
    for (row, diff) in changes {
        if diff > 0 {
            table.push(row);
        } else {
            table.remove(table.iter().position(|there| *there == row).expect("it is there"));
        }
    }
}

proptest! {
    #[test]
    fn the_rows_are_the_greatest_of_all_that_came_also_after_a_restart(epochs in epochs(), restart in 0..8_usize) {
        let mut latest = Latest::restored(2, &[]);
        let mut table = Vec::new();
        for (epoch, brought) in epochs.iter().enumerate() {
            if epoch == restart {
                latest = Latest::restored(2, &table);
            }
            write(&mut table, latest.apply(brought.clone()));
        }
        let mut expected: BTreeMap<Arc<str>, [Option<At>; 2]> = BTreeMap::new();
        for Newest { zone, metric, at } in epochs.into_iter().flatten() {
            let newest = &mut expected.entry(zone).or_default()[metric];
            *newest = newest.filter(|newest| *newest >= at).or(Some(at));
        }
        let row = |(zone, newest): (&Arc<str>, &[Option<At>; 2])| {
            let values = newest.iter().flat_map(|newest| {
                let value = newest.map(|(_, value)| Value::Float(value.to_bits()));
                [value.into(), newest.map(|(at_us, _)| Value::Time(at_us)).into()]
            });
            [Value::from(zone)].into_iter().chain(values).collect::<Row>()
        };
        let mut expected: Vec<Row> = expected.iter().map(row).collect();
        expected.sort();
        table.sort();
        prop_assert_eq!(table, expected);
    }
}
