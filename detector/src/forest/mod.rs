//! The (extended) isolation forest (Liu, Ting, Zhou: Isolation Forest, 2008; Hariri, Kind, Brunner: Extended Isolation
//! Forest, 2018): grown from a seed by [`fit()`], scored here.
//!
//! A tree is a complete binary tree in an array: the children of node `i` are `2i + 1` and `2i + 2`, so a step is a
//! comparison and an addition, without branches, and sixteen rows hide each other's latency. (Boxed nodes, as the crate
//! `extended-isolation-forest` has them, cost 6.5 µs a row.) The top three levels, whose nodes are the same for all
//! rows, are compared for all rows at once. All rows of a block walk a tree before the next one, so that a tree is
//! fetched from memory once for all of them.
//!
//! Invariants:
//! 1. every tree has `2^depth − 1` inner nodes and `2^depth` leaves; a leaf of the fitted tree above the last level
//!    is copied to all of its descendants, and the nodes between always lead left;
//! 2. features are finite `f32` values, when fitted and when scored: thresholds are rounded so that the comparison in
//!    `f32` decides as the one in `f64` by which the tree was grown;
//! 3. the path lengths of a row are added in the order of the trees: the same model gives the same bits anywhere.
//!
//! Most rows are ordinary, and a quarter of the trees is enough to tell: [`Forest::score_odd`] scores a row by the
//! other trees only if the first quarter finds it more isolated than nine in ten of the rows that it was fitted on.
//! Which trees score a row depends on the row alone.

mod block;
mod fit;
mod random;
mod stored;
#[cfg(test)]
pub(crate) mod tests;
mod tree;
mod walk;

pub use self::block::{Block, LANES};
use self::block::{GROUP, GROUPS};
pub use self::fit::{FitError, ForestOptions, fit};
pub use self::stored::StoredForest;
pub use self::tree::Node;
use self::walk::Walk;
use crate::transcendental::exp2;

/// Most features of a forest: what a block of rows holds.
pub const FEATURES_MAX: usize = 32;
/// Depth of the deepest tree: a tree is grown on at most 4,096 rows.
const DEPTH_MAX: u32 = 12;
/// Share of the fitted rows that count as ordinary.
const ORDINARY: f64 = 0.9;

/// A forest that can be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    features: usize,
    depth: u32,
    /// Average path length of an unsuccessful search among the rows of a tree: the unit of path lengths.
    normal_path: f64,
    /// Rows with at most this score from the first quarter of the trees are ordinary.
    ordinary: Option<f32>,
    trees: Vec<Vec<Node>>,
    walk: Walk,
}

impl Forest {
    /// Number of features of a row.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// Scores all rows of a block: 2^(−mean path length / average path length), 0 … 1, the higher the more isolated.
    pub fn score(&self, block: &Block) -> [f32; LANES] {
        self.score_first(block, LANES)
    }

    /// Scores the first `rows` rows of a block; the other lanes are 0.
    pub fn score_first(&self, block: &Block, rows: usize) -> [f32; LANES] {
        let mut paths = [[0.0; GROUP]; GROUPS];
        self.walk(0..self.trees.len(), block, rows, &mut paths);
        self.scores(&paths, rows, self.trees.len())
    }

    /// Scores the first `rows` rows of a block: those that a quarter of the trees finds ordinary by that quarter alone,
    /// the others as [`Forest::score_first`] does. `odd` is a buffer and is overwritten.
    pub fn score_odd(&self, block: &Block, rows: usize, odd: &mut Block) -> [f32; LANES] {
        let Some(ordinary) = self.ordinary else { return self.score_first(block, rows) };
        let first = self.first_trees();
        let mut paths = [[0.0; GROUP]; GROUPS];
        self.walk(0..first, block, rows, &mut paths);
        let mut scores = self.scores(&paths, rows, first);
        let (mut lanes, mut count) = ([0u8; LANES], 0);
        let mut odd_paths = [[0.0; GROUP]; GROUPS];
        for lane in (0..rows).filter(|lane| scores[*lane] > ordinary) {
            for feature in 0..self.features {
                odd.set(count, feature, block.get(lane, feature));
            }
            odd_paths[count / GROUP][count % GROUP] = paths[lane / GROUP][lane % GROUP];
            (lanes[count], count) = (lane as u8, count + 1);
        }
        self.walk(first..self.trees.len(), odd, count, &mut odd_paths);
        let odd_scores = self.scores(&odd_paths, count, self.trees.len());
        for (lane, score) in lanes[..count].iter().zip(odd_scores) {
            scores[usize::from(*lane)] = score;
        }
        scores
    }

    /// Number of trees that score every row.
    fn first_trees(&self) -> usize {
        self.trees.len().div_ceil(4)
    }

    /// Sets which score is ordinary from the rows that the forest was fitted on, laid end to end.
    fn learn_ordinary(&mut self, rows: &[f32]) {
        let mut found = Vec::with_capacity(rows.len() / self.features);
        let mut block = Block::default();
        for rows in rows.chunks(self.features * LANES) {
            let count = rows.len() / self.features;
            for (lane, row) in rows.chunks_exact(self.features).enumerate() {
                row.iter().enumerate().for_each(|(feature, value)| block.set(lane, feature, *value));
            }
            let mut paths = [[0.0; GROUP]; GROUPS];
            self.walk(0..self.first_trees(), &block, count, &mut paths);
            found.extend_from_slice(&self.scores(&paths, count, self.first_trees())[..count]);
        }
        let at = (found.len() as f64 * ORDINARY) as usize;
        self.ordinary = Some(*found.select_nth_unstable_by(at, f32::total_cmp).1);
    }

    fn scores(&self, paths: &[[f32; GROUP]; GROUPS], rows: usize, trees: usize) -> [f32; LANES] {
        let scale = (-1.0 / (trees as f64 * self.normal_path)) as f32;
        let mut scores = [0.0; LANES];
        for (score, path) in scores.iter_mut().zip(paths.as_flattened()).take(rows) {
            *score = exp2(*path * scale);
        }
        scores
    }

    /// Scores one row of as many features as the forest has.
    pub fn score_one(&self, row: &[f32]) -> f32 {
        let mut block = Block::of_one_group();
        for (feature, value) in row.iter().enumerate().take(self.features) {
            block.set(0, feature, *value);
        }
        self.score_first(&block, 1)[0]
    }
}
