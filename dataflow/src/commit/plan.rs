//! What one commit writes, put together from the epochs below the frontier. Pure.
//!
//! Invariants:
//! 1. the plan of several epochs equals what committing them one by one would leave behind: of a window row, a
//!    pane, a mark and a view's row the last one stands;
//! 2. an empty plan makes no transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use citytide_core::batch::Tally;
use citytide_core::detect::Note;
use citytide_core::position::Mark;
use citytide_core::window::{Applied, PaneState, WindowRow};
use citytide_store::row::Row;

/// A row of a live view that appeared (+1) or disappeared (−1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ViewRow {
    /// Index of the view.
    pub view: usize,
    /// The columns of the table's key.
    pub key: Row,
    /// The other ones.
    pub rest: Row,
}

/// What the epochs of one commit change.
#[derive(Debug, Default)]
pub struct Plan {
    /// The greatest epoch.
    pub epoch: u64,
    /// W at its end; [`citytide_core::NEVER`] before there is one.
    pub low_us: i64,
    /// Readings, accepted and late, that it makes visible.
    pub readings: i64,
    /// Window rows by (window, zone, start).
    pub windows: HashMap<(usize, Arc<str>, i64), WindowRow>,
    /// Panes by (zone, start).
    pub panes: HashMap<(Arc<str>, i64), PaneState>,
    /// The last mark of each partition that has one; `new_zones` are those of all epochs.
    pub marks: BTreeMap<i32, Mark>,
    /// Rows of the live views by view and key; `None` deletes.
    pub views: BTreeMap<(usize, Row), Option<Row>>,
    /// How accepted readings were judged, by partition; for people only.
    pub tallies: BTreeMap<i32, Tally>,
    /// What the detector decided or found, by epoch.
    pub notes: Vec<(u64, Note)>,
}

impl Plan {
    /// Whether there is nothing to say. Rows of views come with the mark that moved them; alone, as after a restart,
    /// they repeat what the tables hold and wait. How far models agree waits for the next reading.
    pub fn is_empty(&self) -> bool {
        let is_decision = |(_, note): &(u64, Note)| !matches!(note, Note::Agreed { .. });
        self.marks.is_empty()
            && self.windows.is_empty()
            && self.panes.is_empty()
            && !self.notes.iter().any(is_decision)
    }

    /// Adds a partition's mark.
    pub fn mark(&mut self, mark: Mark) {
        mark.supersede(&mut self.marks);
    }

    /// Adds rows of windows and panes of a later epoch.
    pub fn apply(&mut self, applied: Applied) {
        for row in applied.windows {
            self.windows.insert((row.window, row.zone.clone(), row.start_us), row);
        }
        for pane in applied.panes {
            self.panes.insert((pane.zone.clone(), pane.start_us), pane);
        }
    }

    /// Adds the changes of the views of one epoch: a row that replaces another one appears and disappears at once.
    pub fn views(&mut self, mut changes: Vec<(ViewRow, isize)>) {
        changes.sort_by_key(|(_, diff)| *diff);
        for (row, diff) in changes {
            self.views.insert((row.view, row.key), (diff > 0).then_some(row.rest));
        }
    }
}

#[cfg(test)]
mod tests;
