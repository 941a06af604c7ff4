// The zones, where the domain file puts them: hexes, or small tiles when they are many.

import type { Domain, Incident, Metric, Zones, ZoneRow } from "../api/types";
import { hue, num, typical } from "../parts/format";
import { Mark } from "../parts/marks";
import { decimals, ticks } from "../parts/scale";
import { useSize } from "../parts/size";
import { choose } from "../state/route";

/** More zones than these are tiles. */
const HEXES_MAX = 24;
const STEPS = 5;

interface Properties {
  domain: Domain;
  zones: Zones;
  metric: Metric;
  index: number;
  incidents: Incident[];
  chosen: string | null;
}

interface Place {
  row: ZoneRow;
  column: number;
  line: number;
}

/** Column and line of each zone: lines count half hexes, and odd columns have odd ones or even ones throughout. */
export function places(rows: ZoneRow[]): Place[] {
  const named = rows.filter((row) => row.map);
  const parity = new Set(named.map((row) => (row.map![0] + row.map![1]) & 1));
  const unique = new Set(named.map((row) => row.map!.join()));
  const fits = named.length > 0 && named.length === unique.size;
  const across = Math.max(1, Math.ceil(Math.sqrt(rows.length * 1.2)));
  if (!fits) {
    return rows.map((row, index) => {
      const column = index % across;
      return { row, column, line: Math.floor(index / across) * 2 + (column & 1) };
    });
  }
  // Lines of one parity are half hexes already; else they are whole ones, and odd columns hang half a hex lower.
  const line = (column: number, given: number) => (parity.size === 1 ? given : given * 2 + (column & 1));
  const placed = named.map((row) => ({ row, column: row.map![0], line: line(row.map![0], row.map![1]) }));
  const left = Math.min(...placed.map((place) => place.column));
  const top = Math.min(...placed.map((place) => place.line));
  const bottom = Math.max(...placed.map((place) => place.line)) - top;
  const others = rows.filter((row) => !row.map).map((row, index) => {
    const column = index % across;
    return { row, column: column + left, line: top + bottom + 2 + Math.floor(index / across) * 2 + (column & 1) };
  });
  return [...placed, ...others].map((place) => ({ ...place, column: place.column - left, line: place.line - top }));
}

/** Four thresholds that tell the values apart. */
export function thresholds(values: number[]): number[] {
  if (values.length === 0) return [];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) return [];
  const inner = ticks(low, high, STEPS).filter((tick) => tick > low && tick <= high);
  return inner.slice(0, STEPS - 1);
}

const worst = (incidents: Incident[], zone: string, metric: string | null) =>
  incidents.find((incident) => incident.zone === zone && (!metric || incident.metric === metric));

export function ZoneMap({ domain, zones, metric, index, incidents, chosen }: Properties) {
  const [element, width, height] = useSize<HTMLDivElement>();
  const value = (row: ZoneRow) => row.avg?.[index] ?? null;
  const steps = thresholds(zones.rows.map(value).filter((one): one is number => one !== null));
  const colour = hue(domain.metrics.indexOf(metric));
  const fill = (of: number | null) => {
    if (of === null) return "url(#nothing)";
    const step = steps.filter((one) => of >= one).length + 1;
    return `color-mix(in srgb, ${colour} var(--s${step}), var(--panel))`;
  };
  const pick = (zone: string) => choose({ zone: chosen === zone ? undefined : zone });
  const aria = (row: ZoneRow) => {
    const usual = row.typical?.[index];
    const open = worst(incidents, row.zone, null);
    const shown = value(row) === null ? "no readings" : num(value(row), metric.decimals);
    return `${row.zone}: ${shown}${usual ? `, typical ${typical(metric, usual)}` : ""}${open ? `, incident ${open.severity}` : ""}`;
  };
  const dim = (row: ZoneRow) => (chosen && chosen !== row.zone ? " dim" : "");
  // The words on a zone lie beside what is pressed: its name says them in an order that can be heard.
  const words = (row: ZoneRow) => ({ class: `zone-words${dim(row)}`, "aria-hidden": true });
  const common = (row: ZoneRow) => ({
    "data-zone": row.zone,
    class: `zone${dim(row)}${chosen === row.zone ? " chosen" : ""}`,
    // Attributes of SVG are told apart by case: as tabIndex no key reaches it.
    tabindex: 0,
    role: "button" as const,
    "aria-pressed": chosen === row.zone,
    "aria-label": aria(row),
    onClick: () => pick(row.zone),
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      pick(row.zone);
    },
  });
  const shown = zones.rows.length <= HEXES_MAX ? hexes() : tiles();
  return (
    <>
      <div class="plot map" ref={element}>
        {width > 0 && (
          <svg width={width} height={height} role="group" aria-label={`Zones, ${metric.name}`}>
            {shown}
          </svg>
        )}
      </div>
      {steps.length > 0 && (
        <div class="legend" aria-hidden="true">
          {Array.from({ length: steps.length + 1 }, (_, step) => (
            <span>
              <i style={{ background: `color-mix(in srgb, ${colour} var(--s${step + 1}), var(--panel))` }} />
              {step === 0 ? `below ${num(steps[0], decimals(steps))}` : `from ${num(steps[step - 1], decimals(steps))}`}
            </span>
          ))}
        </div>
      )}
    </>
  );

  function hexes() {
    const all = places(zones.rows);
    const across = Math.max(...all.map((place) => place.column)) + 1;
    const down = Math.max(...all.map((place) => place.line)) + 2;
    const half = Math.sqrt(3) / 2;
    const r = Math.max(8, Math.min((width - 2) / (1.5 * across + 0.5), (height - 2) / (down * half)));
    const [left, top] = [(width - (1.5 * across + 0.5) * r) / 2, (height - down * half * r) / 2];
    // Marks lie above all hexes.
    const marks = all.map(({ row, column, line }) => {
      const open = worst(incidents, row.zone, null);
      const [x, y] = [left + r + column * 1.5 * r, top + (line + 1) * half * r];
      return open ? (
        <g class="on-top">
          <circle cx={x + r * 0.5} cy={y - r * 0.72} r={r < 58 ? 8 : 10} fill="var(--panel)" stroke={`var(--${open.severity})`} />
          <Mark of={open.severity} x={x + r * 0.5} y={y - r * 0.72} r={r < 58 ? 4 : 5} />
        </g>
      ) : null;
    });
    const shapes = all.map(({ row, column, line }) => {
      const [x, y] = [left + r + column * 1.5 * r, top + (line + 1) * half * r];
      const corner = (turn: number) => {
        const angle = (turn * Math.PI) / 3;
        return `${(x + (r - 2.5) * Math.cos(angle)).toFixed(1)} ${(y + (r - 2.5) * Math.sin(angle)).toFixed(1)}`;
      };
      const usual = row.typical?.[index];
      const small = r < 58;
      const lines = small && row.zone.length > 9 ? broken(row.zone, 12) : [cut(row.zone, Math.floor(r / 3.2))];
      const first = y - (small ? 8 + lines.length * 6 : 19);
      return (
        <>
          <g {...common(row)}>
            <path d={`M${[0, 1, 2, 3, 4, 5].map(corner).join("L")}Z`} fill={fill(value(row))} />
          </g>
          <g {...words(row)}>
            {r > 26 &&
              lines.map((text, line) => (
                <text x={x} y={first + line * 12} text-anchor="middle" class="name" style={{ fontSize: small ? "10.5px" : "12px" }}>
                  {text}
                </text>
              ))}
            {r > 20 && (
              <text x={x} y={y + (small ? 12 : 11)} text-anchor="middle" class="figure" style={{ fontSize: small ? "16px" : "23px" }}>
                {num(value(row), metric.decimals)}
              </text>
            )}
            {usual && r > 40 && (
              <text x={x} y={y + (small ? 25 : 29)} text-anchor="middle" class="v" style={{ fontSize: small ? "10px" : "11px" }}>
                {small ? `typ. ${num(usual[0], metric.decimals)}` : `typical ${typical(metric, usual)}`}
              </text>
            )}
          </g>
        </>
      );
    });
    return [...shapes, ...marks];
  }

  function tiles() {
    const all = zones.rows;
    const across = Math.ceil(Math.sqrt((all.length * width) / height));
    const down = Math.ceil(all.length / across);
    const [w, h] = [width / across, height / down];
    return all.map((row, place) => {
      const [x, y] = [(place % across) * w, Math.floor(place / across) * h];
      const open = worst(incidents, row.zone, null);
      return (
        <>
          <g {...common(row)}>
            <rect x={x + 1} y={y + 1} width={Math.max(1, w - 2)} height={Math.max(1, h - 2)} rx="3" fill={fill(value(row))} />
            <title>{aria(row)}</title>
          </g>
          <g {...words(row)}>
            {w > 30 && h > 16 && (
              <text x={x + w / 2} y={y + h / 2 + 4} text-anchor="middle" class="v">
                {num(value(row), metric.decimals)}
              </text>
            )}
            {open && <Mark of={open.severity} x={x + w - 8} y={y + 9} r={3.4} />}
          </g>
        </>
      );
    });
  }
}

function cut(text: string, longest: number): string {
  return text.length > longest ? `${text.slice(0, Math.max(1, longest - 1))}…` : text;
}

/** Two lines at most. */
function broken(text: string, longest: number): string[] {
  const [first = "", ...rest] = text.split(" ");
  return (rest.length ? [first, rest.join(" ")] : [first]).map((one) => cut(one, longest));
}
