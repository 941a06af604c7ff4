-- Questions that people ask, for the domain smart-city. Each one reads a single consistent state; several that belong
-- together want one snapshot: begin transaction isolation level repeatable read read only; … commit;

-- How is every zone right now?
select zone, window_start, reading_count, round(avg_temperature::numeric, 1) as temperature,
       round(avg_aqi::numeric) as aqi, anomalies_5min, last_recorded_at
from zone_status
order by zone;

-- The last hour of one zone, minute by minute; rows that are not final may still grow.
select window_start, reading_count, anomaly_count, avg_temperature, avg_aqi, avg_traffic_flow, is_final
from metrics_1min
where zone = 'Downtown' and window_start >= (select max(watermark) from commits) - interval '1 hour'
order by window_start desc;

-- Which sensors should somebody look at?
select zone, rank, sensor_id, anomaly_count, last_anomaly_at
from hot_sensors
order by zone, rank;

-- The newest anomalies, with the reasons spelled out.
select recorded_at, zone, sensor_id, severity, reason ->> 'metric' as metric, reason ->> 'actual' as actual,
       reason ->> 'typical' as typical, reason ->> 'text' as text
from sensor_data, jsonb_array_elements(reasons) as reason
where is_anomaly and recorded_at >= (select max(watermark) from commits) - interval '10 minutes'
order by recorded_at desc
limit 50;

-- The newest readings of all. As `order by recorded_at desc limit 20` on sensor_data, but without a scan.
select recorded_at, zone, sensor_id, temperature, humidity, aqi, noise_level, traffic_flow, is_anomaly
from latest_readings(20);

-- One sensor's last readings.
select recorded_at, zone, temperature, humidity, aqi, noise_level, traffic_flow, is_late, is_anomaly
from sensor_data
where sensor_id = '42' and recorded_at >= (select max(watermark) from commits) - interval '15 minutes'
order by recorded_at desc
limit 100;

-- The worst five minutes of the last day, by share of anomalies.
select zone, window_start, window_end, reading_count, anomaly_count,
       round(100.0 * anomaly_count / reading_count, 1) as percent
from metrics_5min
where is_final and window_start >= (select max(watermark) from commits) - interval '1 day'
order by anomaly_count::float8 / reading_count desc, window_start
limit 20;

-- The course of a day: averages by hour, weighted by readings.
select zone, date_trunc('hour', window_start) as hour, sum(reading_count) as readings,
       sum(avg_traffic_flow * reading_count)
           / sum(reading_count) filter (where avg_traffic_flow is not null) as traffic_flow
from metrics_1min
where is_final
group by zone, hour
order by zone, hour;

-- Which windows were corrected after they were final, and how often?
select zone, window_start, revision, updated_at
from metrics_1min
where revision > 0
order by updated_at desc
limit 50;

-- How many readings come too late, by zone and minute?
select zone, minute, late
from data_quality_1min
where late > 0
order by minute desc, zone
limit 50;

-- What is sent that is no reading, and why?
select reason, field, count(*) as records, min(received_at) as first_at, max(received_at) as last_at,
       (array_agg(message order by received_at desc))[1] as latest
from dead_letters
group by reason, field
order by records desc;

-- The dead letters themselves, as text where they are text.
select received_at, kafka_partition, kafka_offset, reason, message, payload_bytes,
       encode(substr(payload, 1, 200), 'escape') as begins
from dead_letters
order by received_at desc
limit 20;

-- Has anything vanished? `holds` is true for every partition, always.
select * from conservation order by kafka_partition;

-- How far is each partition, and which one holds the watermark back?
select kafka_partition, source, next_offset, watermark, is_idle,
       (select max(watermark) from commits) - watermark as ahead_of_w
from ingest_progress
order by watermark nulls first;

-- The last commits: how many a second, how many readings in each?
select date_trunc('second', committed_at) as second, count(*) as commits, sum(readings) as readings,
       max(watermark) as watermark
from commits
where committed_at >= now() - interval '1 minute'
group by second
order by second desc;

-- Who has written here, and why did it end?
select run_id, host, processes, workers, started_at, heartbeat_at, ended_at, why
from runs
order by run_id desc
limit 10;

-- Which minutes of the last hour lack readings? A zone is expected to bring what it brought in the median of the hour
-- before. A minute without any reading has no row.
select zone, window_start, reading_count, expected_count, round((100 * completeness)::numeric, 1) as percent
from completeness_1min
where is_final and completeness < 0.9
  and window_start >= (select max(watermark) from commits) - interval '1 hour'
order by window_start desc, zone;

-- When did dead letters come?
select minute, dead
from data_quality_1min
where zone = '' and dead > 0
order by minute desc
limit 50;
