// Every page in both themes and at both widths, over a city that lives.
import { done, look, open, pages } from "./browser.mjs";

for (const [name, path] of await pages()) {
  const page = await open(path);
  await look(page, name);
  await page.context().close();
}
await done();
