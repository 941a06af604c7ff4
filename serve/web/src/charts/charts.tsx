// Charts: one metric in all zones over any range, and the windows of one zone; raw figures as CSV.

import { useEffect } from "preact/hooks";
import type { Domain, Window } from "../api/types";
import { path } from "../api/get";
import { Choices } from "../parts/choices";
import { count, day, hm, hue, label, ms, num, typical as words } from "../parts/format";
import { Empty, Panel, Scroll } from "../parts/panel";
import { useAsk } from "../state/ask";
import type { Live } from "../state/live";
import { choose, type Route } from "../state/route";
import { Bars, BARS_MAX } from "./bars";
import { type Line, Lines } from "./lines";
import { WindowChart } from "./windows";

type Row = Record<string, number | string | boolean | null> & {
  window_start: string;
  zone: string;
  reading_count: number;
  is_final: boolean;
  revision: number;
};

interface Answer {
  rows: Row[];
  next: string | null;
}

const MINUTE = 60_000;
const RANGES: [string, string, number][] = [
  ["15m", "15 min", 15 * MINUTE],
  ["", "1 h", 60 * MINUTE],
  ["6h", "6 h", 360 * MINUTE],
  ["24h", "24 h", 1440 * MINUTE],
  ["7d", "7 d", 7 * 1440 * MINUTE],
];
/** Rows that an answer can hold, and what the charts want. */
const ROWS_MAX = 10_000;
const LINE_POINTS = 8_000;
const ROWS_ONE = 2_100;

interface Plan {
  window: Window;
  every_ms: number;
}

/** Windows that cover a span with so many rows at most: longer ones where need be, then one in several. */
function sampled(domain: Domain, wanted: Window, span: number, rows: number): Plan {
  const longer = domain.windows.filter((one) => one.size_ms >= wanted.size_ms).sort((a, b) => a.size_ms - b.size_ms);
  for (const window of longer) {
    // Overlapping windows of one zone tell the same several times: side by side is enough.
    for (const every_ms of [window.slide_ms, window.size_ms]) if (span / every_ms <= rows) return { window, every_ms };
  }
  const window = longer[longer.length - 1] ?? wanted;
  const several = Math.ceil(span / window.size_ms / rows);
  const [, ...nice] = [1, 2, 3, 4, 6, 12, 24, 48, 96, 288];
  return { window, every_ms: window.size_ms * (nice.find((one) => one >= several) ?? several) };
}

/** What of the time the windows cover. */
function share(plan: Plan): string {
  const several = plan.every_ms / plan.window.size_ms;
  return several > 1 ? `, one in ${several} drawn` : "";
}

export function Charts({ domain, live, route, zones }: { domain: Domain; live: Live; route: Route; zones: string[] }) {
  const chosen = (name: string) => route.query.get(name) ?? "";
  const [range, , span] = RANGES.find(([name]) => name === chosen("range")) ?? RANGES[1]!;
  const until = Number(chosen("until")) || undefined;
  const metric = domain.metrics.find((one) => one.name === chosen("metric")) ?? domain.metrics[0]!;
  const index = domain.metrics.indexOf(metric);
  const zone = chosen("zone") || live.sections.incidents?.rows.find((one) => one.metric === metric.name)?.zone || zones[0] || "";
  const newest = live.sections.status?.watermark_ms ?? undefined;
  const size = domain.windows.find((one) => one.name === chosen("size")) ?? domain.windows[0]!;
  const known = newest !== undefined;
  // A range that ends now moves on with the minute; one that is chosen stands still.
  const end = until ?? (known ? Math.ceil(newest / MINUTE) * MINUTE + MINUTE : 0);
  const from = end - span;
  const series = domain.windows.find((one) => one.name === domain.series_window)!;
  const plan = sampled(domain, series, span, Math.floor(LINE_POINTS / Math.max(1, zones.length)));
  const single = sampled(domain, size, span, ROWS_ONE);
  const tick = until ? 0 : Math.floor(live.as_of / 5000);
  const lines = useAsk<Answer>(
    known
      ? path("windows", { size: plan.window.name, every: plan.every_ms / 1000, from, until: end, limit: ROWS_MAX })
      : undefined,
    tick,
  );
  const one = useAsk<Answer>(
    known && zone ? path("windows", { size: single.window.name, every: single.every_ms / 1000, zone, from, until: end, limit: ROWS_MAX }) : undefined,
    tick,
  );
  useEffect(() => {
    if (chosen("range") && !RANGES.some(([name]) => name === chosen("range"))) choose({ range: undefined });
  }, [route]);
  if (!known) return <Empty>No reading is committed yet.</Empty>;
  const values = (row: Row, part: string) => {
    const value = row[`${part}_${metric.name}`];
    return typeof value === "number" ? value : null;
  };
  const byZone: Line[] = zones.map((name) => ({
    name,
    chosen: name === zone,
    points: (lines.answer?.rows ?? [])
      .filter((row) => row.zone === name)
      .map((row) => ({ at_ms: ms(row.window_start), value: values(row, "avg") })),
  }));
  const typical = live.sections.zones?.rows.find((row) => row.zone === zone)?.typical?.[index] ?? null;
  const shown = `${day(from)} ${hm(from)} to ${day(end) === day(from) ? "" : `${day(end)} `}${hm(end)}`;
  const unit = metric.unit && metric.unit !== label(metric.name) ? `${metric.unit}, ` : "";
  const move = (by: number) => {
    const to = end + by * span;
    choose({ until: to >= (newest ?? 0) ? undefined : String(to) });
  };
  const csv = path("windows", { size: single.window.name, zone, from, until: end, limit: ROWS_MAX, format: "csv" });
  return (
    <>
      <div class="choices out">
        <Choices label="Range" name="range" options={RANGES.map(([name, word]) => [name, word])} chosen={range} />
        <span class="seg s" role="group" aria-label="Move">
          <button onClick={() => move(-1)} aria-label="Earlier">
            ‹ earlier
          </button>
          <button onClick={() => move(1)} disabled={until === undefined} aria-label="Later">
            later ›
          </button>
          <button onClick={() => choose({ until: undefined })} aria-pressed={until === undefined}>
            now
          </button>
        </span>
        <span class="fnt">{shown} UTC</span>
      </div>
      <div class="grid">
        <Panel
          title={`${label(metric.name)} by zone`}
          sub={`${unit}average of windows of ${plan.window.name}${share(plan)}; a click on a name chooses the zone`}
          wide="c8"
        >
          {lines.problem ? (
            <Empty>{lines.problem.message}</Empty>
          ) : (
            <Lines
              metric={metric}
              hue={hue(index)}
              lines={byZone}
              from_ms={from}
              to_ms={end}
              step_ms={plan.every_ms}
              choose={(name) => choose({ zone: name })}
            />
          )}
        </Panel>
        <Panel
          title={`${label(metric.name)} now`}
          sub={`${unit}the window of ${domain.now_window} that is newest and final; ${zones.length > BARS_MAX ? `the ${BARS_MAX} greatest; ` : ""}stroke: typical at this hour`}
          wide="c4"
        >
          {live.sections.zones && (
            <Bars metric={metric} hue={hue(index)} index={index} zones={live.sections.zones} incidents={live.sections.incidents?.rows ?? []} chosen={zone} />
          )}
        </Panel>
        <Panel
          title={`Windows of ${zone}`}
          sub={`${label(metric.name)}, ${unit}least to greatest, and average; windows of ${single.window.name}${share(single)}; hatched: not final; r1: corrected once${typical ? `; typical now ${words(metric, typical)}` : ""}`}
          tools={
            <>
              <Choices
                label="Window"
                name="size"
                options={domain.windows.map((window, place) => [place === 0 ? "" : window.name, window.name])}
                chosen={single.window === domain.windows[0] ? "" : single.window.name}
              />
              <a class="txt" href={csv} download>
                CSV
              </a>
            </>
          }
          foot={one.answer && <Foot rows={one.answer.rows} cut={one.answer.next !== null} />}
        >
          {one.problem && <Empty>{one.problem.message}</Empty>}
          <WindowChart
            metric={metric}
            hue={hue(index)}
            rows={(one.answer?.rows ?? []).map((row) => ({
              at_ms: ms(row.window_start),
              avg: values(row, "avg"),
              min: values(row, "min"),
              max: values(row, "max"),
              is_final: row.is_final,
              revision: row.revision,
              readings: row.reading_count,
            }))}
            from_ms={from}
            to_ms={end}
            step_ms={single.every_ms}
            size_ms={single.window.size_ms}
            typical={typical}
            label={`Windows of ${zone}, ${label(metric.name)}`}
          />
        </Panel>
        <Panel title="The same as a table" sub={`the newest windows of ${zone}`}>
          <Scroll label="Windows">
            <table>
              <thead>
                <tr>
                  <th>Window</th>
                  <th class="n">Readings</th>
                  <th class="n">Anomalies</th>
                  <th class="n">Average</th>
                  <th class="n">Min</th>
                  <th class="n">Max</th>
                  <th>State</th>
                </tr>
              </thead>
              <tbody>
                {(one.answer?.rows ?? [])
                  .slice(-12)
                  .reverse()
                  .map((row) => (
                    <tr key={row.window_start}>
                      <td>
                        {day(ms(row.window_start))} {hm(ms(row.window_start))} to {hm(ms(row.window_start) + single.window.size_ms)}
                      </td>
                      <td class="n">{num(row.reading_count)}</td>
                      <td class="n">{num(Number(row["anomaly_count"]))}</td>
                      <td class="n">{num(values(row, "avg"), metric.decimals + 1)}</td>
                      <td class="n">{num(values(row, "min"), metric.decimals)}</td>
                      <td class="n">{num(values(row, "max"), metric.decimals)}</td>
                      <td>
                        {row.is_final ? "final" : "not final"}
                        {row.revision > 0 ? `, corrected ${row.revision}×` : ""}
                      </td>
                    </tr>
                  ))}
              </tbody>
            </table>
          </Scroll>
        </Panel>
      </div>
    </>
  );
}

function Foot({ rows, cut }: { rows: Row[]; cut: boolean }) {
  const open = rows.filter((row) => !row.is_final).length;
  const corrected = rows.filter((row) => row.revision > 0).length;
  return (
    <>
      <span>{count(rows.length, "window")}{cut ? ", the first of more" : ""}</span>
      <span>{num(open)} not final</span>
      <span>{num(corrected)} corrected after they were final</span>
    </>
  );
}
