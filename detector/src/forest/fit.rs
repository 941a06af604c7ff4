//! Fitting: rows in, a forest out, by the crate `extended-isolation-forest`, read out through serde.
//!
//! The crate draws from the thread's generator and cannot be seeded: two fits differ. What must be reproducible is
//! the score of a given model, and models are stored; tests pin properties of a fit, never its trees.
//!
//! The crate also splits on features that are constant among a node's rows, which leaves one side empty, and each such
//! split uses up depth: of data that is mostly zeros nothing is learnt. At extension level 0 empty splits are therefore
//! taken out; where there are many, trees are grown deeper than needed and cut at the depth of the method. A split
//! across two features may pass all rows by; that is part of the extended method and stays.

use extended_isolation_forest as crate_forest;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{DEPTH_MAX, FEATURES_MAX, Forest, Node, StoredForest};

/// How a forest is grown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForestOptions {
    /// Number of trees.
    pub trees: usize,
    /// Rows that each tree is grown on; fewer when there are fewer.
    pub rows_per_tree: usize,
    /// 0: a split looks at one feature; 1: at two. More was worse on every set tried.
    pub extension: usize,
}

impl Default for ForestOptions {
    fn default() -> ForestOptions {
        ForestOptions { trees: 100, rows_per_tree: 256, extension: 0 }
    }
}

/// Fewest rows a forest is fitted on.
pub const ROWS_MIN: usize = 100;

/// Greatest share of splits that divide no rows in trees that are kept as they are.
const EMPTY_SPLITS_MAX: f64 = 0.01;
/// How many times as deep as needed trees are grown where there are more: enough while a third of the splits divides.
const SPARE_DEPTH: u32 = 3;
/// Trees that are grown before they are read out: bounds the memory that their serialised form takes.
const TREES_AT_ONCE: usize = 20;

/// Why no forest could be fitted.
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
    NotFinite {
        /// The row.
        row: usize,
        /// The feature.
        feature: usize,
    },
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
    /// The crate's forest was not as expected.
    #[error(
        "reading out the fitted forest: {0}; the versions of the forest's crate and of this program differ"
    )]
    ReadOut(String),
}

/// Fits a forest on rows of `features` values each, laid end to end.
///
/// # Errors
///
/// When there are too few rows, a value is not finite, or the options fit no forest.
pub fn fit(rows: &[f32], features: usize, options: &ForestOptions) -> Result<Forest, FitError> {
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
    // The crate's number of features is a constant of its type.
    macro_rules! of_features {
        ($($n:literal)*) => {
            match features {
                $($n => grow::<$n>(rows, &options),)*
                _ => Err(FitError::Features(features)),
            }
        };
    }
    let mut forest =
        of_features!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)?;
    forest.learn_ordinary(rows);
    Ok(forest)
}

fn grow<const N: usize>(rows: &[f32], options: &ForestOptions) -> Result<Forest, FitError> {
    let rows: Vec<[f64; N]> =
        rows.chunks_exact(N).map(|row| std::array::from_fn(|feature| f64::from(row[feature]))).collect();
    let depth = depth(options.rows_per_tree);
    let mut grown_depth = depth;
    let mut trees = Vec::with_capacity(options.trees);
    while trees.len() < options.trees {
        let options = crate_forest::ForestOptions {
            n_trees: TREES_AT_ONCE.min(options.trees - trees.len()),
            sample_size: options.rows_per_tree,
            max_tree_depth: Some(grown_depth as usize),
            extension_level: options.extension,
        };
        let grown = crate_forest::Forest::from_slice(&rows, &options)
            .map_err(|error| FitError::ReadOut(error.to_string()))?;
        let grown = GrownForest::read(&grown)?;
        let is_first = trees.is_empty() && grown_depth == depth;
        if options.extension_level == 0 && is_first && grown.empty_splits() > EMPTY_SPLITS_MAX {
            grown_depth = depth * SPARE_DEPTH;
            continue;
        }
        trees.extend(grown.flat(depth, options.extension_level));
    }
    forest(N, options.rows_per_tree, trees)
}

/// Depth of a tree that is grown on so many rows: that of a balanced one with a row to a leaf.
fn depth(rows_per_tree: usize) -> u32 {
    rows_per_tree.next_power_of_two().ilog2()
}

/// A forest of trees that were grown on so many rows each.
pub(super) fn forest(
    features: usize,
    rows_per_tree: usize,
    trees: Vec<Vec<Node>>,
) -> Result<Forest, FitError> {
    let stored = StoredForest {
        features,
        depth: depth(rows_per_tree),
        normal_path: unsuccessful_search(rows_per_tree),
        ordinary: None,
        trees,
    };
    Forest::from_stored(stored).map_err(FitError::ReadOut)
}

/// The crate's forest as it serialises itself.
#[derive(Deserialize)]
pub(super) struct GrownForest {
    trees: Vec<GrownTree>,
}

impl GrownForest {
    /// Reads the crate's forest out through serde.
    pub(super) fn read(forest: &impl Serialize) -> Result<GrownForest, FitError> {
        let value = serde_json::to_value(forest).map_err(|error| FitError::ReadOut(error.to_string()))?;
        serde_json::from_value(value).map_err(|error| FitError::ReadOut(error.to_string()))
    }

    /// Share of the splits that leave one side without a row.
    fn empty_splits(&self) -> f64 {
        let (empty, splits) = self.trees.iter().fold((0, 0), |sum, tree| tree.root.count_splits(sum));
        f64::from(empty) / f64::from(splits.max(1))
    }

    /// The trees, cut at a depth.
    pub(super) fn flat(&self, depth: u32, extension: usize) -> impl Iterator<Item = Vec<Node>> {
        self.trees.iter().map(move |tree| {
            let mut nodes = Vec::new();
            flatten(&tree.root, (0, depth), extension == 0, &mut nodes);
            nodes
        })
    }
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

impl GrownNode {
    /// Rows of the tree's sample that came here.
    fn rows(&self) -> usize {
        match self {
            GrownNode::Ex { num_samples } => *num_samples,
            GrownNode::In { left, right, .. } => left.rows() + right.rows(),
        }
    }

    /// Adds the splits from here on: those that leave one side without a row, and all.
    fn count_splits(&self, (empty, splits): (u32, u32)) -> (u32, u32) {
        match self {
            GrownNode::Ex { .. } => (empty, splits),
            GrownNode::In { left, right, .. } => {
                let is_empty = left.is_empty() || right.is_empty();
                right.count_splits(left.count_splits((empty + u32::from(is_empty), splits + 1)))
            }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, GrownNode::Ex { num_samples: 0 })
    }

    /// The first node from here on that divides its rows, or the leaf that they all end in.
    fn dividing(&self) -> &GrownNode {
        let mut node = self;
        while let GrownNode::In { left, right, .. } = node {
            if left.is_empty() {
                node = right;
            } else if right.is_empty() {
                node = left;
            } else {
                break;
            }
        }
        node
    }
}

/// Appends a subtree in pre-order, cut at the greatest depth, on demand without the splits that divide no rows.
fn flatten(node: &GrownNode, (depth, greatest): (u32, u32), dividing: bool, nodes: &mut Vec<Node>) {
    match if dividing { node.dividing() } else { node } {
        GrownNode::In { left, right, n, p } if depth < greatest => {
            let plane = n.iter().zip(p).enumerate().filter(|(_, (normal, _))| **normal != 0.0);
            nodes.push(Node::Split(
                plane.map(|(feature, (normal, intercept))| (feature as u8, *normal, *intercept)).collect(),
            ));
            flatten(left, (depth + 1, greatest), dividing, nodes);
            flatten(right, (depth + 1, greatest), dividing, nodes);
        }
        leaf => nodes.push(Node::Leaf((f64::from(depth) + unsuccessful_search(leaf.rows())) as f32)),
    }
}

/// Average path length of an unsuccessful search among `rows` (Liu, Ting, Zhou: Isolation Forest, 2008, equation 1); of
/// two rows it is 1, where the equation's logarithm for the harmonic number is far off.
fn unsuccessful_search(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let rows = rows as f64;
            2.0 * ((rows - 1.0).ln() + 0.577_215_664_9) - 2.0 * (rows - 1.0) / rows
        }
    }
}
