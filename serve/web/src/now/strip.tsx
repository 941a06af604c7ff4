// The strip: each metric over all zones, or in the chosen one.

import type { Domain, Metrics, ZoneRow } from "../api/types";
import { hue, label, num, signed } from "../parts/format";
import { Spark } from "../parts/spark";
import { choose } from "../state/route";

interface Properties {
  domain: Domain;
  metrics: Metrics | undefined;
  zone: ZoneRow | undefined;
  chosen: string | null;
}

export function Strip({ domain, metrics, zone, chosen }: Properties) {
  const columns = Math.min(6, domain.metrics.length);
  return (
    <section class="kpis" aria-label="Metrics" style={{ "--columns": String(columns) }}>
      {domain.metrics.map((metric, index) => {
        const row = metrics?.rows[index];
        const shown = zone ? zone.avg?.[index] : row?.value;
        const usual = zone ? zone.typical?.[index]?.[0] : row?.typical;
        const highest = zone ? zone.max?.[index] : row?.max;
        return (
          <button
            class="kpi"
            aria-pressed={chosen === metric.name}
            onClick={() => choose({ metric: chosen === metric.name ? undefined : metric.name })}
          >
            <span class="k">
              {label(metric.name)}
              <span>{usual === undefined || usual === null ? "" : `typical ${num(usual, metric.decimals)}`}</span>
            </span>
            <span class="v">
              {num(shown, metric.decimals)}
              <small>{metric.unit}</small>
            </span>
            {zone ? (
              <span class="spark" />
            ) : (
              <Spark
                times={metrics?.times_ms ?? []}
                step={metrics?.step_ms ?? 60_000}
                values={row?.spark ?? []}
                typical={usual ?? null}
                hue={hue(index)}
              />
            )}
            <span class="x">
              <span>
                max {num(highest, metric.decimals)}
                <i> {zone ? "" : row?.max_zone}</i>
              </span>
              {!zone && row?.change !== null && row?.change !== undefined && (
                <span class="fnt">{signed(row.change, Math.max(1, metric.decimals))} in 1 h</span>
              )}
            </span>
          </button>
        );
      })}
    </section>
  );
}
