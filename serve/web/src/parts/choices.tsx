// Choices that live in the address: a row of buttons, one pressed.

import { choose } from "../state/route";

interface Properties {
  label: string;
  name: string;
  /** Value and word; an empty value is the default. */
  options: [string, string][];
  chosen: string;
}

export function Choices({ label, name, options, chosen }: Properties) {
  return (
    <span class="seg s" role="group" aria-label={label}>
      {options.map(([value, word]) => (
        <button aria-pressed={chosen === value} onClick={() => choose({ [name]: value || undefined })}>
          {word}
        </button>
      ))}
    </span>
  );
}
