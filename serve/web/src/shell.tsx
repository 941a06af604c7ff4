// What is around every page: where one can go, how live it is, what is chosen.

import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import type { Domain } from "./api/types";
import { day, hms, label } from "./parts/format";
import type { Live } from "./state/live";
import { choose, href, type Route } from "./state/route";

/** The pages, by the first part of their path. */
export const PAGES: [string, string][] = [
  ["", "Now"],
  ["incidents", "Incidents"],
  ["charts", "Charts"],
  ["models", "Models"],
  ["data", "Data"],
];
const INTERVALS = [1, 2, 5, 10, 20, 30];

export type Theme = "light" | "dark";

/** What the reader chose, else what the system says. */
export function theme(route: Route): Theme {
  const chosen = route.query.get("theme") ?? localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") return chosen;
  return matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
}

interface Properties {
  domain: Domain | undefined;
  live: Live;
  route: Route;
  paused: boolean;
  pause: (paused: boolean) => void;
  every: number;
  zones: string[];
  children: ComponentChildren;
}

export function Shell({ domain, live, route, paused, pause, every, zones, children }: Properties) {
  const here = route.parts[0] ?? "";
  const shade = theme(route);
  useEffect(() => {
    document.documentElement.dataset.theme = shade;
  }, [shade]);
  // The system may turn from light to dark while nothing else changes.
  const [, turned] = useState(0);
  useEffect(() => {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const changed = () => turned((times) => times + 1);
    system.addEventListener("change", changed);
    return () => system.removeEventListener("change", changed);
  }, []);
  const other: Theme = shade === "dark" ? "light" : "dark";
  const turn = () => {
    localStorage.setItem("theme", other);
    choose({ theme: route.query.has("theme") ? other : undefined });
    document.documentElement.dataset.theme = other;
  };
  const waits = live.lost_ms !== undefined || !!live.sections.away;
  return (
    <>
      <a class="skip" href="#main">
        Skip to the page
      </a>
      <svg width="0" height="0" class="defs" aria-hidden="true">
        <defs>
          <pattern id="hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect width="5" height="5" fill="var(--panel)" />
            <path d="M0 0V5" stroke="var(--hatch)" stroke-width="1.3" />
          </pattern>
          <pattern id="nothing" width="4" height="4" patternUnits="userSpaceOnUse">
            <rect width="4" height="4" fill="var(--panel)" />
            <circle cx="1" cy="1" r=".8" fill="var(--hatch)" />
            <circle cx="3" cy="3" r=".8" fill="var(--hatch)" />
          </pattern>
        </defs>
      </svg>
      <header class="top">
        <div class="bar a">
          <a class="brand" href={href("/")} aria-label="citytide">
            <svg width="22" height="18" aria-hidden="true" fill="none" stroke-linecap="round" stroke-width="2" stroke="var(--accent)">
              <path d="M1.5 4.500c3-3 6-3 9.500 0s6.500 3 9.500 0" opacity=".45" />
              <path d="M1.500 9.500c3-3 6-3 9.500 0s6.500 3 9.500 0" opacity=".75" />
              <path d="M1.500 14.500c3-3 6-3 9.500 0s6.500 3 9.500 0" />
            </svg>
            <span>citytide</span>
          </a>
          <nav aria-label="Pages">
            {PAGES.map(([path, name]) => (
              <a href={href(`/${path}`)} aria-current={here === path ? "page" : undefined}>
                {name}
              </a>
            ))}
          </nav>
          <span class="sp" />
          <Clock ahead_ms={live.ahead_ms} />
          <button class="ctl live" aria-pressed={!paused} onClick={() => pause(!paused)}>
            <i class={waits ? "waits" : paused ? "paused" : "runs"} />
            {waits ? "Waiting" : paused ? "Paused" : "Live"}
          </button>
          <label class="ctl iv">
            every{" "}
            <select
              aria-label="Interval"
              value={String(every)}
              onChange={(event) => choose({ every: event.currentTarget.value === "1" ? undefined : event.currentTarget.value })}
            >
              {INTERVALS.map((seconds) => (
                <option value={String(seconds)}>{seconds === 1 ? "second" : `${seconds} s`}</option>
              ))}
            </select>
          </label>
          <button class="ctl icon" aria-label={`Theme: ${shade}; switch to ${other}`} onClick={turn}>
            <svg width="15" height="15" aria-hidden="true">
              <circle cx="7.500" cy="7.500" r="5.800" fill="none" stroke="currentColor" stroke-width="1.400" />
              <path d="M7.500 1.700a5.800 5.800 0 0 1 0 11.600z" fill="currentColor" />
            </svg>
          </button>
        </div>
        {FILTERED.includes(here) && route.parts.length < 2 && (
          <div class="bar b">{domain && <Filters domain={domain} route={route} zones={zones} />}</div>
        )}
      </header>
      <main id="main" tabIndex={-1} class={waits ? "stale" : ""}>
        {children}
      </main>
    </>
  );
}

/** Pages that obey the choice of zone and metric. */
const FILTERED = ["", "incidents", "charts"];

/** The server's time. */
function Clock({ ahead_ms }: { ahead_ms: number }) {
  const [now, set] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => set(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  return <span class="fnt clock">{`${day(now - ahead_ms)}, ${hms(now - ahead_ms)} UTC`}</span>;
}

function Filters({ domain, route, zones }: { domain: Domain; route: Route; zones: string[] }) {
  const zone = route.query.get("zone");
  const metric = route.query.get("metric");
  return (
    <>
      <label class="ctl">
        <span class="fnt">Zone</span>
        <select
          aria-label="Zone"
          value={zone ?? ""}
          onChange={(event) => choose({ zone: event.currentTarget.value || undefined })}
        >
          <option value="">{`All ${zones.length}`}</option>
          {zones.map((name) => (
            <option value={name}>{name}</option>
          ))}
        </select>
      </label>
      <span class="seg" role="group" aria-label="Metric">
        <button aria-pressed={!metric} onClick={() => choose({ metric: undefined })}>
          All
        </button>
        {domain.metrics.map((one) => (
          <button aria-pressed={metric === one.name} onClick={() => choose({ metric: one.name })}>
            {label(one.name)}
          </button>
        ))}
      </span>
    </>
  );
}
