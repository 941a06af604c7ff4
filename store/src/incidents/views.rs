//! The views that combine detected incidents with users' actions.

use citytide_domain::Domain;

use crate::compare::interval;
use crate::schema::{View, column};

/// All views, in the order of their creation.
pub fn views(domain: &Domain) -> Vec<View> {
    vec![settings(domain), incidents(), changes(), alarm_load()]
}

fn view(name: &str, comment: &str, columns: &[(&str, &'static str, &str)], source: String) -> View {
    View {
        name: name.to_owned(),
        comment: comment.to_owned(),
        columns: columns.iter().map(|(name, of, comment)| column(*name, of, *comment)).collect(),
        expressions: Vec::new(),
        source,
        came_later: true,
    }
}

fn settings(domain: &Domain) -> View {
    let columns = [("shelve_max", "interval", "The longest time for which an incident can be shelved")];
    let source =
        format!("from (values ({})) as settings (shelve_max)", interval(domain.incidents.shelve_max_us));
    view("incident_settings", "The domain's settings for incidents", &columns, source)
}

/// SQL for a severity as a number.
pub(crate) fn rank(severity: &str) -> String {
    format!("array_position(array['low', 'medium', 'high'], {severity})")
}

fn incidents() -> View {
    let columns = [
        ("incident_id", "text", "Identity: a hash of kind, zone, metric, sensor and its first ten seconds"),
        ("kind", "text", "rule, model, stuck or quality"),
        ("zone", "text", "The zone"),
        ("metric", "text", "The metric, of a sensor's incident the one that stands out most"),
        ("sensor_id", "text", "The sensor; null where a zone's metric is the subject"),
        ("pattern", "text", "The pattern of the domain; null where there is none"),
        ("condition", "text", "What the data say: pending, open, cleared, withdrawn or superseded"),
        ("superseded_by", "text", "The incident that late readings joined it with"),
        ("severity", "text", "low, medium or high: the worst of the last step_down_for"),
        ("severity_peak", "text", "The worst ever"),
        ("opened_at", "timestamptz", "Event time of its first anomaly"),
        ("last_seen_at", "timestamptz", "Event time of its last one"),
        ("cleared_at", "timestamptz", "When it was over: clear_for behind that; null before"),
        ("first_epoch", "bigint", "The commit that first knew of it, milliseconds"),
        ("epoch", "bigint", "The commit that last wrote it, milliseconds"),
        ("revision", "bigint", "How often it has changed"),
        ("readings", "bigint", "Anomalous readings"),
        ("sensors", "bigint", "Distinct sensors that they come from"),
        ("occurrences", "bigint", "How often it was open"),
        ("flaps", "bigint", "How often it opened again"),
        ("peak_value", "double precision", "The value that stands out most; null where it is missing"),
        ("typical", "double precision", "What was typical there then; null where that is not known"),
        ("spread", "double precision", "One standard deviation of that"),
        ("unit", "text", "The metric's unit"),
        ("model_version", "integer", "The model that judged that value; 0 = rules only"),
        ("text", "text", "Where, since when, what and why: a sentence"),
        (
            "acknowledged_at",
            "timestamptz",
            "When somebody saw it; null again when its severity has risen since",
        ),
        ("acknowledged_by", "text", "Who"),
        ("acknowledged_comment", "text", "What they said"),
        ("assignee", "text", "Who takes care of it"),
        ("shelved_until", "timestamptz", "Until when it calls for no attention; null when it is not shelved"),
        ("shelved_by", "text", "Who shelved it"),
        ("shelved_reason", "text", "Why"),
        ("is_out_of_service", "boolean", "Whether somebody said that what it is about is out of service"),
        ("suppressed_by", "text", "The open incident of the whole zone that explains a sensor's"),
        (
            "needs_attention",
            "boolean",
            "Open, and not acknowledged, shelved, out of service or explained by another one",
        ),
    ];
    // The last action of some kinds. The index on incident_id reads all actions of an incident once.
    let last = |name: &str, kinds: &str| {
        format!(
            "(array_agg(one order by one.action_id desc) filter (where one.action in ({kinds})))[1] as {name}"
        )
    };
    let source = format!(
        "from (
        select s.incident_id, s.kind, s.zone, coalesce(nullif(s.metric, ''), s.peak_metric) as metric,
            nullif(s.sensor_id, '') as sensor_id, null::text as pattern, s.condition, s.superseded_by, s.severity,
            s.severity_peak, s.opened_at, s.last_seen_at, s.cleared_at,
            (select t.epoch from incident_transitions as t where t.zone = s.zone and t.incident_id = s.incident_id
             order by t.revision limit 1) as first_epoch,
            s.epoch, s.revision, s.readings, s.sensors, s.occurrences, s.occurrences - 1 as flaps, s.peak_value,
            s.typical, s.spread, s.unit, s.model_version,
            case when s.sensor_id = '' then s.zone else 'sensor ' || s.sensor_id || ' in ' || s.zone end
            || ' since ' || to_char(s.opened_at at time zone 'UTC', 'HH24:MI') || ' UTC: ' || s.reason
            || case when s.sensor_id <> '' then '' when s.sensors = 1 then '; 1 sensor'
               else '; ' || s.sensors || ' sensors' end as text,
            done.*, suppressed_by,
            coalesce(s.condition = 'open' and done.acknowledged_at is null and done.shelved_until is null
                and not done.is_out_of_service and suppressed_by is null, false) as needs_attention
        from incident_states as s
        left join lateral (
            select z.incident_id as suppressed_by from incident_states as z
            where s.sensor_id <> '' and s.condition in ('pending', 'open') and z.zone = s.zone and z.sensor_id = ''
                and z.kind = 'model' and z.condition = 'open' and z.opened_at <= s.last_seen_at
            order by z.opened_at, z.incident_id limit 1
        ) as explained on true
        cross join lateral (
            with recursive line (id) as (
                select s.incident_id
                union
                select before.incident_id from incident_states as before join line on before.superseded_by = line.id
            )
            select case when seen then (ack).acted_at end as acknowledged_at, case when seen then (ack).actor end
                as acknowledged_by, case when seen then (ack).comment end as acknowledged_comment,
                (assigned).assignee, case when rests then (shelf).until_at end as shelved_until,
                case when rests then (shelf).actor end as shelved_by,
                case when rests then (shelf).comment end as shelved_reason,
                coalesce((service).action = 'out_of_service', false) as is_out_of_service
            from (
                select {ack},
                    {assigned},
                    {shelf},
                    {service}
                from incident_actions as one where one.incident_id = any (array(select id from line))
            ) as acted
            cross join lateral (select {acknowledged} >= {peak} as seen,
                (shelf).action = 'shelve' and (shelf).until_at > now() as rests) as judged
        ) as done
    ) as incidents",
        ack = last("ack", "'acknowledge'"),
        assigned = last("assigned", "'assign'"),
        shelf = last("shelf", "'shelve', 'unshelve'"),
        service = last("service", "'out_of_service', 'in_service'"),
        acknowledged = rank("(ack).severity_peak"),
        peak = rank("s.severity_peak"),
    );
    view(
        "incidents",
        "What is wrong, since when, whether it is over, and what somebody has done about it",
        &columns,
        source,
    )
}

fn changes() -> View {
    let columns = [
        ("incident_id", "text", "The incident"),
        (
            "revision",
            "bigint",
            "Number of the change of condition or severity; of an action, the one before it",
        ),
        ("epoch", "bigint", "The commit that brought it; of an action, the newest commit then; milliseconds"),
        ("event_at", "timestamptz", "Now in event time"),
        ("changed_at", "timestamptz", "When, by the server's clock"),
        ("from_condition", "text", "What it was; null when it was not there"),
        ("to_condition", "text", "What it is; null when it is gone, since it never opened"),
        ("cause", "text", "condition, escalation, late_data, merge, operator or shelf_expired"),
        ("actor", "text", "Who; null for what the data say"),
        ("comment", "text", "What they said"),
        ("evidence", "jsonb", "Severity, readings, sensors and reason then; of an action, what was done"),
    ];
    let source = "from (
        select incident_id, revision, epoch, event_at,
            (select committed_at from commits where commits.epoch >= t.epoch order by commits.epoch limit 1)
                as changed_at,
            from_condition, to_condition, cause, null::text as actor, null::text as comment, evidence
        from incident_transitions as t
        union all
        select incident_id, revision, as_of_epoch, event_at, acted_at, condition, condition, 'operator', actor, comment,
            jsonb_strip_nulls(jsonb_build_object('action', action, 'assignee', assignee, 'until', until_at))
        from incident_actions
        union all
        select incident_id, revision, as_of_epoch, event_at, until_at, condition, condition, 'shelf_expired', null, null,
            jsonb_build_object('shelved_by', actor)
        from incident_actions as shelved
        where action = 'shelve' and until_at <= now() and not exists (
            select from incident_actions as later where later.incident_id = shelved.incident_id
                and later.action in ('shelve', 'unshelve') and later.action_id > shelved.action_id
                and later.acted_at <= shelved.until_at)
    ) as changes"
        .to_owned();
    view(
        "incident_changes",
        "Every change of every incident: what the data said, and what people did",
        &columns,
        source,
    )
}

fn alarm_load() -> View {
    let columns = [
        ("ten_minutes", "timestamptz", "Start of ten minutes of event time"),
        ("opened", "bigint", "Incidents that opened, again too"),
        ("is_flood", "boolean", "From more than 10 that opened in ten minutes until fewer than 5 did"),
        (
            "top_ten_share",
            "double precision",
            "Share of the ten subjects that opened most often; null when none did",
        ),
        ("chattering", "bigint", "Of the incidents that opened, those that opened again three times or more"),
        ("stale", "bigint", "Incidents open for more than 24 hours at the end"),
        ("low_share", "double precision", "Share of severity low among those that opened"),
        ("medium_share", "double precision", "The same for medium"),
        ("high_share", "double precision", "The same for high"),
        (
            "minutes_to_acknowledge",
            "double precision",
            "Median from opening to acknowledgement; null when none was",
        ),
    ];
    let source = "from (
        with opened as (
            select date_bin('10 minutes', t.event_at, 'epoch') as ten_minutes, t.zone, t.incident_id,
                t.evidence ->> 'severity' as severity, s.kind, s.metric, s.sensor_id, s.occurrences,
                (select extract(epoch from min(a.acted_at) - c.committed_at) / 60 from incident_actions as a
                 where a.incident_id = t.incident_id and a.action = 'acknowledge' and a.acted_at >= c.committed_at)
                    as minutes
            from incident_transitions as t
            join incident_states as s on s.zone = t.zone and s.incident_id = t.incident_id
            left join lateral (select committed_at from commits where commits.epoch >= t.epoch
                               order by commits.epoch limit 1) as c on true
            where t.to_condition = 'open' and t.from_condition is distinct from 'open'
        ),
        slots as (
            select generate_series(min(ten_minutes), date_bin('10 minutes', (select max(watermark) from commits),
                'epoch'), interval '10 minutes') as ten_minutes from opened
        ),
        frequent as (
            select ten_minutes, sum(times) filter (where place <= 10) / sum(times) as share from (
                select ten_minutes, count(*) as times,
                    row_number() over (partition by ten_minutes order by count(*) desc) as place
                from opened group by ten_minutes, zone, kind, metric, sensor_id
            ) as ranked group by ten_minutes
        ),
        counted as (
            select ten_minutes, count(incident_id) as opened,
                count(distinct incident_id) filter (where occurrences > 3) as chattering,
                avg((severity = 'low')::int) as low, avg((severity = 'medium')::int) as medium,
                avg((severity = 'high')::int) as high,
                percentile_cont(0.5) within group (order by minutes) as minutes
            from slots left join opened using (ten_minutes) group by ten_minutes
        ),
        floods as (
            select *, case when opened > 10 then true when opened < 5 then false end as turn,
                count(case when opened > 10 or opened < 5 then 1 end) over (order by ten_minutes) as since
            from counted
        )
        select ten_minutes, opened,
            coalesce(first_value(turn) over (partition by since order by ten_minutes), false) as is_flood,
            share::double precision as top_ten_share, chattering,
            (select count(*) from incident_states as s where s.condition in ('open', 'cleared')
                and s.opened_at < ten_minutes + interval '10 minutes' - interval '24 hours'
                and coalesce(s.cleared_at, 'infinity') >= ten_minutes + interval '10 minutes') as stale,
            low::double precision as low_share, medium::double precision as medium_share,
            high::double precision as high_share, minutes::double precision as minutes_to_acknowledge
        from floods left join frequent using (ten_minutes)
    ) as load"
        .to_owned();
    view("alarm_load", "Alarm load by ten minutes: the measures of ISA-18.2 and EEMUA 191", &columns, source)
}
