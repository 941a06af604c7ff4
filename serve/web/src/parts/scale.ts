// Scales and ticks of charts. Pure.

export interface Scale {
  (value: number): number;
  from: number;
  to: number;
  start: number;
  end: number;
}

/** A linear scale from values to pixels. */
export function linear(from: number, to: number, start: number, end: number): Scale {
  const span = to - from || 1;
  const scale = ((value: number) => start + ((value - from) / span) * (end - start)) as Scale;
  return Object.assign(scale, { from, to, start, end });
}

/** Round ticks within bounds, some `number` of them. */
export function ticks(from: number, to: number, number = 4): number[] {
  if (!(to > from)) return [from];
  const rough = (to - from) / number;
  const power = 10 ** Math.floor(Math.log10(rough));
  const part = rough / power;
  const step = (part > 5 ? 10 : part > 2.2 ? 5 : part > 1.2 ? 2 : 1) * power;
  const all: number[] = [];
  for (let index = Math.ceil(from / step - 1e-9); index * step <= to + step * 1e-9; index++) {
    all.push(Number((index * step).toPrecision(12)));
  }
  return all;
}

/** Decimals that tell ticks apart. */
export function decimals(all: number[]): number {
  const step = all.length > 1 ? Math.abs((all[1] ?? 0) - (all[0] ?? 0)) : 1;
  return step >= 1 || step === 0 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) - 1e-9));
}

const MINUTE = 60_000;
const STEPS = [1, 2, 5, 10, 20, 30, 60, 120, 180, 360, 720, 1440, 2880, 10_080].map((minutes) => minutes * MINUTE);

/** Full minutes, hours or days within bounds, at most `number` of them. */
export function times(from: number, to: number, number: number): { step: number; at: number[] } {
  const step = STEPS.find((one) => (to - from) / one <= number) ?? STEPS[STEPS.length - 1]!;
  const at: number[] = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) at.push(time);
  return { step, at };
}

/** Bounds of values with some room; undefined where there is none. */
export function bounds(values: (number | null | undefined)[], room = 0.08): [number, number] | undefined {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value === null || value === undefined) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (low > high) return undefined;
  const pad = (high - low) * room || Math.abs(high) * 0.05 || 1;
  return [low - pad, high + pad];
}

const round = (pixel: number) => Math.round(pixel * 10) / 10;

/** A line through points; it breaks where a value is missing or a time is left out. */
export function line(x: number[], y: (number | null)[], step?: number, at?: number[]): string {
  let path = "";
  let drawn = false;
  y.forEach((value, index) => {
    const gap = step !== undefined && at && index > 0 && at[index]! - at[index - 1]! > step * 1.5;
    if (value === null) {
      drawn = false;
      return;
    }
    path += `${drawn && !gap ? "L" : "M"}${round(x[index]!)} ${round(value)}`;
    drawn = true;
  });
  return path;
}
