// One stream for the whole page: sections by name, all of the same commit, and whether there is contact.

import { useEffect, useState } from "preact/hooks";
import type { Sections } from "../api/types";

export interface Live {
  sections: Sections;
  as_of: number;
  /** Since when nothing is heard; undefined while there is contact. */
  lost_ms: number | undefined;
  /** Attempts since then. */
  tries: number;
  /** When the last event came, by the clock of this browser, and what that clock is ahead of the server's. */
  heard_ms: number;
  ahead_ms: number;
}

const SILENCE_MS = 8_000;
const RETRY_MS = 3_000;

const nothing: Live = { sections: {}, as_of: 0, lost_ms: undefined, tries: 0, heard_ms: 0, ahead_ms: 0 };

/** Follows the stream while `runs` and the tab is in sight. */
export function useLive(every_s: number, runs: boolean): Live & { again: () => void } {
  const [live, set] = useState<Live>(nothing);
  const [attempt, setAttempt] = useState(0);
  const [seen, setSeen] = useState(!document.hidden);
  useEffect(() => {
    const changed = () => setSeen(!document.hidden);
    document.addEventListener("visibilitychange", changed);
    return () => document.removeEventListener("visibilitychange", changed);
  }, []);
  useEffect(() => {
    if (!runs || !seen) return undefined;
    const source = new EventSource(`/api/v1/stream?every=${every_s}`);
    let heard = performance.now();
    let retry: ReturnType<typeof setTimeout> | undefined;
    const lose = () => set((was) => ({ ...was, lost_ms: was.lost_ms ?? Date.now(), tries: was.tries + 1 }));
    const take = (event: MessageEvent<string>) => {
      heard = performance.now();
      const { as_of, sections } = JSON.parse(event.data) as { as_of: number; sections: Sections };
      const whole = event.type === "snapshot";
      set((was) => ({
        sections: whole ? sections : { ...was.sections, ...sections },
        as_of,
        lost_ms: undefined,
        tries: 0,
        heard_ms: Date.now(),
        ahead_ms: sections.status ? Date.now() - sections.status.now_ms : was.ahead_ms,
      }));
    };
    source.addEventListener("snapshot", take);
    source.addEventListener("changes", take);
    source.onerror = () => {
      lose();
      // The browser tries again by itself, unless the answer was no stream.
      if (source.readyState === EventSource.CLOSED) retry = setTimeout(() => setAttempt((n) => n + 1), RETRY_MS);
    };
    const watch = setInterval(() => {
      if (performance.now() - heard > every_s * 1000 + SILENCE_MS) lose();
    }, SILENCE_MS);
    return () => {
      source.close();
      clearInterval(watch);
      clearTimeout(retry);
    };
  }, [every_s, runs, seen, attempt]);
  return { ...live, again: () => setAttempt((n) => n + 1) };
}
