//! commit: everything below the frontier of all its inputs becomes one plan, and one transaction.
//!
//! ```text
//!  window rows, panes ──▶┐
//!  marks ───────────────▶┤  frontier passes epochs ─▶ plan ─▶ committer ─▶ acknowledged ─▶ capabilities dropped
//!  rows of views ───────▶┤
//!  detector's notes ────▶┤
//!  raw rows are in ─────▶┘                     (on worker 0; the others only pass their rows to it)
//! ```
//!
//! Invariants:
//! 1. the frontier behind this operator, which the sources watch, lies above an epoch only when that epoch is
//!    committed or had nothing to say;
//! 2. one plan at a time is under way; what becomes complete meanwhile is one plan together.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use citytide_core::window::{Applied, Mark, Watermarks};
use citytide_store::session::{Session, Wake};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Changes, Epoch, passed};
use crate::commit::committer::Committed;
use crate::commit::plan::{DetectorNote, Plan, ViewRow};

/// What the operator needs on worker 0.
pub struct CommitParts {
    /// Starts the committer, which acknowledges on the channel.
    pub open: Box<dyn FnOnce(crossbeam_channel::Sender<Committed>, Wake) -> Session<Plan>>,
    /// The committed marks.
    pub marks: Vec<Mark>,
    /// The watermarks as of the last commit.
    pub watermarks: Watermarks,
    /// Is told of every commit.
    pub on_committed: Box<dyn FnMut(&Committed)>,
    /// Is told of every mark, also of those that change nothing in the ledger.
    pub on_mark: Box<dyn FnMut(&Mark)>,
}

#[derive(Default)]
struct OpenEpoch {
    capability: Option<Capability<Epoch>>,
    applied: Applied,
    marks: Vec<Mark>,
    views: Vec<(ViewRow, isize)>,
    notes: Vec<DetectorNote>,
}

/// Builds the operator; `parts` on worker 0 only.
pub fn commit<'scope>(
    changes: StreamVec<'scope, Epoch, Changes>,
    marks: StreamVec<'scope, Epoch, Mark>,
    views: StreamVec<'scope, Epoch, (ViewRow, Epoch, isize)>,
    notes: StreamVec<'scope, Epoch, DetectorNote>,
    copied: StreamVec<'scope, Epoch, ()>,
    parts: Option<CommitParts>,
) -> StreamVec<'scope, Epoch, ()> {
    let scope = changes.scope();
    let mut builder = OperatorBuilder::new("commit".to_owned(), scope);
    let mut changes_in = builder.new_input(changes, Exchange::new(|_: &Changes| 0));
    let mut marks_in = builder.new_input(marks, Pipeline);
    let mut views_in = builder.new_input(views, Exchange::new(|_: &(ViewRow, Epoch, isize)| 0));
    let mut notes_in = builder.new_input(notes, Exchange::new(|_: &DetectorNote| 0));
    let mut copied_in = builder.new_input(copied, Pipeline);
    let (_output, committed) = builder.new_output::<Vec<()>>();
    let wake = scope.worker().sync_activator_for(builder.operator_info().address.to_vec());
    let mut state = parts.map(|parts| {
        let (acknowledge, acknowledged) = crossbeam_channel::unbounded();
        let wake = Arc::new(move || {
            let _ = wake.activate();
        });
        let committer = (parts.open)(acknowledge, wake);
        let marks = parts.marks.into_iter().map(|mark| (mark.partition, mark)).collect();
        let told = (parts.on_committed, parts.on_mark);
        (
            Planner { next: Plan::default(), marks, watermarks: parts.watermarks },
            committer,
            acknowledged,
            told,
        )
    });

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: BTreeMap<Epoch, OpenEpoch> = BTreeMap::new();
        // Capabilities of the epochs in the next plan, and of those in the plan under way.
        let (mut next, mut under_way): (Vec<Capability<Epoch>>, Option<Vec<Capability<Epoch>>>) =
            (Vec::new(), None);
        move |frontiers| {
            copied_in.for_each(|_, _| {});
            let Some((planner, committer, acknowledged, (on_committed, on_mark))) = state.as_mut() else {
                changes_in.for_each(|_, changes| changes.clear());
                marks_in.for_each(|_, marks| marks.clear());
                views_in.for_each(|_, views| views.clear());
                notes_in.for_each(|_, notes| notes.clear());
                return;
            };
            changes_in.for_each(|capability, changes| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capability.get_or_insert_with(|| capability.retain(0));
                for change in changes.drain(..) {
                    match change {
                        Changes::Window(row) => open.applied.windows.push(row),
                        Changes::Pane(pane) => open.applied.panes.push(pane),
                    }
                }
            });
            marks_in.for_each(|capability, marks| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capability.get_or_insert_with(|| capability.retain(0));
                open.marks.append(marks);
            });
            views_in.for_each(|capability, views| {
                // Differential batches several epochs under one capability; each row names its own.
                for (row, epoch, diff) in views.drain(..) {
                    let open = epochs.entry(epoch).or_default();
                    open.capability.get_or_insert_with(|| capability.delayed(&epoch, 0));
                    open.views.push((row, diff));
                }
            });
            notes_in.for_each(|capability, notes| {
                let open = epochs.entry(*capability.time()).or_default();
                open.capability.get_or_insert_with(|| capability.retain(0));
                open.notes.append(notes);
            });
            for committed in acknowledged.try_iter() {
                under_way = None;
                on_committed(&committed);
            }
            while let Some(first) = epochs.first_entry() {
                let epoch = *first.key();
                if !passed(frontiers, epoch) {
                    break;
                }
                let mut open = first.remove();
                open.marks.iter().for_each(&mut *on_mark);
                next.extend(open.capability.take());
                planner.take(epoch, open);
            }
            if under_way.is_none() {
                if planner.next.is_empty() {
                    next.clear();
                } else {
                    under_way = Some(std::mem::take(&mut next));
                    committer.send(planner.plan());
                }
            }
        }
    });
    committed
}

/// Puts plans together.
struct Planner {
    next: Plan,
    /// The marks that are committed or planned.
    marks: HashMap<i32, Mark>,
    watermarks: Watermarks,
}

impl Planner {
    fn take(&mut self, epoch: Epoch, open: OpenEpoch) {
        self.next.epoch = epoch;
        self.next.apply(open.applied);
        self.next.views(open.views);
        self.next.notes.extend(open.notes.into_iter().map(|note| (epoch, note)));
        for mark in open.marks {
            self.watermarks.observe(&mark);
            let before = self.marks.get(&mark.partition);
            if before.is_some_and(|before| before.stands_where(&mark)) {
                continue;
            }
            let seen = before.map_or(0, |before| before.accepted + before.late);
            self.next.readings += mark.accepted + mark.late - seen;
            self.marks.insert(mark.partition, Mark { new_zones: Vec::new(), ..mark.clone() });
            self.next.mark(mark);
        }
        self.next.low_us = self.watermarks.advance();
    }

    fn plan(&mut self) -> Plan {
        let low_us = self.next.low_us;
        std::mem::replace(&mut self.next, Plan { low_us, ..Plan::default() })
    }
}
