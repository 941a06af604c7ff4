//! Fitting: rows in, a forest out, by the crate `extended-isolation-forest`, read out through serde.
//!
//! The crate draws from the thread's generator and cannot be seeded: two fits differ. What must be reproducible is
//! the score of a given model, and models are stored; tests pin properties of a fit, never its trees.

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
    let rows_per_tree = rows_per_tree.min(count);
    let depth = (rows_per_tree as f64).log2().ceil() as u32;
    let options = crate_forest::ForestOptions {
        n_trees: trees,
        sample_size: rows_per_tree,
        max_tree_depth: Some(depth as usize),
        extension_level: extension.min(features - 1),
    };
    // The crate's number of features is a constant of its type.
    macro_rules! of_features {
        ($($n:literal)*) => {
            match features {
                $($n => grow::<$n>(rows, depth, &options),)*
                _ => Err(FitError::Features(features)),
            }
        };
    }
    let mut forest =
        of_features!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32)?;
    forest.learn_ordinary(rows);
    Ok(forest)
}

fn grow<const N: usize>(
    rows: &[f32],
    depth: u32,
    options: &crate_forest::ForestOptions,
) -> Result<Forest, FitError> {
    let rows: Vec<[f64; N]> =
        rows.chunks_exact(N).map(|row| std::array::from_fn(|feature| f64::from(row[feature]))).collect();
    let forest = crate_forest::Forest::from_slice(&rows, options)
        .map_err(|error| FitError::ReadOut(error.to_string()))?;
    read_out(&forest, N, depth)
}

/// Reads the crate's forest out through serde.
pub(super) fn read_out(forest: &impl Serialize, features: usize, depth: u32) -> Result<Forest, FitError> {
    let value = serde_json::to_value(forest).map_err(|error| FitError::ReadOut(error.to_string()))?;
    let grown: GrownForest =
        serde_json::from_value(value).map_err(|error| FitError::ReadOut(error.to_string()))?;
    let trees = grown.trees.iter().map(|tree| {
        let mut nodes = Vec::new();
        flatten(&tree.root, 0, &mut nodes);
        nodes
    });
    let stored = StoredForest {
        features,
        depth,
        normal_path: grown.avg_path_length_c,
        ordinary: None,
        trees: trees.collect(),
    };
    Forest::from_stored(stored).map_err(FitError::ReadOut)
}

/// The crate's forest as it serialises itself.
#[derive(Deserialize)]
struct GrownForest {
    avg_path_length_c: f64,
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
        GrownNode::Ex { num_samples } => {
            nodes.push(Node::Leaf((f64::from(depth) + unsuccessful_search(*num_samples)) as f32));
        }
        GrownNode::In { left, right, n, p } => {
            let plane = n.iter().zip(p).enumerate().filter(|(_, (normal, _))| **normal != 0.0);
            nodes.push(Node::Split(
                plane.map(|(feature, (normal, intercept))| (feature as u8, *normal, *intercept)).collect(),
            ));
            flatten(left, depth + 1, nodes);
            flatten(right, depth + 1, nodes);
        }
    }
}

/// Average path length of an unsuccessful search among `rows` (Liu, Ting, Zhou: Isolation Forest, 2008, equation 1).
fn unsuccessful_search(rows: usize) -> f64 {
    if rows <= 1 {
        return 0.0;
    }
    let rows = rows as f64;
    2.0 * ((rows - 1.0).ln() + 0.577_215_664_9) - 2.0 * (rows - 1.0) / rows
}
