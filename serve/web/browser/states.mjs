// Loading, empty, live, a run that is killed, a database that is away, a server that is ended, one panel that fails.
import { base, done, expect, judge, open, please, says, sentence, until, WIDE } from "./browser.mjs";

const LOST = /ERR_CONNECTION|ERR_INCOMPLETE_CHUNKED|ERR_EMPTY_RESPONSE|status of 50[0-9]|ERR_FAILED/;
/** What the first sentence says while a run is there. */
const LIVES = /^(Caught up|Catching up|No readings since).*nothing lost/;
const page = await open("/", { expected: LOST });
await says(page, /no reading is committed yet/);
expect((await page.locator("main").innerText()).includes("make run"), "the empty page names the command that fills it");
await judge(page, "empty-1440-light");

await please("send readings");
await says(page, LIVES);
await until(page, "zones fill by themselves", () => document.querySelectorAll("[data-zone]").length > 0);

const held = await open("/", { ready: false, expected: LOST });
await held.route("**/api/v1/stream*", () => {});
await held.goto(base);
await says(held, /Reading the last hour/);
expect((await held.locator(".status").getAttribute("aria-busy")) === "true", "it says that it is busy");
await judge(held, "loading-1440-light");
await held.context().close();

const broken = await open("/data", { expected: LOST });
await broken.route("**/api/v1/commits*", (route) =>
  route.fulfill({ status: 503, contentType: "application/problem+json", body: '{"status":503,"detail":"reading commits takes too long"}' }),
);
await broken.reload();
await until(broken, "a panel that fails says so in its place", () => document.querySelector("[aria-label=Commits]")?.textContent.includes("takes too long"));
await until(broken, "the others go on", () => document.querySelector("[aria-label=Conservation]")?.textContent.includes("accounted for"));
await broken.context().close();

await please("kill the run");
await says(page, /No run since/);
await judge(page, "no-run-1440-light");
await please("start the run");
await says(page, LIVES);
await until(page, "the banner goes", () => !document.querySelector("[role=alert]"));

await please("take the database away");
await says(page, /PostgreSQL unreachable since/);
await until(page, "the zones stay, and it says that they are old", () => document.querySelectorAll("[data-zone]").length > 0 && document.querySelector("main.stale"));
expect(!(await sentence(page)).includes("nothing lost"), "what is not known is not claimed");
await judge(page, "stale-1440-light");
await please("give the database back");
await says(page, LIVES);

await please("end the server");
await says(page, /No contact with citytide since/);
await judge(page, "error-1440-light");
await please("start the server");
await says(page, LIVES);
await until(page, "the banner goes", () => !document.querySelector("[role=alert]") && !document.querySelector("main.stale"));
expect(page.viewportSize().width === WIDE.width && page.url().startsWith(base), "without having been loaded again");
await done();
