// The first sentence of the page, from what is known. Pure.

import type { Sections } from "../api/types";
import { hm, length, num, short } from "../parts/format";

export interface Sentence {
  sign: "ok" | "warn" | "stop" | "idle";
  parts: string[];
  sub: string;
  /** Words for the banner: what is shown, and what to do. */
  banner?: { head: string; text: string; error: boolean };
}

/** What is lost, or that nothing is. */
export function kept(status: NonNullable<Sections["status"]>): { text: string; bad: boolean } {
  const [first] = status.unaccounted;
  if (first) return { text: `partition ${first[0]}: ${num(first[1])} offsets unaccounted for`, bad: true };
  if (status.lost > 0) return { text: `${num(status.lost)} records deleted by Kafka before they were read`, bad: true };
  return { text: "nothing lost", bad: false };
}

export function sentence(
  sections: Sections,
  contact: { lost_ms: number | undefined; tries: number },
): Sentence {
  const { status, away } = sections;
  if (contact.lost_ms !== undefined) {
    const since = hm(contact.lost_ms);
    return {
      sign: "stop",
      parts: [`No contact with citytide since ${since}`, "the page shows what it had then"],
      sub: "Whether readings are behind is not known from here",
      banner: {
        head: `This address does not answer, ${contact.tries === 1 ? "1 try" : `${contact.tries} tries`}.`,
        text: "Check that citytide serve, or the run with --serve, is still there. What is committed in PostgreSQL stays readable with psql. The page tries again by itself.",
        error: true,
      },
    };
  }
  if (!status) {
    if (!away) return { sign: "idle", parts: ["Reading the last hour"], sub: "" };
    return { ...unreachable(away, undefined), parts: [`PostgreSQL unreachable since ${hm(away.since_ms)}`] };
  }
  if (away) return unreachable(away, status.committed_ms ?? undefined);
  const lost = kept(status);
  const committed = status.committed_ms === null ? "" : `Committed ${length(status.now_ms - status.committed_ms)} ago`;
  const sub = [committed, `${num(status.partitions)} partition${status.partitions === 1 ? "" : "s"}`, `run ${status.run_id ?? "–"}`];
  const ordered = (...parts: string[]) => (lost.bad ? [lost.text, ...parts] : [...parts, lost.text]);
  const rate = `${short(status.readings_per_s)} readings/s`;
  const behind = `${length(status.behind_ms ?? 0)} behind`;
  const common = { sub: sub.filter(Boolean).join(" · ") };
  switch (status.phase) {
    case "live":
      return { ...common, sign: lost.bad ? "stop" : "ok", parts: ordered("Caught up", behind, rate) };
    case "catching_up":
      return { ...common, sign: lost.bad ? "stop" : "warn", parts: ordered("Catching up", behind, rate) };
    case "quiet":
      return {
        ...common,
        sign: lost.bad ? "stop" : "warn",
        parts: ordered(`No readings since ${hm(status.read_ms ?? status.now_ms)}`, "the run is alive and waits"),
      };
    case "no_run":
      return {
        ...common,
        sign: lost.bad ? "stop" : "warn",
        parts: ordered(`No run since ${hm(status.alive_ms ?? status.now_ms)}`, "what is committed is shown"),
        banner: {
          head: `The page shows the city as of ${hm(status.committed_ms ?? status.now_ms)}.`,
          text: "Readings wait in Kafka for as long as the topic keeps them. Start a run to go on: make run, or citytide run. It resumes after the last commit.",
          error: false,
        },
      };
    case "empty":
      return { ...common, sign: "idle", parts: ["Ready", "no reading is committed yet"] };
  }
}

function unreachable(away: { since_ms: number; reason: string }, committed_ms: number | undefined): Sentence {
  const shown = committed_ms === undefined ? "Nothing could be read yet." : `The page shows the city as of ${hm(committed_ms)}.`;
  return {
    sign: "warn",
    parts: [`PostgreSQL unreachable since ${hm(away.since_ms)}`, "the page shows what it had then"],
    sub: "Tried again every few seconds",
    banner: {
      head: shown,
      text: `${away.reason}. A run goes on by itself when PostgreSQL answers, from its last commit; so does this page.`,
      error: false,
    },
  };
}
