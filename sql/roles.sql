-- A role for people and dashboards: it reads what is meant to be read, and nothing else.
-- Run it once as the owner of the database, after the first start of citytide; again does no harm:
--   psql "$DATABASE_URL" -f sql/roles.sql
-- Then: grant citytide_reader to somebody;

do $$
begin
    create role citytide_reader nologin;
exception
    when duplicate_object or unique_violation then null;
end $$;

-- The views of raw data, the ledger, and what lives beside it. Not the raw tables themselves: they also hold rows whose
-- epoch is not committed yet.
grant select on sensor_data, dead_letters, conservation to citytide_reader;
grant select on citytide_database, commits, ingest_progress, runs, run_members to citytide_reader;
grant select on panes, hot_sensors, zone_status to citytide_reader;
grant select on followers to citytide_reader;
grant select on models, model_disagreements, model_changes, detector_minutes to citytide_reader;

-- Every window table of the domain.
do $$
declare
    name text;
begin
    execute format('grant usage on schema %I to citytide_reader', current_schema());
    for name in select window_name ->> 'name' from citytide_database, jsonb_array_elements(windows) as window_name loop
        execute format('grant select on %I to citytide_reader', 'metrics_' || name);
    end loop;
end $$;
