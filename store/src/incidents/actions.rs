//! The log of users' actions on incidents, and the SQL functions that write it.

use crate::schema::{Table, column, table};

/// The table `incident_actions` with its functions.
pub(super) fn actions() -> Table {
    let columns = vec![
        column("action_id", "bigint generated always as identity primary key", "The order of actions"),
        column("incident_id", "text not null", "The incident"),
        column(
            "action",
            "text not null",
            "acknowledge, assign, comment, shelve, unshelve, out_of_service or in_service",
        ),
        column("actor", "text not null", "Who"),
        column("acted_at", "timestamptz not null default clock_timestamp()", "When, by the server's clock"),
        column("comment", "text", "Why, or what was said"),
        column("assignee", "text", "Whom it was assigned to; null unassigns"),
        column("until_at", "timestamptz", "Until when it is shelved, by the server's clock"),
        column("severity_peak", "text not null", "The worst severity that the incident had by then"),
        column("condition", "text not null", "The incident's condition then"),
        column("revision", "bigint not null", "The incident's revision then"),
        column("event_at", "timestamptz", "W then"),
        column("as_of_epoch", "bigint not null", "The newest commit then"),
    ];
    Table {
        index: Some("incident_id"),
        came_later: true,
        followed_by: functions(),
        ..table(
            "incident_actions",
            "What people did with incidents; the functions citytide_incident_… write it",
            columns,
        )
    }
}

/// Each function: name, parameters, arguments for `citytide_incident_act`, comment.
const FUNCTIONS: [(&str, &str, &str, &str); 6] = [
    (
        "acknowledge",
        "comment text default null",
        "'acknowledge', actor, comment, null, null",
        "Says that somebody has seen the incident. A rise of its severity calls for attention again",
    ),
    (
        "assign",
        "assignee text, comment text default null",
        "'assign', actor, comment, assignee, null",
        "Says who takes care of the incident; null takes it back",
    ),
    ("comment", "comment text", "'comment', actor, comment, null, null", "Adds a comment to the incident"),
    (
        "shelve",
        "duration interval, comment text",
        "'shelve', actor, comment, null, clock_timestamp() + duration",
        "Keeps the incident from calling for attention for a time, at most shelve_max of the domain",
    ),
    (
        "unshelve",
        "comment text default null",
        "'unshelve', actor, comment, null, null",
        "Ends shelving before its time",
    ),
    (
        "service",
        "is_out boolean, comment text default null",
        "case when is_out then 'out_of_service' else 'in_service' end, actor, comment, null, null",
        "Says that what the incident is about is out of service, or back",
    ),
];

fn functions() -> String {
    let mut script = String::from(
        "create function citytide_incident_act(incident text, action text, actor text, comment text, assignee text, \
         until_at timestamptz)
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
",
    );
    for (name, parameters, call, comment) in FUNCTIONS {
        // Not current_user, which is the function's owner here. A program names the user for whom it acts.
        script += &format!(
            "create function citytide_incident_{name}(incident text, {parameters}, actor text default session_user)
returns void language sql security definer set search_path from current as $$
    select citytide_incident_act(incident, {call});
$$;
comment on function citytide_incident_{name} is '{comment}';
revoke execute on function citytide_incident_{name} from public;
"
        );
    }
    script
}
