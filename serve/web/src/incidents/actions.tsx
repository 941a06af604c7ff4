// What people do with an incident. What is not possible yet says what is missing.

import { useState } from "preact/hooks";
import type { Domain, Incident } from "../api/types";
import { path, post, Problem } from "../api/get";

interface Properties {
  domain: Domain;
  incident: Incident;
  done: () => void;
}

const SHELVES = [30, 120, 480, 1440];

export function Actions({ domain, incident, done }: Properties) {
  const [actor, setActor] = useState(localStorage.getItem("actor") ?? "");
  const [comment, setComment] = useState("");
  const [assignee, setAssignee] = useState("");
  const [minutes, setMinutes] = useState(120);
  const [said, setSaid] = useState<{ text: string; error: boolean } | undefined>(undefined);
  const [busy, setBusy] = useState(false);
  const act = async (action: string, more: object, words: string) => {
    setBusy(true);
    localStorage.setItem("actor", actor);
    try {
      const where = path(`incidents/${encodeURIComponent(incident.incident_id)}/${action}`);
      await post(where, { ...(actor ? { actor } : {}), ...(comment ? { comment } : {}), ...more });
      setComment("");
      setSaid({ text: words, error: false });
      done();
    } catch (error) {
      setSaid({ text: error instanceof Problem ? error.message : "citytide does not answer", error: true });
    }
    setBusy(false);
  };
  if (incident.condition === "pending") return <p class="pad mut">It has not opened yet: there is nothing to do.</p>;
  const shelves = SHELVES.filter((one) => one <= domain.shelve_max_minutes);
  const empty = comment.trim() === "";
  return (
    <form class="acts" onSubmit={(event) => event.preventDefault()}>
      <label>
        Your name
        <input value={actor} maxLength={200} placeholder="the database role" onInput={(event) => setActor(event.currentTarget.value)} />
      </label>
      <label>
        Comment
        <textarea rows={2} value={comment} maxLength={2000} onInput={(event) => setComment(event.currentTarget.value)} />
      </label>
      <div class="row">
        <button class="btn" disabled={busy} onClick={() => act("acknowledge", {}, "Acknowledged.")}>
          Acknowledge
        </button>
        <button class="btn" disabled={busy || empty} title={empty ? "write a comment first" : undefined} onClick={() => act("comment", {}, "Said.")}>
          Comment
        </button>
        {incident.is_out_of_service ? (
          <button class="btn" disabled={busy} onClick={() => act("in", {}, "Back in service.")}>
            Back in service
          </button>
        ) : (
          <button class="btn" disabled={busy} onClick={() => act("out", {}, "Out of service.")}>
            Out of service
          </button>
        )}
      </div>
      <div class="row">
        <input aria-label="Assign to" placeholder="a name" maxLength={200} value={assignee} onInput={(event) => setAssignee(event.currentTarget.value)} />
        <button class="btn" disabled={busy} onClick={() => act("assign", assignee ? { assignee } : {}, assignee ? `Assigned to ${assignee}.` : "Assigned to nobody.")}>
          {assignee ? "Assign" : "Assign to nobody"}
        </button>
      </div>
      <div class="row">
        {incident.shelved_until ? (
          <button class="btn" disabled={busy} onClick={() => act("unshelve", {}, "No longer shelved.")}>
            End shelving
          </button>
        ) : (
          <>
            <select aria-label="Shelve for" value={String(minutes)} onChange={(event) => setMinutes(Number(event.currentTarget.value))}>
              {shelves.map((one) => (
                <option value={String(one)}>{one < 60 ? `${one} min` : `${one / 60} h`}</option>
              ))}
            </select>
            <button class="btn" disabled={busy || empty} title={empty ? "write a comment first" : undefined} onClick={() => act("shelve", { minutes }, "Shelved.")}>
              Shelve
            </button>
            {empty && <span class="fnt">shelving and comments need words</span>}
          </>
        )}
      </div>
      {said && (
        <p role="status" class={said.error ? "high" : "mut"}>
          {said.text}
        </p>
      )}
    </form>
  );
}
