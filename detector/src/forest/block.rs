//! A block of rows, feature by feature, in the order in which the trees read it.

use super::FEATURES_MAX;

/// Rows of a block.
pub const LANES: usize = GROUP * GROUPS;
/// Rows that walk a tree side by side, and how many such groups a block has.
pub(super) const GROUP: usize = 16;
pub(super) const GROUPS: usize = 8;

/// Room for [`LANES`] rows of up to [`FEATURES_MAX`] features each; the caller ignores lanes without a row.
#[derive(Debug, Clone)]
pub struct Block {
    pub(super) groups: Vec<Group>,
}

/// Sixteen rows, by feature.
pub(super) type Group = [f32; FEATURES_MAX * GROUP];

impl Default for Block {
    fn default() -> Block {
        Block { groups: vec![[0.0; FEATURES_MAX * GROUP]; GROUPS] }
    }
}

impl Block {
    /// A block with room for sixteen rows only.
    pub(super) fn of_one_group() -> Block {
        Block { groups: vec![[0.0; FEATURES_MAX * GROUP]] }
    }

    /// Sets a feature of a row. A value that is not finite becomes 0, the baseline.
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
