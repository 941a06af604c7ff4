// A table inside a panel: heads, and rows of cells. A head that begins with # is that of numbers.

import type { ComponentChildren } from "preact";
import { Scroll } from "./panel";

interface Properties {
  label: string;
  heads: string[];
  rows: { key: string | number; kind?: string; cells: ComponentChildren[] }[];
}

export function Table({ label, heads, rows }: Properties) {
  const numbers = heads.map((head) => head.startsWith("#"));
  return (
    <Scroll label={label}>
      <table>
        <thead>
          <tr>
            {heads.map((head, column) => (
              <th class={numbers[column] ? "n" : ""}>{head.replace("#", "")}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={row.key} class={row.kind ?? ""}>
              {row.cells.map((cell, column) => (
                <td class={numbers[column] ? "n" : ""}>{typeof cell === "string" ? <bdi>{cell}</bdi> : cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Scroll>
  );
}
