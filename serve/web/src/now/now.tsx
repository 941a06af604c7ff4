// Now: a city at a glance.

import type { Domain } from "../api/types";
import { hm, label } from "../parts/format";
import { Empty, Panel } from "../parts/panel";
import type { Live } from "../state/live";
import type { Route } from "../state/route";
import { RecentAnomalies } from "./anomalies";
import { matches, OpenIncidents } from "./incidents";
import { ZoneMap } from "./map";
import { Strip } from "./strip";

export function Now({ domain, live, route }: { domain: Domain; live: Live; route: Route }) {
  const { status, zones, metrics, incidents, anomalies } = live.sections;
  if (status?.phase === "empty") return <Waiting domain={domain} host={status.host} run={status.run_id} />;
  const zone = route.query.get("zone");
  const named = route.query.get("metric");
  const open = incidents?.rows ?? [];
  // Without a choice, the metric of the worst open incident.
  const first = open.find((incident) => matches(incident, zone, null))?.metric;
  const shown = domain.metrics.find((metric) => metric.name === (named ?? first)) ?? domain.metrics[0]!;
  const index = domain.metrics.indexOf(shown);
  const now_ms = status?.now_ms ?? Date.now();
  const size = zones ? zones.size_ms / 60_000 : 5;
  const span = zones?.start_ms ? `${hm(zones.start_ms)} to ${hm(zones.start_ms + zones.size_ms)}` : "";
  const unit = shown.unit && shown.unit !== label(shown.name) ? `${shown.unit}, ` : "";
  return (
    <>
      <Strip domain={domain} metrics={metrics} zone={zones?.rows.find((row) => row.zone === zone)} chosen={named} />
      <div class="grid">
        <Panel
          title="Zones"
          wide="c5"
          sub={`${label(shown.name)}, ${unit}average of ${size} min, ${span || "none final yet"}; typical: this hour on the last 7 days`}
        >
          {zones ? (
            <ZoneMap domain={domain} zones={zones} metric={shown} index={index} incidents={open} chosen={zone} />
          ) : (
            <div class="plot map" />
          )}
        </Panel>
        <OpenIncidents domain={domain} incidents={incidents} zone={zone} metric={named} now_ms={now_ms} />
        <RecentAnomalies anomalies={anomalies} zone={zone} metric={named} />
      </div>
    </>
  );
}

function Waiting({ domain, host, run }: { domain: Domain; host: string | null; run: number | null }) {
  const steps: [boolean, string, string][] = [
    [true, "PostgreSQL reached", `the tables of ${domain.name}`],
    [true, `Domain ${domain.name}`, `${domain.zones.length} zones, ${domain.metrics.length} metrics`],
    [run !== null, "A run", run === null ? "none has been started yet" : `run ${run} on ${host ?? "?"}`],
    [false, "First reading", "none is committed yet"],
  ];
  return (
    <div class="grid">
      <Panel title="Waiting for the first reading" sub="the page fills by itself" wide="c7">
        <div class="pad">
          <table>
            <tbody>
              {steps.map(([done, what, more]) => (
                <tr>
                  <td class="tick">{done ? "✓" : "○"}</td>
                  <td>{what}</td>
                  <td class="mut">{more}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <Empty>
          To fill the tables with a synthetic city: <code>make run</code>, or, without Kafka,{" "}
          <code>citytide run --source simulation</code>
        </Empty>
      </Panel>
    </div>
  );
}
