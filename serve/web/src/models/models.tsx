// Models: which one judges, which ones did, what each learnt from, and where a shadow would say something else.

import { path } from "../api/get";
import { count, ms, num, when } from "../parts/format";
import { Empty, Panel } from "../parts/panel";
import { Table } from "../parts/table";
import type { Answer } from "../data/rows";
import { useAsk } from "../state/ask";
import type { Live } from "../state/live";

interface Model {
  version: number;
  status: string;
  fitted_from: string;
  fitted_until: string;
  rows: number;
  parameters: Record<string, unknown>;
  figures: Record<string, unknown>;
  in_force_from_epoch: number | null;
  created_at: string;
}

interface Disagreement {
  version: number;
  zone: string;
  readings: number;
  flagged_by_both: number;
  only_in_force: number;
  only_shadow: number;
}

const STATES: Record<string, string> = { in_force: "in force", shadow: "shadow", retired: "retired" };

/** A figure by its name; a dash where the model has none. */
function figure(of: Record<string, unknown>, name: string, decimals: number): string {
  const value = of[name];
  return num(typeof value === "number" ? value : null, decimals);
}

export function Models({ live }: { live: Live }) {
  const tick = Math.floor(live.as_of / 10_000);
  const { answer, problem } = useAsk<Answer<Model>>(path("models", { limit: 50 }), tick);
  const asked = useAsk<Answer<Disagreement>>(path("model-disagreements"), tick);
  const now_ms = live.sections.status?.now_ms ?? Date.now();
  const force = answer?.rows.find((model) => model.status === "in_force");
  const models = (answer?.rows ?? []).map((model) => ({
    key: model.version,
    kind: model.status === "in_force" ? "chosen" : "",
    cells: [
      String(model.version),
      STATES[model.status] ?? model.status,
      `${when(ms(model.fitted_from), now_ms)} to ${when(ms(model.fitted_until), now_ms)}`,
      num(model.rows),
      `${figure(model.parameters, "trees", 0)} × ${figure(model.parameters, "rows_per_tree", 0)}`,
      figure(model.figures, "score_median", 3),
      figure(model.figures, "score_p95", 3),
      figure(model.figures, "score_p99", 3),
      <span class="mono">{model.in_force_from_epoch ?? "never"}</span>,
      when(ms(model.created_at), now_ms),
    ],
  }));
  const zones = (asked.answer?.rows ?? []).map((row) => ({
    key: `${row.version}.${row.zone}`,
    cells: [
      String(row.version),
      row.zone,
      num(row.readings),
      num(row.flagged_by_both),
      num(row.only_in_force),
      num(row.only_shadow),
    ],
  }));
  const judge = force ? `model ${force.version} is in force` : "rules alone judge";
  return (
    <div class="grid">
      <Panel
        title="Models"
        sub={answer ? `${judge}; ${count(answer.rows.length, "model")}, newest first; scores of the rows it was trained on` : "\u00a0"}
        foot={
          <span>
            To put one into force, or to go back to the one before: <code>citytide models promote</code>,{" "}
            <code>citytide models rollback</code>
          </span>
        }
      >
        {problem && !answer && <Empty>{problem.message}</Empty>}
        {answer && models.length === 0 && (
          <Empty>No model has been trained yet: the domain's rules and the baselines judge meanwhile.</Empty>
        )}
        {models.length > 0 && (
          <Table
            label="Models"
            heads={[
              "Version",
              "State",
              "Trained on",
              "#Rows",
              "#Trees × rows",
              "#Median score",
              "#95th of 100",
              "#99th of 100",
              "#In force from epoch",
              "#Made",
            ]}
            rows={models}
          />
        )}
      </Panel>
      <Panel
        title="Shadow and force"
        sub="readings that both judged, by zone, while a run asks a shadow model (citytide run --shadow VERSION)"
      >
        {asked.problem && !asked.answer && <Empty>{asked.problem.message}</Empty>}
        {asked.answer && zones.length === 0 && <Empty>No shadow model has been asked.</Empty>}
        {zones.length > 0 && (
          <Table
            label="Shadow and force"
            heads={["Shadow", "Zone", "#Readings", "#Flagged by both", "#Only in force", "#Only shadow"]}
            rows={zones}
          />
        )}
      </Panel>
    </div>
  );
}
