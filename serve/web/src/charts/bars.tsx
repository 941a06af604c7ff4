// Bars by zone, the greatest first; a stroke across each is what is typical. Bars begin at 0 where the values allow it.

import type { Incident, Metric, Zones } from "../api/types";
import { num } from "../parts/format";
import { Mark } from "../parts/marks";
import { linear, ticks } from "../parts/scale";
import { useSize } from "../parts/size";

interface Properties {
  metric: Metric;
  hue: string;
  index: number;
  zones: Zones;
  incidents: Incident[];
  chosen: string;
}

/** Zones that are drawn, the greatest first. */
export const BARS_MAX = 10;

export function Bars({ metric, hue, index, zones, incidents, chosen }: Properties) {
  const [element, width, height] = useSize<HTMLDivElement>();
  const all = zones.rows.flatMap((row) => {
    const value = row.avg?.[index];
    return value === null || value === undefined ? [] : [{ zone: row.zone, value, usual: row.typical?.[index]?.[0] ?? null }];
  });
  all.sort((a, b) => b.value - a.value);
  const shown = all.slice(0, BARS_MAX);
  const values = shown.flatMap((one) => [one.value, one.usual ?? one.value]);
  const left = Math.min(140, width * 0.38);
  const low = Math.min(0, ...values);
  const high = Math.max(0, ...values) || 1;
  const x = linear(low, high, left, width - 44);
  const line = (height - 26) / Math.max(1, shown.length);
  const longest = Math.floor(left / 6.4);
  return (
    <div class="plot" ref={element}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={shown.map((one) => `${one.zone} ${num(one.value, metric.decimals)}`).join(", ")}>
          {ticks(low, high, 3).map((tick) => (
            <>
              <path class="g" d={`M${x(tick)} 4V${height - 22}`} />
              <text x={x(tick)} y={height - 6} text-anchor="middle">
                {num(tick)}
              </text>
            </>
          ))}
          {shown.map((one, place) => {
            const y = 6 + place * line;
            const tall = Math.max(4, Math.min(15, line - 7));
            const open = incidents.find((incident) => incident.zone === one.zone && incident.metric === metric.name);
            const end = Math.max(x(one.value), x(one.usual ?? one.value));
            return (
              <g>
                <text x={left - 8} y={y + tall / 2 + 4} text-anchor="end" class={one.zone === chosen ? "v b" : "m"}>
                  {one.zone.length > longest ? `${one.zone.slice(0, longest - 1)}…` : one.zone}
                </text>
                <rect x={Math.min(x(0), x(one.value))} y={y} width={Math.abs(x(one.value) - x(0))} height={tall} fill={hue} opacity=".82" />
                {one.usual !== null && <path d={`M${x(one.usual)} ${y - 3}V${y + tall + 3}`} stroke="var(--ink)" stroke-width="1.6" />}
                <text x={end + 6} y={y + tall / 2 + 4} class="v">
                  {num(one.value, metric.decimals)}
                </text>
                {open && <Mark of={open.severity} x={width - 6} y={y + tall / 2} r={4} />}
              </g>
            );
          })}
        </svg>
      )}
    </div>
  );
}
