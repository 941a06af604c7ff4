// An answer of the API that is asked again when the address changes or a tick says so.

import { useEffect, useState } from "preact/hooks";
import { get, Problem } from "../api/get";

export interface Asked<T> {
  answer: T | undefined;
  problem: Problem | undefined;
}

/** Asks `where`; `undefined` asks nothing. The last answer stays until the next one is there. */
export function useAsk<T>(where: string | undefined, tick: unknown = 0): Asked<T> {
  const [asked, set] = useState<Asked<T> & { where: string | undefined }>({
    answer: undefined,
    problem: undefined,
    where,
  });
  useEffect(() => {
    if (where === undefined) return undefined;
    const abort = new AbortController();
    get<T>(where, abort.signal).then(
      (answer) => set({ answer, problem: undefined, where }),
      (error: unknown) => {
        if (error instanceof Problem) set((was) => ({ ...was, problem: error, where }));
      },
    );
    return () => abort.abort();
  }, [where, tick]);
  return asked;
}
