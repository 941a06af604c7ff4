// A panel: its title names the thing, its subtitle gives unit, span and what each mark means.

import type { ComponentChildren } from "preact";

interface Properties {
  title: string;
  sub?: ComponentChildren;
  wide?: string;
  tools?: ComponentChildren;
  foot?: ComponentChildren;
  children: ComponentChildren;
}

export function Panel({ title, sub, wide = "c12", tools, foot, children }: Properties) {
  return (
    <section class={`panel ${wide}`} aria-label={title}>
      <header>
        <div>
          <h2>{title}</h2>
          {sub !== undefined && <p>{sub}</p>}
        </div>
        {tools && <div class="tools">{tools}</div>}
      </header>
      {children}
      {foot && <div class="foot">{foot}</div>}
    </section>
  );
}

/** One sentence where there is nothing to show: what, why, what next. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <div class="empty">{children}</div>;
}

/** A table that scrolls inside its panel, which the keyboard reaches. */
export function Scroll({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="pad" role="region" aria-label={label} tabIndex={0}>
      {children}
    </div>
  );
}
