// One incident: what it is, the metric around it, what happened, the readings behind it, and what to do.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Anomaly, Domain, Incident, Typical } from "../api/types";
import { path } from "../api/get";
import { WindowChart } from "../charts/windows";
import { What, state } from "../now/incidents";
import { count, hm, hms, hue, KINDS, label, length, metricOf, ms, num, typical, value, when } from "../parts/format";
import { SeverityTag } from "../parts/marks";
import { Empty, Panel, Scroll } from "../parts/panel";
import { useAsk } from "../state/ask";
import type { Live } from "../state/live";
import { href } from "../state/route";
import { Actions } from "./actions";

interface Change {
  revision: number;
  epoch: number;
  event_at: string | null;
  changed_at: string | null;
  from_condition: string | null;
  to_condition: string | null;
  cause: string;
  actor: string | null;
  comment: string | null;
  evidence: { action?: string; severity?: string; assignee?: string; until?: string; readings?: number };
}

interface Shown {
  as_of: number;
  incident: Incident;
  occurrences: { first_at: string; last_at: string; readings: number; sensors: number; reason: string }[];
  changes: Change[];
  chart: {
    window: string;
    size_ms: number;
    step_ms: number;
    start_ms: number;
    end_ms: number;
    typical: Typical;
    rows: {
      window_start: string;
      avg: number | null;
      min: number | null;
      max: number | null;
      is_final: boolean;
      revision: number;
    }[];
  } | null;
  evidence: (Anomaly & { confidence: number | null; model_version: number })[];
}

export function OneIncident({ domain, live, id }: { domain: Domain; live: Live; id: string }) {
  const [acted, setActed] = useState(0);
  const tick = `${Math.floor(live.as_of / 5000)}.${acted}`;
  const { answer, problem } = useAsk<Shown>(path(`incidents/${encodeURIComponent(id)}`), tick);
  const now_ms = live.sections.status?.now_ms ?? Date.now();
  if (problem && !answer) return <Empty>{problem.message}</Empty>;
  if (!answer) return <Empty>Reading the incident</Empty>;
  const { incident, chart, changes, occurrences, evidence } = answer;
  const metric = metricOf(domain, incident.metric);
  const done = state(incident);
  const end = incident.cleared_at ? ms(incident.cleared_at) : undefined;
  return (
    <>
      <p class="crumb">
        <a href={href("/incidents")}>Incidents</a> › <bdi>{incident.zone}</bdi>, {label(incident.metric)}
      </p>
      <div class="title">
        <h2 class="big">
          <SeverityTag of={incident.condition === "open" ? incident.severity : incident.severity_peak} />{" "}
          <What domain={domain} incident={incident} />
        </h2>
        <span class="sub">
          {incident.condition} {incident.condition === "open" ? "since" : "from"} {when(ms(incident.opened_at), now_ms)} ·{" "}
          {length((end ?? now_ms) - ms(incident.opened_at))} · {count(incident.readings, "reading")} from{" "}
          {count(incident.sensors, "sensor")}
          {done ? ` · ${done}` : ""}
        </span>
      </div>
      <div class="grid">
        {chart && metric && (
          <Panel
            title={`${label(incident.metric)} in ${incident.zone}`}
            sub={`${metric.unit}, windows of ${chart.window}: least to greatest, and average${chart.typical ? `; typical at this hour ${typical(metric, chart.typical)}, band: two deviations` : ""}; hatched: not final`}
            wide="c8"
          >
            <WindowChart
              metric={metric}
              hue={hue(domain.metrics.indexOf(metric))}
              rows={chart.rows.map((row) => ({ ...row, at_ms: ms(row.window_start) }))}
              from_ms={chart.start_ms}
              to_ms={chart.end_ms}
              step_ms={chart.step_ms}
              size_ms={chart.size_ms}
              typical={chart.typical}
              marked={{ at_ms: ms(incident.opened_at), until_ms: end, words: `first anomaly ${hm(ms(incident.opened_at))}` }}
              label={`${label(incident.metric)} in ${incident.zone}`}
            />
          </Panel>
        )}
        <Panel title="What to do" sub="what you do is kept with your name" wide="c4">
          <Actions domain={domain} incident={incident} done={() => setActed((n) => n + 1)} />
        </Panel>
        <Panel title="Course" sub="each line is one change; event time" wide="c4">
          <ol class="course">
            {changes.map((change) => (
              <li>
                <span class="fnt nw">{change.event_at ? hms(ms(change.event_at)) : ""}</span>
                <span>
                  {words(change)}
                  {change.actor && <span class="mut"> by {change.actor}</span>}
                  {change.comment && <bdi class="said">{change.comment}</bdi>}
                </span>
              </li>
            ))}
          </ol>
        </Panel>
        <Panel title="Facts" sub="as the view incidents has them" wide="c4">
          <dl class="facts">
            <Fact name="Kind">{KINDS[incident.kind] ?? incident.kind}</Fact>
            <Fact name="Zone">
              <bdi>{incident.zone}</bdi>
            </Fact>
            {incident.sensor_id && (
              <Fact name="Sensor">
                <a href={href(`/sensors/${encodeURIComponent(incident.sensor_id)}`)}>
                  <bdi>{incident.sensor_id}</bdi>
                </a>
              </Fact>
            )}
            <Fact name="Peak">{metric ? value(metric, incident.peak_value) : num(incident.peak_value, 1)}</Fact>
            <Fact name="Severity, worst">{incident.severity_peak}</Fact>
            <Fact name="Last seen">{when(ms(incident.last_seen_at), now_ms)}</Fact>
            {end !== undefined && <Fact name="Cleared">{when(end, now_ms)}</Fact>}
            <Fact name="Opened again">{incident.flaps === 0 ? "never" : `${num(incident.flaps)} times`}</Fact>
            <Fact name="Model">{incident.model_version === 0 ? "rules only" : `model ${incident.model_version}`}</Fact>
            {incident.suppressed_by && (
              <Fact name="Explained by">
                <a href={href(`/incidents/${encodeURIComponent(incident.suppressed_by)}`)}>the zone's incident</a>
              </Fact>
            )}
            <Fact name="Epoch, revision">
              <span class="mono">
                {incident.epoch}, {incident.revision}
              </span>
            </Fact>
          </dl>
        </Panel>
        <Panel title="Spans" sub="when it was open" wide="c4">
          <ol class="course">
            {occurrences.map((one) => (
              <li>
                <span class="fnt nw">
                  {hms(ms(one.first_at))} to {hms(ms(one.last_at))}
                </span>
                <span>
                  {count(one.readings, "reading")}, {count(one.sensors, "sensor")}
                </span>
              </li>
            ))}
          </ol>
        </Panel>
        <Panel title="Readings" sub={`the last ${evidence.length} anomalous ones about ${label(incident.metric)}`}>
          {evidence.length === 0 ? (
            <Empty>No reading of it is kept any more.</Empty>
          ) : (
            <Scroll label="Readings">
              <table>
                <thead>
                  <tr>
                    <th>Recorded</th>
                    <th>Severity</th>
                    <th>Sensor</th>
                    <th>Why</th>
                    <th class="n">Score</th>
                    <th class="n">Partition, offset</th>
                  </tr>
                </thead>
                <tbody>
                  {evidence.map((one) => (
                    <tr>
                      <td>{hms(ms(one.recorded_at))}</td>
                      <td>
                        <SeverityTag of={one.severity} />
                      </td>
                      <td>
                        <a class="link" href={href(`/sensors/${encodeURIComponent(one.sensor_id)}`)}>
                          <bdi>{one.sensor_id}</bdi>
                        </a>
                      </td>
                      <td>
                        <bdi>{one.reasons.find((reason) => reason.metric === incident.metric)?.text ?? ""}</bdi>
                      </td>
                      <td class="n">{num(one.anomaly_score, 2)}</td>
                      <td class="n mono">
                        {one.kafka_partition}, {one.kafka_offset}
                      </td>
                    </tr>
                  ))}
                </tbody>
              </table>
            </Scroll>
          )}
        </Panel>
      </div>
    </>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

const ACTIONS: Record<string, string> = {
  acknowledge: "acknowledged",
  assign: "assigned",
  comment: "said",
  shelve: "shelved",
  unshelve: "no longer shelved",
  out_of_service: "out of service",
  in_service: "back in service",
};

/** What a change was, in words. */
function words(change: Change): string {
  const { evidence } = change;
  if (change.cause === "operator") {
    const what = ACTIONS[evidence.action ?? ""] ?? evidence.action ?? "changed";
    if (evidence.action === "assign") return evidence.assignee ? `assigned to ${evidence.assignee}` : "assigned to nobody";
    return evidence.until ? `${what} until ${hm(ms(evidence.until))}` : what;
  }
  if (change.cause === "shelf_expired") return "shelving ended";
  const severity = evidence.severity ? `, ${evidence.severity}` : "";
  if (change.from_condition === change.to_condition) return `severity${severity.replace(",", "")}`;
  const why = change.cause === "late_data" ? " by late readings" : change.cause === "merge" ? " by joining another one" : "";
  return `${change.to_condition ?? "gone"}${severity}${why}`;
}
