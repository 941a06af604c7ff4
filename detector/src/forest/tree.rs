//! Trees: as they are fitted and stored, node by node, and as they are walked, complete binary trees in arrays with
//! thresholds rounded to `f32`.

use serde::{Deserialize, Serialize};

use super::block::GROUP;

/// A node of a fitted tree; a tree is stored as its nodes in pre-order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Node {
    /// Path length of the rows that end here: the depth, plus the expected rest for the rows it was grown on.
    Leaf(f32),
    /// A hyperplane across one or two features: `(feature, normal, intercept)` of each. A row goes right if the sum of
    /// `(x − intercept) · normal` is above 0. The left subtree follows, then the right one.
    Split(Vec<(u8, f64, f64)>),
}

/// A split on one feature: a row goes right if the feature is above the threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct AxisNode {
    pub(super) threshold: f32,
    /// Index of the feature's first value in a group of rows.
    pub(super) lanes_at: u32,
}

/// A split on two features: a row goes right if `(a − intercept_a) · normal_a + (b − intercept_b) · normal_b` is above
/// 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PlaneNode {
    pub(super) intercept: [f64; 2],
    pub(super) normal: [f64; 2],
    pub(super) feature: [u32; 2],
}

/// Trees as complete binary trees, one after the other; entry 0 of each is not used.
pub(super) struct LaidOut {
    features: usize,
    /// Inner nodes of a tree.
    inner: usize,
    pub(super) planes: Vec<PlaneNode>,
    /// Path lengths.
    pub(super) leaves: Vec<f32>,
}

impl LaidOut {
    /// Lays out trees of this depth.
    ///
    /// # Errors
    ///
    /// What is wrong with the trees.
    pub(super) fn new(features: usize, depth: u32, trees: &[Vec<Node>]) -> Result<LaidOut, String> {
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
        Ok(laid)
    }

    /// A node that always leads left.
    const LEFT: PlaneNode = PlaneNode { intercept: [0.0; 2], normal: [0.0; 2], feature: [0; 2] };

    /// Places the subtree at the start of `nodes` at position `at`, counted from 0, of the tree that begins at `base`.
    /// Returns how many nodes it has.
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
                // Models stored by earlier versions have negative normals: the children are swapped instead.
                let (left, right) = if plane.len() == 1 && plane[0].1 < 0.0 { (2, 1) } else { (1, 2) };
                self.planes[base + at + 1] = node;
                let after_left = 1 + self.place(base, 2 * at + left, &nodes[1..])?;
                Ok(after_left + self.place(base, 2 * at + right, &nodes[after_left..])?)
            }
        }
    }
}

impl PlaneNode {
    /// The split on one feature whose `f32` threshold decides as the `f64` comparison does, for every `f32` value.
    pub(super) fn axis(&self) -> AxisNode {
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
