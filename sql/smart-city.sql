-- The database of the domain smart-city, as citytide makes it in an empty database.
-- Rendered from store/src/schema and dataflow/src/views; a test holds this file equal to it.

create table citytide_database (
    only_row        boolean primary key default true check (only_row),
    schema_version  integer not null,
    domain          text not null,
    topic           text not null,
    windows         jsonb not null,
    pane_us         bigint not null,
    horizon_epoch   bigint not null default 0,
    horizon_raised_at timestamptz,
    cluster_id      text,
    topic_id        text
);
comment on table citytide_database is 'The domain, source and windows of this database; one row';
comment on column citytide_database.only_row is 'Limits the table to one row';
comment on column citytide_database.schema_version is 'Version of this schema';
comment on column citytide_database.domain is 'Name of the domain whose readings are here';
comment on column citytide_database.topic is 'The Kafka topic, or other source, that the readings come from';
comment on column citytide_database.windows is 'The windows: name, size_us, slide_us, or of sessions gap_us, max_us, by; in the order of the domain file';
comment on column citytide_database.pane_us is 'Length of a pane in microseconds';
comment on column citytide_database.horizon_epoch is 'Rows up to this epoch are no longer shown; retention raises it';
comment on column citytide_database.horizon_raised_at is 'When horizon_epoch was last raised; partitions at or below it are dropped an hour later';
comment on column citytide_database.cluster_id is 'Id of the Kafka cluster, stored when it is first seen';
comment on column citytide_database.topic_id is 'Id of the topic in that cluster; a topic that was deleted and created again has a new one';

insert into citytide_database (schema_version, domain, topic, windows, pane_us)
values (1, 'smart-city', 'sensor-data', '[{"name":"1min","size_us":60000000,"slide_us":60000000},{"name":"5min","size_us":300000000,"slide_us":60000000}]', 60000000);

create table fence (
    only_row        boolean primary key default true check (only_row),
    run_id          bigint not null
);
comment on table fence is 'The run that may write; one row';
comment on column fence.only_row is 'Limits the table to one row';
comment on column fence.run_id is 'The run that may write';

insert into fence (run_id) values (0);

create function citytide_fence(mine bigint) returns void language plpgsql volatile as $$
declare
    current bigint;
begin
    perform pg_advisory_xact_lock_shared(1667855481, 1);
    select run_id into current from fence;
    if current is distinct from mine then
        raise exception 'run % has been taken over by run %', mine, current using errcode = 'CT001';
    end if;
end $$;
comment on function citytide_fence(bigint) is 'Begins every writing transaction: a run that was taken over fails here, with SQLSTATE CT001. It takes the lock first and reads run_id in a later statement, whose snapshot is taken after the lock';

create table runs (
    run_id          bigint primary key,
    host            text not null,
    process_id      integer not null,
    processes       integer not null,
    workers         integer not null,
    epoch_offset_ms bigint not null,
    started_at      timestamptz not null default clock_timestamp(),
    heartbeat_at    timestamptz not null default clock_timestamp(),
    ended_at        timestamptz,
    why             text
);
comment on table runs is 'Every start of citytide on this database';
comment on column runs.run_id is 'Number of the run, ascending';
comment on column runs.host is 'Host of its process 0';
comment on column runs.process_id is 'Process id of its process 0 on that host';
comment on column runs.processes is 'Number of processes';
comment on column runs.workers is 'Workers per process';
comment on column runs.epoch_offset_ms is 'Milliseconds that the run adds to the clock, so that epochs never repeat';
comment on column runs.started_at is 'When it started';
comment on column runs.heartbeat_at is 'Last heartbeat; one a second';
comment on column runs.ended_at is 'When it ended; null while it runs and after a crash';
comment on column runs.why is 'Why it ended';

create table run_members (
    run_id          bigint not null,
    process         integer not null,
    host            text not null,
    joined_at       timestamptz not null default clock_timestamp(),
    primary key (run_id, process)
);
comment on table run_members is 'The processes of each run';
comment on column run_members.run_id is 'The run';
comment on column run_members.process is 'Number of the process in the run, from 0';
comment on column run_members.host is 'Host of the process';
comment on column run_members.joined_at is 'When it joined';

create table commits (
    epoch           bigint primary key,
    previous_epoch  bigint not null unique,
    run_id          bigint not null,
    committed_at    timestamptz not null default clock_timestamp(),
    watermark       timestamptz,
    readings        bigint not null,
    windows_from    timestamptz
);
comment on table commits is 'The ledger: one row per commit; rows above the highest epoch are not committed';
comment on column commits.epoch is 'Every row up to this epoch is committed; milliseconds';
comment on column commits.previous_epoch is 'Epoch of the previous commit; unique, so that no epoch has two successors';
comment on column commits.run_id is 'The run that committed';
comment on column commits.committed_at is 'When it was committed';
comment on column commits.watermark is 'W: windows that end at or before it are final; null before the first reading';
comment on column commits.readings is 'Readings in this commit, including late ones';
comment on column commits.windows_from is 'The earliest window_start that this commit wrote, in any table that has one; null when none';

create table changes (
    epoch           bigint not null,
    table_name      text not null,
    key             jsonb not null
);
create index changes_epoch on changes (epoch);
comment on table changes is 'Rows that were deleted, kept for as long as readings are';
comment on column changes.epoch is 'The deletion shows with the first commit at or above it, milliseconds';
comment on column changes.table_name is 'The table: a live view''s or a window''s';
comment on column changes.key is 'The columns of the row''s key';

create table ingest_progress (
    kafka_partition integer primary key,
    source          text not null,
    first_offset    bigint not null,
    next_offset     bigint not null,
    accepted        bigint not null,
    late            bigint not null,
    dead            bigint not null,
    lost            bigint not null,
    gaps            bigint not null,
    watermark       timestamptz,
    is_idle         boolean not null,
    cursor          text,
    claim           text
) with (fillfactor = 50);
comment on table ingest_progress is 'How far each partition has been read, as of the newest commit';
comment on column ingest_progress.kafka_partition is 'Partition number, as in the readings';
comment on column ingest_progress.source is 'Topic and partition, or file';
comment on column ingest_progress.first_offset is 'The offset at which reading began';
comment on column ingest_progress.next_offset is 'The next offset to read';
comment on column ingest_progress.accepted is 'Readings in windows';
comment on column ingest_progress.late is 'Late readings, in no window';
comment on column ingest_progress.dead is 'Dead letters: records that are not readings';
comment on column ingest_progress.lost is 'Offsets that Kafka deleted before they were read';
comment on column ingest_progress.gaps is 'Offsets that Kafka never delivers: control records, compaction, aborted transactions';
comment on column ingest_progress.watermark is 'Highest event time of its accepted readings, less out_of_orderness';
comment on column ingest_progress.is_idle is 'Whether it has brought no accepted reading for idle_after and no longer holds W back';
comment on column ingest_progress.cursor is 'Position of the source at next_offset, in a form of its own: finds the place again, and detects a source that was replaced';
comment on column ingest_progress.claim is 'Event times more than jump_max ahead of the watermark, from a single sensor: they move the watermark once they are confirmed';

create table partition_zones (
    kafka_partition integer not null,
    zone            text not null,
    primary key (kafka_partition, zone)
);
comment on table partition_zones is 'Zones that count against zones_max, by partition';
comment on column partition_zones.kafka_partition is 'The partition';
comment on column partition_zones.zone is 'A zone of its readings that the domain file does not name';

create table usual_ranges (
    metric          text not null,
    since_epoch     bigint not null,
    least           double precision not null,
    greatest        double precision not null,
    primary key (metric, since_epoch)
);
comment on table usual_ranges is 'The usual range of each metric, and which ones it had before';
comment on column usual_ranges.metric is 'The metric';
comment on column usual_ranges.since_epoch is 'Readings above this epoch are held against it';
comment on column usual_ranges.least is 'Least usual value';
comment on column usual_ranges.greatest is 'Greatest usual value';

create table sensor_readings (
    epoch           bigint not null,
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    sensor_id       text not null,
    zone            text not null,
    recorded_at     timestamptz not null,
    temperature     double precision,
    humidity        double precision,
    aqi             double precision,
    noise_level     double precision,
    traffic_flow    double precision,
    is_late         boolean not null,
    is_anomaly      boolean not null,
    anomaly_score   real not null,
    severity        text,
    reasons         jsonb,
    model_version   integer not null,
    confidence      real,
    detector        text
) partition by range (epoch);
comment on table sensor_readings is 'All readings, also those whose epoch is not committed yet: read sensor_data instead';
comment on column sensor_readings.epoch is 'Ingest epoch of the row, milliseconds';
comment on column sensor_readings.kafka_partition is 'Partition; with kafka_offset the identity of a reading';
comment on column sensor_readings.kafka_offset is 'Offset in the partition';
comment on column sensor_readings.sensor_id is 'The sensor';
comment on column sensor_readings.zone is 'The zone';
comment on column sensor_readings.recorded_at is 'Event time, with microseconds';
comment on column sensor_readings.temperature is 'In °C; null when not sent';
comment on column sensor_readings.humidity is 'In %; null when not sent';
comment on column sensor_readings.aqi is 'In AQI; null when not sent';
comment on column sensor_readings.noise_level is 'In dB; null when not sent';
comment on column sensor_readings.traffic_flow is 'In vehicles/min; null when not sent';
comment on column sensor_readings.is_late is 'Whether it came too late: then it is in no window';
comment on column sensor_readings.is_anomaly is 'Whether it is anomalous';
comment on column sensor_readings.anomaly_score is 'How unusual it is, 0 … 1; with rules only 0 or 1';
comment on column sensor_readings.severity is 'low, medium or high; null when normal';
comment on column sensor_readings.reasons is 'Why it is anomalous, a list of {"metric", "actual", "unit", "text"} with "rule", or with "share" and "member"; "typical" and "spread" where they are known, "flagged_of_8" of the sensor''s last 8 readings; null when normal';
comment on column sensor_readings.model_version is 'The model that judged; 0 = rules only';
comment on column sensor_readings.confidence is 'Probability that the verdict is right, 0 … 1; null where rules alone judge';
comment on column sensor_readings.detector is 'What flagged it: rules, model or both; null when normal';

create table dead_letter_records (
    epoch           bigint not null,
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    received_at     timestamptz not null,
    reason          text not null,
    field           text,
    message         text not null,
    payload         bytea not null,
    payload_bytes   integer not null,
    sensor_id       text
) partition by range (epoch);
comment on table dead_letter_records is 'All dead letters, also those whose epoch is not committed yet: read dead_letters instead';
comment on column dead_letter_records.epoch is 'Ingest epoch of the row, milliseconds';
comment on column dead_letter_records.kafka_partition is 'Partition; with kafka_offset the identity of a record';
comment on column dead_letter_records.kafka_offset is 'Offset in the partition';
comment on column dead_letter_records.received_at is 'Kafka''s timestamp of the record';
comment on column dead_letter_records.reason is 'Why it is not a reading: empty, not_utf8, not_json, not_csv, missing_field, wrong_type, duplicate_field, bad_timestamp, bad_number, no_metric, too_long, clock_not_set, bad_record_timestamp, in_the_future, too_old or too_many_zones';
comment on column dead_letter_records.field is 'The wrong field; null when the whole record is';
comment on column dead_letter_records.message is 'The reason as a sentence';
comment on column dead_letter_records.payload is 'The first 64 KiB of the record';
comment on column dead_letter_records.payload_bytes is 'Length of the whole record in bytes';
comment on column dead_letter_records.sensor_id is 'The sensor; null where it could not be read';

create table panes (
    zone            text not null,
    pane_start      timestamptz not null,
    reading_count   bigint not null,
    anomaly_count   bigint not null,
    first_epoch     bigint not null,
    last_epoch      bigint not null,
    count_temperature bigint not null default 0,
    sum_temperature bytea,
    min_temperature double precision,
    max_temperature double precision,
    count_humidity  bigint not null default 0,
    sum_humidity    bytea,
    min_humidity    double precision,
    max_humidity    double precision,
    count_aqi       bigint not null default 0,
    sum_aqi         bytea,
    min_aqi         double precision,
    max_aqi         double precision,
    count_noise_level bigint not null default 0,
    sum_noise_level bytea,
    min_noise_level double precision,
    max_noise_level double precision,
    count_traffic_flow bigint not null default 0,
    sum_traffic_flow bytea,
    min_traffic_flow double precision,
    max_traffic_flow double precision,
    primary key (zone, pane_start)
) with (fillfactor = 50);
create index panes_pane_start on panes (pane_start);
comment on table panes is 'Exact sums of accepted readings by zone and pane; windows are merged from them';
comment on column panes.zone is 'The zone';
comment on column panes.pane_start is 'Start of the pane';
comment on column panes.reading_count is 'Accepted readings';
comment on column panes.anomaly_count is 'Anomalous ones among them';
comment on column panes.first_epoch is 'First epoch that added to it';
comment on column panes.last_epoch is 'Last epoch that added to it';
comment on column panes.count_temperature is 'Readings with temperature';
comment on column panes.sum_temperature is 'Exact sum of temperature: 128-bit two''s complement, big-endian, 60 binary places; null when none';
comment on column panes.min_temperature is 'Least temperature in °C';
comment on column panes.max_temperature is 'Greatest temperature in °C';
comment on column panes.count_humidity is 'Readings with humidity';
comment on column panes.sum_humidity is 'Exact sum of humidity: 128-bit two''s complement, big-endian, 60 binary places; null when none';
comment on column panes.min_humidity is 'Least humidity in %';
comment on column panes.max_humidity is 'Greatest humidity in %';
comment on column panes.count_aqi is 'Readings with aqi';
comment on column panes.sum_aqi is 'Exact sum of aqi: 128-bit two''s complement, big-endian, 60 binary places; null when none';
comment on column panes.min_aqi is 'Least aqi in AQI';
comment on column panes.max_aqi is 'Greatest aqi in AQI';
comment on column panes.count_noise_level is 'Readings with noise_level';
comment on column panes.sum_noise_level is 'Exact sum of noise_level: 128-bit two''s complement, big-endian, 60 binary places; null when none';
comment on column panes.min_noise_level is 'Least noise_level in dB';
comment on column panes.max_noise_level is 'Greatest noise_level in dB';
comment on column panes.count_traffic_flow is 'Readings with traffic_flow';
comment on column panes.sum_traffic_flow is 'Exact sum of traffic_flow: 128-bit two''s complement, big-endian, 60 binary places; null when none';
comment on column panes.min_traffic_flow is 'Least traffic_flow in vehicles/min';
comment on column panes.max_traffic_flow is 'Greatest traffic_flow in vehicles/min';

create table metrics_1min (
    window_start    timestamptz not null,
    window_end      timestamptz not null,
    zone            text not null,
    reading_count   bigint not null,
    anomaly_count   bigint not null,
    avg_temperature double precision,
    min_temperature double precision,
    max_temperature double precision,
    avg_humidity    double precision,
    min_humidity    double precision,
    max_humidity    double precision,
    avg_aqi         double precision,
    min_aqi         double precision,
    max_aqi         double precision,
    avg_noise_level double precision,
    min_noise_level double precision,
    max_noise_level double precision,
    avg_traffic_flow double precision,
    min_traffic_flow double precision,
    max_traffic_flow double precision,
    is_final        boolean not null,
    revision        integer not null,
    updated_at      timestamptz not null,
    epoch           bigint not null default 0,
    primary key (zone, window_start)
) with (fillfactor = 50);
create index metrics_1min_window_start on metrics_1min (window_start);
comment on table metrics_1min is 'Accepted readings by zone in windows of 60 s, one every 60 s';
comment on column metrics_1min.window_start is 'Start, inclusive';
comment on column metrics_1min.window_end is 'End, exclusive';
comment on column metrics_1min.zone is 'The zone';
comment on column metrics_1min.reading_count is 'Accepted readings; never 0';
comment on column metrics_1min.anomaly_count is 'Anomalous ones among them';
comment on column metrics_1min.avg_temperature is 'Average temperature in °C; null when no reading has it';
comment on column metrics_1min.min_temperature is 'Least temperature in °C; null when no reading has it';
comment on column metrics_1min.max_temperature is 'Greatest temperature in °C; null when no reading has it';
comment on column metrics_1min.avg_humidity is 'Average humidity in %; null when no reading has it';
comment on column metrics_1min.min_humidity is 'Least humidity in %; null when no reading has it';
comment on column metrics_1min.max_humidity is 'Greatest humidity in %; null when no reading has it';
comment on column metrics_1min.avg_aqi is 'Average aqi in AQI; null when no reading has it';
comment on column metrics_1min.min_aqi is 'Least aqi in AQI; null when no reading has it';
comment on column metrics_1min.max_aqi is 'Greatest aqi in AQI; null when no reading has it';
comment on column metrics_1min.avg_noise_level is 'Average noise_level in dB; null when no reading has it';
comment on column metrics_1min.min_noise_level is 'Least noise_level in dB; null when no reading has it';
comment on column metrics_1min.max_noise_level is 'Greatest noise_level in dB; null when no reading has it';
comment on column metrics_1min.avg_traffic_flow is 'Average traffic_flow in vehicles/min; null when no reading has it';
comment on column metrics_1min.min_traffic_flow is 'Least traffic_flow in vehicles/min; null when no reading has it';
comment on column metrics_1min.max_traffic_flow is 'Greatest traffic_flow in vehicles/min; null when no reading has it';
comment on column metrics_1min.is_final is 'Whether W has passed the window''s end; never reset';
comment on column metrics_1min.revision is 'Number of commits that corrected the row after it was final';
comment on column metrics_1min.updated_at is 'When the row was last committed';
comment on column metrics_1min.epoch is 'The commit that last wrote the row, milliseconds';

create table metrics_5min (
    window_start    timestamptz not null,
    window_end      timestamptz not null,
    zone            text not null,
    reading_count   bigint not null,
    anomaly_count   bigint not null,
    avg_temperature double precision,
    min_temperature double precision,
    max_temperature double precision,
    avg_humidity    double precision,
    min_humidity    double precision,
    max_humidity    double precision,
    avg_aqi         double precision,
    min_aqi         double precision,
    max_aqi         double precision,
    avg_noise_level double precision,
    min_noise_level double precision,
    max_noise_level double precision,
    avg_traffic_flow double precision,
    min_traffic_flow double precision,
    max_traffic_flow double precision,
    is_final        boolean not null,
    revision        integer not null,
    updated_at      timestamptz not null,
    epoch           bigint not null default 0,
    primary key (zone, window_start)
) with (fillfactor = 50);
create index metrics_5min_window_start on metrics_5min (window_start);
comment on table metrics_5min is 'Accepted readings by zone in windows of 300 s, one every 60 s';
comment on column metrics_5min.window_start is 'Start, inclusive';
comment on column metrics_5min.window_end is 'End, exclusive';
comment on column metrics_5min.zone is 'The zone';
comment on column metrics_5min.reading_count is 'Accepted readings; never 0';
comment on column metrics_5min.anomaly_count is 'Anomalous ones among them';
comment on column metrics_5min.avg_temperature is 'Average temperature in °C; null when no reading has it';
comment on column metrics_5min.min_temperature is 'Least temperature in °C; null when no reading has it';
comment on column metrics_5min.max_temperature is 'Greatest temperature in °C; null when no reading has it';
comment on column metrics_5min.avg_humidity is 'Average humidity in %; null when no reading has it';
comment on column metrics_5min.min_humidity is 'Least humidity in %; null when no reading has it';
comment on column metrics_5min.max_humidity is 'Greatest humidity in %; null when no reading has it';
comment on column metrics_5min.avg_aqi is 'Average aqi in AQI; null when no reading has it';
comment on column metrics_5min.min_aqi is 'Least aqi in AQI; null when no reading has it';
comment on column metrics_5min.max_aqi is 'Greatest aqi in AQI; null when no reading has it';
comment on column metrics_5min.avg_noise_level is 'Average noise_level in dB; null when no reading has it';
comment on column metrics_5min.min_noise_level is 'Least noise_level in dB; null when no reading has it';
comment on column metrics_5min.max_noise_level is 'Greatest noise_level in dB; null when no reading has it';
comment on column metrics_5min.avg_traffic_flow is 'Average traffic_flow in vehicles/min; null when no reading has it';
comment on column metrics_5min.min_traffic_flow is 'Least traffic_flow in vehicles/min; null when no reading has it';
comment on column metrics_5min.max_traffic_flow is 'Greatest traffic_flow in vehicles/min; null when no reading has it';
comment on column metrics_5min.is_final is 'Whether W has passed the window''s end; never reset';
comment on column metrics_5min.revision is 'Number of commits that corrected the row after it was final';
comment on column metrics_5min.updated_at is 'When the row was last committed';
comment on column metrics_5min.epoch is 'The commit that last wrote the row, milliseconds';

create table hot_sensors (
    zone            text not null,
    rank            integer not null,
    sensor_id       text not null,
    anomaly_count   bigint not null,
    last_anomaly_at timestamptz not null,
    epoch           bigint not null default 0,
    primary key (zone, rank)
) with (fillfactor = 50);
comment on table hot_sensors is 'The sensors with the most anomalies in the five minutes before W, by zone';
comment on column hot_sensors.zone is 'The zone';
comment on column hot_sensors.rank is '1 … 10, ties by sensor_id';
comment on column hot_sensors.sensor_id is 'The sensor';
comment on column hot_sensors.anomaly_count is 'Its accepted anomalies in the five minutes before W';
comment on column hot_sensors.last_anomaly_at is 'The latest of them, event time';
comment on column hot_sensors.epoch is 'The commit that last wrote the row, milliseconds';

create table zone_status (
    zone            text primary key,
    window_start    timestamptz,
    reading_count   bigint,
    anomaly_count   bigint,
    avg_temperature double precision,
    avg_humidity    double precision,
    avg_aqi         double precision,
    avg_noise_level double precision,
    avg_traffic_flow double precision,
    anomalies_5min  bigint not null,
    last_recorded_at timestamptz not null,
    epoch           bigint not null default 0
) with (fillfactor = 50);
comment on table zone_status is 'Current state of each zone: its last final row of metrics_1min, and its recent anomalies';
comment on column zone_status.zone is 'The zone';
comment on column zone_status.window_start is 'Start of its last final window; null before the first';
comment on column zone_status.reading_count is 'Accepted readings of that window';
comment on column zone_status.anomaly_count is 'Anomalous ones among them';
comment on column zone_status.avg_temperature is 'Average temperature of that window in °C';
comment on column zone_status.avg_humidity is 'Average humidity of that window in %';
comment on column zone_status.avg_aqi is 'Average aqi of that window in AQI';
comment on column zone_status.avg_noise_level is 'Average noise_level of that window in dB';
comment on column zone_status.avg_traffic_flow is 'Average traffic_flow of that window in vehicles/min';
comment on column zone_status.anomalies_5min is 'Its accepted anomalies in the five minutes before W';
comment on column zone_status.last_recorded_at is 'The latest event time of its accepted readings';
comment on column zone_status.epoch is 'The commit that last wrote the row, milliseconds';

create table zone_latest (
    zone            text primary key,
    temperature     double precision,
    temperature_at  timestamptz,
    humidity        double precision,
    humidity_at     timestamptz,
    aqi             double precision,
    aqi_at          timestamptz,
    noise_level     double precision,
    noise_level_at  timestamptz,
    traffic_flow    double precision,
    traffic_flow_at timestamptz,
    epoch           bigint not null default 0
) with (fillfactor = 50);
comment on table zone_latest is 'The newest accepted value of each metric, by zone';
comment on column zone_latest.zone is 'The zone';
comment on column zone_latest.temperature is 'Its newest accepted temperature in °C; null before the first';
comment on column zone_latest.temperature_at is 'When that was recorded';
comment on column zone_latest.humidity is 'Its newest accepted humidity in %; null before the first';
comment on column zone_latest.humidity_at is 'When that was recorded';
comment on column zone_latest.aqi is 'Its newest accepted aqi in AQI; null before the first';
comment on column zone_latest.aqi_at is 'When that was recorded';
comment on column zone_latest.noise_level is 'Its newest accepted noise_level in dB; null before the first';
comment on column zone_latest.noise_level_at is 'When that was recorded';
comment on column zone_latest.traffic_flow is 'Its newest accepted traffic_flow in vehicles/min; null before the first';
comment on column zone_latest.traffic_flow_at is 'When that was recorded';
comment on column zone_latest.epoch is 'The commit that last wrote the row, milliseconds';

create table quality_counts (
    zone            text not null,
    window_start    timestamptz not null,
    reading_count   bigint not null default 0,
    late_count      bigint not null default 0,
    dead_letter_count bigint not null default 0,
    count_temperature bigint not null default 0,
    unusual_temperature bigint not null default 0,
    count_humidity  bigint not null default 0,
    unusual_humidity bigint not null default 0,
    count_aqi       bigint not null default 0,
    unusual_aqi     bigint not null default 0,
    count_noise_level bigint not null default 0,
    unusual_noise_level bigint not null default 0,
    count_traffic_flow bigint not null default 0,
    unusual_traffic_flow bigint not null default 0,
    after_epoch     bigint not null,
    epoch           bigint not null default 0,
    primary key (zone, window_start)
) with (fillfactor = 50);
create index quality_counts_window_start on quality_counts (window_start);
comment on table quality_counts is 'Counts of readings and dead letters by zone and minute, to which commits add';
comment on column quality_counts.zone is 'The zone; '''' for dead letters';
comment on column quality_counts.window_start is 'Start of the minute';
comment on column quality_counts.reading_count is 'Accepted readings of that minute';
comment on column quality_counts.late_count is 'Late readings of that minute';
comment on column quality_counts.dead_letter_count is 'Dead letters that Kafka stamped in that minute; 0 but for zone ''''';
comment on column quality_counts.count_temperature is 'Accepted readings with temperature; the others have null for temperature';
comment on column quality_counts.unusual_temperature is 'Accepted readings with temperature outside its usual range';
comment on column quality_counts.count_humidity is 'Accepted readings with humidity; the others have null for humidity';
comment on column quality_counts.unusual_humidity is 'Accepted readings with humidity outside its usual range';
comment on column quality_counts.count_aqi is 'Accepted readings with aqi; the others have null for aqi';
comment on column quality_counts.unusual_aqi is 'Accepted readings with aqi outside its usual range';
comment on column quality_counts.count_noise_level is 'Accepted readings with noise_level; the others have null for noise_level';
comment on column quality_counts.unusual_noise_level is 'Accepted readings with noise_level outside its usual range';
comment on column quality_counts.count_traffic_flow is 'Accepted readings with traffic_flow; the others have null for traffic_flow';
comment on column quality_counts.unusual_traffic_flow is 'Accepted readings with traffic_flow outside its usual range';
comment on column quality_counts.after_epoch is 'All that it counts came after this epoch';
comment on column quality_counts.epoch is 'The commit that last wrote the row, milliseconds';

create table incident_occurrences (
    zone            text not null,
    kind            text not null,
    metric          text not null,
    sensor_id       text not null,
    first_at        timestamptz not null,
    last_at         timestamptz not null,
    readings        bigint not null,
    low_at          timestamptz,
    medium_at       timestamptz,
    high_at         timestamptz,
    sensor_ids      jsonb not null,
    peak_magnitude  double precision not null,
    peak_at         timestamptz not null,
    peak_sensor_id  text not null,
    peak_metric     text not null,
    peak_value      double precision,
    typical         double precision,
    spread          double precision,
    unit            text not null,
    reason          text not null,
    model_version   integer not null,
    begins_at       timestamptz,
    epoch           bigint not null default 0,
    primary key (zone, kind, metric, sensor_id, first_at)
) with (fillfactor = 50);
create index incident_occurrences_last_at on incident_occurrences (last_at);
comment on table incident_occurrences is 'Anomalies of a subject without a gap longer than clear_for; incidents are made of those that are long and large enough';
comment on column incident_occurrences.zone is 'The zone';
comment on column incident_occurrences.kind is 'rule, model, stuck or quality';
comment on column incident_occurrences.metric is 'The metric; '''' where a sensor is the subject';
comment on column incident_occurrences.sensor_id is 'The sensor; '''' where a zone''s metric is the subject';
comment on column incident_occurrences.first_at is 'Event time of the first anomaly';
comment on column incident_occurrences.last_at is 'Event time of the last one';
comment on column incident_occurrences.readings is 'Anomalous readings; 0: all lie between the clear limit and the bound';
comment on column incident_occurrences.low_at is 'Event time of the last anomaly of severity low; null when none';
comment on column incident_occurrences.medium_at is 'The same for medium';
comment on column incident_occurrences.high_at is 'The same for high';
comment on column incident_occurrences.sensor_ids is 'The sensors that they come from, a list';
comment on column incident_occurrences.peak_magnitude is 'How far the reading that stands out most is beyond its bound, or from what is typical in deviations';
comment on column incident_occurrences.peak_at is 'Its event time';
comment on column incident_occurrences.peak_sensor_id is 'Its sensor';
comment on column incident_occurrences.peak_metric is 'Its metric';
comment on column incident_occurrences.peak_value is 'Its value; null where it is missing';
comment on column incident_occurrences.typical is 'What was typical there then; null where that is not known';
comment on column incident_occurrences.spread is 'One standard deviation of that';
comment on column incident_occurrences.unit is 'The metric''s unit';
comment on column incident_occurrences.reason is 'Why it is anomalous, a sentence';
comment on column incident_occurrences.model_version is 'The model that judged it; 0 = rules only';
comment on column incident_occurrences.begins_at is 'Event time of the first anomaly, where readings beyond the rule''s clear limit come before it; null where that is first_at';
comment on column incident_occurrences.epoch is 'The commit that last wrote the row, milliseconds';

create table incident_states (
    zone            text not null,
    incident_id     text not null,
    kind            text not null,
    metric          text not null,
    sensor_id       text not null,
    condition       text not null,
    superseded_by   text,
    severity        text not null,
    severity_peak   text not null,
    opened_at       timestamptz not null,
    last_seen_at    timestamptz not null,
    cleared_at      timestamptz,
    revision        bigint not null,
    readings        bigint not null,
    sensors         bigint not null,
    occurrences     bigint not null,
    peak_magnitude  double precision not null,
    peak_at         timestamptz not null,
    peak_sensor_id  text not null,
    peak_metric     text not null,
    peak_value      double precision,
    typical         double precision,
    spread          double precision,
    unit            text not null,
    reason          text not null,
    model_version   integer not null,
    epoch           bigint not null default 0,
    primary key (zone, incident_id)
) with (fillfactor = 50);
create index incident_states_last_seen_at on incident_states (last_seen_at);
comment on table incident_states is 'What the data say of incidents: read incidents instead';
comment on column incident_states.zone is 'The zone';
comment on column incident_states.incident_id is 'Identity: a hash of kind, zone, metric, sensor and its first ten seconds';
comment on column incident_states.kind is 'rule, model, stuck or quality';
comment on column incident_states.metric is 'The metric; '''' where a sensor is the subject';
comment on column incident_states.sensor_id is 'The sensor; '''' where a zone''s metric is the subject';
comment on column incident_states.condition is 'pending, open, cleared, withdrawn or superseded';
comment on column incident_states.superseded_by is 'The incident that late readings joined it with';
comment on column incident_states.severity is 'low, medium or high: the worst of the last step_down_for';
comment on column incident_states.severity_peak is 'The worst ever';
comment on column incident_states.opened_at is 'Event time of its first anomaly';
comment on column incident_states.last_seen_at is 'Event time of its last one';
comment on column incident_states.cleared_at is 'When it was over: clear_for behind that; null before';
comment on column incident_states.revision is 'How often it has changed';
comment on column incident_states.readings is 'Anomalous readings';
comment on column incident_states.sensors is 'Distinct sensors that they come from';
comment on column incident_states.occurrences is 'How often it was open';
comment on column incident_states.peak_magnitude is 'How far the reading that stands out most is beyond its bound, or from what is typical in deviations';
comment on column incident_states.peak_at is 'Its event time';
comment on column incident_states.peak_sensor_id is 'Its sensor';
comment on column incident_states.peak_metric is 'Its metric';
comment on column incident_states.peak_value is 'Its value; null where it is missing';
comment on column incident_states.typical is 'What was typical there then; null where that is not known';
comment on column incident_states.spread is 'One standard deviation of that';
comment on column incident_states.unit is 'The metric''s unit';
comment on column incident_states.reason is 'Why it is anomalous, a sentence';
comment on column incident_states.model_version is 'The model that judged it; 0 = rules only';
comment on column incident_states.epoch is 'The commit that last wrote the row, milliseconds';
create index incident_states_incident_id on incident_states (incident_id);
create index incident_states_superseded_by on incident_states (superseded_by) where superseded_by is not null;
create index incident_states_current on incident_states (zone) where condition in ('open', 'pending');
create index incident_states_of_zones on incident_states (zone) where sensor_id = '' and condition = 'open';

create table incident_transitions (
    zone            text not null,
    incident_id     text not null,
    revision        bigint not null,
    event_at        timestamptz not null,
    from_condition  text,
    to_condition    text,
    cause           text not null,
    evidence        jsonb not null,
    epoch           bigint not null default 0,
    primary key (zone, incident_id, revision)
);
create index incident_transitions_epoch on incident_transitions (epoch);
comment on table incident_transitions is 'Every change of incident_states: read incident_changes instead';
comment on column incident_transitions.zone is 'The zone';
comment on column incident_transitions.incident_id is 'The incident';
comment on column incident_transitions.revision is 'Number of the change, from 1';
comment on column incident_transitions.event_at is 'Now in event time: W at its last full ten seconds';
comment on column incident_transitions.from_condition is 'What it was; null when it was not there';
comment on column incident_transitions.to_condition is 'What it is; null when it is gone, since it never opened';
comment on column incident_transitions.cause is 'condition, escalation, late_data or merge';
comment on column incident_transitions.evidence is 'Severity, readings, sensors and the reading that stands out most, then';
comment on column incident_transitions.epoch is 'The commit that last wrote the row, milliseconds';

create table sensor_states (
    sensor_id       text primary key,
    zone            text not null,
    last_recorded_at timestamptz not null,
    temperature     double precision,
    temperature_at  timestamptz,
    humidity        double precision,
    humidity_at     timestamptz,
    aqi             double precision,
    aqi_at          timestamptz,
    noise_level     double precision,
    noise_level_at  timestamptz,
    traffic_flow    double precision,
    traffic_flow_at timestamptz,
    clock_offset_ms bigint,
    hour_start      timestamptz not null,
    minutes         bigint not null,
    readings        bigint not null,
    minutes_before  bigint not null,
    readings_before bigint not null,
    as_of           bigint not null,
    epoch           bigint not null default 0
) with (fillfactor = 50);
comment on table sensor_states is 'The last accepted reading of each sensor: read sensor_status instead';
comment on column sensor_states.sensor_id is 'The sensor';
comment on column sensor_states.zone is 'The zone of its last accepted reading';
comment on column sensor_states.last_recorded_at is 'The latest event time of its accepted readings';
comment on column sensor_states.temperature is 'Its newest accepted temperature in °C; null before the first';
comment on column sensor_states.temperature_at is 'When that was recorded';
comment on column sensor_states.humidity is 'Its newest accepted humidity in %; null before the first';
comment on column sensor_states.humidity_at is 'When that was recorded';
comment on column sensor_states.aqi is 'Its newest accepted aqi in AQI; null before the first';
comment on column sensor_states.aqi_at is 'When that was recorded';
comment on column sensor_states.noise_level is 'Its newest accepted noise_level in dB; null before the first';
comment on column sensor_states.noise_level_at is 'When that was recorded';
comment on column sensor_states.traffic_flow is 'Its newest accepted traffic_flow in vehicles/min; null before the first';
comment on column sensor_states.traffic_flow_at is 'When that was recorded';
comment on column sensor_states.clock_offset_ms is 'By how many milliseconds its last reading was ahead of Kafka''s timestamp; null where that is not known';
comment on column sensor_states.hour_start is 'Start of the hour of its last accepted reading';
comment on column sensor_states.minutes is 'The minutes of that hour in which it had one: bit 0 is the first';
comment on column sensor_states.readings is 'Its accepted readings in that hour';
comment on column sensor_states.minutes_before is 'The minutes of the hour before in which it had one: bit 0 is the first';
comment on column sensor_states.readings_before is 'Its accepted readings in the hour before';
comment on column sensor_states.as_of is 'It counts the readings up to this epoch';
comment on column sensor_states.epoch is 'The commit that last wrote the row, milliseconds';

create table incident_actions (
    action_id       bigint generated always as identity primary key,
    incident_id     text not null,
    action          text not null,
    actor           text not null,
    acted_at        timestamptz not null default clock_timestamp(),
    comment         text,
    assignee        text,
    until_at        timestamptz,
    severity_peak   text not null,
    condition       text not null,
    revision        bigint not null,
    event_at        timestamptz,
    as_of_epoch     bigint not null
);
create index incident_actions_incident_id on incident_actions (incident_id);
comment on table incident_actions is 'What people did with incidents; the functions citytide_incident_… write it';
comment on column incident_actions.action_id is 'The order of actions';
comment on column incident_actions.incident_id is 'The incident';
comment on column incident_actions.action is 'acknowledge, assign, comment, shelve, unshelve, out_of_service or in_service';
comment on column incident_actions.actor is 'Who';
comment on column incident_actions.acted_at is 'When, by the server''s clock';
comment on column incident_actions.comment is 'Why, or what was said';
comment on column incident_actions.assignee is 'Whom it was assigned to; null unassigns';
comment on column incident_actions.until_at is 'Until when it is shelved, by the server''s clock';
comment on column incident_actions.severity_peak is 'The worst severity that the incident had by then';
comment on column incident_actions.condition is 'The incident''s condition then';
comment on column incident_actions.revision is 'The incident''s revision then';
comment on column incident_actions.event_at is 'W then';
comment on column incident_actions.as_of_epoch is 'The newest commit then';
create function citytide_incident_act(incident text, action text, actor text, comment text, assignee text, until_at timestamptz)
returns void language plpgsql security definer set search_path from current as $$
declare
    longest interval := (select shelve_max from incident_settings);
begin
    if nullif(trim(actor), '') is null then
        raise exception 'an action needs an actor' using errcode = 'CT003';
    end if;
    if action in ('shelve', 'comment') and nullif(trim(comment), '') is null then
        raise exception 'to % an incident needs a comment', action using errcode = 'CT003';
    end if;
    if until_at > clock_timestamp() + longest or until_at <= clock_timestamp() then
        raise exception 'an incident can be shelved for more than 0 and at most % (shelve_max of the domain)', longest
            using errcode = 'CT003';
    end if;
    insert into incident_actions (incident_id, action, actor, comment, assignee, until_at, severity_peak, condition,
                                  revision, event_at, as_of_epoch)
    select incident_id, action, actor, comment, assignee, until_at, severity_peak, condition, revision, newest.watermark,
        newest.epoch
    from incident_states, (select watermark, epoch from commits order by epoch desc limit 1) as newest
    where incident_id = incident and condition <> 'pending';
    if not found then
        raise exception 'there is no incident % that has opened', incident using errcode = 'CT002';
    end if;
end $$;
comment on function citytide_incident_act is 'Writes what somebody does with an incident: see the functions below';
revoke execute on function citytide_incident_act from public;
create function citytide_incident_acknowledge(incident text, comment text default null, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, 'acknowledge', actor, comment, null, null);
$$;
comment on function citytide_incident_acknowledge is 'Says that somebody has seen the incident. A rise of its severity calls for attention again';
revoke execute on function citytide_incident_acknowledge from public;
create function citytide_incident_assign(incident text, assignee text, comment text default null, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, 'assign', actor, comment, assignee, null);
$$;
comment on function citytide_incident_assign is 'Says who takes care of the incident; null takes it back';
revoke execute on function citytide_incident_assign from public;
create function citytide_incident_comment(incident text, comment text, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, 'comment', actor, comment, null, null);
$$;
comment on function citytide_incident_comment is 'Adds a comment to the incident';
revoke execute on function citytide_incident_comment from public;
create function citytide_incident_shelve(incident text, duration interval, comment text, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, 'shelve', actor, comment, null, clock_timestamp() + duration);
$$;
comment on function citytide_incident_shelve is 'Keeps the incident from calling for attention for a time, at most shelve_max of the domain';
revoke execute on function citytide_incident_shelve from public;
create function citytide_incident_unshelve(incident text, comment text default null, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, 'unshelve', actor, comment, null, null);
$$;
comment on function citytide_incident_unshelve is 'Ends shelving before its time';
revoke execute on function citytide_incident_unshelve from public;
create function citytide_incident_service(incident text, is_out boolean, comment text default null, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, case when is_out then 'out_of_service' else 'in_service' end, actor, comment, null, null);
$$;
comment on function citytide_incident_service is 'Says that what the incident is about is out of service, or back';
revoke execute on function citytide_incident_service from public;

create table models (
    version         integer primary key,
    status          text not null,
    fitted_from     timestamptz not null,
    fitted_until    timestamptz not null,
    rows            bigint not null,
    parameters      jsonb not null,
    figures         jsonb not null,
    model           bytea not null,
    in_force_from_epoch bigint,
    created_at      timestamptz not null default clock_timestamp()
) with (fillfactor = 50);
comment on table models is 'Trained models: each is immutable, only its status changes';
comment on column models.version is 'Number of the model, from 1';
comment on column models.status is 'shadow, in_force or retired';
comment on column models.fitted_from is 'Event time of the oldest reading it was fitted on';
comment on column models.fitted_until is 'Event time of the newest one';
comment on column models.rows is 'Readings it was fitted on';
comment on column models.parameters is 'Trees, rows_per_tree, extension and the metrics it judges';
comment on column models.figures is 'How it was trained, and how it scores the rows it was fitted on';
comment on column models.model is 'The model itself, with a checksum on its first line';
comment on column models.in_force_from_epoch is 'First epoch that it judged when it last came into force; null before';
comment on column models.created_at is 'When it was stored';

create table model_disagreements (
    version         integer not null,
    zone            text not null,
    readings        bigint not null,
    flagged_by_both bigint not null,
    only_in_force   bigint not null,
    only_shadow     bigint not null,
    since_epoch     bigint not null,
    primary key (version, zone)
) with (fillfactor = 50);
comment on table model_disagreements is 'Agreement of a shadow model with the detector in force, while a run asks it';
comment on column model_disagreements.version is 'The shadow model';
comment on column model_disagreements.zone is 'The zone';
comment on column model_disagreements.readings is 'Committed readings that both judged';
comment on column model_disagreements.flagged_by_both is 'Flagged by both; a broken rule counts for both';
comment on column model_disagreements.only_in_force is 'Flagged only by the detector in force';
comment on column model_disagreements.only_shadow is 'Flagged only with the shadow model in place of the model in force';
comment on column model_disagreements.since_epoch is 'First epoch that is counted';

create table model_changes (
    epoch           bigint primary key,
    version         integer not null,
    in_force_from_epoch bigint not null
);
comment on table model_changes is 'When each model came into force';
comment on column model_changes.epoch is 'The epoch that decided it';
comment on column model_changes.version is 'The model that comes into force';
comment on column model_changes.in_force_from_epoch is 'First epoch that it judges';

create table model_requests (
    request         bigint primary key generated always as identity,
    version         integer not null,
    requested_at    timestamptz not null default clock_timestamp()
);
comment on table model_requests is 'Models that were requested by hand; a run puts them into force';
comment on column model_requests.request is 'Number of the request';
comment on column model_requests.version is 'The requested model';
comment on column model_requests.requested_at is 'When it was requested';

create table detector_models (
    in_force_from   timestamptz primary key,
    version         integer not null,
    epoch           bigint not null
);
comment on table detector_models is 'The model in force, by event time';
comment on column detector_models.in_force_from is 'It judges readings once the detector has learnt from all minutes before this event time';
comment on column detector_models.version is 'The model; 0: rules alone';
comment on column detector_models.epoch is 'The epoch of the first such reading';

create table detector_promotions (
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    version         integer not null,
    in_force_from   timestamptz not null,
    epoch           bigint not null,
    primary key (kafka_partition, kafka_offset)
);
comment on table detector_promotions is 'Models that were put into force by hand';
comment on column detector_promotions.kafka_partition is 'The partition';
comment on column detector_promotions.kafka_offset is 'First offset that it judges there';
comment on column detector_promotions.version is 'The model';
comment on column detector_promotions.in_force_from is 'It judges until a model that is trained at a later event time than this comes into force';
comment on column detector_promotions.epoch is 'The epoch of that reading';

create table detector_lifts (
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    lifted_to       timestamptz,
    teaches_from    timestamptz,
    epoch           bigint not null,
    primary key (kafka_partition, kafka_offset)
) with (fillfactor = 50);
comment on table detector_lifts is 'Partitions that the detector did not wait for';
comment on column detector_lifts.kafka_partition is 'The partition';
comment on column detector_lifts.kafka_offset is 'First offset to which this applies';
comment on column detector_lifts.lifted_to is 'Least value that its watermark counts as';
comment on column detector_lifts.teaches_from is 'Event time from which it teaches, if it was added while others were read';
comment on column detector_lifts.epoch is 'The epoch that noted it';

create table detector_state (
    kind            text not null,
    key             text not null,
    epoch           bigint not null,
    as_of           timestamptz not null,
    state           bytea not null,
    primary key (kind, key, epoch, as_of)
);
comment on table detector_state is 'The detector''s state of sensors and zones, from which a restart continues';
comment on column detector_state.kind is 'partition, zone or schedule; with the schedule a state is complete';
comment on column detector_state.key is 'The partition or zone';
comment on column detector_state.epoch is 'The epoch that wrote it; it counts once that is committed';
comment on column detector_state.as_of is 'The state includes the minutes before this event time';
comment on column detector_state.state is 'The state in the program''s own format';

create table followers (
    name            text primary key,
    epoch           bigint not null,
    updated_at      timestamptz
);
comment on table followers is 'Programs that follow the committed epochs, and how far each is';
comment on column followers.name is 'The follower';
comment on column followers.epoch is 'It has taken everything up to this epoch; raw rows above it are kept';
comment on column followers.updated_at is 'When it last advanced; null when it never did';

create table notification_routes (
    route           text primary key,
    as_of_epoch     bigint not null,
    began_at        timestamptz not null default clock_timestamp()
);
comment on table notification_routes is 'The position of each route of notifications';
comment on column notification_routes.route is 'The route''s name in citytide.toml';
comment on column notification_routes.as_of_epoch is 'Changes up to this commit have been filed in notifications, milliseconds';
comment on column notification_routes.began_at is 'When the route was first used';

create table notifications (
    notification_id bigint not null generated always as identity,
    route           text not null,
    incident_id     text not null,
    revision        bigint not null,
    repetition      integer not null,
    event           text not null,
    severity        text not null,
    incident        jsonb not null,
    filed_at        timestamptz not null default clock_timestamp(),
    due_at          timestamptz not null,
    state           text not null default 'waiting',
    message_id      text,
    tries           integer not null default 0,
    claimed_at      timestamptz,
    done_at         timestamptz,
    last_error      text,
    primary key (route, incident_id, revision, repetition)
);
comment on table notifications is 'Notifications of incidents, waiting and done; done rows are removed after 30 days';
comment on column notifications.notification_id is 'The order of filing';
comment on column notifications.route is 'The route';
comment on column notifications.incident_id is 'The incident';
comment on column notifications.revision is 'The incident''s revision that it reports';
comment on column notifications.repetition is '0, or the number of the reminder';
comment on column notifications.event is 'opened, escalated, reopened, repeated, cleared, withdrawn or superseded';
comment on column notifications.severity is 'The incident''s severity that it reports';
comment on column notifications.incident is 'The incident as it was when this was filed';
comment on column notifications.filed_at is 'When, by the server''s clock';
comment on column notifications.due_at is 'Not sent before';
comment on column notifications.state is 'waiting, sent or given_up';
comment on column notifications.message_id is 'The message that it is part of; null before the first try';
comment on column notifications.tries is 'How often it was tried';
comment on column notifications.claimed_at is 'When the last try began';
comment on column notifications.done_at is 'When it was sent or given up';
comment on column notifications.last_error is 'Why the last try failed';
create index notifications_waiting on notifications (route, notification_id) where state = 'waiting';
create index notifications_message_id on notifications (message_id);

create table notification_failures (
    failure_id      bigint generated always as identity primary key,
    failed_at       timestamptz not null default clock_timestamp(),
    route           text not null,
    message_id      text not null,
    notifications   integer not null,
    incidents       jsonb not null,
    tries           integer not null,
    reason          text not null
);
create index notification_failures_failed_at on notification_failures (failed_at);
comment on table notification_failures is 'Messages that were given up; removed after 30 days';
comment on column notification_failures.failure_id is 'The order of failures';
comment on column notification_failures.failed_at is 'When it was given up';
comment on column notification_failures.route is 'The route';
comment on column notification_failures.message_id is 'The message, as in notifications';
comment on column notification_failures.notifications is 'How many notifications it has';
comment on column notification_failures.incidents is 'The incidents that it is about, a list';
comment on column notification_failures.tries is 'How often it was tried';
comment on column notification_failures.reason is 'Why the last try failed';

create view sensor_data as
    select epoch, kafka_partition, kafka_offset, sensor_id, zone, recorded_at, temperature, humidity, aqi,
           noise_level, traffic_flow, is_late, is_anomaly, anomaly_score, severity, reasons, model_version,
           confidence, detector
    from sensor_readings
    where epoch <= (select max(epoch) from commits)
      and epoch > (select horizon_epoch from citytide_database);
comment on view sensor_data is 'Committed readings above the retention horizon';
comment on column sensor_data.epoch is 'Ingest epoch of the row, milliseconds';
comment on column sensor_data.kafka_partition is 'Partition; with kafka_offset the identity of a reading';
comment on column sensor_data.kafka_offset is 'Offset in the partition';
comment on column sensor_data.sensor_id is 'The sensor';
comment on column sensor_data.zone is 'The zone';
comment on column sensor_data.recorded_at is 'Event time, with microseconds';
comment on column sensor_data.temperature is 'In °C; null when not sent';
comment on column sensor_data.humidity is 'In %; null when not sent';
comment on column sensor_data.aqi is 'In AQI; null when not sent';
comment on column sensor_data.noise_level is 'In dB; null when not sent';
comment on column sensor_data.traffic_flow is 'In vehicles/min; null when not sent';
comment on column sensor_data.is_late is 'Whether it came too late: then it is in no window';
comment on column sensor_data.is_anomaly is 'Whether it is anomalous';
comment on column sensor_data.anomaly_score is 'How unusual it is, 0 … 1; with rules only 0 or 1';
comment on column sensor_data.severity is 'low, medium or high; null when normal';
comment on column sensor_data.reasons is 'Why it is anomalous, a list of {"metric", "actual", "unit", "text"} with "rule", or with "share" and "member"; "typical" and "spread" where they are known, "flagged_of_8" of the sensor''s last 8 readings; null when normal';
comment on column sensor_data.model_version is 'The model that judged; 0 = rules only';
comment on column sensor_data.confidence is 'Probability that the verdict is right, 0 … 1; null where rules alone judge';
comment on column sensor_data.detector is 'What flagged it: rules, model or both; null when normal';

create view dead_letters as
    select epoch, kafka_partition, kafka_offset, received_at, reason, field, message, payload, payload_bytes,
           sensor_id
    from dead_letter_records
    where epoch <= (select max(epoch) from commits)
      and epoch > (select horizon_epoch from citytide_database);
comment on view dead_letters is 'Committed records that are not readings, above the retention horizon';
comment on column dead_letters.epoch is 'Ingest epoch of the row, milliseconds';
comment on column dead_letters.kafka_partition is 'Partition; with kafka_offset the identity of a record';
comment on column dead_letters.kafka_offset is 'Offset in the partition';
comment on column dead_letters.received_at is 'Kafka''s timestamp of the record';
comment on column dead_letters.reason is 'Why it is not a reading: empty, not_utf8, not_json, not_csv, missing_field, wrong_type, duplicate_field, bad_timestamp, bad_number, no_metric, too_long, clock_not_set, bad_record_timestamp, in_the_future, too_old or too_many_zones';
comment on column dead_letters.field is 'The wrong field; null when the whole record is';
comment on column dead_letters.message is 'The reason as a sentence';
comment on column dead_letters.payload is 'The first 64 KiB of the record';
comment on column dead_letters.payload_bytes is 'Length of the whole record in bytes';
comment on column dead_letters.sensor_id is 'The sensor; null where it could not be read';

create view conservation as
    select kafka_partition, first_offset, next_offset, accepted, late, dead, lost, gaps,
           next_offset - first_offset = accepted + late + dead + lost + gaps as holds
    from ingest_progress;
comment on view conservation is 'What became of every offset of each partition: nothing vanishes';
comment on column conservation.kafka_partition is 'Partition number, as in the readings';
comment on column conservation.first_offset is 'The offset at which reading began';
comment on column conservation.next_offset is 'The next offset to read';
comment on column conservation.accepted is 'Readings in windows';
comment on column conservation.late is 'Late readings, in no window';
comment on column conservation.dead is 'Dead letters: records that are not readings';
comment on column conservation.lost is 'Offsets that Kafka deleted before they were read';
comment on column conservation.gaps is 'Offsets that Kafka never delivers: control records, compaction, aborted transactions';
comment on column conservation.holds is 'Whether next_offset - first_offset is the sum of the others';

create view data_quality_1min as
    select zone, minute, expected, readings, late, dead, nulls_temperature, out_of_range_temperature,
           nulls_humidity, out_of_range_humidity, nulls_aqi, out_of_range_aqi, nulls_noise_level,
           out_of_range_noise_level, nulls_traffic_flow, out_of_range_traffic_flow, epoch
    from (
        select zone, window_start as minute,
           case when zone <> '' then (
        select percentile_disc(0.5) within group (order by before.reading_count) as expected_count
        from quality_counts as before
        where before.zone = quality.zone and before.window_start < quality.window_start
          and before.window_start >= quality.window_start - interval '1 hour' and before.reading_count > 0) end as expected,
           reading_count as readings, late_count as late, dead_letter_count as dead,
           reading_count - count_temperature as nulls_temperature, unusual_temperature as out_of_range_temperature,
           reading_count - count_humidity as nulls_humidity, unusual_humidity as out_of_range_humidity,
           reading_count - count_aqi as nulls_aqi, unusual_aqi as out_of_range_aqi,
           reading_count - count_noise_level as nulls_noise_level, unusual_noise_level as out_of_range_noise_level,
           reading_count - count_traffic_flow as nulls_traffic_flow, unusual_traffic_flow as out_of_range_traffic_flow,
           epoch
        from quality_counts as quality
    ) as shown;
comment on view data_quality_1min is 'Data quality by zone and minute: what was expected, what came, and what it lacks. A minute without any record has no row';
comment on column data_quality_1min.zone is 'The zone; '''' for dead letters';
comment on column data_quality_1min.minute is 'Start of the minute';
comment on column data_quality_1min.expected is 'Accepted readings in the median of its minutes with readings in the hour before; null when there were none';
comment on column data_quality_1min.readings is 'Accepted readings of that minute';
comment on column data_quality_1min.late is 'Late readings of that minute';
comment on column data_quality_1min.dead is 'Dead letters that Kafka stamped in that minute; 0 but for zone ''''';
comment on column data_quality_1min.nulls_temperature is 'Accepted readings without temperature';
comment on column data_quality_1min.out_of_range_temperature is 'Accepted readings with temperature outside its usual range';
comment on column data_quality_1min.nulls_humidity is 'Accepted readings without humidity';
comment on column data_quality_1min.out_of_range_humidity is 'Accepted readings with humidity outside its usual range';
comment on column data_quality_1min.nulls_aqi is 'Accepted readings without aqi';
comment on column data_quality_1min.out_of_range_aqi is 'Accepted readings with aqi outside its usual range';
comment on column data_quality_1min.nulls_noise_level is 'Accepted readings without noise_level';
comment on column data_quality_1min.out_of_range_noise_level is 'Accepted readings with noise_level outside its usual range';
comment on column data_quality_1min.nulls_traffic_flow is 'Accepted readings without traffic_flow';
comment on column data_quality_1min.out_of_range_traffic_flow is 'Accepted readings with traffic_flow outside its usual range';
comment on column data_quality_1min.epoch is 'The commit that last wrote the row, milliseconds';

create view completeness_1min as
    select zone, window_start, reading_count, expected_count,
           reading_count::float8 / expected_count as completeness,
           coalesce(window_start + interval '1 minute' <= w, false) as is_final
    from quality_counts as quality
    cross join lateral (
        select percentile_disc(0.5) within group (order by before.reading_count) as expected_count
        from quality_counts as before
        where before.zone = quality.zone and before.window_start < quality.window_start
          and before.window_start >= quality.window_start - interval '1 hour' and before.reading_count > 0
    ) as hour
    cross join (select max(watermark) as w from commits) as newest
    where quality.zone <> '';
comment on view completeness_1min is 'How many readings each zone brought in a minute, and how many it was expected to bring. A minute without any has no row';
comment on column completeness_1min.zone is 'The zone';
comment on column completeness_1min.window_start is 'Start of the minute';
comment on column completeness_1min.reading_count is 'Accepted readings of that minute';
comment on column completeness_1min.expected_count is 'The median of its minutes with readings in the hour before; null when there were none';
comment on column completeness_1min.completeness is 'The share that came; above 1 when more came than were expected';
comment on column completeness_1min.is_final is 'Whether W has passed the minute''s end';

create view incident_settings as
    select shelve_max
    from (values (interval '86400000000 microseconds')) as settings (shelve_max);
comment on view incident_settings is 'The domain''s settings for incidents';
comment on column incident_settings.shelve_max is 'The longest time for which an incident can be shelved';

create view incidents as
    select incident_id, kind, zone, metric, sensor_id, pattern, condition, superseded_by, severity,
           severity_peak, opened_at, last_seen_at, cleared_at, first_epoch, epoch, revision, readings,
           sensors, occurrences, flaps, peak_value, typical, spread, unit, model_version, text,
           acknowledged_at, acknowledged_by, acknowledged_comment, assignee, shelved_until, shelved_by,
           shelved_reason, is_out_of_service, suppressed_by, needs_attention
    from (
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
                select (array_agg(one order by one.action_id desc) filter (where one.action in ('acknowledge')))[1] as ack,
                    (array_agg(one order by one.action_id desc) filter (where one.action in ('assign')))[1] as assigned,
                    (array_agg(one order by one.action_id desc) filter (where one.action in ('shelve', 'unshelve')))[1] as shelf,
                    (array_agg(one order by one.action_id desc) filter (where one.action in ('out_of_service', 'in_service')))[1] as service
                from incident_actions as one where one.incident_id = any (array(select id from line))
            ) as acted
            cross join lateral (select array_position(array['low', 'medium', 'high'], (ack).severity_peak) >= array_position(array['low', 'medium', 'high'], s.severity_peak) as seen,
                (shelf).action = 'shelve' and (shelf).until_at > now() as rests) as judged
        ) as done
    ) as incidents;
comment on view incidents is 'What is wrong, since when, whether it is over, and what somebody has done about it';
comment on column incidents.incident_id is 'Identity: a hash of kind, zone, metric, sensor and its first ten seconds';
comment on column incidents.kind is 'rule, model, stuck or quality';
comment on column incidents.zone is 'The zone';
comment on column incidents.metric is 'The metric, of a sensor''s incident the one that stands out most';
comment on column incidents.sensor_id is 'The sensor; null where a zone''s metric is the subject';
comment on column incidents.pattern is 'The pattern of the domain; null where there is none';
comment on column incidents.condition is 'What the data say: pending, open, cleared, withdrawn or superseded';
comment on column incidents.superseded_by is 'The incident that late readings joined it with';
comment on column incidents.severity is 'low, medium or high: the worst of the last step_down_for';
comment on column incidents.severity_peak is 'The worst ever';
comment on column incidents.opened_at is 'Event time of its first anomaly';
comment on column incidents.last_seen_at is 'Event time of its last one';
comment on column incidents.cleared_at is 'When it was over: clear_for behind that; null before';
comment on column incidents.first_epoch is 'The commit that first knew of it, milliseconds';
comment on column incidents.epoch is 'The commit that last wrote it, milliseconds';
comment on column incidents.revision is 'How often it has changed';
comment on column incidents.readings is 'Anomalous readings';
comment on column incidents.sensors is 'Distinct sensors that they come from';
comment on column incidents.occurrences is 'How often it was open';
comment on column incidents.flaps is 'How often it opened again';
comment on column incidents.peak_value is 'The value that stands out most; null where it is missing';
comment on column incidents.typical is 'What was typical there then; null where that is not known';
comment on column incidents.spread is 'One standard deviation of that';
comment on column incidents.unit is 'The metric''s unit';
comment on column incidents.model_version is 'The model that judged that value; 0 = rules only';
comment on column incidents.text is 'Where, since when, what and why: a sentence';
comment on column incidents.acknowledged_at is 'When somebody saw it; null again when its severity has risen since';
comment on column incidents.acknowledged_by is 'Who';
comment on column incidents.acknowledged_comment is 'What they said';
comment on column incidents.assignee is 'Who takes care of it';
comment on column incidents.shelved_until is 'Until when it calls for no attention; null when it is not shelved';
comment on column incidents.shelved_by is 'Who shelved it';
comment on column incidents.shelved_reason is 'Why';
comment on column incidents.is_out_of_service is 'Whether somebody said that what it is about is out of service';
comment on column incidents.suppressed_by is 'The open incident of the whole zone that explains a sensor''s';
comment on column incidents.needs_attention is 'Open, and not acknowledged, shelved, out of service or explained by another one';

create view incident_changes as
    select incident_id, revision, epoch, event_at, changed_at, from_condition, to_condition, cause, actor,
           comment, evidence
    from (
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
    ) as changes;
comment on view incident_changes is 'Every change of every incident: what the data said, and what people did';
comment on column incident_changes.incident_id is 'The incident';
comment on column incident_changes.revision is 'Number of the change of condition or severity; of an action, the one before it';
comment on column incident_changes.epoch is 'The commit that brought it; of an action, the newest commit then; milliseconds';
comment on column incident_changes.event_at is 'Now in event time';
comment on column incident_changes.changed_at is 'When, by the server''s clock';
comment on column incident_changes.from_condition is 'What it was; null when it was not there';
comment on column incident_changes.to_condition is 'What it is; null when it is gone, since it never opened';
comment on column incident_changes.cause is 'condition, escalation, late_data, merge, operator or shelf_expired';
comment on column incident_changes.actor is 'Who; null for what the data say';
comment on column incident_changes.comment is 'What they said';
comment on column incident_changes.evidence is 'Severity, readings, sensors and reason then; of an action, what was done';

create view alarm_load as
    select ten_minutes, opened, is_flood, top_ten_share, chattering, stale, low_share, medium_share,
           high_share, minutes_to_acknowledge
    from (
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
    ) as load;
comment on view alarm_load is 'Alarm load by ten minutes: the measures of ISA-18.2 and EEMUA 191';
comment on column alarm_load.ten_minutes is 'Start of ten minutes of event time';
comment on column alarm_load.opened is 'Incidents that opened, again too';
comment on column alarm_load.is_flood is 'From more than 10 that opened in ten minutes until fewer than 5 did';
comment on column alarm_load.top_ten_share is 'Share of the ten subjects that opened most often; null when none did';
comment on column alarm_load.chattering is 'Of the incidents that opened, those that opened again three times or more';
comment on column alarm_load.stale is 'Incidents open for more than 24 hours at the end';
comment on column alarm_load.low_share is 'Share of severity low among those that opened';
comment on column alarm_load.medium_share is 'The same for medium';
comment on column alarm_load.high_share is 'The same for high';
comment on column alarm_load.minutes_to_acknowledge is 'Median from opening to acknowledgement; null when none was';

create view sensor_status as
    select sensor_id, zone, last_recorded_at, temperature, humidity, aqi, noise_level, traffic_flow,
           readings_1h, expected_interval, silent_since, stuck_since, clock_offset, open_incidents, epoch
    from (
        select sensor_id, zone, last_recorded_at, temperature, humidity, aqi, noise_level, traffic_flow, 
           readings + case when minutes_before = 0 then 0 else round(readings_before::numeric
               * length(replace(substr("minutes before", 2 + "last minute"), '0', ''))
               / length(replace("minutes before", '0', '')))::bigint end as readings_1h,
           expected_interval,
           case when last_recorded_at + 3 * expected_interval < "passed w" then last_recorded_at end as silent_since,
           stuck_since, clock_offset_ms * interval '1 millisecond' as clock_offset,
           coalesce(open_incidents, 0) as open_incidents, as_of as epoch
        from sensor_states
        cross join lateral (select
            reverse(minutes_before::bit(60)::text) as "minutes before",
            reverse(minutes_before::bit(60)::text) || reverse(minutes::bit(60)::text) as "all minutes",
            floor(extract(epoch from last_recorded_at - hour_start) / 60)::integer as "last minute",
            readings + readings_before as "all readings"
        ) as hours
        cross join lateral (select length(replace("all minutes", '0', '')) as "active minutes") as active
        cross join lateral (select case
            when "all readings" >= 2 * "active minutes"
                then "active minutes" * interval '1 minute' / "all readings"
            when "all readings" >= 2
                then (121 - position('1' in reverse("all minutes")) - position('1' in "all minutes"))
                    * interval '1 minute' / ("all readings" - 1)
            end as expected_interval
        ) as expected
        left join (
            select sensor_id as "of sensor", count(*) as open_incidents,
               min(opened_at) filter (where kind = 'stuck') as stuck_since
            from incident_states where condition = 'open' and sensor_id <> '' group by sensor_id
        ) as incidents on "of sensor" = sensor_id
        left join (select watermark as "passed w" from commits
            where epoch <= (select max(epoch) from commits) - 1000 order by epoch desc limit 1) as passed on true
    ) as shown;
comment on view sensor_status is 'What is known of each sensor: its last reading, how often it sends, and whether something is wrong with it';
comment on column sensor_status.sensor_id is 'The sensor';
comment on column sensor_status.zone is 'The zone of its last accepted reading';
comment on column sensor_status.last_recorded_at is 'The latest event time of its accepted readings';
comment on column sensor_status.temperature is 'Its newest accepted temperature in °C';
comment on column sensor_status.humidity is 'Its newest accepted humidity in %';
comment on column sensor_status.aqi is 'Its newest accepted aqi in AQI';
comment on column sensor_status.noise_level is 'Its newest accepted noise_level in dB';
comment on column sensor_status.traffic_flow is 'Its newest accepted traffic_flow in vehicles/min';
comment on column sensor_status.readings_1h is 'Its accepted readings in the hour that its last one ends: those of its hour, and of the hour before as many as fall to the minutes that belong to it';
comment on column sensor_status.expected_interval is 'How far apart its readings are, learnt from its last hour and the one before; null when there are too few';
comment on column sensor_status.silent_since is 'Its last reading, when W, as of a second before the newest commit, is three intervals past it; else null';
comment on column sensor_status.stuck_since is 'Since when an open incident says that it is stuck';
comment on column sensor_status.clock_offset is 'Event time of its last reading less Kafka''s timestamp';
comment on column sensor_status.open_incidents is 'Open incidents of this sensor';
comment on column sensor_status.epoch is 'It counts the readings up to this epoch: at most a second old';

create function latest_readings(number integer) returns table (
    epoch bigint, kafka_partition integer, kafka_offset bigint, sensor_id text,
    zone text, recorded_at timestamptz, temperature double precision, humidity double precision,
    aqi double precision, noise_level double precision, traffic_flow double precision, is_late boolean,
    is_anomaly boolean, anomaly_score real, severity text, reasons jsonb,
    model_version integer, confidence real, detector text
) language plpgsql stable set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    newest record;
    above bigint;
    held bigint := 0;
begin
    for newest in select previous_epoch, readings from commits order by epoch desc loop
        above := newest.previous_epoch;
        held := held + newest.readings;
        exit when held >= number;
    end loop;
    return query execute format('select * from sensor_data where epoch > %s '
        'order by recorded_at desc, kafka_partition, kafka_offset desc limit %s', coalesce(above, 0), number);
end $$;
comment on function latest_readings(integer) is 'The readings of the newest commits that have so many together, newest event time first';
