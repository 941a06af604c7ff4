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
grant select on panes, models, model_disagreements to citytide_reader;

-- Every other table that says by epoch what happened when: windows, live views, changes,
-- followers and the detector's decisions.
do $$
declare
    name text;
begin
    execute format('grant usage on schema %I to citytide_reader', current_schema());
    for name in select relname from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'epoch'
                where relnamespace = current_schema()::regnamespace and relkind = 'r' and not relispartition
                  and relname <> 'detector_state' loop
        execute format('grant select on %I to citytide_reader', name);
    end loop;
end $$;
