// Where the reader is: the path names the page, the query string what is chosen on it. Back works.

import { useEffect, useState } from "preact/hooks";

export interface Route {
  /** The parts of the path; none is the page Now. */
  parts: string[];
  query: URLSearchParams;
}

export function read(): Route {
  const parts = location.pathname.split("/").filter(Boolean).map(decodeURIComponent);
  return { parts, query: new URLSearchParams(location.search) };
}

/** Another path, or other choices: an undefined one is dropped. Choices that are not named stay. */
export function href(path: string, changes: Record<string, string | undefined> = {}): string {
  const query = new URLSearchParams(location.search);
  for (const [key, value] of Object.entries(changes)) {
    if (value === undefined) query.delete(key);
    else query.set(key, value);
  }
  const text = query.toString();
  return path + (text ? `?${text}` : "");
}

export function go(where: string): void {
  history.pushState(null, "", where);
  dispatchEvent(new PopStateEvent("popstate"));
}

/** Changes what is chosen on this page. */
export function choose(changes: Record<string, string | undefined>): void {
  go(href(location.pathname, changes));
}

export function useRoute(): Route {
  const [route, set] = useState(read);
  useEffect(() => {
    const changed = () => set(read());
    // Links of this page are followed here.
    const clicked = (event: MouseEvent) => {
      const link = event.target instanceof Element ? event.target.closest("a") : null;
      const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
      const ours = link && link.origin === location.origin && !link.target && !link.hasAttribute("download");
      if (!plain || !ours || link.pathname.startsWith("/api/") || link.hash || event.defaultPrevented) return;
      event.preventDefault();
      const other = link.pathname !== location.pathname;
      go(link.pathname + link.search);
      if (other) scrollTo(0, 0);
    };
    addEventListener("popstate", changed);
    document.addEventListener("click", clicked);
    return () => {
      removeEventListener("popstate", changed);
      document.removeEventListener("click", clicked);
    };
  }, []);
  return route;
}
