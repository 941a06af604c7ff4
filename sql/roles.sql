-- Three roles. citytide_reader, for people and dashboards, reads what is meant to be read. citytide_operator acts on
-- incidents by functions, and can do nothing else: who needs both gets both. citytide_notifier is for citytide notify: it
-- reads incidents and keeps the outbox.
-- Run it once as the owner of the database, after the first start of citytide; again does no harm:
--   psql "$DATABASE_URL" -f sql/roles.sql
-- Then: grant citytide_reader, citytide_operator to somebody;

do $$
declare
    role text;
begin
    foreach role in array array['citytide_reader', 'citytide_operator', 'citytide_notifier'] loop
        begin
            execute format('create role %I nologin', role);
        exception
            when duplicate_object or unique_violation then null;
        end;
    end loop;
end $$;

-- The views of raw data, the ledger, and what lives beside it. Not the raw tables themselves: they also hold rows whose
-- epoch is not committed yet.
grant select on sensor_data, dead_letters, conservation to citytide_reader;
grant select on citytide_database, commits, ingest_progress, runs, run_members to citytide_reader;
grant select on panes, models, model_disagreements, usual_ranges to citytide_reader;
grant select on incidents, incident_changes, incident_actions, incident_settings, alarm_load to citytide_reader;
grant select on data_quality_1min, completeness_1min, sensor_status to citytide_reader;
grant select on notifications, notification_routes, notification_failures to citytide_reader;

grant select on citytide_database, commits, incidents, incident_states, incident_transitions to citytide_notifier;
grant select, insert, update, delete on notifications, notification_routes to citytide_notifier;
grant select, insert, delete on notification_failures to citytide_notifier;

-- Every other table that says by epoch what happened when: windows, live views, changes,
-- followers and the detector's decisions.
do $$
declare
    name text;
begin
    execute format('grant usage on schema %I to citytide_reader, citytide_operator, citytide_notifier', current_schema());
    for name in select oid::regprocedure from pg_proc where pronamespace = current_schema()::regnamespace
                and proname like 'citytide\_incident\_%' and proname <> 'citytide_incident_act' loop
        execute format('grant execute on function %s to citytide_operator', name);
    end loop;
    for name in select relname from pg_class join pg_attribute on attrelid = pg_class.oid and attname = 'epoch'
                where relnamespace = current_schema()::regnamespace and relkind = 'r' and not relispartition
                  and relname <> 'detector_state' loop
        execute format('grant select on %I to citytide_reader', name);
    end loop;
end $$;
