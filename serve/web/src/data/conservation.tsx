// What became of every offset, by partition: those that do not add up first.

import { path } from "../api/get";
import { count, length, ms, num } from "../parts/format";
import { Empty, Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { useAsk } from "../state/ask";
import type { Answer, Progress } from "./rows";

const PARTITIONS_MAX = 64;

const consumed = (row: Progress) => row.next_offset - row.first_offset;
const difference = (row: Progress) => consumed(row) - row.accepted - row.late - row.dead - row.lost - row.gaps;

export function Conservation({ tick, now_ms }: { tick: number; now_ms: number }) {
  const { answer, problem } = useAsk<Answer<Progress>>(path("progress", { limit: 10_000 }), tick);
  const rows = answer?.rows ?? [];
  const shown = [...rows].sort((a, b) => Number(a.holds) - Number(b.holds) || a.kafka_partition - b.kafka_partition);
  const sum = (of: (row: Progress) => number) => num(rows.reduce((all, row) => all + of(row), 0));
  const failing = rows.filter((row) => !row.holds).length;
  const head = failing
    ? `${count(failing, "partition")} with offsets that are not accounted for`
    : `${sum(consumed)} offsets consumed, every one accounted for`;
  const cells = shown.slice(0, PARTITIONS_MAX).map((row) => ({
    key: row.kafka_partition,
    cells: [
      String(row.kafka_partition),
      row.source,
      num(consumed(row)),
      num(row.accepted),
      num(row.late),
      num(row.dead),
      num(row.lost),
      num(row.gaps),
      <span class={row.holds ? "okc" : "high"}>{`${num(difference(row))} ${row.holds ? "✓" : "✗"}`}</span>,
      <span class="mono">{row.next_offset}</span>,
      `${row.watermark ? `${length(now_ms - ms(row.watermark))} ago` : "–"}${row.is_idle ? ", idle" : ""}`,
    ],
  }));
  const all = {
    key: "all",
    kind: "tot",
    cells: [
      "All",
      "",
      sum(consumed),
      sum((row) => row.accepted),
      sum((row) => row.late),
      sum((row) => row.dead),
      sum((row) => row.lost),
      sum((row) => row.gaps),
      sum(difference),
      "",
      "",
    ],
  };
  return (
    <Panel
      title="Conservation"
      sub={answer ? `${head}; consumed = accepted + late + dead letters + lost + gaps, as the view conservation says` : "\u00a0"}
      foot={rows.length > PARTITIONS_MAX && <span>{num(rows.length - PARTITIONS_MAX)} more partitions are in the sum</span>}
    >
      {problem && !answer && <Empty>{problem.message}</Empty>}
      {answer && rows.length === 0 && <Empty>No partition has been read yet.</Empty>}
      {rows.length > 0 && (
        <Table
          label="Conservation"
          heads={[
            "Partition",
            "Source",
            "#Consumed",
            "#Accepted",
            "#Late",
            "#Dead letters",
            "#Lost",
            "#Gaps",
            "#Difference",
            "#Next offset",
            "#Watermark",
          ]}
          rows={[...cells, all]}
        />
      )}
    </Panel>
  );
}
