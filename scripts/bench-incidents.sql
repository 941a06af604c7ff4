-- Incidents against injected events: the table truth names for each anomalous reading its kind and its event.
\pset footer off
set work_mem = '256MB';

-- An event concerns a sensor, or a whole zone. Domain smart-city: one that is over within `for`, 30 s, or has less than
-- `min_readings`, 5, is no incident.
create unlogged table events as
select truth.kind, event, zone, case when truth.kind = 'zone_event' then null else truth.sensor_id end as sensor_id,
  min(recorded_at) as first_at, max(recorded_at) as last_at,
  max(recorded_at) - min(recorded_at) >= interval '30 seconds' and count(*) >= 5 as is_long
from truth join sensor_data using (kafka_partition, kafka_offset)
where truth.kind <> 'silence'
group by truth.kind, event, zone, 4;

create unlogged table opened as
select incident_id, kind, zone, sensor_id, opened_at, last_seen_at,
  (select min(event_at) from incident_changes as change
   where change.incident_id = incident.incident_id and to_condition = 'open') as known_at
from incidents as incident
where condition in ('open', 'cleared') and opened_at >= :'from'::timestamptz + interval '2 hours';

-- Both lie in one place at one time; ten seconds are the step in which incidents see event time.
create unlogged table pairs as
select incident_id, opened.kind as incident_kind, events.kind, event, events.zone, events.sensor_id, known_at - first_at as delay
from opened join events on events.zone = opened.zone
  and (opened.sensor_id is null or events.sensor_id is null or events.sensor_id = opened.sensor_id)
  and first_at <= last_seen_at + interval '10 seconds' and last_at >= opened_at - interval '10 seconds'
where events.kind not in ('spike', 'range');

\echo
\echo Incidents: how many belong to an injected event
create unlogged table figures as
select 1 as part, coalesce(kind, 'all') as name, count(*) as number,
  round(count(*) / 22.0, 1) as per_hour,
  avg((incident_id in (select incident_id from pairs))::int)::numeric(4, 3) as share, null::double precision as delay,
  case when kind is null then .8 end as least
from opened group by rollup (kind);
select name as incidents, number, per_hour as "an hour", share as "belong to an event", least as "at least",
  case when share < least then 'MISSED' when least is not null then 'ok' else '' end as verdict
from figures order by name = 'all', name;

\echo Events that last for 30 s and more: how many have an incident
insert into figures
select 2, events.kind, count(*), null, avg((found.event is not null)::int)::numeric(4, 3),
  percentile_cont(.5) within group (order by extract(epoch from found.delay)),
  case events.kind when 'zone_event' then 1 else .9 end
from events left join (
  select kind, event, zone, sensor_id, min(delay) as delay from pairs group by 1, 2, 3, 4
) as found on found.kind = events.kind and found.event = events.event and found.zone = events.zone
  and found.sensor_id is not distinct from events.sensor_id
where is_long and events.kind not in ('spike', 'range')
  and first_at >= :'from'::timestamptz + interval '2 hours'
group by events.kind;
select name as events, number, share as "have an incident", least as "at least",
  case when share < least then 'MISSED' else 'ok' end as verdict, round(delay) as "open after, s (median)"
from figures where part = 2 order by name;

select count(*) filter (where share < least) as missed from figures \g (format=unaligned tuples_only=on) :out
