// Severity is a shape and a word; its colour comes third.

import type { Severity } from "../api/types";

/** The mark inside an SVG: low a hollow circle, medium a triangle, high a diamond. */
export function Mark({ of, x, y, r = 5 }: { of: Severity; x: number; y: number; r?: number }) {
  const colour = `var(--${of})`;
  if (of === "low") return <circle cx={x} cy={y} r={r * 0.82} fill="var(--panel)" stroke={colour} stroke-width="1.7" />;
  if (of === "medium") {
    return <path d={`M${x} ${y - r * 1.05}L${x + r * 1.05} ${y + r * 0.8}L${x - r * 1.05} ${y + r * 0.8}Z`} fill={colour} />;
  }
  const k = r * 1.15;
  return <path d={`M${x} ${y - k}L${x + k} ${y}L${x} ${y + k}L${x - k} ${y}Z`} fill={colour} />;
}

const WORDS: Record<Severity, string> = { low: "Low", medium: "Medium", high: "High" };

export function SeverityTag({ of }: { of: Severity }) {
  return (
    <span class={`sev ${of}`}>
      <svg width="14" height="14" aria-hidden="true">
        <Mark of={of} x={7} y={7} />
      </svg>
      {WORDS[of]}
    </span>
  );
}

export function Sign({ of }: { of: "ok" | "warn" | "stop" | "idle" }) {
  if (of === "ok") {
    return (
      <svg width="18" height="18" aria-hidden="true">
        <circle cx="9" cy="9" r="8" fill="var(--ok-soft)" stroke="var(--ok)" stroke-width="1.3" />
        <path d="M5.4 9.300l2.500 2.500 4.800-5.200" fill="none" stroke="var(--ok)" stroke-width="1.7" stroke-linecap="round" />
      </svg>
    );
  }
  if (of === "warn") {
    return (
      <svg width="18" height="18" aria-hidden="true">
        <path d="M9 1.800L17 16H1z" fill="var(--warn-soft)" stroke="var(--medium)" stroke-width="1.4" stroke-linejoin="round" />
        <path d="M9 6.600v4.600M9 13v1.400" stroke="var(--medium)" stroke-width="1.7" />
      </svg>
    );
  }
  if (of === "stop") {
    return (
      <svg width="18" height="18" aria-hidden="true">
        <circle cx="9" cy="9" r="8" fill="var(--err-soft)" stroke="var(--high)" stroke-width="1.4" />
        <path d="M5.900 5.900l6.200 6.200M12.100 5.900l-6.200 6.200" stroke="var(--high)" stroke-width="1.7" />
      </svg>
    );
  }
  return (
    <svg width="18" height="18" aria-hidden="true">
      <circle cx="9" cy="9" r="7.6" fill="none" stroke="var(--ink3)" stroke-width="1.4" stroke-dasharray="3 2.6" />
    </svg>
  );
}
