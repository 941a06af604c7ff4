use std::hash::Hasher;

use extended_isolation_forest as crate_forest;
use fnv::FnvHasher;
use serde::Deserialize;

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

type CrateForest<const N: usize> = crate_forest::Forest<f64, N>;

/// A forest that the crate grows.
fn crates<const N: usize>(rows: &[f32], trees: usize, extension: usize) -> CrateForest<N> {
    let wide: Vec<[f64; N]> = rows.chunks_exact(N).map(widened).collect();
    let options = crate_forest::ForestOptions {
        n_trees: trees,
        sample_size: 256,
        max_tree_depth: None,
        extension_level: extension,
    };
    crate_forest::Forest::from_slice(&wide, &options).expect("rows enough")
}

fn widened<const N: usize>(row: &[f32]) -> [f64; N] {
    std::array::from_fn(|feature| f64::from(row[feature]))
}

/// The crate's own forest and ours from the same trees: grown by the crate, read out through serde. Leaves of two rows
/// are made leaves of one in both, for the crate takes the average path among two rows for 0.15, and we for 1.
fn both(extension: usize) -> (CrateForest<5>, Forest) {
    let text =
        serde_json::to_string(&crates::<5>(&rows(2000, 1), 100, extension)).expect("numbers are finite");
    let text = text.replace("{\"num_samples\":2}", "{\"num_samples\":1}");
    (serde_json::from_str(&text).expect("as the crate wrote it"), read_out(5, &text))
}

/// Our forest of the trees that the crate has grown.
fn read_out(features: usize, text: &str) -> Forest {
    #[derive(Deserialize)]
    struct Grown {
        trees: Vec<GrownTree>,
    }
    #[derive(Deserialize)]
    struct GrownTree {
        root: GrownNode,
    }
    #[derive(Deserialize)]
    enum GrownNode {
        Ex { num_samples: usize },
        In { left: Box<GrownNode>, right: Box<GrownNode>, n: Vec<f64>, p: Vec<f64> },
    }
    fn flatten(node: &GrownNode, depth: u32, nodes: &mut Vec<Node>) {
        match node {
            GrownNode::In { left, right, n, p } => {
                let plane = n.iter().zip(p).enumerate().filter(|(_, (normal, _))| **normal != 0.0);
                nodes.push(Node::Split(
                    plane
                        .map(|(feature, (normal, intercept))| (feature as u8, *normal, *intercept))
                        .collect(),
                ));
                flatten(left, depth + 1, nodes);
                flatten(right, depth + 1, nodes);
            }
            GrownNode::Ex { num_samples } => {
                let path = f64::from(depth) + fit::unsuccessful_search(*num_samples);
                nodes.push(Node::Leaf(path as f32));
            }
        }
    }
    let grown: Grown = serde_json::from_str(text).expect("as the crate wrote it");
    let flat = |tree: &GrownTree| {
        let mut nodes = Vec::new();
        flatten(&tree.root, 0, &mut nodes);
        nodes
    };
    fit::forest(features, 256, grown.trees.iter().map(flat).collect())
}

fn widest_difference(theirs: &CrateForest<5>, ours: &Forest, rows: &[f32]) -> f64 {
    rows.chunks_exact(5)
        .map(|row| {
            let expected = theirs.score(&widened(row));
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

/// Three groups of rows and, every twentieth, one from between and around them; and which ones these are.
fn mixture(count: usize, seed: u64) -> (Vec<f32>, Vec<bool>) {
    let mut numbers = Numbers(seed);
    let is_odd: Vec<bool> = (0..count).map(|row| row.is_multiple_of(20)).collect();
    let value = |(row, is_odd): (usize, &bool)| {
        let middle = (row % 3) as f64 * 4.0;
        let deviation = if *is_odd { 2.2 } else { 1.0 };
        (0..5).map(|_| (middle + deviation * numbers.normal()) as f32).collect::<Vec<_>>()
    };
    let rows = is_odd.iter().enumerate().flat_map(value).collect();
    (rows, is_odd)
}

/// The place of each score among all.
fn ranks(scores: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let mut ranks = vec![0.0; scores.len()];
    order.into_iter().enumerate().for_each(|(rank, row)| ranks[row] = rank as f64);
    ranks
}

/// Share of the pairs of an odd and another row in which the odd one scores higher.
fn auroc(scores: &[f64], is_odd: &[bool]) -> f64 {
    let odd = is_odd.iter().filter(|is_odd| **is_odd).count() as f64;
    let ranks = ranks(scores);
    let sum: f64 = ranks.iter().zip(is_odd).filter(|(_, is_odd)| **is_odd).map(|(rank, _)| rank).sum();
    (sum - odd * (odd - 1.0) / 2.0) / (odd * (is_odd.len() as f64 - odd))
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64], mean_x: f64, y: &[f64], mean_y: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean_x) * (y - mean_y)).sum()
    };
    let deviations = (product(a, mean_a, a, mean_a) * product(b, mean_b, b, mean_b)).sqrt();
    product(a, mean_a, b, mean_b) / deviations
}

/// Many trees, so that chance moves the crate's figures by less than what is allowed here.
#[test]
fn a_forest_from_a_seed_scores_and_ranks_as_those_that_the_crate_grows() {
    let (rows, is_odd) = mixture(1500, 21);
    let mean = |forests: &[Vec<f64>]| -> Vec<f64> {
        let of_row =
            |row: usize| forests.iter().map(|scores| scores[row]).sum::<f64>() / forests.len() as f64;
        (0..is_odd.len()).map(of_row).collect()
    };
    let scores = |forest: &Forest| -> Vec<f64> {
        rows.chunks_exact(5).map(|row| f64::from(forest.score_one(row))).collect()
    };
    for extension in [0, 1] {
        let options = ForestOptions { trees: 500, extension, ..ForestOptions::default() };
        let ours: Vec<_> =
            (0..3).map(|seed| scores(&fit(&rows, 5, &options, seed).expect("rows enough"))).collect();
        // Once as the crate scores, and once with leaves of two rows that count as ours do.
        let (theirs, as_ours): (Vec<_>, Vec<_>) = (0..3)
            .map(|_| {
                let theirs = crates::<5>(&rows, 500, extension);
                let as_ours = read_out(5, &serde_json::to_string(&theirs).expect("numbers are finite"));
                let theirs = rows.chunks_exact(5).map(|row| theirs.score(&widened(row)));
                (theirs.collect::<Vec<f64>>(), scores(&as_ours))
            })
            .unzip();
        let (ours, theirs, as_ours) = (mean(&ours), mean(&theirs), mean(&as_ours));

        let (our_auroc, their_auroc) = (auroc(&ours, &is_odd), auroc(&theirs, &is_odd));
        let found = format!("extension {extension}: AUROC {our_auroc}, the crate's {their_auroc}");
        assert!(our_auroc > 0.9 && (our_auroc - their_auroc).abs() < 0.015, "{found}");
        let alike = correlation(&ranks(&ours), &ranks(&theirs));
        assert!(alike > 0.98, "extension {extension}: rank correlation {alike}");
        let sorted = |mut scores: Vec<f64>| {
            scores.sort_by(f64::total_cmp);
            scores
        };
        let (ours, as_ours) = (sorted(ours), sorted(as_ours));
        for share in [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99] {
            let at = (share * ours.len() as f64) as usize;
            let (ours, theirs) = (ours[at], as_ours[at]);
            assert!(
                (ours - theirs).abs() < 0.01,
                "extension {extension}, quantile {share}: {ours}, the crate's {theirs}"
            );
        }
    }
}

#[test]
fn the_same_rows_and_seed_give_the_same_bytes_and_another_seed_others() {
    let (rows, _) = mixture(1000, 22);
    // FNV-1a of the stored form: the same on every machine, and with every version of what this is built from.
    for (extension, expected) in [(0, 6_378_809_627_138_929_127), (1, 1_032_590_584_810_076_863)] {
        let options = ForestOptions { extension, ..ForestOptions::default() };
        let text = |seed| {
            let forest = fit(&rows, 5, &options, seed).expect("rows enough");
            serde_json::to_string(&forest.stored()).expect("numbers are finite")
        };
        assert_eq!(text(1), text(1));
        assert_ne!(text(1), text(2));
        let mut sum = FnvHasher::default();
        sum.write(text(1).as_bytes());
        assert_eq!(sum.finish(), expected, "extension {extension}");
    }
}

#[test]
fn a_block_scores_each_lane_as_it_would_alone() {
    let forest = fit(&rows(500, 3), 5, &ForestOptions::default(), 1).expect("rows enough");
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
    let forest = fit(&rows(2000, 3), 5, &ForestOptions::default(), 1).expect("rows enough");
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
    let forest = fit(&rows(500, 3), 5, &ForestOptions::default(), 1).expect("rows enough");
    let score = forest.score_one(&[0.0; 5]);
    assert_eq!(forest.score_one(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, 0.0]), score);
}

#[test]
fn an_outlier_scores_above_the_middle() {
    let forest = fit(&rows(1000, 5), 5, &ForestOptions::default(), 1).expect("rows enough");
    assert!(forest.score_one(&[8.0; 5]) > forest.score_one(&[0.0; 5]) + 0.2);
}

#[test]
fn rows_that_are_all_the_same_still_make_a_forest() {
    let forest = fit(&[1.0; 500], 5, &ForestOptions::default(), 1).expect("rows enough");
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
    let forest = fit(&rows, 5, &ForestOptions::default(), 1).expect("rows enough");
    assert!(forest.stored().trees.iter().flatten().all(|node| match node {
        Node::Split(plane) => plane.iter().all(|(feature, _, _)| ![1, 3].contains(feature)),
        Node::Leaf(_) => true,
    }));
    let moving: Vec<f32> = rows.chunks_exact(5).flat_map(|row| [row[0], row[2], row[4]]).collect();
    let without = fit(&moving, 3, &ForestOptions::default(), 1).expect("rows enough");
    let (with, without) = (splits(&forest), splits(&without));
    assert!(with > 0.8 * without, "{with} splits to a tree, and {without} without what is constant");
}

#[test]
fn too_few_rows_and_values_that_are_not_finite_are_refused() {
    assert_eq!(fit(&rows(99, 1), 5, &ForestOptions::default(), 1), Err(FitError::TooFewRows(99)));
    let mut with_nan = rows(200, 1);
    with_nan[12] = f32::NAN;
    assert_eq!(
        fit(&with_nan, 5, &ForestOptions::default(), 1),
        Err(FitError::NotFinite { row: 2, feature: 2 })
    );
}

#[test]
fn a_stored_forest_reads_back_to_the_same_bits() {
    let forest = fit(&rows(500, 3), 5, &ForestOptions { extension: 1, ..ForestOptions::default() }, 1)
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
