// Small charts: a sparkline, and the last minutes of an incident's metric.

import type { Chart, Severity, Typical } from "../api/types";
import { Mark } from "./marks";
import { bounds, line, linear } from "./scale";
import { useSize } from "./size";

interface SparkProperties {
  times: number[];
  step: number;
  values: (number | null)[];
  typical: number | null;
  hue: string;
}

export function Spark({ times, step, values, typical, hue }: SparkProperties) {
  const [element, width, height] = useSize<HTMLSpanElement>();
  const range = bounds([...values, typical], 0);
  const [from, to] = [times[0] ?? 0, times[times.length - 1] ?? 1];
  const x = linear(from, to, 1, width - 5);
  const y = range && linear(range[0], range[1], height - 4, 4);
  const last = values.length - 1;
  const end = values[last];
  return (
    <span class="spark" ref={element}>
      {y && width > 20 && (
        <svg width={width} height={height} aria-hidden="true">
          {typical !== null && (
            <path d={`M1 ${y(typical)}H${width - 5}`} stroke="var(--edge)" stroke-dasharray="1.5 3" stroke-width="1.2" />
          )}
          <path
            d={line(times.map(x), values.map((value) => (value === null ? null : y(value))), step, times)}
            fill="none"
            stroke={hue}
            stroke-width="1.5"
            stroke-linejoin="round"
          />
          {end !== null && end !== undefined && <circle cx={x(to)} cy={y(end)} r="2.6" fill={hue} />}
        </svg>
      )}
    </span>
  );
}

/** The usual band, least to greatest, and the average. */
export function Mini({ chart, severity, width = 112, height = 32 }: MiniProperties) {
  const usual = band(chart.typical);
  const range = bounds([...chart.min, ...chart.max, ...usual]);
  const [from, to] = [chart.times_ms[0], chart.times_ms[chart.times_ms.length - 1]];
  if (!range || from === undefined || to === undefined) return null;
  const x = linear(from, to, 0, width - 8);
  const y = linear(range[0], range[1], height - 4, 4);
  const at = chart.times_ms.map(x);
  const end = [...chart.avg].reverse().find((value) => value !== null);
  const pixels = (values: (number | null)[]) => values.map((value) => (value === null ? null : y(value)));
  return (
    <svg width={width} height={height} aria-hidden="true">
      {usual.length > 0 && (
        <rect x="0" y={y(usual[1]!)} width={width - 8} height={y(usual[0]!) - y(usual[1]!)} fill="var(--ink3)" opacity=".14" />
      )}
      {(["min", "max"] as const).map((part) => (
        <path d={line(at, pixels(chart[part]), chart.step_ms, chart.times_ms)} fill="none" stroke="var(--edge)" stroke-width="1" />
      ))}
      <path d={line(at, pixels(chart.avg), chart.step_ms, chart.times_ms)} fill="none" stroke="var(--ink2)" stroke-width="1.4" />
      {end !== undefined && end !== null && <Mark of={severity} x={width - 6} y={y(end)} r={3.4} />}
    </svg>
  );
}

interface MiniProperties {
  chart: Chart;
  severity: Severity;
  width?: number;
  height?: number;
}

/** Two standard deviations around what is typical; empty where that is not known. */
export function band(typical: Typical): number[] {
  return typical ? [typical[0] - 2 * typical[1], typical[0] + 2 * typical[1]] : [];
}
