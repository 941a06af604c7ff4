// Bars of the incidents that opened, by ten minutes; a flood is hatched in none, but named and darker.

import { hm, ms, num } from "../parts/format";
import { linear, ticks, times } from "../parts/scale";
import { useSize } from "../parts/size";
import { useCross } from "../charts/cross";

export interface Load {
  ten_minutes: string;
  opened: number;
  is_flood: boolean;
  chattering: number;
  stale: number;
  minutes_to_acknowledge: number | null;
}

const STEP_MS = 600_000;
const [LEFT, TOP, BOTTOM] = [30, 14, 22];

export function AlarmLoad({ rows, to_ms, span_ms }: { rows: Load[]; to_ms: number; span_ms: number }) {
  const [element, width, height] = useSize<HTMLDivElement>();
  const from_ms = to_ms - span_ms;
  const x = linear(from_ms, to_ms + STEP_MS, LEFT, width - 4);
  const most = Math.max(10, ...rows.map((row) => row.opened));
  const y = linear(0, most, height - BOTTOM, TOP);
  const along = times(from_ms, to_ms, Math.max(2, Math.floor(width / 80)));
  const cross = useCross(x, from_ms, to_ms + STEP_MS, STEP_MS, (at) => {
    const row = rows.find((one) => at >= ms(one.ten_minutes) && at < ms(one.ten_minutes) + STEP_MS);
    if (!row) return [hm(at), "none opened"];
    const start = ms(row.ten_minutes);
    return [`${hm(start)} to ${hm(start + STEP_MS)}`, `${num(row.opened)} opened${row.is_flood ? ", a flood" : ""}`];
  });
  const wide = Math.max(1, x(from_ms + STEP_MS) - x(from_ms) - 0.8);
  return (
    <div class="plot" ref={element} tabIndex={0} role="group" aria-label="Alarm load" {...cross.on}>
      {width > 0 && (
        <svg width={width} height={height} role="img" aria-label="Incidents that opened, by ten minutes">
          {ticks(0, most, 4).map((tick) => (
            <>
              <path class="g" d={`M${LEFT} ${y(tick)}H${width - 4}`} />
              <text x={LEFT - 6} y={y(tick) + 4} text-anchor="end">
                {num(tick)}
              </text>
            </>
          ))}
          {rows.map((row) => (
            <rect
              x={x(ms(row.ten_minutes))}
              y={y(row.opened)}
              width={wide}
              height={y(0) - y(row.opened)}
              fill={row.is_flood ? "var(--ink)" : "var(--ink3)"}
            />
          ))}
          <path d={`M${LEFT} ${y(10)}H${width - 4}`} stroke="var(--ink3)" stroke-dasharray="4 3" />
          <text x={width - 4} y={y(10) - 4} text-anchor="end" class="halo">
            flood: more than 10
          </text>
          <path class="z" d={`M${LEFT} ${height - BOTTOM}H${width - 4}`} />
          {along.at.map((time) => (
            <text x={x(time)} y={height - BOTTOM + 16} text-anchor="middle">
              {hm(time)}
            </text>
          ))}
          {cross.line(TOP, height - BOTTOM)}
        </svg>
      )}
      {cross.tip}
    </div>
  );
}
