// Writes the digest of the page's sources beside what they were built to: a test of the crate compares it, without Node.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const files = (path) =>
  statSync(path).isDirectory() ? readdirSync(path).flatMap((name) => files(join(path, name))) : [path];
const sources = ["index.html", "package-lock.json", "package.json", "public", "src", "tsconfig.json", "vite.config.ts"];
const digest = createHash("sha256");
for (const path of sources.flatMap(files).sort()) digest.update(`${path}\0`).update(readFileSync(path)).update("\0");
writeFileSync("dist/sources.sha256", `${digest.digest("hex")}\n`);
