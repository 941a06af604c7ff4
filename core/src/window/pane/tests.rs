//! Sums of panes against the values themselves.

use proptest::prelude::*;

use super::*;

fn sums(values: &[f64]) -> MetricSums {
    let mut sums = MetricSums::NONE;
    values.iter().for_each(|value| sums.add(*value));
    sums
}

#[test]
fn a_metric_without_values_has_no_figures_and_missing_ones_do_not_count() {
    assert_eq!(MetricSums::NONE.figures(), None);
    assert_eq!(sums(&[f64::NAN]).figures(), None);
    assert_eq!(sums(&[f64::NAN, -2.0, 4.0]).figures(), Some((1.0, -2.0, 4.0)));
}

#[test]
fn merging_with_nothing_changes_nothing() {
    let mut pane =
        PaneSums { readings: 2, anomalies: 1, last_event_us: -7, metrics: vec![sums(&[-1.5, -0.5])] };
    let before = pane.clone();
    pane.merge(&PaneSums::empty(1));
    assert_eq!(pane, before);
    let mut empty = PaneSums::empty(1);
    empty.merge(&before);
    assert_eq!(empty, before);
}

proptest! {
    #[test]
    fn merging_parts_in_any_grouping_is_the_sum_of_the_whole(
        values in prop::collection::vec(prop_oneof![9 => -1e12..1e12_f64, 1 => Just(f64::NAN)], 0..60),
        cuts in [0..60_usize, 0..60],
    ) {
        let [low, high] = [cuts[0].min(cuts[1]).min(values.len()), cuts[0].max(cuts[1]).min(values.len())];
        let pane = |part: &[f64]| PaneSums {
            readings: part.len() as u64,
            anomalies: 0,
            last_event_us: part.len() as i64,
            metrics: vec![sums(part)],
        };
        let [first, second, third] = [&values[..low], &values[low..high], &values[high..]].map(pane);
        let mut leftwards = first.clone();
        leftwards.merge(&second);
        leftwards.merge(&third);
        let mut rightwards = third;
        rightwards.merge(&second);
        rightwards.merge(&first);
        prop_assert_eq!(&leftwards, &rightwards);
        prop_assert_eq!(leftwards.readings, values.len() as u64);
        prop_assert_eq!(leftwards.metrics[0], sums(&values));
        let present: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
        let least = present.iter().copied().min_by(f64::total_cmp);
        let greatest = present.iter().copied().max_by(f64::total_cmp);
        let figures = leftwards.metrics[0].figures();
        prop_assert_eq!(figures.map(|(_, least, greatest)| (least, greatest)), least.zip(greatest));
    }
}
