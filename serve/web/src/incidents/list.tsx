// Incidents: all of the last days, open ones first to be chosen; and how much they ask of people.

import type { Domain, Incident } from "../api/types";
import { path } from "../api/get";
import { IncidentRow } from "../now/incidents";
import { Choices } from "../parts/choices";
import { count, ms, num } from "../parts/format";
import { Empty, Panel } from "../parts/panel";
import { useAsk } from "../state/ask";
import type { Live } from "../state/live";
import type { Route } from "../state/route";
import { AlarmLoad, type Load } from "./load";

const SHOWN = 100;
const CONDITIONS: [string, string][] = [
  ["", "Open"],
  ["cleared", "Cleared"],
  ["withdrawn", "Withdrawn"],
  ["all", "All"],
];
const SEVERITY: [string, string][] = [
  ["", "Any severity"],
  ["high", "High"],
  ["medium", "Medium"],
  ["low", "Low"],
];
const KINDS: [string, string][] = [
  ["", "Any kind"],
  ["rule", "Rule"],
  ["model", "Model"],
  ["stuck", "Stuck"],
  ["quality", "Missing"],
];
const DAY_MS = 86_400_000;

interface Answer<T> {
  rows: T[];
  next: string | null;
}

export function IncidentList({ domain, live, route }: { domain: Domain; live: Live; route: Route }) {
  const chosen = (name: string) => route.query.get(name) ?? "";
  const now_ms = live.sections.status?.now_ms ?? Date.now();
  const condition = chosen("condition");
  const tick = Math.floor(live.as_of / 5000);
  const asked = useAsk<Answer<Incident>>(
    path("incidents", {
      limit: SHOWN,
      condition: condition === "all" ? undefined : condition || "open",
      severity: chosen("severity") || undefined,
      kind: chosen("kind") || undefined,
      zone: chosen("zone") || undefined,
      metric: chosen("metric") || undefined,
    }),
    tick,
  );
  const load = useAsk<Answer<Load>>(path("alarm-load"), Math.floor(live.as_of / 60_000));
  const rank = { high: 0, medium: 1, low: 2 };
  // Open ones as on Now, the worst first; others newest first, as they come.
  const rows = asked.answer?.rows.slice() ?? [];
  if (!condition) rows.sort((a, b) => rank[a.severity] - rank[b.severity] || ms(a.opened_at) - ms(b.opened_at));
  const order = condition ? "newest first" : "worst first";
  return (
    <div class="grid">
      <Panel
        title="Incidents"
        sub={
          asked.answer
            ? `${count(rows.length, "incident")}${asked.answer.next ? ", the newest of more" : ""}, ${order}, of the last 7 days`
            : "\u00a0"
        }
        wide="c8"
        tools={
          <a class="txt" href={path("incidents", { format: "csv", limit: 10_000 })} download>
            CSV
          </a>
        }
      >
        <div class="choices">
          <Choices label="Condition" name="condition" options={CONDITIONS} chosen={condition} />
          <Choices label="Severity" name="severity" options={SEVERITY} chosen={chosen("severity")} />
          <Choices label="Kind" name="kind" options={KINDS} chosen={chosen("kind")} />
        </div>
        {asked.problem && <Empty>{asked.problem.message}</Empty>}
        {asked.answer && rows.length === 0 && <Empty>No such incident in the last 7 days.</Empty>}
        <div class="list">
          {rows.map((incident) => (
            <IncidentRow domain={domain} incident={incident} now_ms={now_ms} key={incident.incident_id} />
          ))}
        </div>
      </Panel>
      <Panel
        title="Alarm load"
        sub="incidents that opened, by ten minutes of the last day; more than 10 begin a flood"
        wide="c4 lone"
        foot={load.answer && <LoadFoot rows={load.answer.rows} />}
      >
        {load.problem && <Empty>{load.problem.message}</Empty>}
        {load.answer && (
          <AlarmLoad rows={load.answer.rows} to_ms={live.sections.status?.watermark_ms ?? now_ms} span_ms={DAY_MS} />
        )}
      </Panel>
    </div>
  );
}

function LoadFoot({ rows }: { rows: Load[] }) {
  const opened = rows.reduce((sum, row) => sum + row.opened, 0);
  const floods = rows.filter((row, index) => row.is_flood && !rows[index - 1]?.is_flood).length;
  const newest = rows[rows.length - 1];
  return (
    <>
      <span>{num(opened)} opened</span>
      <span>{count(floods, "flood")}</span>
      <span>{num(newest?.stale ?? 0)} open for more than a day</span>
    </>
  );
}
