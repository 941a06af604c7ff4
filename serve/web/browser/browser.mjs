// A browser over the page, and what holds on every page whatever it shows. What fails is collected and told at the end.
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"];
/** Everything that a scenario may take: the test that started it has no other bound. */
const LIMIT_MS = 240_000;

export const base = process.argv[2];
export const WIDE = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };
const wrong = [];
const shots = process.env.CITYTIDE_SHOTS;
if (shots) mkdirSync(shots, { recursive: true });

/** Says that something does not hold. */
export function fail(what) {
  console.log(`✗ ${what}`);
  wrong.push(what);
}

export function expect(holds, what) {
  if (!holds) fail(what);
}

/** Waits until `holds` of the page is true; fails with `what` otherwise. */
export async function until(page, what, holds, argument, limit_ms = 20_000) {
  await page
    .waitForFunction(holds, argument, { timeout: limit_ms, polling: 50 })
    .catch(() => fail(`${what}: in vain, on ${page.url()}`));
}

const browser = await chromium.launch({
  executablePath: process.env.CITYTIDE_BROWSER,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const watchdog = setTimeout(() => {
  console.log(`✗ not done after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS);


/** What each page has asked the API and not been answered yet. */
const pending = new WeakMap();
/** A page that tells what goes wrong in it; `expected` are console errors that belong to what is tried. */
export async function open(path, { size = WIDE, scheme = "light", expected = /^$/, ready = true } = {}) {
  const context = await browser.newContext({ viewport: size, colorScheme: scheme, acceptDownloads: true });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (message.type() === "error" && !expected.test(message.text())) fail(`console on ${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => fail(`error on ${page.url()}: ${error.stack}`));
  page.on("dialog", (dialog) => {
    fail(`a dialog on ${page.url()}: ${dialog.message()}`);
    void dialog.dismiss();
  });
  const asks = new Set();
  const isAsked = (request) => request.url().includes("/api/") && !request.url().includes("/stream");
  page.on("request", (request) => isAsked(request) && asks.add(request));
  for (const end of ["requestfinished", "requestfailed"]) page.on(end, (request) => asks.delete(request));
  pending.set(page, asks);
  await page.goto(base + path, { waitUntil: "domcontentloaded" });
  if (ready) await settled(page);
  return page;
}

/** Waits until the page shows what it has: the first snapshot is there, and no panel asks. */
export async function settled(page) {
  await until(
    page,
    "the page shows something",
    () => document.querySelector(".status[aria-busy=false]") && document.querySelector("main table, main svg[role], main .empty"),
  );
  for (let quiet = 0, turns = 0; quiet < 3 && turns < 200; turns++) {
    await page.waitForTimeout(50);
    quiet = pending.get(page).size === 0 ? quiet + 1 : 0;
  }
}

/** Which pages there are: an incident and a sensor are those that the API names first. */
export async function pages() {
  const ask = async (path) => (await (await fetch(`${base}/api/v1/${path}`)).json()).rows;
  const [incident] = await ask("incidents?condition=open&limit=1");
  const [anomaly] = await ask("anomalies?limit=1");
  return Object.entries({
    now: "/",
    incidents: "/incidents",
    incident: incident && `/incidents/${encodeURIComponent(incident.incident_id)}`,
    charts: "/charts",
    models: "/models",
    data: "/data",
    sensor: anomaly && `/sensors/${encodeURIComponent(anomaly.sensor_id)}`,
  }).filter(([name, path]) => path || fail(`there is no ${name} to show`));
}

/** What holds on every page: no violation, nothing wider than the screen, no word of a program. */
export async function judge(page, name) {
  await page.evaluate(axe);
  const violations = await page.evaluate(
    async (rules) => (await window.axe.run({ runOnly: { type: "tag", values: rules }, resultTypes: ["violations"] })).violations,
    RULES,
  );
  for (const { id, help, nodes } of violations) {
    const [node] = nodes;
    fail(`${name}: ${id}: ${help}: ${nodes.length}, as ${node.html.slice(0, 200)} ${node.any[0]?.message ?? ""}`);
  }
  const over = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return undefined;
    const wide = [...document.querySelectorAll("main *")].filter((one) => one.getBoundingClientRect().right > width + 1);
    return `${document.documentElement.scrollWidth} of ${width}: ${wide.slice(0, 3).map((one) => one.outerHTML.slice(0, 90))}`;
  });
  expect(!over, `${name}: wider than the screen: ${over}`);
  const shown = await page.evaluate(() => document.body.innerText);
  const odd = /\b(NaN|undefined|Infinity|null)\b|\[object/.exec(shown);
  expect(!odd, `${name} says ${odd?.[0]}: ${shown.slice(Math.max(0, (odd?.index ?? 0) - 40), (odd?.index ?? 0) + 40)}`);
  if (shots) await page.screenshot({ path: `${shots}/${name}.png`, fullPage: true });
}

/** In which of the two themes and widths a page is looked at. */
export async function look(page, name, sizes = [WIDE, PHONE], schemes = ["light", "dark"]) {
  for (const size of sizes) {
    for (const scheme of schemes) {
      await page.setViewportSize(size);
      await page.emulateMedia({ colorScheme: scheme });
      await until(page, `${name} becomes ${scheme}`, (scheme) => document.documentElement.dataset.theme === scheme, scheme);
      await page.waitForTimeout(100);
      await judge(page, `${name}-${size.width}-${scheme}`);
    }
  }
}

/** The text of the page's first sentence. */
export const sentence = (page) => page.locator("h1").innerText();

/** Waits until the first sentence matches. */
export async function says(page, words, limit_ms = 30_000) {
  const matches = (source) => new RegExp(source).test(document.querySelector("h1")?.textContent ?? "");
  await page.waitForFunction(matches, words.source, { timeout: limit_ms, polling: 50 }).catch(async () => {
    fail(`the page says "${await sentence(page)}", not ${words}`);
  });
}

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
/** Has the test that started this do something, and waits until it is done. */
export async function please(what) {
  console.log(`> ${what}`);
  return (await lines.next()).value;
}

/** Ends the scenario with what was found. */
export async function done() {
  clearTimeout(watchdog);
  await browser.close();
  console.log(wrong.length ? `${wrong.length} things are wrong` : "all is well");
  process.exit(wrong.length ? 1 : 0);
}
