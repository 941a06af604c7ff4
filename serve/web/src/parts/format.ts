// Numbers, times and words, the same everywhere.

import type { Domain, Metric, Severity } from "../api/types";

const THIN = "\u202f";
const MINUS = "\u2212";
export const NONE = "–";
export const SEVERITIES: Severity[] = ["high", "medium", "low"];

/** Comma thousands and a true minus. What is not there is a dash, not 0. */
export function num(value: number | null | undefined, decimals = 0): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NONE;
  const text = Math.abs(value).toFixed(decimals);
  const [whole = "0", part] = text.split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, ",");
  const isZero = Number(text) === 0;
  return (value < 0 && !isZero ? MINUS : "") + grouped + (part ? `.${part}` : "");
}

export function signed(value: number, decimals: number): string {
  const text = num(value, decimals);
  if (Number(Math.abs(value).toFixed(decimals)) === 0) return `±${text}`;
  return value > 0 ? `+${text}` : text;
}

/** Short: 12,345 is 12 k. */
export function short(value: number): string {
  if (value >= 1e6) return `${num(value / 1e6, value < 1e7 ? 1 : 0)}${THIN}M`;
  if (value >= 1e4) return `${num(value / 1e3)}${THIN}k`;
  return num(value, value > 0 && value < 10 ? 1 : 0);
}

/** `noise_level` is Noise level, `aqi` AQI. */
export function label(name: string): string {
  if (name.length <= 3) return name.toUpperCase();
  const words = name.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Number and unit never break apart. A unit that is the metric's own name stands in front. */
export function value(metric: Metric, of: number | null | undefined): string {
  const number = num(of, metric.decimals);
  if (!metric.unit) return number;
  if (metric.unit === label(metric.name)) return `${metric.unit}\u00a0${number}`;
  return `${number}${metric.unit === "%" ? THIN : "\u00a0"}${metric.unit}`;
}

export function typical(metric: Metric, of: [number, number] | null | undefined): string | undefined {
  if (!of) return undefined;
  return `${num(of[0], metric.decimals)}\u00a0±\u00a0${num(of[1], metric.decimals)}`;
}

const two = (number: number) => String(number).padStart(2, "0");
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export const ms = (at: string) => Date.parse(at);

/** 14:24, in UTC as all times of the page. */
export function hm(at_ms: number): string {
  const at = new Date(at_ms);
  return `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
}

export function hms(at_ms: number): string {
  return `${hm(at_ms)}:${two(new Date(at_ms).getUTCSeconds())}`;
}

export function day(at_ms: number): string {
  const at = new Date(at_ms);
  return `${DAYS[at.getUTCDay()]} ${at.getUTCDate()} ${MONTHS[at.getUTCMonth()]}`;
}

/** The time of today, else with its day. */
export function when(at_ms: number, now_ms: number): string {
  return day(at_ms) === day(now_ms) ? hm(at_ms) : `${day(at_ms)} ${hm(at_ms)}`;
}

/** How long: 7 s, 13 min, 2 h 5 min, 3 d 4 h. */
export function length(for_ms: number): string {
  const s = Math.max(0, for_ms) / 1000;
  if (s < 10) return `${num(s, 1)} s`;
  if (s < 60) return `${Math.floor(s)} s`;
  const min = Math.floor(s / 60);
  if (min < 60) return `${min} min`;
  const h = Math.floor(min / 60);
  if (h < 48) return min % 60 ? `${h} h ${min % 60} min` : `${h} h`;
  return h % 24 ? `${Math.floor(h / 24)} d ${h % 24} h` : `${Math.floor(h / 24)} d`;
}

export const count = (number: number, one: string, many = `${one}s`) => `${num(number)} ${number === 1 ? one : many}`;

export const metricOf = (domain: Domain, name: string) => domain.metrics.find((metric) => metric.name === name);

/** One cool hue per metric, in the order of the file. */
export const hue = (index: number) => `var(--metric${(index % 6) + 1})`;

export const KINDS: Record<string, string> = {
  rule: "rule",
  model: "model",
  stuck: "stuck",
  quality: "missing values",
};
