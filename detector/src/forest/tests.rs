use extended_isolation_forest as crate_forest;

use super::*;

/// A small generator of repeatable numbers: splitmix64.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn rows(count: usize, seed: u64) -> Vec<f32> {
    let mut numbers = Numbers(seed);
    (0..count * 5).map(|_| numbers.normal() as f32).collect()
}

/// The crate's own forest and ours from the same trees: grown by the crate, read out through serde. Leaves of two rows
/// are made leaves of one in both, for the crate takes the average path among two rows for 0.15, and we for 1.
fn both(extension: usize) -> (crate_forest::Forest<f64, 5>, Forest) {
    let rows = rows(2000, 1);
    let wide: Vec<[f64; 5]> =
        rows.chunks_exact(5).map(|row| std::array::from_fn(|feature| f64::from(row[feature]))).collect();
    let options = crate_forest::ForestOptions {
        n_trees: 100,
        sample_size: 256,
        max_tree_depth: None,
        extension_level: extension,
    };
    let grown = crate_forest::Forest::from_slice(&wide, &options).expect("rows enough");
    let text = serde_json::to_string(&grown).expect("numbers are finite");
    let text = text.replace("{\"num_samples\":2}", "{\"num_samples\":1}");
    let theirs: crate_forest::Forest<f64, 5> = serde_json::from_str(&text).expect("as the crate wrote it");
    let trees = fit::GrownForest::read(&theirs).expect("readable").flat(8, extension).collect();
    (theirs, fit::forest(5, 256, trees).expect("trees of depth 8"))
}

fn widest_difference(theirs: &crate_forest::Forest<f64, 5>, ours: &Forest, rows: &[f32]) -> f64 {
    rows.chunks_exact(5)
        .map(|row| {
            let expected = theirs.score(&std::array::from_fn(|feature| f64::from(row[feature])));
            (expected - f64::from(ours.score_one(row))).abs()
        })
        .fold(0.0, f64::max)
}

/// Rows of which every value is a threshold of the forest or next to one.
fn edge_rows(forest: &Forest, count: usize) -> Vec<f32> {
    let planes = forest.trees.iter().flatten().filter_map(|node| match node {
        Node::Split(plane) => Some(plane),
        Node::Leaf(_) => None,
    });
    let mut at: Vec<Vec<f32>> = vec![Vec::new(); 5];
    for &(feature, _, intercept) in planes.flatten() {
        let near = intercept as f32;
        at[usize::from(feature)].extend([near, near.next_up(), near.next_down()]);
    }
    let mut numbers = Numbers(7);
    (0..count * 5)
        .map(|index| {
            let thresholds = &at[index % 5];
            thresholds[numbers.next() as usize % thresholds.len()]
        })
        .collect()
}

#[test]
fn scores_equal_the_crates_at_both_extension_levels() {
    for extension in [0, 1] {
        let (theirs, ours) = both(extension);
        assert!(widest_difference(&theirs, &ours, &rows(2000, 2)) < 1e-6, "extension {extension}");
    }
}

#[test]
fn scores_equal_the_crates_on_rows_that_sit_on_thresholds() {
    for extension in [0, 1] {
        let (theirs, ours) = both(extension);
        assert!(widest_difference(&theirs, &ours, &edge_rows(&ours, 2000)) < 1e-6, "extension {extension}");
    }
}

#[test]
fn a_block_scores_each_lane_as_it_would_alone() {
    let forest = fit(&rows(500, 3), 5, &ForestOptions::default()).expect("rows enough");
    let rows = rows(LANES, 4);
    let mut block = Block::default();
    for (lane, row) in rows.chunks_exact(5).enumerate() {
        for (feature, value) in row.iter().enumerate() {
            block.set(lane, feature, *value);
        }
    }
    let scores = forest.score(&block);
    for (row, score) in rows.chunks_exact(5).zip(scores) {
        assert_eq!(forest.score_one(row).to_bits(), score.to_bits());
    }
}

#[test]
fn odd_rows_are_asked_of_all_trees_and_ordinary_ones_of_the_first() {
    let forest = fit(&rows(2000, 3), 5, &ForestOptions::default()).expect("rows enough");
    let rows: Vec<f32> = rows(LANES, 4).iter().map(|value| value * 1.5).collect();
    let (mut block, mut odd) = (Block::default(), Block::default());
    for (lane, row) in rows.chunks_exact(5).enumerate() {
        row.iter().enumerate().for_each(|(feature, value)| block.set(lane, feature, *value));
    }
    let (all, mixed) = (forest.score(&block), forest.score_odd(&block, LANES, &mut odd));
    let same = all.iter().zip(mixed).filter(|(all, mixed)| all.to_bits() == mixed.to_bits()).count();
    assert!((LANES / 4..LANES).contains(&same), "{same}");
    for (all, mixed) in all.into_iter().zip(mixed) {
        let is_ordinary = all < forest.ordinary.expect("fitted") + 0.1;
        assert!((all - mixed).abs() < if is_ordinary { 0.1 } else { 1e-9 }, "{all} {mixed}");
    }
    // Whatever rows are scored beside it, a row's score is the same.
    for (lane, row) in rows.chunks_exact(5).enumerate() {
        let mut alone = Block::default();
        row.iter().enumerate().for_each(|(feature, value)| alone.set(0, feature, *value));
        assert_eq!(forest.score_odd(&alone, 1, &mut odd)[0].to_bits(), mixed[lane].to_bits());
    }
}

#[test]
fn what_is_not_finite_is_scored_as_the_baseline() {
    let forest = fit(&rows(500, 3), 5, &ForestOptions::default()).expect("rows enough");
    let score = forest.score_one(&[0.0; 5]);
    assert_eq!(forest.score_one(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0]), score);
}

#[test]
fn an_outlier_scores_above_the_middle() {
    let forest = fit(&rows(1000, 5), 5, &ForestOptions::default()).expect("rows enough");
    assert!(forest.score_one(&[8.0; 5]) > forest.score_one(&[0.0; 5]) + 0.2);
}

#[test]
fn rows_that_are_all_the_same_still_make_a_forest() {
    let forest = fit(&[1.0; 500], 5, &ForestOptions::default()).expect("rows enough");
    assert!(forest.score_one(&[1.0; 5]).is_finite());
}

#[test]
fn metrics_that_are_constant_are_not_split_on_and_use_up_no_depth() {
    let splits = |forest: &Forest| {
        let trees = forest.stored().trees;
        let split = |node: &&Node| matches!(node, Node::Split(_));
        trees.iter().flatten().filter(split).count() as f64 / trees.len() as f64
    };
    let mut rows = rows(1000, 6);
    rows.chunks_exact_mut(5).for_each(|row| (row[1], row[3]) = (0.0, 7.0));
    let forest = fit(&rows, 5, &ForestOptions::default()).expect("rows enough");
    assert!(forest.stored().trees.iter().flatten().all(|node| match node {
        Node::Split(plane) => plane.iter().all(|(feature, _, _)| ![1, 3].contains(feature)),
        Node::Leaf(_) => true,
    }));
    let moving: Vec<f32> = rows.chunks_exact(5).flat_map(|row| [row[0], row[2], row[4]]).collect();
    let without = fit(&moving, 3, &ForestOptions::default()).expect("rows enough");
    let (with, without) = (splits(&forest), splits(&without));
    assert!(with > 0.8 * without, "{with} splits to a tree, and {without} without what is constant");
}

#[test]
fn too_few_rows_and_values_that_are_not_finite_are_refused() {
    assert_eq!(fit(&rows(99, 1), 5, &ForestOptions::default()), Err(FitError::TooFewRows(99)));
    let mut with_nan = rows(200, 1);
    with_nan[12] = f32::NAN;
    assert_eq!(fit(&with_nan, 5, &ForestOptions::default()), Err(FitError::NotFinite { row: 2, feature: 2 }));
}

#[test]
fn a_stored_forest_reads_back_to_the_same_bits() {
    let forest = fit(&rows(500, 3), 5, &ForestOptions { extension: 1, ..ForestOptions::default() })
        .expect("rows enough");
    let text = serde_json::to_string(&forest.stored()).expect("numbers are finite");
    let back = Forest::from_stored(serde_json::from_str(&text).expect("just written")).expect("as stored");
    assert_eq!(back, forest);
}

#[test]
fn a_broken_tree_is_refused_with_what_is_wrong() {
    let stored = |tree: Vec<Node>| StoredForest {
        features: 2,
        depth: 1,
        normal_path: 1.0,
        ordinary: None,
        trees: vec![tree],
    };
    let split = |feature| Node::Split(vec![(feature, 1.0, 0.0)]);
    assert!(Forest::from_stored(stored(vec![split(0), Node::Leaf(1.0)])).unwrap_err().contains("ends early"));
    assert!(Forest::from_stored(stored(vec![split(2), Node::Leaf(1.0), Node::Leaf(1.0)])).is_err());
    assert!(
        Forest::from_stored(stored(vec![Node::Leaf(1.0), Node::Leaf(1.0)]))
            .unwrap_err()
            .contains("left over")
    );
}
