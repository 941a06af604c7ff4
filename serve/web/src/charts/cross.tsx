// The crosshair of a chart, with what is there: by the pointer, or by ← and → when the chart has the focus.

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import type { Scale } from "../parts/scale";

interface Cross {
  on: {
    onPointerMove: (event: PointerEvent) => void;
    onPointerLeave: () => void;
    onKeyDown: (event: KeyboardEvent) => void;
    onBlur: () => void;
  };
  line: (top: number, bottom: number) => ComponentChildren;
  tip: ComponentChildren;
}

export function useCross(x: Scale, from: number, to: number, step: number, words: (at: number) => string[]): Cross {
  const [at, set] = useState<number | undefined>(undefined);
  const value = (pixel: number) => x.from + ((pixel - x.start) / (x.end - x.start)) * (x.to - x.from);
  const on = {
    onPointerMove: (event: PointerEvent) => {
      const box = (event.currentTarget as Element).getBoundingClientRect();
      const found = value(event.clientX - box.left);
      set(found >= from && found <= to ? found : undefined);
    },
    onPointerLeave: () => set(undefined),
    onBlur: () => set(undefined),
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key === "Escape") set(undefined);
      if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
      event.preventDefault();
      const turn = event.key === "ArrowLeft" ? -step : step;
      set(Math.min(to - step / 2, Math.max(from, (at ?? to - step / 2) + (at === undefined ? 0 : turn))));
    },
  };
  if (at === undefined) return { on, line: () => null, tip: null };
  const [head, ...more] = words(at);
  const right = x(at) > (x.start + x.end) / 2;
  return {
    on,
    line: (top, bottom) => <path d={`M${x(at)} ${top}V${bottom}`} stroke="var(--ink3)" stroke-dasharray="2 2" />,
    tip: (
      <div class="tip" role="status" style={right ? { right: `calc(100% - ${x(at) - 10}px)` } : { left: `${x(at) + 10}px` }}>
        <b>{head}</b>
        {more.map((line) => (
          <span>{line}</span>
        ))}
      </div>
    ),
  };
}
