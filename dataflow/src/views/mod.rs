//! The live views: small tables that are current as of every commit, kept by differential dataflow.
//!
//! ```text
//!  recent anomalies ─┬──────────────────────────▶ hot_sensors
//!                    └▶ how many ─┐
//!  facts of zones ────────────────┴─────────────▶ zone_status
//!  placed batches ─┬────────────────────────────▶ zone_latest
//!                  ├────────────────────────────▶ quality_counts
//!                  ├────────────────────────────▶ sensor_states
//!                  └▶ findings ─┐
//!  progress ────────────────────┴───────────────▶ incidents
//!  parts of sessions, progress ─────────────────▶ metrics_… of session windows
//! ```
//!
//! A view is one file: its table, its definition, how it is restored after a restart, and its SQL for `citytide
//! verify`, which also fills the table in a database that was made before the view. A further view is a file and a line
//! in [`VIEWS`]: statements, plan, commit, replay, migration and schema follow from its table. A table of counts
//! needs no restoring: a commit adds to what is there.

mod batches;
mod data_quality;
mod hot_sensors;
mod incidents;
mod recent;
mod sensor_status;
mod sessions;
mod zone_latest;
mod zone_status;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use citytide_core::window::{Progress, SensorAnomalies, ZoneFact};
use citytide_domain::Domain;
use citytide_store::row::{Row, Value};
use citytide_store::schema::{LiveTable, Schema, Table};
use differential_dataflow::VecCollection;
use timely::dataflow::StreamVec;

pub use batches::Batches;
pub use incidents::{IncidentParts, OpenIncidents, restored_incidents};
pub use recent::{RecentParts, recent};
pub use sessions::{OpenSessions, SessionParts, restored_sessions};
pub use zone_status::facts_of;

use crate::commit::plan::{Onto, ViewRow};
use crate::operators::Epoch;

/// The live views, in the order of their tables.
const VIEWS: [View; 7] = [
    hot_sensors::VIEW,
    zone_status::VIEW,
    zone_latest::VIEW,
    data_quality::VIEW,
    incidents::VIEW,
    sessions::VIEW,
    sensor_status::VIEW,
];

/// All that there is to a live view.
struct View {
    stored: &'static [LiveTable],
    /// The rows of each of its tables that the domain has.
    define: for<'scope> fn(&Inputs<'scope>) -> Vec<VecCollection<'scope, Epoch, Row, isize>>,
}

/// What views are made from, on one worker.
pub struct Inputs<'scope> {
    pub domain: Arc<Domain>,
    /// By sensor, the anomalies of the five minutes before W that this worker read.
    pub recent: VecCollection<'scope, Epoch, SensorAnomalies, isize>,
    /// What is known of the zones routed to this worker.
    pub facts: VecCollection<'scope, Epoch, (Arc<str>, ZoneFact), isize>,
    /// The placed batches of this worker's partitions.
    pub batches: Batches<'scope>,
    /// The committed rows whose first column, a zone or a sensor, is routed to this worker; by table.
    pub restored: BTreeMap<String, Vec<Row>>,
    /// The last commit before this run.
    pub committed_epoch: Epoch,
    /// Per epoch, W at its end, on every worker.
    pub progress: StreamVec<'scope, Epoch, Rc<Progress>>,
    /// Of the zones routed to this worker.
    pub incidents: RefCell<Option<IncidentParts>>,
    /// Of the zones routed to this worker.
    pub sessions: RefCell<Option<SessionParts>>,
}

/// The rows of all live views.
pub fn define<'scope>(inputs: &Inputs<'scope>) -> VecCollection<'scope, Epoch, ViewRow, isize> {
    let tables = VIEWS.iter().flat_map(|view| stored(view, &inputs.domain).zip((view.define)(inputs)));
    let rows = tables
        .enumerate()
        .map(|(view, (stored, rows))| rows.map(of_view(view, &(stored.table)(&inputs.domain))));
    rows.reduce(|some, others| some.concat(others)).expect("there are live views")
}

/// The tables of a view that a domain has.
fn stored<'a>(view: &'a View, domain: &'a Domain) -> impl Iterator<Item = &'a LiveTable> {
    view.stored.iter().filter(|stored| (stored.is_of)(domain))
}

/// What becomes of a row of one of the tables.
fn of_view(view: usize, table: &Table) -> impl Fn(Row) -> ViewRow + 'static {
    let keys = table.primary_key().len();
    let has_start = table.primary_key().contains(&"window_start");
    let onto = match (table.merges(), table.adds_up()) {
        (true, _) => Onto::Merges,
        (_, true) => Onto::Adds,
        _ => Onto::Replaces,
    };
    move |mut key| {
        let rest = key.split_off(keys.min(key.len()));
        ViewRow { view, key, rest, onto, has_start }
    }
}

/// What dead letters that become readings take away, by when they were received.
pub fn without_letters(received_at_us: impl Iterator<Item = i64>, domain: &Domain) -> Vec<(ViewRow, isize)> {
    let tables =
        VIEWS.iter().flat_map(|view| stored(view, domain)).map(|stored| (stored.table)(domain)).enumerate();
    let (view, table) =
        tables.into_iter().find(|(_, table)| table.name == data_quality::NAME).expect("it is a view");
    let of_view = of_view(view, &table);
    received_at_us.map(|at_us| (of_view(data_quality::of_letter(at_us, domain)), -1)).collect()
}

/// What a database for `domain` holds, live views included.
pub fn schema(domain: &Domain) -> Schema<'_> {
    Schema { domain, live: VIEWS.iter().flat_map(|view| stored(view, domain)).copied().collect() }
}

/// The rows of each table whose first column is one of some zones.
pub fn rows_of_zones(
    views: &BTreeMap<String, Vec<Row>>,
    is_mine: impl Fn(&str) -> bool,
) -> BTreeMap<String, Vec<Row>> {
    let mine = |row: &&Row| matches!(row.first(), Some(Value::Text(zone)) if is_mine(zone));
    views.iter().map(|(table, rows)| (table.clone(), rows.iter().filter(mine).cloned().collect())).collect()
}

#[cfg(test)]
mod tests;
