// A domain of forty metrics and two hundred zones, some named in Arabic, with markup and as a formula.
import { base, done, expect, fail, look, open, pages, PHONE, until, WIDE } from "./browser.mjs";

const MARKUP = "<script>alert(1)</script>";
const ARABIC = "مدينة الأعمال";
for (const [name, path] of await pages()) {
  const page = await open(path);
  await look(page, `odd-${name}`, [WIDE], ["light"]);
  await look(page, `odd-${name}`, [PHONE], ["dark"]);
  await page.context().close();
}
const page = await open("/charts");
for (const zone of [MARKUP, ARABIC, "=cmd()"]) {
  await page.getByLabel("Zone", { exact: true }).selectOption(zone);
  await until(page, `the windows of ${zone}`, (zone) => [...document.querySelectorAll("h2")].some((one) => one.textContent === `Windows of ${zone}`), zone);
  expect(new URL(page.url()).searchParams.get("zone") === zone, `${zone} is in the address`);
}
await page.reload();
await until(page, "the zone stays chosen", () => document.body.textContent.includes("Windows of =cmd()"));
await page.goto(base);
await until(page, "two hundred zones are on the map", () => document.querySelectorAll("[data-zone]").length >= 200);
const bold = await page.evaluate(() => document.querySelectorAll("main script, main b[onclick]").length);
expect(bold === 0, "markup of a name is text");
const csv = await (await fetch(`${base}/api/v1/windows?format=csv&zone=${encodeURIComponent("=cmd()")}`)).text();
if (!csv.includes(`,"'=cmd()",`)) fail(`a formula in CSV: ${csv.slice(0, 300)}`);
await done();
