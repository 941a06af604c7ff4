//! commit: everything below the frontier of all its inputs becomes one plan, and one transaction.
//!
//! ```text
//!  window rows, panes ──▶┐
//!  progress ────────────▶┤  frontier passes epochs ─▶ plan ─▶ committer ─▶ acknowledged ─▶ capabilities dropped
//!  rows of views ───────▶┤
//!  detector's notes ────▶┤
//!  raw rows are in ─────▶┘                     (on worker 0; the others only pass their rows to it)
//! ```
//!
//! Invariants:
//! 1. the frontier behind this operator, which the sources watch, lies above an epoch only when that epoch is
//!    committed or had nothing to commit;
//! 2. one plan at a time is under way; what becomes complete meanwhile is one plan together.

use std::collections::HashMap;
use std::rc::Rc;

use citytide_core::batch::Tally;
use citytide_core::detect::Note;
use citytide_core::position::Mark;
use citytide_core::window::{Applied, Progress};
use citytide_store::session::{Session, Wake};
use timely::dataflow::StreamVec;
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::{Changes, Epoch, OpenEpochs, wake};
use crate::commit::committer::Committed;
use crate::commit::plan::{Plan, ViewRow};

/// What the operator needs on worker 0.
pub struct CommitParts {
    /// Starts the committer, which acknowledges on the channel.
    pub open: Box<dyn FnOnce(crossbeam_channel::Sender<Committed>, Wake) -> Session<Plan>>,
    /// The committed marks.
    pub marks: Vec<Mark>,
    /// W of the last commit, microseconds.
    pub low_us: i64,
    /// Is told of every commit.
    pub on_committed: Box<dyn FnMut(&Committed)>,
    /// Is told of every mark, also of those that change nothing in the ledger.
    pub on_mark: Box<dyn FnMut(&Mark)>,
}

#[derive(Default)]
struct Arrived {
    applied: Applied,
    progress: Option<Rc<Progress>>,
    views: Vec<(ViewRow, isize)>,
    notes: Vec<Note>,
    tallies: Vec<(i32, Tally)>,
}

/// What the commit is put together from.
pub struct Streams<'scope> {
    pub changes: StreamVec<'scope, Epoch, Changes>,
    pub progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    pub views: StreamVec<'scope, Epoch, (ViewRow, Epoch, isize)>,
    pub notes: StreamVec<'scope, Epoch, Note>,
    pub tallies: StreamVec<'scope, Epoch, (i32, Tally)>,
    /// Without data: its frontier says which raw rows are in the database.
    pub copied: StreamVec<'scope, Epoch, ()>,
}

/// Builds the operator; `parts` on worker 0 only.
pub fn commit<'scope>(streams: Streams<'scope>, parts: Option<CommitParts>) -> StreamVec<'scope, Epoch, ()> {
    let scope = streams.changes.scope();
    let mut builder = OperatorBuilder::new("commit".to_owned(), scope);
    let mut changes_in = builder.new_input(streams.changes, Exchange::new(|_: &Changes| 0));
    let mut progress_in = builder.new_input(streams.progress, Pipeline);
    let mut views_in = builder.new_input(streams.views, Exchange::new(|_: &(ViewRow, Epoch, isize)| 0));
    let mut notes_in = builder.new_input(streams.notes, Exchange::new(|_: &Note| 0));
    let mut tallies_in = builder.new_input(streams.tallies, Exchange::new(|_: &(i32, Tally)| 0));
    let mut copied_in = builder.new_input(streams.copied, Pipeline);
    let (_output, committed) = builder.new_output::<Vec<()>>();
    let wake = wake(scope, &builder);
    let mut state = parts.map(|parts| {
        let (acknowledge, acknowledged) = crossbeam_channel::unbounded();
        let committer = (parts.open)(acknowledge, wake);
        let marks = parts.marks.into_iter().map(|mark| (mark.partition, mark)).collect();
        let told = (parts.on_committed, parts.on_mark);
        (
            Planner { next: Plan { low_us: parts.low_us, ..Plan::default() }, marks },
            committer,
            acknowledged,
            told,
        )
    });

    builder.build(move |capabilities| {
        drop(capabilities);
        let mut epochs: OpenEpochs<Arrived, 1> = OpenEpochs::new(0);
        // Capabilities of the epochs in the next plan, and of those in the plan under way.
        let (mut next, mut under_way): (Vec<Capability<Epoch>>, Option<Vec<Capability<Epoch>>>) =
            (Vec::new(), None);
        move |frontiers| {
            copied_in.for_each(|_, _| {});
            let Some((planner, committer, acknowledged, (on_committed, on_mark))) = state.as_mut() else {
                changes_in.for_each(|_, changes| changes.clear());
                progress_in.for_each(|_, progress| progress.clear());
                views_in.for_each(|_, views| views.clear());
                notes_in.for_each(|_, notes| notes.clear());
                tallies_in.for_each(|_, tallies| tallies.clear());
                return;
            };
            changes_in.for_each(|capability, changes| {
                let applied = &mut epochs.of(&capability).applied;
                for change in changes.drain(..) {
                    match change {
                        Changes::Window(row) => applied.windows.push(row),
                        Changes::Pane(pane) => applied.panes.push(pane),
                    }
                }
            });
            progress_in.for_each(|capability, progress| epochs.of(&capability).progress = progress.pop());
            views_in.for_each(|capability, views| {
                // Differential batches several epochs under one capability; each row names its own.
                for (row, epoch, diff) in views.drain(..) {
                    epochs.at(&capability, epoch).views.push((row, diff));
                }
            });
            notes_in.for_each(|capability, notes| epochs.of(&capability).notes.append(notes));
            tallies_in.for_each(|capability, tallies| epochs.of(&capability).tallies.append(tallies));
            for committed in acknowledged.try_iter() {
                under_way = None;
                on_committed(&committed);
            }
            while let Some((epoch, arrived, [capability])) = epochs.pop_complete(frontiers) {
                arrived.progress.iter().flat_map(|progress| &progress.marks).for_each(&mut *on_mark);
                next.push(capability);
                planner.take(epoch, arrived);
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
}

impl Planner {
    fn take(&mut self, epoch: Epoch, arrived: Arrived) {
        self.next.epoch = epoch;
        self.next.apply(arrived.applied);
        self.next.views(arrived.views);
        self.next.notes.extend(arrived.notes.into_iter().map(|note| (epoch, note)));
        for (partition, tally) in arrived.tallies {
            *self.next.tallies.entry(partition).or_default() += tally;
        }
        let Some(progress) = arrived.progress else { return };
        self.next.low_us = progress.low_us;
        for mark in &progress.marks {
            let before = self.marks.get(&mark.partition);
            if before.is_some_and(|before| before.stands_where(mark)) {
                continue;
            }
            let seen = before.map_or(0, |before| before.position.counts.readings());
            self.next.readings += mark.position.counts.readings() - seen;
            self.marks.insert(mark.partition, Mark { new_zones: Vec::new(), ..mark.clone() });
            self.next.mark(mark.clone());
        }
    }

    fn plan(&mut self) -> Plan {
        let low_us = self.next.low_us;
        std::mem::replace(&mut self.next, Plan { low_us, ..Plan::default() })
    }
}
