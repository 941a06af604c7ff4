// Windows of one zone and metric: least to greatest, average, what is typical; what is not final is hatched.

import type { Metric, Typical } from "../api/types";
import { hm, num, typical as usual } from "../parts/format";
import { bounds, decimals, linear, ticks, times } from "../parts/scale";
import { useSize } from "../parts/size";
import { band } from "../parts/spark";
import { TimeAxis } from "./axis";
import { useCross } from "./cross";

export interface WindowRow {
  at_ms: number;
  avg: number | null;
  min: number | null;
  max: number | null;
  is_final: boolean;
  revision: number;
  readings?: number;
}

export interface Rule {
  at_ms: number;
  until_ms: number | undefined;
  words: string;
}

interface Properties {
  metric: Metric;
  hue: string;
  rows: WindowRow[];
  from_ms: number;
  to_ms: number;
  step_ms: number;
  size_ms: number;
  typical: Typical;
  /** A span that is marked: an incident. */
  marked?: Rule;
  label: string;
}

const [LEFT, RIGHT, TOP, BOTTOM] = [44, 6, 22, 22];

export function WindowChart({ metric, hue, rows, from_ms, to_ms, step_ms, size_ms, typical, marked, label }: Properties) {
  const [element, width, height] = useSize<HTMLDivElement>();
  const expected = band(typical);
  const range = bounds([...rows.flatMap((row) => [row.min, row.max]), ...expected]);
  const x = linear(from_ms, to_ms + step_ms, LEFT, width - RIGHT);
  const nearest = (at_ms: number) =>
    rows.find((row) => at_ms >= row.at_ms && at_ms < row.at_ms + step_ms) ?? undefined;
  const cross = useCross(x, from_ms, to_ms + step_ms, step_ms, (at_ms) => {
    const row = nearest(at_ms);
    if (!row) return [hm(at_ms), "no readings"];
    return [
      `${hm(row.at_ms)} to ${hm(row.at_ms + size_ms)}${row.is_final ? "" : ", not final"}${row.revision ? `, corrected ${row.revision}×` : ""}`,
      `average ${num(row.avg, metric.decimals)}, min ${num(row.min, metric.decimals)}, max ${num(row.max, metric.decimals)}`,
      ...(row.readings === undefined ? [] : [`${num(row.readings)} readings`]),
    ];
  });
  if (!range) {
    return (
      <div class="plot" ref={element}>
        <p class="empty">No readings in this time.</p>
      </div>
    );
  }
  const y = linear(range[0], range[1], height - BOTTOM, TOP);
  const marks = ticks(range[0], range[1], Math.max(2, Math.round((height - 40) / 48)));
  const digits = decimals(marks);
  const along = times(from_ms, to_ms, Math.max(2, Math.floor((width - LEFT) / 76)));
  const wide = Math.max(1, x(from_ms + step_ms) - x(from_ms));
  const gap = wide > 4 ? Math.min(2, wide * 0.16) : 0;
  const missing = gaps(rows, from_ms, to_ms, step_ms);
  const rules: [number, string][] = [];
  if (metric.above !== null && y.from < metric.above && y.to > metric.above) rules.push([metric.above, `rule: above ${num(metric.above)}`]);
  if (metric.below !== null && y.from < metric.below && y.to > metric.below) rules.push([metric.below, `rule: below ${num(metric.below)}`]);
  return (
    <div class="plot" ref={element} tabIndex={0} role="group" aria-label={label} {...cross.on}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={`${label}; ${rows.length} windows${typical ? `, typical ${usual(metric, typical)}` : ""}`}>
          {marks.map((tick) => (
            <>
              <path class="g" d={`M${LEFT} ${y(tick)}H${width - RIGHT}`} />
              <text x={LEFT - 6} y={y(tick) + 4} text-anchor="end">
                {num(tick, digits)}
              </text>
            </>
          ))}
          <text x={LEFT - 6} y={TOP - 9} text-anchor="end">
            {metric.unit.length < 7 ? metric.unit : ""}
          </text>
          {missing.map(([start, end]) => (
            <rect x={x(start)} y={TOP} width={Math.max(0, x(end) - x(start))} height={height - BOTTOM - TOP} fill="url(#nothing)" />
          ))}
          {expected.length > 0 && (
            <rect x={LEFT} y={y(expected[1]!)} width={width - RIGHT - LEFT} height={y(expected[0]!) - y(expected[1]!)} fill="var(--ink3)" opacity=".1" />
          )}
          {typical && <path d={`M${LEFT} ${y(typical[0])}H${width - RIGHT}`} stroke="var(--ink3)" stroke-dasharray="1.5 3" />}
          {rows.map((row) =>
            row.min === null || row.max === null ? null : (
              <rect
                x={x(row.at_ms) + gap / 2}
                y={y(row.max)}
                width={wide - gap}
                height={Math.max(1, y(row.min) - y(row.max))}
                fill={row.is_final ? hue : "url(#hatch)"}
                class={row.is_final ? "band" : "open"}
              />
            ),
          )}
          {wide > 4
            ? rows.map((row) =>
                row.avg === null ? null : (
                  <path
                    d={`M${x(row.at_ms) + gap / 2} ${y(row.avg)}h${wide - gap}`}
                    stroke={row.is_final ? hue : "var(--ink2)"}
                    stroke-width="2.2"
                  />
                ),
              )
            : averages(rows, step_ms).map((run) => (
                <path
                  d={`M${run.map((row) => `${(x(row.at_ms) + wide / 2).toFixed(1)} ${y(row.avg!).toFixed(1)}`).join("L")}`}
                  fill="none"
                  stroke={hue}
                  stroke-width="1.6"
                />
              ))}
          {wide > 12 &&
            rows.map((row) =>
              row.revision > 0 && row.max !== null ? (
                <text x={x(row.at_ms) + wide / 2} y={y(row.max) - 4} text-anchor="middle" class="v">
                  r{row.revision}
                </text>
              ) : null,
            )}
          {rules.map(([at, words]) => (
            <>
              <path d={`M${LEFT} ${y(at)}H${width - RIGHT}`} stroke="var(--ink3)" stroke-dasharray="4 3" />
              <text x={width - RIGHT} y={y(at) - 4} text-anchor="end" class="halo">
                {words}
              </text>
            </>
          ))}
          {marked && (
            <>
              <path d={`M${x(Math.max(from_ms, marked.at_ms))} ${TOP - 12}V${height - BOTTOM}`} stroke="var(--ink3)" />
              <text
                x={x(Math.max(from_ms, marked.at_ms)) + (x(marked.at_ms) > width * 0.6 ? -5 : 5)}
                y={TOP - 5}
                text-anchor={x(marked.at_ms) > width * 0.6 ? "end" : "start"}
                class="m halo"
              >
                {marked.words}
              </text>
              {marked.until_ms !== undefined && marked.until_ms < to_ms && (
                <path d={`M${x(marked.until_ms)} ${TOP}V${height - BOTTOM}`} stroke="var(--ink3)" stroke-dasharray="2 2" />
              )}
            </>
          )}
          <TimeAxis along={along} x={x} y={height - BOTTOM} from={LEFT} to={width - RIGHT} />
          {cross.line(TOP, height - BOTTOM)}
        </svg>
      )}
      {cross.tip}
    </div>
  );
}

/** Spans without a window. */
export function gaps(rows: { at_ms: number }[], from_ms: number, to_ms: number, step_ms: number): [number, number][] {
  const found: [number, number][] = [];
  let next = Math.ceil(from_ms / step_ms) * step_ms;
  for (const row of rows) {
    if (row.at_ms > next) found.push([next, row.at_ms]);
    next = Math.max(next, row.at_ms + step_ms);
  }
  // What has not ended yet may still come.
  if (to_ms - next > step_ms) found.push([next, to_ms]);
  return found;
}

/** Runs of averages without a gap. */
function averages(rows: WindowRow[], step_ms: number): WindowRow[][] {
  const runs: WindowRow[][] = [];
  let before: WindowRow | undefined;
  for (const row of rows) {
    if (row.avg === null) {
      before = undefined;
      continue;
    }
    if (before && row.at_ms - before.at_ms <= step_ms * 1.5) runs[runs.length - 1]!.push(row);
    else runs.push([row]);
    before = row;
  }
  return runs;
}
