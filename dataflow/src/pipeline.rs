//! The dataflow of one worker, on one page.
//!
//! ```text
//!        ┌──────────────────────────── progress (W, marks, to pause by) ◀─── watermark ◀── marks of all workers
//!        ▼                                                                                  ▲
//!      read ──▶ decode ──▶ score ──▶ lateness ──────────────────────────────────────────────┘
//!                            ⇅          │
//!                        baselines      │  (detect::attach)
//!                                       └─▶ place ──▶ views ──▶ copy ───────────────── copied ──▶ commit
//!                                         ├─▶ window ─▶ rows, panes ─────────────────────────▶  │
//!                                         └─▶ recent ─▶ views ───────────────────────────────▶  ▼
//!                                                                                         committed
//! ```
//!
//! The timestamp is the ingest epoch. What it means that the *frontier* of a stream has passed epoch e:
//! - `chunks`, `batches`: no worker reads, decodes or judges anything of e any more;
//! - `progress`: every worker has read e to its end; W, finality and lateness of e are known, and the same everywhere;
//! - `placed`, `windowed`, `views`: all that follows from the readings of e is computed;
//! - `copied`: the raw rows, dead letters and blobs of e are in the database, invisible until e is committed;
//! - `committed`: e is committed, or had nothing to commit. `read` watches it, so that few epochs are in flight.
//!
//! The commit takes an epoch once the frontiers of all its inputs have passed it. It needs `copied` for that alone: the
//! stream has no rows, only the frontier, and without it a commit could make an epoch visible whose rows are missing.

use citytide_core::batch::Batch;
use differential_dataflow::AsCollection;
use timely::dataflow::operators::probe::{Handle, Probe};
use timely::dataflow::operators::vec::Map;
use timely::dataflow::operators::{ConnectLoop, Feedback};
use timely::worker::Worker;

use crate::detect;
use crate::operators::{
    Epoch, Held, Streams, commit, copy, decode, lateness, place, read, watermark, window,
};
use crate::plumbing::{Committing, Plumbing};
use crate::share::Share;
use crate::views::{self, recent};

/// Builds one worker's part of the dataflow; `on_batch` sees every batch that was judged. Returns the frontier of
/// `committed`.
pub fn build(
    worker: &mut Worker,
    plumbing: &Plumbing,
    committing: Option<Committing>,
    mut on_batch: impl FnMut(&Batch) + 'static,
) -> Handle<Epoch> {
    let share = Share { index: worker.index(), peers: worker.peers() };
    let telemetry = &plumbing.telemetry;
    let committed = Handle::new();

    worker.dataflow_named("citytide", |scope| {
        // What `read` learns of progress holds no epoch up, and any later one will do.
        let (later, progress_so_far) = scope.feedback(1);
        let held = Held::default();
        let readings = read(progress_so_far.clone(), plumbing.read_parts(share, &committed, held.clone()));
        let batches = decode(readings.chunks, plumbing.assembler(share), telemetry.clone());
        let scored = detect::attach(batches, progress_so_far, readings.beats, plumbing, share, held);
        let judged = lateness(scored.batches, plumbing.lateness(share));
        let progress = watermark(judged.marks, plumbing.watermarks());
        progress.clone().connect_loop(later);

        let batches = judged.batches.map(move |batch| {
            on_batch(&batch);
            batch
        });
        let placed = place(batches, plumbing.domain.pane_us(), telemetry.clone());
        let windowed = window(placed.partials, progress.clone(), plumbing.window_parts(share, &committed));
        let recent = recent(placed.anomalies, progress.clone(), plumbing.recent_parts(share, &committed));
        let facts = windowed.facts.as_collection();
        let inputs = plumbing.view_inputs(share, &committed, recent, facts, placed.batches, progress.clone());
        let views = views::define(&inputs);
        let batches = inputs.batches.into_stream();
        let copied = copy(batches, scored.blobs, telemetry.clone(), plumbing.open_writer(share));

        let streams = Streams {
            changes: windowed.changes,
            progress,
            views: views.inner,
            notes: scored.notes,
            tallies: placed.tallies,
            copied,
        };
        commit(streams, committing.map(|committing| plumbing.commit_parts(committing)))
            .probe_with(&committed);
    });
    committed
}
