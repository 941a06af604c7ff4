// Open incidents, worst first: what, since when, in how many readings.

import type { Domain, Incident, Incidents } from "../api/types";
import { count, hm, label, length, metricOf, ms, num, value, when } from "../parts/format";
import { SeverityTag } from "../parts/marks";
import { Empty, Panel } from "../parts/panel";
import { Mini } from "../parts/spark";
import { href } from "../state/route";

/** Incidents that Now lists; the page of incidents has them all. */
const SHOWN = 6;

interface Properties {
  domain: Domain;
  incidents: Incidents | undefined;
  zone: string | null;
  metric: string | null;
  now_ms: number;
}

/** What is wrong, in a line: the value that stands out most, where, and what was typical. */
export function What({ domain, incident }: { domain: Domain; incident: Incident }) {
  const metric = metricOf(domain, incident.metric);
  const name = label(incident.metric);
  const value_ = metric ? value(metric, incident.peak_value) : num(incident.peak_value, 1);
  const shown = value_.startsWith(name) ? value_ : `${name} ${value_}`;
  const what =
    incident.kind === "stuck"
      ? `${name} stuck at ${value_.replace(`${name}\u00a0`, "")}`
      : incident.kind === "quality"
        ? `${name} missing`
        : shown;
  const where = incident.sensor_id === null ? incident.zone : `sensor ${incident.sensor_id}, ${incident.zone}`;
  const usual =
    incident.typical !== null && incident.spread !== null
      ? `, typical then ${num(incident.typical, metric?.decimals ?? 1)}\u00a0±\u00a0${num(incident.spread, metric?.decimals ?? 1)}`
      : "";
  const why: Record<string, string> = {
    rule: metric ? `, rule: ${rule(metric.below, metric.above)}` : ", a rule",
    stuck: ", the value does not move",
  };
  return (
    <>
      <bdi>{`${what} ${incident.sensor_id === null ? "in" : "at"} ${where}`}</bdi>
      <span>
        {why[incident.kind] ?? ""}
        {incident.kind === "quality" ? "" : usual}
      </span>
    </>
  );
}

function rule(below: number | null, above: number | null): string {
  const parts = [below === null ? "" : `below ${num(below)}`, above === null ? "" : `above ${num(above)}`];
  return parts.filter(Boolean).join(" or ");
}

export function matches(incident: Incident, zone: string | null, metric: string | null): boolean {
  return (!zone || incident.zone === zone) && (!metric || incident.metric === metric);
}

export function OpenIncidents({ domain, incidents, zone, metric, now_ms }: Properties) {
  const rows = (incidents?.rows ?? []).filter((incident) => matches(incident, zone, metric));
  const shown = rows.slice(0, SHOWN);
  const filtered = zone || metric ? ", filtered" : "";
  const sub = rows.length === 0 ? `none open${filtered}` : `${count(rows.length, "open", "open")}, worst first${filtered}`;
  const more = rows.length - shown.length;
  return (
    <Panel
      title="Open incidents"
      sub={incidents ? sub : "\u00a0"}
      wide="c7 order1"
      tools={
        <a class="txt" href={href("/incidents")}>
          All incidents
        </a>
      }
      foot={
        incidents && (
          <>
            <span>Cleared in the last hour: {num(incidents.cleared)}</span>
            <span>Withdrawn after late readings: {num(incidents.withdrawn)}</span>
            {more > 0 && <a href={href("/incidents")}>{more} more</a>}
          </>
        )
      }
    >
      {incidents && rows.length === 0 && (
        <Empty>{zone || metric ? "No open incident here." : "Nothing is wrong: no incident is open."}</Empty>
      )}
      <div class="list">
        {shown.map((incident) => (
          <IncidentRow domain={domain} incident={incident} now_ms={now_ms} key={incident.incident_id} />
        ))}
      </div>
    </Panel>
  );
}

/** What somebody did about it, in a word. */
export function state(incident: Incident): string | undefined {
  if (incident.is_out_of_service) return "out of service";
  if (incident.shelved_until) return `shelved until ${hm(ms(incident.shelved_until))}`;
  if (incident.acknowledged_at) return `seen by ${incident.acknowledged_by ?? "somebody"}`;
  return incident.assignee ? `with ${incident.assignee}` : undefined;
}

export function IncidentRow({ domain, incident, now_ms }: { domain: Domain; incident: Incident; now_ms: number }) {
  const until = incident.cleared_at ? ms(incident.cleared_at) : now_ms;
  return (
    <a class="inc" href={href(`/incidents/${encodeURIComponent(incident.incident_id)}`)}>
      <span class="sevc">
        <SeverityTag of={incident.condition === "open" ? incident.severity : incident.severity_peak} />
      </span>
      <span class="s">
        <What domain={domain} incident={incident} />
      </span>
      <span class="g2">
        {incident.chart ? <Mini chart={incident.chart} severity={incident.severity} /> : incident.condition}
      </span>
      <span class="t">
        {when(ms(incident.opened_at), now_ms)}
        <small>{length(until - ms(incident.opened_at))}</small>
      </span>
      <span class="r">
        {count(incident.readings, "reading")}
        <small>{state(incident) ?? count(incident.sensors, "sensor")}</small>
      </span>
    </a>
  );
}
