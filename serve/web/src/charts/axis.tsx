/** The time axis below a chart: its line, and a time at each tick; midnight shows the day where ticks are half days apart. */

import { day, hm } from "../parts/format";
import type { Scale, times } from "../parts/scale";

const HALF_DAY_MS = 43_200_000;
const DAY_MS = 86_400_000;

export function TimeAxis({ along, x, y, from, to }: { along: ReturnType<typeof times>; x: Scale; y: number; from: number; to: number }) {
  return (
    <>
      <path class="z" d={`M${from} ${y}H${to}`} />
      {along.at.map((time) => (
        <text x={x(time)} y={y + 16} text-anchor="middle">
          {along.step >= HALF_DAY_MS && time % DAY_MS === 0 ? day(time) : hm(time)}
        </text>
      ))}
    </>
  );
}
