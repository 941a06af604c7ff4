//! The isolation forest as it is scored: implicit binary trees, sixteen rows side by side.
//!
//! It is grown from a seed (see [`fit()`]). A tree is a complete binary tree of its greatest depth in an array, for boxed
//! nodes, as the crate `extended-isolation-forest` has them, cost 6.5 µs a row to walk: the children of node `i` are `2i + 1` and
//! `2i + 2`, so a step is a comparison and an addition, without branches, and sixteen rows hide each other's latency.
//! The top three levels, whose nodes are the same for all rows, are compared for all rows at once. A tree is walked by
//! a whole block of rows before the next one, so that it is fetched from memory once for all of them.
//!
//! Invariants:
//! 1. every tree has `2^depth − 1` inner nodes and `2^depth` leaves; a leaf of the fitted tree above the last level
//!    is copied to all of its descendants, and the nodes between always lead left;
//! 2. features are finite and of `f32` value, when fitted and when scored: a threshold is rounded so that the
//!    comparison in `f32` decides as the one in `f64` does by which the tree was grown;
//! 3. the path lengths of a row are added in the order of the trees: the same model gives the same bits anywhere.
//!
//! Most rows are ordinary, and a quarter of the trees is enough to see it: [`Forest::score_odd`] asks the others only
//! of rows that the first ones find odder than nine in ten of those it was fitted on. Which trees a row is asked of
//! depends on the row alone.

mod fit;
mod random;
#[cfg(test)]
pub(crate) mod tests;

use std::ops::Range;

pub use fit::{FitError, ForestOptions, fit};
use serde::{Deserialize, Serialize};

use crate::transcendental::exp2;

/// Rows of a block.
pub const LANES: usize = GROUP * GROUPS;
/// Rows that walk a tree side by side, and how many times that a block has.
const GROUP: usize = 16;
const GROUPS: usize = 8;
/// Most features of a forest: what a block of rows holds.
pub const FEATURES_MAX: usize = 32;
/// Deepest tree: 4,096 rows to a tree.
const DEPTH_MAX: u32 = 12;

/// A block of rows; lanes that hold no row are ignored by the caller.
#[derive(Debug, Clone)]
pub struct Block {
    groups: Vec<Group>,
}

/// Sixteen rows, by feature.
type Group = [f32; FEATURES_MAX * GROUP];

impl Default for Block {
    fn default() -> Block {
        Block { groups: vec![[0.0; FEATURES_MAX * GROUP]; GROUPS] }
    }
}

impl Block {
    /// Sets a feature of a row; what is not finite becomes 0, the baseline, for the forest must never see it.
    #[inline]
    pub fn set(&mut self, lane: usize, feature: usize, value: f32) {
        let value = if value.is_finite() { value } else { 0.0 };
        self.groups[lane / GROUP][feature * GROUP + lane % GROUP] = value;
    }

    /// A feature of a row.
    pub fn get(&self, lane: usize, feature: usize) -> f32 {
        self.groups[lane / GROUP][feature * GROUP + lane % GROUP]
    }
}

/// A fitted tree, node by node in pre-order: what is stored with a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Node {
    /// Path length of the rows that end here.
    Leaf(f32),
    /// A hyperplane that is normal to one axis or lies across two: `(feature, normal, intercept)` each.
    /// Left, then right subtree follow; a row goes right when the sum of `(x − intercept) · normal` is above 0.
    Split(Vec<(u8, f64, f64)>),
}

/// A forest that can be scored.
#[derive(Debug, Clone, PartialEq)]
pub struct Forest {
    features: usize,
    depth: u32,
    /// Average path length of a search among the rows of a tree: what path lengths are measured in.
    normal_path: f64,
    /// Rows with at most this score from the first trees are ordinary.
    ordinary: Option<f32>,
    trees: Vec<Vec<Node>>,
    walk: Walk,
}

#[derive(Debug, Clone, PartialEq)]
enum Walk {
    /// Extension level 0: a threshold on one feature.
    Axis { nodes: Vec<AxisNode>, leaves: Vec<f32> },
    /// Extension level 1: the arithmetic of fitting, on two features.
    Plane { nodes: Vec<PlaneNode>, leaves: Vec<f32> },
}

/// Right when the feature is above the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
struct AxisNode {
    threshold: f32,
    /// Where the feature's lanes begin in a block.
    lanes_at: u32,
}

/// Right when `(a − intercept_a) · normal_a + (b − intercept_b) · normal_b` is above 0.
#[derive(Debug, Clone, Copy, PartialEq)]
struct PlaneNode {
    intercept: [f64; 2],
    normal: [f64; 2],
    feature: [u32; 2],
}

/// The stored form of a [`Forest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredForest {
    /// Features of a row.
    pub features: usize,
    /// Depth of the deepest tree.
    pub depth: u32,
    /// Average path length of a search among the rows of a tree.
    pub normal_path: f64,
    /// Rows with at most this score from the first trees are ordinary; without it all trees are asked of every row.
    #[serde(default)]
    pub ordinary: Option<f32>,
    /// The trees in pre-order.
    pub trees: Vec<Vec<Node>>,
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

    /// The form that is stored.
    pub fn stored(&self) -> StoredForest {
        StoredForest {
            features: self.features,
            depth: self.depth,
            normal_path: self.normal_path,
            ordinary: self.ordinary,
            trees: self.trees.clone(),
        }
    }

    /// Lays the trees out for the walk.
    ///
    /// # Errors
    ///
    /// What is wrong with the trees.
    pub fn from_stored(stored: StoredForest) -> Result<Forest, String> {
        let StoredForest { features, depth, normal_path, ordinary, trees } = stored;
        if features == 0 || features > FEATURES_MAX {
            return Err(format!("{features} features, not 1 to {FEATURES_MAX}"));
        }
        if depth > DEPTH_MAX || trees.is_empty() {
            return Err(format!("{} trees of depth {depth}, at most {DEPTH_MAX}", trees.len()));
        }
        if ordinary.is_some_and(f32::is_nan) {
            return Err("an ordinary score that is none".to_owned());
        }
        if !(normal_path.is_finite() && normal_path > 0.0) {
            return Err(format!("normal path length {normal_path}"));
        }
        let is_axis = trees.iter().flatten().all(|node| match node {
            Node::Leaf(_) => true,
            Node::Split(plane) => plane.len() == 1,
        });
        let inner = (1usize << depth) - 1;
        let mut laid = LaidOut { features, inner, planes: Vec::new(), leaves: Vec::new() };
        for (number, tree) in trees.iter().enumerate() {
            laid.planes.resize((number + 1) * (inner + 1), LaidOut::LEFT);
            laid.leaves.resize((number + 1) * (inner + 1), 0.0);
            let used = laid.place(number * (inner + 1), 0, tree)?;
            if used != tree.len() {
                return Err(format!("tree {number} has nodes left over"));
            }
        }
        let walk = if is_axis {
            let nodes = laid.planes.iter().map(|plane| plane.axis()).collect();
            Walk::Axis { nodes, leaves: laid.leaves }
        } else {
            Walk::Plane { nodes: laid.planes, leaves: laid.leaves }
        };
        Ok(Forest { features, depth, normal_path, ordinary, trees, walk })
    }

    /// Scores a block of rows: 0 … 1 each, the higher the more isolated.
    pub fn score(&self, block: &Block) -> [f32; LANES] {
        self.score_first(block, LANES)
    }

    /// Scores the first rows of a block.
    pub fn score_first(&self, block: &Block, rows: usize) -> [f32; LANES] {
        let mut paths = [[0.0; GROUP]; GROUPS];
        self.walk(0..self.trees.len(), block, rows, &mut paths);
        self.scores(&paths, rows, self.trees.len())
    }

    /// Scores the first rows of a block as [`Forest::score_first`] does where they are odd, by a quarter of the trees
    /// where they are ordinary. `odd` is overwritten.
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

    /// The trees that every row is asked of.
    fn first_trees(&self) -> usize {
        self.trees.len().div_ceil(4)
    }

    /// Learns from the rows that it was fitted on, laid end to end, what is ordinary.
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

    /// Adds what some of the trees say of the first rows of a block.
    fn walk(&self, trees: Range<usize>, block: &Block, rows: usize, paths: &mut [[f32; GROUP]; GROUPS]) {
        let groups = &block.groups[..rows.div_ceil(GROUP).min(block.groups.len())];
        // The length of a tree is a constant of the walk, so that no step needs a check.
        macro_rules! of_depth {
            ($($depth:literal)*) => {
                match self.depth {
                    $($depth => self.walk_deep::<{ 1 << $depth }>(trees, groups, paths),)*
                    _ => unreachable!("a tree is at most {DEPTH_MAX} deep"),
                }
            };
        }
        of_depth!(0 1 2 3 4 5 6 7 8 9 10 11 12);
    }

    fn walk_deep<const NODES: usize>(
        &self,
        trees: Range<usize>,
        groups: &[Group],
        paths: &mut [[f32; GROUP]; GROUPS],
    ) {
        match &self.walk {
            Walk::Axis { nodes, leaves } => {
                let (nodes, leaves) =
                    (&nodes.as_chunks::<NODES>().0[trees.clone()], &leaves.as_chunks().0[trees]);
                for (nodes, leaves) in nodes.iter().zip(leaves) {
                    for (group, paths) in groups.iter().zip(paths.iter_mut()) {
                        walk_axis(nodes, leaves, group, paths);
                    }
                }
            }
            Walk::Plane { nodes, leaves } => {
                let (nodes, leaves) =
                    (&nodes.as_chunks::<NODES>().0[trees.clone()], &leaves.as_chunks().0[trees]);
                for (nodes, leaves) in nodes.iter().zip(leaves) {
                    for (group, paths) in groups.iter().zip(paths.iter_mut()) {
                        walk_plane(nodes, leaves, group, paths);
                    }
                }
            }
        }
    }

    /// Scores one row.
    pub fn score_one(&self, row: &[f32]) -> f32 {
        let mut block = Block { groups: vec![[0.0; FEATURES_MAX * GROUP]] };
        for (feature, value) in row.iter().enumerate().take(self.features) {
            block.set(0, feature, *value);
        }
        self.score_first(&block, 1)[0]
    }
}

/// Share of the rows it was fitted on that a forest finds ordinary.
const ORDINARY: f64 = 0.9;
/// Levels that all rows of a group take at once.
const TOP: u32 = 3;

// Inlined, the addresses of all groups would be kept in too few registers.
#[inline(never)]
fn walk_axis<const NODES: usize>(
    nodes: &[AxisNode; NODES],
    leaves: &[f32; NODES],
    group: &Group,
    paths: &mut [f32; GROUP],
) {
    let lanes_at = |node: &AxisNode| node.lanes_at as usize & ((FEATURES_MAX - 1) * GROUP);
    // Positions count from 1, so that children are 2i and 2i + 1 and, behind the last level, the leaf follows.
    let mut at = [1u32; GROUP];
    let mut levels = NODES.ilog2();
    if levels >= TOP {
        at = walk_top(std::array::from_fn(|node| {
            let node = &nodes[node & (NODES - 1)];
            (&group.as_chunks::<GROUP>().0[lanes_at(node) / GROUP], node.threshold)
        }));
        levels -= TOP;
    }
    for _ in 0..levels {
        for (lane, at) in at.iter_mut().enumerate() {
            let node = nodes[*at as usize & (NODES - 1)];
            let value = group[lanes_at(&node) + lane];
            *at = 2 * *at + u32::from(value > node.threshold);
        }
    }
    for (path, at) in paths.iter_mut().zip(at) {
        *path += leaves[at as usize & (NODES - 1)];
    }
}

/// Positions behind the top three levels. Every row is compared with all seven nodes, entry 0 is none; which of the
/// answers are its own is chosen by bits, which a compiler makes vectors of.
#[inline]
fn walk_top(nodes: [(&[f32; GROUP], f32); 1 << TOP]) -> [u32; GROUP] {
    let mut at = [0; GROUP];
    for lane in 0..GROUP {
        let right = |node: usize| u32::from(nodes[node].0[lane] > nodes[node].1).wrapping_neg();
        let choose = |is_right: u32, left: u32, right: u32| left ^ ((left ^ right) & is_right);
        let first = right(1);
        let second = choose(first, right(2), right(3));
        let third = choose(first, choose(second, right(4), right(5)), choose(second, right(6), right(7)));
        at[lane] = 8 | (first & 4) | (second & 2) | (third & 1);
    }
    at
}

#[inline(never)]
fn walk_plane<const NODES: usize>(
    nodes: &[PlaneNode; NODES],
    leaves: &[f32; NODES],
    group: &Group,
    paths: &mut [f32; GROUP],
) {
    let mut at = [1u32; GROUP];
    for _ in 0..NODES.ilog2() {
        for (lane, at) in at.iter_mut().enumerate() {
            let node = &nodes[*at as usize & (NODES - 1)];
            let value = |side: usize| {
                f64::from(group[(node.feature[side] as usize * GROUP + lane) & (FEATURES_MAX * GROUP - 1)])
            };
            let a = (value(0) - node.intercept[0]) * node.normal[0];
            let b = (value(1) - node.intercept[1]) * node.normal[1];
            *at = 2 * *at + u32::from(a + b > 0.0);
        }
    }
    for (path, at) in paths.iter_mut().zip(at) {
        *path += leaves[at as usize & (NODES - 1)];
    }
}

/// Trees as complete binary trees, one after the other; entry 0 of each is not used.
struct LaidOut {
    features: usize,
    inner: usize,
    planes: Vec<PlaneNode>,
    leaves: Vec<f32>,
}

impl LaidOut {
    /// A node that always leads left.
    const LEFT: PlaneNode = PlaneNode { intercept: [0.0; 2], normal: [0.0; 2], feature: [0; 2] };

    /// Places the subtree that begins `nodes` under position `at` (from 0); returns how many nodes it has.
    fn place(&mut self, base: usize, at: usize, nodes: &[Node]) -> Result<usize, String> {
        match nodes.first() {
            None => Err("a tree ends early".to_owned()),
            Some(Node::Leaf(path)) => {
                if !path.is_finite() {
                    return Err(format!("a path of length {path}"));
                }
                let (mut first, mut count) = (at, 1);
                while first < self.inner {
                    (first, count) = (2 * first + 1, 2 * count);
                }
                self.leaves[base + first - self.inner..][..count].fill(*path);
                Ok(1)
            }
            Some(Node::Split(plane)) => {
                if at >= self.inner {
                    return Err("a tree is deeper than it says".to_owned());
                }
                let mut node = LaidOut::LEFT;
                if plane.is_empty() || plane.len() > 2 {
                    return Err(format!("a split across {} features", plane.len()));
                }
                for (side, &(feature, normal, intercept)) in plane.iter().enumerate() {
                    if usize::from(feature) >= self.features
                        || !normal.is_finite()
                        || !intercept.is_finite()
                        || normal == 0.0
                    {
                        return Err(format!("a split on feature {feature} at {intercept}"));
                    }
                    node.feature[side] = u32::from(feature);
                    node.normal[side] = normal;
                    node.intercept[side] = intercept;
                }
                // A negative normal, as models have that were stored by earlier versions, swaps the children instead.
                let (left, right) = if plane.len() == 1 && plane[0].1 < 0.0 { (2, 1) } else { (1, 2) };
                self.planes[base + at + 1] = node;
                let after_left = 1 + self.place(base, 2 * at + left, &nodes[1..])?;
                Ok(after_left + self.place(base, 2 * at + right, &nodes[after_left..])?)
            }
        }
    }
}

impl PlaneNode {
    /// The threshold in `f32` that decides, for values of `f32`, as the comparison in `f64` does.
    fn axis(&self) -> AxisNode {
        let (normal, intercept) = (self.normal[0], self.intercept[0]);
        if normal == 0.0 {
            return AxisNode { threshold: f32::INFINITY, lanes_at: 0 };
        }
        let nearest = intercept as f32;
        let threshold = if normal > 0.0 {
            // x > p  ⇔  x > the greatest f32 not above p
            if f64::from(nearest) <= intercept { nearest } else { nearest.next_down() }
        } else {
            // children swapped: x ≥ p  ⇔  x > the f32 before the least one not below p
            let least = if f64::from(nearest) >= intercept { nearest } else { nearest.next_up() };
            least.next_down()
        };
        AxisNode { threshold, lanes_at: self.feature[0] * GROUP as u32 }
    }
}
