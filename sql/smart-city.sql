create table citytide_database (
    only_row        boolean primary key default true check (only_row),
    schema_version  integer not null,
    domain          text not null,
    topic           text not null,
    windows         jsonb not null,
    pane_us         bigint not null,
    horizon_epoch   bigint not null default 0
);

create table fence (
    only_row        boolean primary key default true check (only_row),
    run_id          bigint not null
);
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

create table run_members (
    run_id          bigint not null,
    process         integer not null,
    host            text not null,
    joined_at       timestamptz not null default clock_timestamp(),
    primary key (run_id, process)
);

create table commits (
    epoch           bigint primary key,
    previous_epoch  bigint not null unique,
    run_id          bigint not null,
    committed_at    timestamptz not null default clock_timestamp(),
    watermark       timestamptz,
    readings        bigint not null
);

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
    is_idle         boolean not null
) with (fillfactor = 50);

create table partition_zones (
    kafka_partition integer not null,
    zone            text not null,
    primary key (kafka_partition, zone)
);

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

create table dead_letter_records (
    epoch           bigint not null,
    kafka_partition integer not null,
    kafka_offset    bigint not null,
    received_at     timestamptz not null,
    reason          text not null,
    field           text,
    message         text not null,
    payload         bytea not null,
    payload_bytes   integer not null
) partition by range (epoch);

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
    -- … the four columns of every further metric
    primary key (zone, pane_start)
) with (fillfactor = 50);
create index panes_pane_start on panes (pane_start);

create table metrics_1min (
    window_start    timestamptz not null,
    window_end      timestamptz not null,
    zone            text not null,
    reading_count   bigint not null,
    anomaly_count   bigint not null,
    avg_temperature double precision,
    min_temperature double precision,
    max_temperature double precision,
    -- … the three columns of every further metric
    is_final        boolean not null,
    revision        integer not null,
    updated_at      timestamptz not null,
    primary key (zone, window_start)
) with (fillfactor = 50);
create index metrics_1min_window_start on metrics_1min (window_start);
-- … a table for every further window

create table hot_sensors (
    zone            text not null,
    rank            integer not null,
    sensor_id       text not null,
    anomaly_count   bigint not null,
    last_anomaly_at timestamptz not null,
    primary key (zone, rank)
) with (fillfactor = 50);

create table zone_status (
    zone            text primary key,
    window_start    timestamptz,
    reading_count   bigint,
    anomaly_count   bigint,
    avg_temperature double precision,
    -- … the average of every further metric
    anomalies_5min  bigint not null,
    last_recorded_at timestamptz not null
) with (fillfactor = 50);

create view sensor_data as
    select * from sensor_readings   -- (columns listed by name)
    where epoch <= (select max(epoch) from commits)
      and epoch > (select horizon_epoch from citytide_database);
create view dead_letters as
    select * from dead_letter_records
    where epoch <= (select max(epoch) from commits)
      and epoch > (select horizon_epoch from citytide_database);
create view conservation as
    select kafka_partition, first_offset, next_offset, accepted, late, dead, lost, gaps,
           next_offset - first_offset = accepted + late + dead + lost + gaps as holds
    from ingest_progress;
