//! What the detector decided and found: lifts, models, and how far a shadow model agrees.

use std::collections::BTreeMap;

use citytide_core::detect::{Agreement, Note};

use super::{Arrays, Timestamp, array};
use crate::commit::plan::Plan;

/// SQL that remembers which partitions were not waited for, and which came while others were read.
pub const UPSERT_LIFTS: &str = "insert into detector_lifts as known (kafka_partition, kafka_offset, lifted_to, teaches_from, epoch) \
     select * from unnest($1::integer[], $2::bigint[], $3::timestamptz[], $4::timestamptz[], $5::bigint[]) \
     on conflict (kafka_partition, kafka_offset) do update set lifted_to = coalesce(excluded.lifted_to, known.lifted_to), \
     teaches_from = coalesce(excluded.teaches_from, known.teaches_from), epoch = excluded.epoch";

/// Arguments of [`UPSERT_LIFTS`]: of several lifts at one offset the last one stands.
pub fn lift_arrays(plan: &Plan) -> Option<Arrays> {
    /// The minutes that a partition is lifted to, and teaches from, and the last epoch that says so.
    type Noted = (Option<i64>, Option<i64>, u64);

    let mut noted: BTreeMap<(i32, i64), Noted> = BTreeMap::new();
    for (epoch, note) in &plan.notes {
        let (key, lifted, joined) = match *note {
            Note::Lifted { partition, offset, minute } => ((partition, offset), Some(minute), None),
            Note::Joined { partition, offset, minute } => ((partition, offset), None, Some(minute)),
            _ => continue,
        };
        let known = noted.entry(key).or_insert((lifted, joined, *epoch));
        *known = (known.0.max(lifted), known.1.max(joined), known.2.max(*epoch));
    }
    let at = |minute: Option<i64>| minute.map(|minute| Timestamp(minute * 60_000_000));
    (!noted.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(noted.keys().map(|(partition, _)| *partition)),
            array(noted.keys().map(|(_, offset)| *offset)),
            array(noted.values().map(|(lifted, ..)| at(*lifted))),
            array(noted.values().map(|(_, joined, _)| at(*joined))),
            array(noted.values().map(|(.., epoch)| *epoch as i64)),
        ];
        arrays
    })
}

/// SQL that remembers which model judges from which event time on. Every worker says so with its first reading.
pub const INSERT_JUDGES: &str = "insert into detector_models (in_force_from, version, epoch) \
     select * from unnest($1::timestamptz[], $2::integer[], $3::bigint[]) on conflict do nothing";

/// Arguments of [`INSERT_JUDGES`].
pub fn judge_arrays(plan: &Plan) -> Option<Arrays> {
    let judges: BTreeMap<i64, (i32, u64)> = plan.notes.iter().rev().filter_map(judge).collect();
    (!judges.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(judges.keys().map(|from_us| Timestamp(*from_us))),
            array(judges.values().map(|(version, _)| *version)),
            array(judges.values().map(|(_, epoch)| *epoch as i64)),
        ];
        arrays
    })
}

fn judge((epoch, note): &(u64, Note)) -> Option<(i64, (i32, u64))> {
    match note {
        Note::Model { from_us, version } => Some((*from_us, (*version, *epoch))),
        Note::Promoted { .. } | Note::Lifted { .. } | Note::Joined { .. } | Note::Agreed { .. } => None,
    }
}

/// SQL that remembers which models were put in force by hand.
pub const INSERT_PROMOTIONS: &str = "insert into detector_promotions (kafka_partition, kafka_offset, version, in_force_from, epoch) \
     select * from unnest($1::integer[], $2::bigint[], $3::integer[], $4::timestamptz[], $5::bigint[]) \
     on conflict do nothing";

/// Arguments of [`INSERT_PROMOTIONS`].
pub fn promotion_arrays(plan: &Plan) -> Option<Arrays> {
    let promoted = |(epoch, note): &(u64, Note)| match *note {
        Note::Promoted { partition, offset, version, from_us } => {
            Some((partition, offset, version, from_us, *epoch as i64))
        }
        _ => None,
    };
    let promoted: Vec<_> = plan.notes.iter().filter_map(promoted).collect();
    (!promoted.is_empty()).then(|| {
        let arrays: Arrays = vec![
            array(promoted.iter().map(|one| one.0)),
            array(promoted.iter().map(|one| one.1)),
            array(promoted.iter().map(|one| one.2)),
            array(promoted.iter().map(|one| Timestamp(one.3))),
            array(promoted.iter().map(|one| one.4)),
        ];
        arrays
    })
}

/// SQL that remembers which model comes into force, if it is another one than before: of those that were trained and those
/// that were asked for, the one from the latest event time on.
pub const INSERT_MODEL_CHANGES: &str = "insert into model_changes (epoch, version, in_force_from_epoch) \
     select $1, version, $1 from (\
       select version, in_force_from, 0 as by_hand, 0 as epoch from detector_models \
       union all select version, in_force_from, 1, epoch from detector_promotions \
       order by in_force_from desc, by_hand desc, epoch desc limit 1) as newest \
     where version > 0 and version is distinct from (select version from model_changes order by epoch desc limit 1)";

/// SQL that puts the model of the last change in force and retires the one before.
pub const UPDATE_MODELS: &str = "update models set \
       status = case when models.version = newest.version then 'in_force' else 'retired' end, \
       in_force_from_epoch = case when models.version = newest.version then $1 else in_force_from_epoch end \
     from (select epoch, version from model_changes order by epoch desc limit 1) as newest \
     where newest.epoch = $1 and (models.version = newest.version or status = 'in_force')";

/// SQL that takes fulfilled requests away.
pub const DELETE_REQUESTS: &str = "delete from model_requests where version = any($1::integer[])";

/// Arguments of [`DELETE_REQUESTS`].
pub fn request_arrays(plan: &Plan) -> Option<Arrays> {
    let versions: Vec<i32> = plan.notes.iter().filter_map(version).collect();
    (!versions.is_empty()).then(|| vec![array(versions.into_iter())])
}

fn version((_, note): &(u64, Note)) -> Option<i32> {
    match note {
        Note::Model { version, .. } | Note::Promoted { version, .. } => Some(*version),
        Note::Lifted { .. } | Note::Joined { .. } | Note::Agreed { .. } => None,
    }
}

/// Arguments of [`INSERT_MODEL_CHANGES`] and [`UPDATE_MODELS`].
pub fn model_change(plan: &Plan) -> Option<Arrays> {
    let changes = plan.notes.iter().any(|note| version(note).is_some());
    changes.then(|| -> Arrays { vec![Box::new(plan.epoch as i64)] })
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
        if let Note::Agreed { version, zone, agreement } = note {
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
