//! Readings over several workers.

use super::*;

proptest! {
    #[test]
    fn any_order_of_the_partials_and_any_split_over_workers_give_the_same_bits(
        readings in prop::collection::vec(accepted(), 1..60),
        (order, workers) in (prop::collection::vec(any::<u32>(), 60), 1..4_usize),
        low_us in -600 * SECOND..600 * SECOND,
    ) {
        let domain = domain(&[(60, 60), (300, 60)], 60);
        let mut one_worker = Windows::new(&domain, NEVER);
        let mut several = Windows::new(&domain, NEVER);
        let mut shuffled: Vec<_> = partials(&readings, workers, domain.pane_us()).into_iter().zip(order).collect();
        shuffled.sort_by_key(|(_, order)| *order);
        let shuffled = shuffled.into_iter().map(|(partial, _)| partial).collect();
        let together = one_worker.apply(50, partials(&readings, 1, domain.pane_us()), low_us);
        let apart = several.apply(50, shuffled, low_us);
        let bits = |applied: &Applied| -> Vec<String> {
            // The text of a double reads back as the same double.
            let rows = applied.windows.iter().map(|row| format!("{row:?}"));
            let mut all: Vec<String> = rows.chain(applied.panes.iter().map(|pane| format!("{pane:?}"))).collect();
            all.sort_unstable();
            all
        };
        prop_assert_eq!(bits(&together), bits(&apart));
        let (mut facts_together, mut facts_apart) = (Facts::new(), Facts::new());
        hold(&mut facts_together, together.facts)?;
        hold(&mut facts_apart, apart.facts)?;
        prop_assert_eq!(facts_together, facts_apart);
    }
}
