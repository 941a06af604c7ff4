// A line for each zone: all grey, the chosen one in the metric's hue. Names stand at the ends.

import type { Metric } from "../api/types";
import { hm, num, value } from "../parts/format";
import { bounds, decimals, line, linear, ticks, times } from "../parts/scale";
import { useSize } from "../parts/size";
import { TimeAxis } from "./axis";
import { useCross } from "./cross";

export interface Line {
  name: string;
  chosen: boolean;
  points: { at_ms: number; value: number | null }[];
}

interface Properties {
  metric: Metric;
  hue: string;
  lines: Line[];
  from_ms: number;
  to_ms: number;
  step_ms: number;
  choose: (zone: string) => void;
}

const [LEFT, TOP, BOTTOM] = [44, 16, 22];
/** Distance of two names. */
const APART = 14.2;
const NAMED_MAX = 12;

export function Lines({ metric, hue, lines, from_ms, to_ms, step_ms, choose }: Properties) {
  const [element, width, height] = useSize<HTMLDivElement>();
  const right = width < 460 ? 96 : 160;
  const range = bounds(lines.flatMap((one) => one.points.map((point) => point.value)));
  const x = linear(from_ms, to_ms, LEFT, width - right);
  const cross = useCross(x, from_ms, to_ms, step_ms, (at) => {
    const start = Math.floor(at / step_ms) * step_ms;
    const there = lines.flatMap((one) => {
      const found = one.points.find((point) => point.at_ms === start)?.value;
      return found === undefined || found === null ? [] : [{ name: one.name, value: found }];
    });
    there.sort((a, b) => b.value - a.value);
    const more = there.length > NAMED_MAX ? [`and ${there.length - NAMED_MAX} more`] : [];
    return [hm(start), ...there.slice(0, NAMED_MAX).map((one) => `${one.name} ${value(metric, one.value)}`), ...more];
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
  const along = times(from_ms, to_ms, Math.max(2, Math.floor((width - right - LEFT) / 76)));
  const last = (one: Line) => [...one.points].reverse().find((point) => point.value !== null);
  const ends = lines.flatMap((one) => {
    const end = last(one);
    return end ? [{ one, value: end.value!, y: y(end.value!), at: y(end.value!) }] : [];
  });
  ends.sort((a, b) => a.y - b.y);
  // Of many lines the first three, the last and the chosen one are named.
  const named = ends.filter((end, place) => ends.length <= NAMED_MAX || place < 3 || place === ends.length - 1 || end.one.chosen);
  spread(named, TOP, height - BOTTOM - 4);
  const drawn = [...lines].sort((a, b) => Number(a.chosen) - Number(b.chosen));
  return (
    <div class="plot" ref={element} tabIndex={0} role="group" aria-label={`${metric.name} by zone`} {...cross.on}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label={`${metric.name} by zone, ${lines.length} zones`}>
          {marks.map((tick) => (
            <>
              <path class="g" d={`M${LEFT} ${y(tick)}H${width - right}`} />
              <text x={LEFT - 6} y={y(tick) + 4} text-anchor="end">
                {num(tick, decimals(marks))}
              </text>
            </>
          ))}
          {drawn.map((one) => (
            <path
              d={line(
                one.points.map((point) => x(point.at_ms + step_ms / 2)),
                one.points.map((point) => (point.value === null ? null : y(point.value))),
                step_ms,
                one.points.map((point) => point.at_ms),
              )}
              fill="none"
              stroke={one.chosen ? hue : "color-mix(in srgb, var(--ink3) 55%, var(--panel))"}
              stroke-width={one.chosen ? 2.2 : 1.2}
              stroke-linejoin="round"
            />
          ))}
          {named.map((end) => (
            <g class="name-end" onClick={() => choose(end.one.name)}>
              <path d={`M${width - right + 2} ${end.y}L${width - right + 10} ${end.at}`} stroke="var(--edge)" fill="none" />
              <text x={width - right + 13} y={end.at + 4} class={end.one.chosen ? "v b" : "m"}>
                {num(end.value, metric.decimals)} {shortened(end.one.name, right)}
              </text>
            </g>
          ))}
          <TimeAxis along={along} x={x} y={height - BOTTOM} from={LEFT} to={width - right} />
          {cross.line(TOP, height - BOTTOM)}
        </svg>
      )}
      {cross.tip}
    </div>
  );
}

function shortened(name: string, room: number): string {
  const longest = Math.floor(room / 7) - 5;
  return name.length > longest ? `${name.slice(0, longest - 1)}…` : name;
}

/** Pushes names apart, within bounds. */
export function spread(all: { at: number }[], low: number, high: number): void {
  for (let round = 0; round < 60; round++) {
    let moved = false;
    for (let index = 1; index < all.length; index++) {
      const [one, other] = [all[index - 1]!, all[index]!];
      const lacks = APART - (other.at - one.at);
      if (lacks <= 0.01) continue;
      one.at -= lacks / 2;
      other.at += lacks / 2;
      moved = true;
    }
    for (const one of all) one.at = Math.max(low, Math.min(high, one.at));
    if (!moved) break;
  }
}
