//! What the detector decided and found: minutes, models, and how far a shadow model agrees.

use std::collections::BTreeMap;

use citytide_core::detect::Agreement;

use super::{Arrays, Timestamp, array};
use crate::commit::plan::{DetectorNote, Plan};

/// SQL that remembers when minutes were closed.
pub const INSERT_MINUTES: &str = "insert into detector_minutes (epoch, closed_before, in_force_from_epoch) \
     select * from unnest($1::bigint[], $2::timestamptz[], $3::bigint[])";

/// Arguments of [`INSERT_MINUTES`].
pub fn minute_arrays(plan: &Plan) -> Option<Arrays> {
    let closed = |(epoch, note): &(u64, DetectorNote)| match *note {
        DetectorNote::Closed { before_us, holds_from } => Some((*epoch, before_us, holds_from)),
        DetectorNote::InForce { .. } | DetectorNote::Agreed { .. } => None,
    };
    let closed: Vec<(u64, i64, u64)> = plan.notes.iter().filter_map(closed).collect();
    (!closed.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(closed.iter().map(|(epoch, ..)| *epoch as i64)),
            array(closed.iter().map(|(_, before_us, _)| Timestamp(*before_us))),
            array(closed.iter().map(|(.., holds_from)| *holds_from as i64)),
        ];
        arrays
    })
}

/// SQL that remembers which model comes into force.
pub const INSERT_MODEL_CHANGES: &str = "insert into model_changes (epoch, version, in_force_from_epoch) \
     select * from unnest($1::bigint[], $2::integer[], $3::bigint[])";

fn models(plan: &Plan) -> Vec<(u64, i32, u64)> {
    let in_force = |(epoch, note): &(u64, DetectorNote)| match *note {
        DetectorNote::InForce { version, holds_from } => Some((*epoch, version, holds_from)),
        DetectorNote::Closed { .. } | DetectorNote::Agreed { .. } => None,
    };
    plan.notes.iter().filter_map(in_force).collect()
}

/// Arguments of [`INSERT_MODEL_CHANGES`].
pub fn model_change_arrays(plan: &Plan) -> Option<Arrays> {
    let models = models(plan);
    (!models.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(models.iter().map(|(epoch, ..)| *epoch as i64)),
            array(models.iter().map(|(_, version, _)| *version)),
            array(models.iter().map(|(.., holds_from)| *holds_from as i64)),
        ];
        arrays
    })
}

/// SQL that puts a model in force and retires the one before.
pub const UPDATE_MODELS: &str = "update models set status = case when version = $1 then 'in_force' else 'retired' end, \
     in_force_from_epoch = case when version = $1 then $2 else in_force_from_epoch end \
     where version = $1 or status = 'in_force'";

/// Arguments of [`UPDATE_MODELS`]: the last one stands.
pub fn model_in_force(plan: &Plan) -> Option<Arrays> {
    models(plan)
        .last()
        .map(|&(_, version, holds_from)| -> Arrays { vec![Box::new(version), Box::new(holds_from as i64)] })
}

/// SQL that takes fulfilled requests away.
pub const DELETE_REQUESTS: &str = "delete from model_requests where version = any($1::integer[])";

/// Arguments of [`DELETE_REQUESTS`].
pub fn request_arrays(plan: &Plan) -> Option<Arrays> {
    let models = models(plan);
    (!models.is_empty()).then(|| vec![array(models.iter().map(|(_, version, _)| *version))])
}

/// SQL that adds to what is counted of shadow models.
pub const ADD_DISAGREEMENTS: &str = "insert into model_disagreements as counted \
     (version, zone, readings, flagged_by_both, only_in_force, only_shadow, since_epoch) \
     select * from unnest($1::integer[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[]) \
     on conflict (version, zone) do update set readings = counted.readings + excluded.readings, \
     flagged_by_both = counted.flagged_by_both + excluded.flagged_by_both, \
     only_in_force = counted.only_in_force + excluded.only_in_force, \
     only_shadow = counted.only_shadow + excluded.only_shadow";

/// Arguments of [`ADD_DISAGREEMENTS`]: the sums of all epochs and workers.
pub fn disagreement_arrays(plan: &Plan) -> Option<Arrays> {
    let mut sums: BTreeMap<(i32, &str), (u64, Agreement)> = BTreeMap::new();
    for (epoch, note) in &plan.notes {
        if let DetectorNote::Agreed { version, zone, agreement } = note {
            let (since, sum) = sums.entry((*version, zone)).or_insert((*epoch, Agreement::default()));
            *since = (*epoch).min(*since);
            sum.merge(*agreement);
        }
    }
    (!sums.is_empty()).then(|| {
        let counts = |of: fn(&Agreement) -> u64| array(sums.values().map(move |(_, sum)| of(sum) as i64));
        let arrays: Arrays = vec![
            array(sums.keys().map(|(version, _)| *version)),
            array(sums.keys().map(|(_, zone)| (*zone).to_owned())),
            counts(|sum| sum.readings),
            counts(|sum| sum.both),
            counts(|sum| sum.only_in_force),
            counts(|sum| sum.only_beside),
            array(sums.values().map(|(since, _)| *since as i64)),
        ];
        arrays
    })
}
