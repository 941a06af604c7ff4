//! Recomputes the tables of incidents from the committed readings in SQL.

use citytide_core::incidents::{FLAGGED_OF_8_MIN, IncidentRules, SHORT_OF_A_BOUND, STEP_US};
use citytide_domain::{Domain, IncidentRule, Metric};

use super::tables::{occurrences, states};
use crate::compare::{AsOf, Comparison, differences, exactly, interval};
use crate::schema::{EPOCH, Table};

const SUBJECT: &str = "zone, kind, metric, sensor_id";
/// The order of peaks: the highest first.
const PEAK_ORDER: &str = "peak_magnitude desc, peak_at, peak_sensor_id collate \"C\", peak_metric collate \"C\", \
                          reason collate \"C\"";
const PEAK: &str = "peak_magnitude, peak_at, peak_sensor_id, peak_metric, peak_value, typical, spread, unit, reason, \
                    model_version";

/// The last anomaly of an occurrence or a chain.
const LAST_ANOMALY: &str = "greatest(low_at, medium_at, high_at)";

/// SQL for a duration of the metric's rule.
fn of_rule(domain: &Domain, us: impl Fn(&IncidentRule) -> i64) -> String {
    by_metric(domain, |rule| interval(us(rule)))
}

fn by_metric(domain: &Domain, value: impl Fn(&IncidentRule) -> String) -> String {
    let default = value(&domain.incidents.rule);
    let others = domain.metrics.iter().map(|metric| (&metric.name, value(&metric.incidents)));
    let cases: String = others
        .filter(|(_, value)| *value != default)
        .map(|(name, value)| format!(" when '{name}' then {value}"))
        .collect();
    if cases.is_empty() { default } else { format!("case metric{cases} else {default} end") }
}

/// SQL for the current event time: W, rounded down to a step.
fn now(as_of: &AsOf) -> String {
    format!("date_bin('{} seconds', {}, 'epoch')", STEP_US / 1_000_000, as_of.watermark())
}

/// The metrics whose rules have clear limits, and what lies beyond these, as SQL.
pub(super) fn beyond_clear_limits(domain: &Domain) -> Vec<(&str, String)> {
    let beyond = |metric: &'_ Metric| {
        let limit = |sign, limit: Option<f64>| {
            limit.map(|limit| format!("{} {sign} '{limit}'::double precision", metric.name))
        };
        let sides = [limit("<", metric.clear.below), limit(">", metric.clear.above)];
        sides.into_iter().flatten().collect::<Vec<_>>().join(" or ")
    };
    let metrics = domain.metrics.iter().map(|metric| (metric.name.as_str(), beyond(metric)));
    metrics.filter(|(_, beyond)| !beyond.is_empty()).collect()
}

/// Readings beyond clear limits, which linger, to add to those `found`.
fn lingering(as_of: &AsOf, domain: &Domain) -> String {
    let of = |(metric, beyond): (&str, String)| {
        format!(
            "\n  union all select zone, 'rule', '{metric}', '', recorded_at, null, {SHORT_OF_A_BOUND}, '', '{metric}', \
             null, null, null, '', '', 0, false from sensor_data where not is_late and recorded_at < {} and ({beyond})",
            now(as_of)
        )
    };
    beyond_clear_limits(domain).into_iter().map(of).collect()
}

/// Common table expressions that recompute occurrences from the readings; the last one is `occurrences`.
fn occurrences_given(as_of: &AsOf, domain: &Domain) -> String {
    let clear_for = of_rule(domain, |rule| rule.clear_for_us);
    format!(
        "reasons as materialized (
  select sensor_data.zone, sensor_data.sensor_id as sensor, recorded_at, severity, model_version, reason, ordinality,
    min(ordinality) filter (where not reason ? 'rule') over (partition by kafka_partition, kafka_offset) as finding,
    coalesce((reason ->> 'flagged_of_8')::int >= {FLAGGED_OF_8_MIN}, reason ? 'rule') as persists
  from sensor_data cross join lateral jsonb_array_elements(reasons) with ordinality as of_reading (reason, ordinality)
  where is_anomaly and not is_late and recorded_at < {now}
),
found as (
  select zone, case when reason ? 'rule' then 'rule' when reason ->> 'member' = 'stuck' then 'stuck'
      when reason ->> 'member' = 'dropout' then 'quality' else 'model' end as kind,
    case when is_of_zone then reason ->> 'metric' else '' end as metric,
    case when is_of_zone then '' else sensor end as sensor_id,
    recorded_at, severity,
    case when reason ? 'rule' then abs((reason ->> 'actual')::double precision
        - split_part(reason ->> 'rule', ' ', 2)::double precision)
      when (reason ->> 'spread')::double precision > 0 then abs((reason ->> 'actual')::double precision
        - (reason ->> 'typical')::double precision) / (reason ->> 'spread')::double precision end as magnitude,
    sensor as peak_sensor_id, reason ->> 'metric' as peak_metric,
    (reason ->> 'actual')::double precision as peak_value, (reason ->> 'typical')::double precision as typical,
    (reason ->> 'spread')::double precision as spread, coalesce(reason ->> 'unit', '') as unit,
    coalesce(reason ->> 'text', '') as reason, model_version, true as counts
  from (select *, reason ? 'rule' or coalesce(reason ->> 'member' = 'zone', false) as is_of_zone from reasons) as reasons
  where (reason ? 'rule' or ordinality = finding)
    and (persists or coalesce(reason ->> 'member' = 'zone', false)){lingering}
),
runs as (
  select *, coalesce(magnitude, 0) as peak_magnitude, recorded_at as peak_at,
    sum(begins::int) over (partition by {SUBJECT} order by recorded_at range unbounded preceding) as run
  from (select *, coalesce(recorded_at - lag(recorded_at) over (partition by {SUBJECT} order by recorded_at)
      > {clear_for}, true) as begins from found) as found
),
peaks as (
  select distinct on ({SUBJECT}, run) {SUBJECT}, run, {PEAK} from runs order by {SUBJECT}, run, {PEAK_ORDER}
),
occurrences as (
  select {SUBJECT}, first_at, last_at, readings, low_at, medium_at, high_at, sensor_ids, {PEAK}, begins_at
  from peaks join (
    select {SUBJECT}, run, min(recorded_at) as first_at, max(recorded_at) as last_at,
      count(*) filter (where counts) as readings,
      nullif(min(recorded_at) filter (where counts), min(recorded_at)) as begins_at,
      max(recorded_at) filter (where severity = 'low') as low_at,
      max(recorded_at) filter (where severity = 'medium') as medium_at,
      max(recorded_at) filter (where severity = 'high') as high_at,
      coalesce(jsonb_agg(distinct peak_sensor_id) filter (where counts), '[]') as sensor_ids
    from runs group by {SUBJECT}, run
  ) as grouped using ({SUBJECT}, run)
)",
        now = now(as_of),
        lingering = lingering(as_of, domain),
    )
}

/// Whether all readings that a row comes from are still shown, as SQL: from its first anomaly to its last, and as far
/// as what it might be joined with; and the row itself, which retention deletes with windows.
fn is_shown(as_of: &AsOf, domain: &Domain, first: &str, last: &str) -> String {
    let is_kept =
        as_of.kept_from(domain).map_or("true".to_owned(), |kept_from| format!("{last} >= {kept_from}"));
    if as_of.horizon == 0 {
        return is_kept;
    }
    let reach_us = IncidentRules::new(domain).reach_us();
    format!(
        "{is_kept} and not exists (select from panes where panes.zone = coalesce(expected.zone, actual.zone) \
         and pane_start > {first} - {before} and pane_start <= {last} + {reach} and first_epoch <= {horizon})",
        before = interval(reach_us + domain.pane_us()),
        reach = interval(reach_us),
        horizon = as_of.horizon
    )
}

fn columns(table: &Table) -> Vec<String> {
    let key = table.primary_key();
    let others = table.columns.iter().map(|column| column.name.as_str());
    others.filter(|name| !key.contains(name) && !["revision", EPOCH].contains(name)).map(exactly).collect()
}

/// `incident_occurrences` against the readings.
pub fn occurrences_comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
    let table = occurrences(domain);
    Comparison {
        name: table.name.clone(),
        rows: "occurrences",
        given: format!("{},\nexpected as (select * from occurrences)", occurrences_given(as_of, domain)),
        compared: format!(
            "  select concat_ws(', ', zone, kind, nullif(metric, ''), nullif(sensor_id, ''), first_at),\n    {}\n  \
             from incident_occurrences as actual full join expected using ({}) where {}",
            differences("readings", &columns(&table)),
            table.key,
            is_shown(as_of, domain, "first_at", "coalesce(actual.last_at, expected.last_at)"),
        ),
    }
}

/// `incident_states` against the readings: those that follow from them as they are.
pub fn states_comparison(as_of: &AsOf, domain: &Domain) -> Comparison {
    let table = states(domain);
    let opens = format!(
        "readings >= {} and jsonb_array_length(sensor_ids) >= {} and {LAST_ANOMALY} - first_at >= {}",
        by_metric(domain, |rule| rule.min_readings.to_string()),
        by_metric(domain, |rule| rule.min_sensors.to_string()),
        of_rule(domain, |rule| rule.for_us),
    );
    let clear_for = of_rule(domain, |rule| rule.clear_for_us);
    let reach = of_rule(domain, |rule| rule.clear_for_us + rule.reopen_within_us);
    let step_down_for = of_rule(domain, |rule| rule.step_down_for_us);
    let step_us = STEP_US;
    let now = now(as_of);
    let given = format!(
        "{occurrences},
begun as (
  select {SUBJECT}, coalesce(begins_at, first_at) as first_at, last_at, readings, low_at, medium_at, high_at, sensor_ids, {PEAK}
  from occurrences where readings > 0
),
judged as (select *, {opens} as opens, {now} >= last_at + {clear_for} as is_over from begun),
chained as (
  select *, sum(begins::int) over (partition by {SUBJECT}, opens order by first_at) as chain
  from (select *, coalesce(first_at - lag(last_at) over (partition by {SUBJECT}, opens order by first_at)
      > {reach}, true) or not opens as begins from judged) as judged
),
kept as (
  select * from chained as one where opens or (not is_over and not exists (
    select from chained as before where before.opens and before.zone = one.zone and before.kind = one.kind
      and before.metric = one.metric and before.sensor_id = one.sensor_id
      and one.first_at - before.last_at <= {reach_of_one}))
),
of_chains as (
  select {SUBJECT}, opens, chain, min(first_at) as opened_at, max(last_at) as last_seen_at, sum(readings)::bigint as readings,
    count(*) as occurrences, max(low_at) as low_at, max(medium_at) as medium_at, max(high_at) as high_at,
    (select count(distinct id) from kept as of cross join lateral jsonb_array_elements_text(of.sensor_ids) as id
     where (of.zone, of.kind, of.metric, of.sensor_id, of.opens, of.chain)
       = (kept.zone, kept.kind, kept.metric, kept.sensor_id, kept.opens, kept.chain)) as sensors
  from kept group by {SUBJECT}, opens, chain
),
most as (
  select distinct on ({SUBJECT}, opens, chain) {SUBJECT}, opens, chain, {PEAK} from kept
  order by {SUBJECT}, opens, chain, {PEAK_ORDER}
),
expected as (
  select zone,
    left(encode(sha256(convert_to(concat_ws(E'\\x1f', kind, zone, metric, sensor_id,
      (floor(extract(epoch from opened_at) * 1000000 / {step_us}) * {step_us})::bigint), 'UTF8')), 'hex'), 16) as incident_id,
    kind, metric, sensor_id,
    case when not opens then 'pending' when {now} >= last_seen_at + {clear_for} then 'cleared' else 'open' end as condition,
    null::text as superseded_by,
    case when high_at >= {LAST_ANOMALY} - {step_down_for} then 'high'
      when medium_at >= {LAST_ANOMALY} - {step_down_for} then 'medium' else 'low' end as severity,
    case when high_at is not null then 'high' when medium_at is not null then 'medium' else 'low' end as severity_peak,
    opened_at, last_seen_at,
    case when {now} >= last_seen_at + {clear_for} then last_seen_at + {clear_for} end as cleared_at,
    1::bigint as revision, readings, sensors, occurrences, {PEAK}
  from of_chains join most using ({SUBJECT}, opens, chain)
)",
        occurrences = occurrences_given(as_of, domain),
        reach_of_one = reach.replace("case metric", "case one.metric"),
    );
    Comparison {
        name: table.name.clone(),
        rows: "incidents",
        given,
        compared: format!(
            "  select concat_ws(', ', zone, incident_id, coalesce(actual.kind, expected.kind), opened.at),\n    {}\n  \
             from (select * from incident_states where condition in ('pending', 'open', 'cleared')) as actual \
             full join expected using ({})\n  cross join lateral \
             (select coalesce(actual.opened_at, expected.opened_at) as at) as opened where {}",
            differences("kind", &columns(&table)),
            table.key,
            is_shown(as_of, domain, "opened.at", "greatest(actual.last_seen_at, expected.last_seen_at)"),
        ),
    }
}
