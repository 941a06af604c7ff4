//! The stored form of a forest, and what is checked when it is read back.

use serde::{Deserialize, Serialize};

use super::tree::{LaidOut, Node, PlaneNode};
use super::walk::Walk;
use super::{DEPTH_MAX, FEATURES_MAX, Forest};

/// The stored form of a [`Forest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredForest {
    /// Features of a row.
    pub features: usize,
    /// Depth of the deepest tree.
    pub depth: u32,
    /// Average path length of an unsuccessful search among the rows of a tree: the unit of path lengths.
    pub normal_path: f64,
    /// Rows with at most this score from the first quarter of the trees are ordinary; without it every row is scored by
    /// all trees.
    #[serde(default)]
    pub ordinary: Option<f32>,
    /// The trees in pre-order.
    pub trees: Vec<Vec<Node>>,
}

impl Forest {
    /// The stored form.
    pub fn stored(&self) -> StoredForest {
        StoredForest {
            features: self.features,
            depth: self.depth,
            normal_path: self.normal_path,
            ordinary: self.ordinary,
            trees: self.trees.clone(),
        }
    }

    /// Checks a stored forest and lays its trees out for the walk.
    ///
    /// # Errors
    ///
    /// What is wrong with the trees: their number, depth or features, a number that is not finite, a missing or
    /// superfluous node.
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
        let laid = LaidOut::new(features, depth, &trees)?;
        let walk = if is_axis {
            let nodes = laid.planes.iter().map(PlaneNode::axis).collect();
            Walk::Axis { nodes, leaves: laid.leaves }
        } else {
            Walk::Plane { nodes: laid.planes, leaves: laid.leaves }
        };
        Ok(Forest { features, depth, normal_path, ordinary, trees, walk })
    }
}
