// What can be pressed, chosen and typed, by pointer and by keyboard; and that back works.
import { done, expect, fail, open, pages, settled, until } from "./browser.mjs";

const query = (page, name) => new URL(page.url()).searchParams.get(name);
const isPressed = (page, name) =>
  until(
    page,
    `${name} is pressed`,
    (name) => [...document.querySelectorAll("button")].some((one) => one.textContent.trim() === name && one.ariaPressed === "true"),
    name,
  );

// Now: zone, metric, interval, pause, theme; all of it in the address, and back.
let page = await open("/");
await page.getByLabel("Zone", { exact: true }).selectOption("Tech Hub");
expect(query(page, "zone") === "Tech Hub", "a zone is in the address");
await page.locator('[data-zone="Downtown"]').click();
expect(query(page, "zone") === "Downtown", "a zone of the map is in the address");
await page.locator('[data-zone="Downtown"]').click();
expect(query(page, "zone") === null, "a second click clears it");
await page.goBack();
await until(page, "back chooses the zone again", () => document.querySelector("select[aria-label=Zone]").value === "Downtown");
await page.getByRole("button", { name: "Humidity", exact: true }).click();
expect(query(page, "metric") === "humidity" && query(page, "zone") === "Downtown", "a metric joins it");
await isPressed(page, "Humidity");
await page.getByLabel("Interval").selectOption("5");
expect(query(page, "every") === "5", "the interval is in the address");
await page.getByRole("button", { name: "Live" }).click();
await until(page, "it pauses", () => document.querySelector(".ctl.live").textContent === "Paused");
await page.getByRole("button", { name: "Paused" }).click();
await until(page, "it goes on", () => document.querySelector(".ctl.live").textContent === "Live");
await page.getByRole("button", { name: /^Theme/ }).click();
await until(page, "it turns dark", () => document.documentElement.dataset.theme === "dark");
await page.reload();
await settled(page);
await until(page, "it stays dark", () => document.documentElement.dataset.theme === "dark");
await until(page, "the choices stay", () => document.querySelector("select[aria-label=Zone]").value === "Downtown");

// Incidents: filters, one incident, back to the same filters.
await page.getByRole("link", { name: "Incidents", exact: true }).click();
await page.getByLabel("Zone", { exact: true }).selectOption("");
await page.getByRole("button", { name: "All", exact: true }).last().click();
await page.getByRole("button", { name: "High", exact: true }).click();
expect(query(page, "condition") === "all" && query(page, "severity") === "high", `filters are in the address: ${page.url()}`);
await page.getByRole("button", { name: "Any severity" }).click();
await page.locator("a.inc").first().click();
await until(page, "one incident", () => location.pathname.startsWith("/incidents/"));
await page.goBack();
await until(page, "back at the filters", () => location.pathname === "/incidents" && new URLSearchParams(location.search).get("condition") === "all");

// One incident: what cannot be done yet is disabled, what was done is told and shown.
const all = Object.fromEntries(await pages());
page = await open(all.incident, { expected: /status of 404/ });
const button = (name) => page.getByRole("button", { name, exact: true });
expect(await button("Shelve").isDisabled(), "without words nothing is shelved");
await page.getByLabel("Your name").fill("Ada");
await page.getByLabel("Comment").fill("somebody is on the way <b>now</b>");
await button("Acknowledge").click();
await until(page, "it is acknowledged", () => document.querySelector("[role=status]")?.textContent === "Acknowledged.");
await until(page, "by whom, and the words as text", () => document.body.innerText.includes("somebody is on the way <b>now</b>") && document.body.innerText.includes("Ada"));
await page.getByLabel("Assign to").fill("Grace");
await button("Assign").click();
await until(page, "it is assigned", () => document.body.innerText.includes("Assigned to Grace."));
await page.getByLabel("Comment").fill("works until noon");
await page.getByLabel("Shelve for").selectOption("30");
await button("Shelve").click();
await until(page, "it is shelved", () => document.body.innerText.includes("Shelved."));
await button("End shelving").click();
await until(page, "it is no longer shelved", () => document.body.innerText.includes("No longer shelved."));
await page.goto(new URL("/incidents/nothing", page.url()).href);
await until(page, "an incident that is not there is told", () => document.body.innerText.includes("there is no incident nothing"));
await page.context().close();

// Charts: ranges, back in time, the size of windows, figures as CSV, and the crosshair by keyboard.
page = await open("/charts");
await page.getByRole("button", { name: "15 min" }).click();
expect(query(page, "range") === "15m", "a range is in the address");
await page.getByRole("button", { name: "Earlier" }).click();
expect(Number(query(page, "until")) > 0, "so is another time");
await page.goBack();
await page.goBack();
await until(page, "back to the first range", () => !location.search.includes("range"));
await page.getByRole("button", { name: "5min", exact: true }).click();
expect(query(page, "size") === "5min", "so is the window");
const download = page.waitForEvent("download");
await page.getByRole("link", { name: "CSV" }).first().click();
const file = await (await download).createReadStream();
let text = "";
for await (const part of file) text += part;
expect(text.startsWith("window_start,window_end,zone,") && text.split("\r\n").length > 5, `CSV: ${text.slice(0, 200)}`);
await page.locator(".plot[tabindex]").first().focus();
for (let press = 0; press < 4; press++) await page.keyboard.press("ArrowLeft");
await until(page, "the crosshair tells values", () => document.querySelector(".tip")?.textContent.includes("°C"));
await page.keyboard.press("Escape");
await until(page, "it goes", () => !document.querySelector(".tip"));
await page.context().close();

// By keyboard alone: the first stop leads past the header, and every control is a stop with a ring.
for (const [name, path] of Object.entries(all)) {
  page = await open(`${path}?every=30`);
  await page.keyboard.press("Tab");
  expect((await page.evaluate(() => document.activeElement.textContent)) === "Skip to the page", `${name}: the first stop is the way past the header`);
  const stops = await page.evaluate(() => {
    // A zone of the map shows its ring as the edge of its shape.
    const ringed = (one) => {
      const shape = one.querySelector(":scope > path, :scope > rect");
      return one instanceof SVGElement && shape ? getComputedStyle(shape).strokeWidth === "3px" : getComputedStyle(one).outlineStyle !== "none";
    };
    const all = [...document.querySelectorAll("a[href], button:not(:disabled), select, input, textarea, [tabindex='0'], [role=button]")];
    const seen = all.filter((one) => one.checkVisibility());
    seen.forEach((one) => one.addEventListener("focus", () => (one.dataset.stop = ringed(one)), { once: true }));
    return seen.length;
  });
  for (let stop = 0; stop < stops + 20; stop++) await page.keyboard.press("Tab");
  const missed = await page.evaluate(() => {
    const all = [...document.querySelectorAll("a[href]:not(.skip), button:not(:disabled), select, input, textarea, [tabindex='0'], [role=button]")];
    const lacks = all.filter((one) => one.checkVisibility() && one.dataset.stop !== "true");
    return lacks.map((one) => `${one.dataset.stop} ${one.outerHTML.slice(0, 100)}`);
  });
  // A row that a tick has put there meanwhile was not listened to.
  if (missed.length > 2) fail(`${name}: ${missed.length} of ${stops} controls are no stop with a ring: ${missed.slice(0, 3)}`);
  await page.context().close();
}
page = await open("/");
await page.locator('[data-zone="Tech Hub"]').focus();
await page.keyboard.press("Enter");
await until(page, "Enter on a zone chooses it", () => new URLSearchParams(location.search).get("zone") === "Tech Hub");
await page.getByRole("link", { name: "Data", exact: true }).focus();
await page.keyboard.press("Enter");
await until(page, "Enter on a page leads there", () => location.pathname === "/data");
await done();
