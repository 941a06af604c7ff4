//! The workers of one process: built, stepped, and shown.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use citytide_store::clock;
use timely::WorkerConfig;
use tokio_postgres::Client;

use super::Args;
use crate::cli::exit_error::ExitError;
use crate::cli::screen;
use crate::cli::show::{self, Sample};
use crate::commit::committer::{self, Committed, CommitterSettings};
use crate::pipeline;
use crate::plumbing::{Committing, Plumbing};
use crate::runtime::exit::Exit;
use crate::runtime::mesh;
use crate::sources::Source;
use crate::views;

/// Effort that differential puts into idle merges, in records.
const IDLE_MERGE_EFFORT: isize = 1000;
/// How long a worker parks when nothing wakes it.
const PARK_MAX: Duration = Duration::from_millis(250);

/// What every worker is built from, once for each: the last one that lets go of it frees it.
struct HandedOut<T>(Mutex<Vec<Arc<T>>>);

impl<T> HandedOut<T> {
    fn new(what: T, workers: usize) -> HandedOut<T> {
        HandedOut(Mutex::new(std::iter::repeat_n(Arc::new(what), workers).collect()))
    }

    fn take(&self) -> Arc<T> {
        self.0.lock().expect("no holder panics").pop().expect("one for each worker")
    }
}

/// Builds and steps the workers until the dataflow is complete. `committer` is the committing session with the
/// runtime that drives it, on process 0; `frontier` follows what is committed.
pub fn execute(
    builders: mesh::Joined,
    plumbing: Plumbing,
    committer: Option<(Client, tokio::runtime::Runtime)>,
    args: &Args,
    source: Source,
    frontier: Arc<AtomicU64>,
) -> Result<(), ExitError> {
    let mut config = WorkerConfig::default();
    differential_dataflow::configure(
        &mut config,
        &differential_dataflow::Config::default().idle_merge_effort(Some(IDLE_MERGE_EFFORT)),
    );
    // Only process 0 hears of commits.
    let group = committer.is_some().then(|| source.group(&args.consumer_group)).flatten().map(Arc::new);
    let committer = Mutex::new(committer);
    let show = args.show;
    let settings = CommitterSettings {
        domain: plumbing.domain.clone(),
        live: views::schema(&plumbing.domain).live_tables().into(),
        run_id: plumbing.run.run_id,
        committed_epoch: plumbing.run.committed_epoch,
        partition_name: Arc::new(move |partition| source.partition_name(partition)),
        fail_at: args.fail_at.clone(),
    };
    let (builders, others) = builders;
    let shared = HandedOut::new(plumbing, usize::from(args.setup.workers));
    let guards = timely::execute::execute_from(builders, others, config, move |worker| {
        let plumbing = shared.take();
        let committing = (worker.index() == 0).then(|| {
            let (client, runtime) = committer.lock().expect("no holder panics").take().expect("one worker 0");
            let (settings, on_failure) = (settings.clone(), plumbing.on_failure.clone());
            let (commits, marks) = (plumbing.telemetry.clone(), plumbing.telemetry.clone());
            let domain = plumbing.domain.clone();
            let group = group.clone();
            Committing {
                open: Box::new(move |committed, wake| {
                    committer::spawn(client, runtime, settings, committed, wake, on_failure)
                }),
                on_committed: Box::new(move |committed: &Committed| {
                    let Committed { epoch, took, plan } = committed;
                    commits.committed(*epoch, *took, plan.low_us, plan.marks.values(), &plan.tallies);
                    if let Some(group) = &group {
                        group.committed(
                            plan.marks.values().map(|mark| (mark.partition, mark.position.next_offset)),
                        );
                    }
                    if show {
                        show::windows(&domain, committed).iter().for_each(|line| screen::print(line));
                    }
                }),
                on_mark: Box::new(move |mark| marks.mark(mark)),
            }
        });
        let mut sample = Sample::default();
        let domain = plumbing.domain.clone();
        let committed = pipeline::build(worker, &plumbing, committing, move |batch| {
            if show {
                sample.lines(&domain, batch, clock::instant()).iter().for_each(|line| screen::print(line));
            }
        });
        let telemetry = plumbing.telemetry.clone();
        // Its ledger has been handed out: it goes with the last worker that is built.
        drop(plumbing);
        while worker.has_dataflows() {
            worker.step_or_park(Some(PARK_MAX));
            committed.with_frontier(|below| {
                if let Some(below) = below.first() {
                    let before = frontier.swap(*below, Ordering::Relaxed);
                    if before != *below {
                        telemetry.frontier_moved();
                    }
                }
            });
        }
    })
    .map_err(|error| ExitError::new(Exit::Bug, format!("cannot start the workers: {error}")))?;
    for result in guards.join() {
        result.map_err(|error| ExitError::new(Exit::Bug, format!("a worker ended early: {error}")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_workers_are_built_from_goes_with_the_last_of_them() {
        let ledger = Arc::new(());
        let shared = HandedOut::new(ledger.clone(), 2);
        let (first, second) = (shared.take(), shared.take());
        drop(first);
        assert_eq!(Arc::strong_count(&ledger), 2);
        drop(second);
        assert_eq!(Arc::strong_count(&ledger), 1, "nobody keeps it for the life of the run");
    }
}
