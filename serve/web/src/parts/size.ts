// The real size of an element: charts are drawn at it and never scaled.

import { useLayoutEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";

export function useSize<T extends Element>(): [RefObject<T>, number, number] {
  const element = useRef<T>(null);
  const [size, set] = useState<[number, number]>([0, 0]);
  useLayoutEffect(() => {
    const of = element.current;
    if (!of) return undefined;
    const measure = () => {
      const { width, height } = of.getBoundingClientRect();
      set((was) => (was[0] === width && was[1] === height ? was : [width, height]));
    };
    measure();
    const observer = new ResizeObserver(measure);
    observer.observe(of);
    return () => observer.disconnect();
  }, []);
  return [element, ...size];
}
