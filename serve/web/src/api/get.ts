// Asking the API. What goes wrong comes as a Problem with words that can be shown.

export class Problem extends Error {
  constructor(
    readonly status: number,
    detail: string,
  ) {
    super(detail);
  }
}

async function problem(response: Response): Promise<Problem> {
  try {
    const body = (await response.json()) as { detail?: string };
    return new Problem(response.status, body.detail ?? response.statusText);
  } catch {
    return new Problem(response.status, response.statusText);
  }
}

/** A path below /api/v1/ with its query string. */
export function path(name: string, parameters: Record<string, string | number | string[] | undefined> = {}): string {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries(parameters)) {
    if (value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) query.append(key, String(one));
  }
  const text = query.toString();
  return `/api/v1/${name}${text ? `?${text}` : ""}`;
}

export async function get<T>(where: string, signal?: AbortSignal): Promise<T> {
  let response: Response;
  try {
    response = await fetch(where, signal ? { signal } : {});
  } catch (error) {
    if (error instanceof DOMException) throw error;
    throw new Problem(0, "citytide does not answer at this address");
  }
  if (response.status === 401) location.assign("/login");
  if (!response.ok) throw await problem(response);
  return (await response.json()) as T;
}

/** Does something; the header is one that no other site can send. */
export async function post<T>(where: string, body: object): Promise<T> {
  const response = await fetch(where, {
    method: "POST",
    headers: { "content-type": "application/json", "x-citytide": "1" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw await problem(response);
  return (await response.json()) as T;
}
