//! Fitting a forest. The same rows in the same order and the same seed give the same bytes on any machine: all random
//! numbers come from [`SplitMix64`], and the arithmetic rounds alike everywhere.
//!
//! The method is that of the crate `extended-isolation-forest`, which draws from the thread's generator and cannot be
//! seeded (decision 21); tests compare scores and rankings with the crate's. Differences:
//!
//! 1. At extension level 0 a split takes one of the features that vary among its node's rows. The crate also takes
//!    constant ones, which leaves one side empty and uses up depth: from data that is mostly zeros it learns nothing. A
//!    split across two features may leave all rows on one side; that is part of the extended method and stays.
//! 2. At extension level 0 the higher side is always the right one; the crate's choice of side changes no score.
//! 3. At extension level 1 the normal's two coordinates are drawn from the disc, not from two normal distributions:
//!    only its direction matters, which is uniform either way.
//! 4. A leaf of two rows adds a path of 1, not .15 (see [`unsuccessful_search`]).

use thiserror::Error;

use super::random::SplitMix64;
use super::{DEPTH_MAX, FEATURES_MAX, Forest, Node, StoredForest};
use crate::transcendental::ln;

/// Options for fitting a forest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForestOptions {
    /// Number of trees.
    pub trees: usize,
    /// Rows that each tree is grown on; fewer when there are fewer.
    pub rows_per_tree: usize,
    /// Extension level. 0: a split is on one feature; 1: on two. More was worse on every data set tried.
    pub extension: usize,
}

impl Default for ForestOptions {
    fn default() -> ForestOptions {
        ForestOptions { trees: 100, rows_per_tree: 256, extension: 0 }
    }
}

/// Fewest rows a forest is fitted on.
pub const ROWS_MIN: usize = 100;

/// Why a fit failed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum FitError {
    /// Too few rows.
    #[error("fitting a forest needs at least {ROWS_MIN} rows, and there are {0}; wait for more readings")]
    TooFewRows(usize),
    /// Too many or no features.
    #[error("fitting a forest on {0} features: it takes 1 to {FEATURES_MAX}")]
    Features(usize),
    /// A value that is not finite.
    #[error("fitting a forest on a value that is not finite (row {row}, feature {feature})")]
    NotFinite { row: usize, feature: usize },
    /// Options that fit no forest.
    #[error("fitting a forest with {trees} trees of {rows_per_tree} rows at extension {extension}: {why}")]
    Options {
        /// Number of trees.
        trees: usize,
        /// Rows per tree.
        rows_per_tree: usize,
        /// Extension level.
        extension: usize,
        /// What is wrong.
        why: &'static str,
    },
}

/// Fits a forest on rows of `features` finite values each, laid end to end. The result depends on the arguments alone,
/// to the bit.
///
/// # Errors
///
/// When there are too few rows, a value is not finite, or the options fit no forest.
pub fn fit(rows: &[f32], features: usize, options: &ForestOptions, seed: u64) -> Result<Forest, FitError> {
    if features == 0 || features > FEATURES_MAX {
        return Err(FitError::Features(features));
    }
    let count = rows.len() / features;
    if count < ROWS_MIN {
        return Err(FitError::TooFewRows(count));
    }
    if let Some(at) = rows.iter().position(|value| !value.is_finite()) {
        return Err(FitError::NotFinite { row: at / features, feature: at % features });
    }
    let ForestOptions { trees, rows_per_tree, extension } = *options;
    let wrong = |why| FitError::Options { trees, rows_per_tree, extension, why };
    if trees == 0 || !(2..=1 << DEPTH_MAX).contains(&rows_per_tree) {
        return Err(wrong("trees must be 1 or more, rows to a tree 2 to 4096"));
    }
    if extension > 1 {
        return Err(wrong("the extension level is 0 or 1"));
    }
    let options = ForestOptions {
        trees,
        rows_per_tree: rows_per_tree.min(count),
        extension: extension.min(features - 1),
    };
    let mut forest = forest(features, options.rows_per_tree, grow(rows, features, &options, seed));
    forest.learn_ordinary(rows);
    Ok(forest)
}

fn grow(rows: &[f32], features: usize, options: &ForestOptions, seed: u64) -> Vec<Vec<Node>> {
    let mut tree = Tree {
        rows,
        features: (0..features).collect(),
        extension: options.extension,
        depth: depth(options.rows_per_tree),
        random: SplitMix64::new(seed),
        nodes: Vec::new(),
    };
    let mut order: Vec<usize> = (0..rows.len() / features).collect();
    let next_tree = |_| {
        tree.random.choose(&mut order, options.rows_per_tree);
        tree.grow(&mut order[..options.rows_per_tree], 0);
        std::mem::take(&mut tree.nodes)
    };
    (0..options.trees).map(next_tree).collect()
}

/// A tree that is growing.
struct Tree<'a> {
    /// All rows, laid end to end.
    rows: &'a [f32],
    /// The features, in the order of the last draw.
    features: Vec<usize>,
    extension: usize,
    /// The greatest depth.
    depth: u32,
    random: SplitMix64,
    /// The nodes so far, in pre-order.
    nodes: Vec<Node>,
}

impl Tree<'_> {
    /// Grows the subtree of these rows.
    fn grow(&mut self, rows: &mut [usize], depth: u32) {
        let is_leaf = depth == self.depth || rows.len() < 2;
        let plane = if is_leaf { None } else { self.split(rows) };
        let Some(plane) = plane else {
            let path = f64::from(depth) + unsuccessful_search(rows.len());
            return self.nodes.push(Node::Leaf(path as f32));
        };
        let mut lefts = 0;
        for at in 0..rows.len() {
            if !self.is_right(rows[at], &plane) {
                rows.swap(lefts, at);
                lefts += 1;
            }
        }
        self.nodes.push(Node::Split(plane));
        let (left, right) = rows.split_at_mut(lefts);
        self.grow(left, depth + 1);
        self.grow(right, depth + 1);
    }

    /// A split of these rows; none at extension level 0 if they are all alike.
    fn split(&mut self, rows: &[usize]) -> Option<Vec<(u8, f64, f64)>> {
        if self.extension == 0 {
            // The first one that varies, in random order: each of those that vary is as likely.
            return (0..self.features.len()).find_map(|at| {
                self.random.choose(&mut self.features[at..], 1);
                let (least, most) = self.range(rows, self.features[at]);
                (least < most).then(|| vec![(self.features[at] as u8, 1.0, self.random.between(least, most))])
            });
        }
        self.random.choose(&mut self.features, 2);
        let mut features = [self.features[0], self.features[1]];
        features.sort_unstable();
        let normal = self.random.direction();
        let side = |(feature, normal)| {
            let (least, most) = self.range(rows, feature);
            let intercept = if least < most { self.random.between(least, most) } else { least };
            (feature as u8, normal, intercept)
        };
        Some(features.into_iter().zip(normal).map(side).collect())
    }

    /// The least and the greatest value of a feature.
    fn range(&self, rows: &[usize], feature: usize) -> (f64, f64) {
        let values = rows.iter().map(|row| self.value(*row, feature));
        // Not `f64::min`: which of two zeros it returns depends on the processor.
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (if value < least { value } else { least }, if value > most { value } else { most })
        })
    }

    fn value(&self, row: usize, feature: usize) -> f64 {
        f64::from(self.rows[row * self.features.len() + feature])
    }

    /// Which side of a split a row goes to, as in the walk.
    fn is_right(&self, row: usize, plane: &[(u8, f64, f64)]) -> bool {
        let side = |&(feature, normal, intercept): &(u8, f64, f64)| {
            (self.value(row, usize::from(feature)) - intercept) * normal
        };
        plane.iter().map(side).sum::<f64>() > 0.0
    }
}

/// Depth of a tree that is grown on so many rows: that of a balanced one with a row to a leaf.
fn depth(rows_per_tree: usize) -> u32 {
    rows_per_tree.next_power_of_two().ilog2()
}

/// A forest of trees that were grown on so many rows each.
pub(super) fn forest(features: usize, rows_per_tree: usize, trees: Vec<Vec<Node>>) -> Forest {
    let stored = StoredForest {
        features,
        depth: depth(rows_per_tree),
        normal_path: unsuccessful_search(rows_per_tree),
        ordinary: None,
        trees,
    };
    Forest::from_stored(stored).expect("grown within the bounds of a stored forest")
}

/// Average path length of an unsuccessful search among `rows` (Liu, Ting, Zhou: Isolation Forest, 2008, equation 1); of
/// two rows it is 1, where the equation's logarithm for the harmonic number is far off.
pub(super) fn unsuccessful_search(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let rows = rows as f64;
            2.0 * (ln(rows - 1.0) + 0.577_215_664_9) - 2.0 * (rows - 1.0) / rows
        }
    }
}
