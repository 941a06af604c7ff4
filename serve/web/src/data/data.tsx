// Data: what became of every offset, what the readings lack, what is no reading, and who writes and follows.

import type { Domain } from "../api/types";
import { path } from "../api/get";
import { hms, length, ms, num, when } from "../parts/format";
import { Empty, Panel } from "../parts/panel";
import { Table } from "../parts/table";
import { useAsk } from "../state/ask";
import type { Live } from "../state/live";
import { Conservation } from "./conservation";
import { QualityPanel } from "./quality";
import type { Answer, Commit, Follower, Letter, Run } from "./rows";

/** Dead letters that are counted by reason. */
const LETTERS = 1_000;
/** A run whose heart has not beaten for so long is not alive. */
const HEART_MS = 5_000;

export function Data({ domain, live }: { domain: Domain; live: Live }) {
  const tick = Math.floor(live.as_of / 5000);
  const now_ms = live.sections.status?.now_ms ?? Date.now();
  return (
    <div class="grid">
      <Conservation tick={tick} now_ms={now_ms} />
      <QualityPanel domain={domain} tick={tick} />
      <Letters tick={tick} now_ms={now_ms} />
      <Commits tick={tick} now_ms={now_ms} />
      <Runs tick={tick} now_ms={now_ms} newest={live.as_of} />
    </div>
  );
}

function Letters({ tick, now_ms }: { tick: number; now_ms: number }) {
  const { answer, problem } = useAsk<Answer<Letter>>(path("dead-letters", { limit: LETTERS }), Math.floor(tick / 2));
  const reasons = new Map<string, Letter[]>();
  for (const letter of answer?.rows ?? []) reasons.set(letter.reason, [...(reasons.get(letter.reason) ?? []), letter]);
  const rows = [...reasons]
    .sort((a, b) => b[1].length - a[1].length)
    .flatMap(([reason, letters]) => {
      const [newest] = letters;
      if (!newest) return [];
      return {
        key: reason,
        cells: [
          reason.replaceAll("_", " "),
          num(letters.length),
          when(ms(newest.received_at), now_ms),
          newest.message,
          <bdi class="mono bytes">{`${newest.payload.slice(0, 80)}${newest.payload_bytes > 80 ? "…" : ""}`}</bdi>,
          <span class="mono">{`${newest.kafka_partition}, ${newest.kafka_offset}`}</span>,
        ],
      };
    });
  return (
    <Panel
      title="Dead letters"
      sub={`records that are not readings, by reason${answer?.next ? `, of the newest ${num(LETTERS)}` : ""}; the newest of each as it came`}
      tools={
        <a class="txt" href={path("dead-letters", { format: "csv", limit: 10_000 })} download>
          CSV
        </a>
      }
    >
      {problem && !answer && <Empty>{problem.message}</Empty>}
      {answer && rows.length === 0 && <Empty>Every record could be read.</Empty>}
      {rows.length > 0 && (
        <Table
          label="Dead letters"
          heads={["Reason", "#Count", "Last", "What was wrong", "Bytes as they came", "#Partition, offset"]}
          rows={rows}
        />
      )}
    </Panel>
  );
}

function Commits({ tick, now_ms }: { tick: number; now_ms: number }) {
  const { answer, problem } = useAsk<Answer<Commit>>(path("commits", { limit: 10 }), tick);
  const rows = (answer?.rows ?? []).map((row) => ({
    key: row.epoch,
    cells: [
      <span class="mono">{row.epoch}</span>,
      `${length(now_ms - ms(row.committed_at))} ago`,
      num(row.readings),
      row.watermark ? hms(ms(row.watermark)) : "–",
      String(row.run_id),
    ],
  }));
  return (
    <Panel title="Commits" sub="the newest ten; everything that is shown is as of one of them" wide="c6">
      {problem && !answer && <Empty>{problem.message}</Empty>}
      {answer && rows.length === 0 && <Empty>Nothing is committed yet.</Empty>}
      {rows.length > 0 && <Table label="Commits" heads={["Epoch", "#Committed", "#Readings", "#W", "#Run"]} rows={rows} />}
    </Panel>
  );
}

function Runs({ tick, now_ms, newest }: { tick: number; now_ms: number; newest: number }) {
  const runs = useAsk<Answer<Run>>(path("runs", { limit: 6 }), tick);
  const followers = useAsk<Answer<Follower>>(path("followers"), tick);
  const ended = (row: Run) => {
    if (row.ended_at) return `${when(ms(row.ended_at), now_ms)}, ${row.why ?? ""}`;
    if (now_ms - ms(row.heartbeat_at) < HEART_MS) return "alive";
    return `last alive ${when(ms(row.heartbeat_at), now_ms)}`;
  };
  const rows = (runs.answer?.rows ?? []).map((row) => ({
    key: row.run_id,
    cells: [
      String(row.run_id),
      row.host,
      `${row.processes} × ${row.workers}`,
      when(ms(row.started_at), now_ms),
      ended(row),
    ],
  }));
  const follow = (followers.answer?.rows ?? []).map((row) => ({
    key: row.name,
    cells: [row.name, <span class="mono">{row.epoch}</span>, length(newest - row.epoch)],
  }));
  return (
    <Panel title="Runs and followers" sub="who wrote, and who takes what is new" wide="c6">
      {runs.problem && !runs.answer && <Empty>{runs.problem.message}</Empty>}
      <Table label="Runs" heads={["Run", "Host", "#Processes × workers", "#Started", "Ended"]} rows={rows} />
      {follow.length > 0 && <Table label="Followers" heads={["Follower", "#Epoch", "#Behind"]} rows={follow} />}
      {followers.answer && follow.length === 0 && <Empty>No follower is registered.</Empty>}
    </Panel>
  );
}
