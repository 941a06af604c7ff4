// What the readings of the last hour lack, by zone.

import type { Domain } from "../api/types";
import { path } from "../api/get";
import { label, num } from "../parts/format";
import { Empty, Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { useAsk } from "../state/ask";
import type { Answer, Quality } from "./rows";

export function QualityPanel({ domain, tick }: { domain: Domain; tick: number }) {
  const { answer, problem } = useAsk<Answer<Quality>>(path("quality", { limit: 10_000 }), Math.floor(tick / 6));
  const zones = new Map<string, Quality[]>();
  for (const row of answer?.rows ?? []) {
    // Dead letters belong to no zone: they have a panel of their own.
    if (row.zone !== "") zones.set(row.zone, [...(zones.get(row.zone) ?? []), row]);
  }
  const sum = (rows: Quality[], name: string) => rows.reduce((all, row) => all + Number(row[name] ?? 0), 0);
  const most = (rows: Quality[], prefix: string) => {
    const found = domain.metrics.map((metric) => ({ metric, number: sum(rows, `${prefix}_${metric.name}`) }));
    const [first] = found.sort((a, b) => b.number - a.number);
    return first && first.number > 0 ? `${label(first.metric.name)}, ${num(first.number)}` : "none";
  };
  const rows = [...zones].map(([zone, minutes]) => {
    const known = minutes.filter((minute) => minute.expected !== null);
    const share = sum(known, "readings") / sum(known, "expected");
    return {
      key: zone,
      cells: [
        zone,
        num(sum(minutes, "readings")),
        Number.isFinite(share) ? `${num(share * 100, 1)}\u202f%` : "–",
        num(sum(minutes, "late")),
        most(minutes, "nulls"),
        most(minutes, "out_of_range"),
      ],
    };
  });
  return (
    <Panel
      title="Data quality"
      sub={`by zone, the last hour${answer?.next ? " in part" : ""}; expected: the median minute of the hour before each`}
      tools={
        <a class="txt" href={path("quality", { format: "csv", limit: 10_000 })} download>
          CSV
        </a>
      }
    >
      {problem && !answer && <Empty>{problem.message}</Empty>}
      {answer && rows.length === 0 && <Empty>No reading in the last hour.</Empty>}
      {rows.length > 0 && (
        <Table
          label="Data quality"
          heads={["Zone", "#Readings", "#Of expected", "#Late", "Most often missing", "Most often out of its usual range"]}
          rows={rows}
        />
      )}
    </Panel>
  );
}
