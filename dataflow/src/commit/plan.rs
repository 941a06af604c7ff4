//! What one commit writes, put together from the epochs below the frontier. Pure.
//!
//! Invariants:
//! 1. the plan of several epochs equals what committing them one by one would leave behind: of a window row, a
//!    pane, a mark and a view's row the last one stands; rows that add up are one sum; parts of rows that the server
//!    merges are written one after the other;
//! 2. an empty plan makes no transaction.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use citytide_core::batch::Tally;
use citytide_core::detect::Note;
use citytide_core::position::Mark;
use citytide_core::window::{Applied, PaneState, WindowRow};
use citytide_store::row::{Row, Value};

/// A row of a live view that appeared (+1) or disappeared (−1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct ViewRow {
    /// Index of the view's table.
    pub view: usize,
    /// The columns of the table's key.
    pub key: Row,
    /// The other ones; of a view that adds up, counts without those that the commit fills by itself.
    pub rest: Row,
    /// What becomes of the row that is there.
    pub onto: Onto,
    /// Whether it is of a window or of counts: its key has a `window_start`, the last time in it.
    pub has_start: bool,
}

/// What a row does to the one with its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Onto {
    /// It takes its place.
    Replaces,
    /// Its counts are added.
    Adds,
    /// The server merges the two, by the rules of the table's columns. It never disappears, and waits until something else
    /// is to be committed, or for a row without columns, which says that nothing more will come soon.
    Merges,
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
    /// Rows of the live views by view and key; `None` deletes. Of a view that adds up, what is added.
    pub views: BTreeMap<(usize, Row), Option<Row>>,
    /// The earliest `window_start` among the keys of the live views' rows.
    pub starts_from_us: Option<i64>,
    /// Parts of rows that the server merges.
    pub parts: Parts,
    /// How accepted readings were judged, by partition; for people only.
    pub tallies: BTreeMap<i32, Tally>,
    /// What the detector decided or found, by epoch.
    pub notes: Vec<(u64, Note)>,
}

/// The columns of the key, and the other ones.
pub type Part = (Row, Row);

/// Parts of rows that the server merges. A statement writes a row once, so that parts of one row are numbered.
#[derive(Debug, Default)]
pub struct Parts {
    /// By view and number.
    rows: BTreeMap<(usize, usize), Vec<Part>>,
    /// How many there are of each row.
    numbers: HashMap<(usize, Row), usize>,
    /// Whether they no longer wait for something else to commit.
    are_due: bool,
}

impl Parts {
    /// The parts of a view's rows, for one statement after the other.
    pub fn of_view(&self, view: usize) -> impl Iterator<Item = &[Part]> {
        self.rows.range((view, 0)..=(view, usize::MAX)).map(|(_, rows)| &rows[..])
    }

    fn add(&mut self, view: usize, key: Row, rest: Row) {
        let number = self.numbers.entry((view, key.clone())).or_default();
        self.rows.entry((view, *number)).or_default().push((key, rest));
        *number += 1;
    }
}

impl Plan {
    /// Whether there is nothing to say. Rows of views come with the mark that moved them; alone, as after a restart,
    /// they repeat what the tables hold and wait. How far models agree waits for the next reading, and parts of rows wait
    /// until they are due.
    pub fn is_empty(&self) -> bool {
        let is_decision = |(_, note): &(u64, Note)| !matches!(note, Note::Agreed { .. });
        self.marks.is_empty()
            && self.windows.is_empty()
            && self.panes.is_empty()
            && !self.parts.are_due
            && !self.notes.iter().any(is_decision)
    }

    /// The earliest start of its rows of windows, sessions and counts.
    pub fn windows_from_us(&self) -> Option<i64> {
        self.windows.values().map(|row| row.start_us).chain(self.starts_from_us).min()
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

    /// Adds the changes of the views of one epoch: a row that replaces another one appears and disappears at once. Of a
    /// view that adds up, a row that disappears is subtracted.
    pub fn views(&mut self, mut changes: Vec<(ViewRow, isize)>) {
        changes.sort_by_key(|(_, diff)| *diff);
        for (ViewRow { view, key, rest, onto, has_start }, diff) in changes {
            if has_start {
                let starts = key.iter().filter_map(|value| match value {
                    Value::Time(at_us) => Some(*at_us),
                    _ => None,
                });
                self.starts_from_us = starts.chain(self.starts_from_us).min();
            }
            match onto {
                Onto::Replaces => {
                    self.views.insert((view, key), (diff > 0).then_some(rest));
                }
                Onto::Adds => {
                    let nothing = || Some(vec![Value::Integer(0); rest.len()]);
                    let sums = self.views.entry((view, key)).or_insert_with(nothing).as_mut();
                    add(sums.expect("a sum is not deleted"), &rest, diff as i64);
                }
                Onto::Merges if key.is_empty() => self.parts.are_due = true,
                Onto::Merges => {
                    for _ in 1..diff {
                        self.parts.add(view, key.clone(), rest.clone());
                    }
                    self.parts.add(view, key, rest);
                }
            }
        }
    }
}

/// Adds counts so many times.
fn add(sums: &mut [Value], counts: &[Value], times: i64) {
    for (sum, count) in sums.iter_mut().zip(counts) {
        let (Value::Integer(sum), Value::Integer(count)) = (sum, count) else {
            panic!("what adds up are counts");
        };
        *sum += count * times;
    }
}

#[cfg(test)]
mod tests;
