//! Walking rows through trees: comparisons and additions, without branches.

use std::ops::Range;

use super::block::{Block, GROUP, GROUPS, Group};
use super::tree::{AxisNode, PlaneNode};
use super::{DEPTH_MAX, FEATURES_MAX, Forest};

/// Levels at the root that [`walk_top`] compares for all rows of a group at once.
const TOP: u32 = 3;

/// The nodes and leaves of all trees, laid out for the walk (see [`LaidOut`](super::tree::LaidOut)).
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Walk {
    /// Extension level 0: a threshold on one feature.
    Axis { nodes: Vec<AxisNode>, leaves: Vec<f32> },
    /// Extension level 1: the arithmetic of fitting, on two features.
    Plane { nodes: Vec<PlaneNode>, leaves: Vec<f32> },
}

impl Forest {
    /// Adds the path lengths of the first rows of a block in some of the trees to `paths`.
    pub(super) fn walk(
        &self,
        trees: Range<usize>,
        block: &Block,
        rows: usize,
        paths: &mut [[f32; GROUP]; GROUPS],
    ) {
        let groups = &block.groups[..rows.div_ceil(GROUP).min(block.groups.len())];
        // The size of a tree is a constant of the compiled walk, so that no step checks a bound.
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
}

// Not inlined: the addresses of all groups would not fit in the registers.
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

/// The rows' positions behind the top three levels. Every row is compared with all seven nodes (entry 0 is unused), and
/// its own answers are selected by bit operations, which the compiler vectorises.
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
