// Opens a page from disk in headless Chromium and prints what it saw as JSON.
// Usage: node visit.cjs PAGE.html FOLDER_FOR_SCREENSHOTS [PATH_OF_CHROMIUM]
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const { pathToFileURL } = require("node:url");
const { chromium } = require("playwright-core");

const [file, folder, executablePath = "/usr/bin/chromium"] = process.argv.slice(2);
const axeSource = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const column = (page, table, number) =>
  page.$$eval(
    `${table} tbody tr:not([hidden])`,
    (rows, number) => rows.map((row) => row.cells[number].dataset.sort),
    number,
  );

// Where all rows are of one model, the first column has nothing to sort.
async function firstVaried(page, table) {
  let number = 0;
  while (new Set(await column(page, table, number)).size < 2) number += 1;
  return number;
}

async function sorted(page, table, number) {
  const head = page.locator(`${table} thead th:visible`).nth(number);
  await head.locator("button").click();
  const rising = { order: await column(page, table, number), state: await head.getAttribute("aria-sort") };
  await head.locator("button").press("Enter");
  const falling = { order: await column(page, table, number), state: await head.getAttribute("aria-sort") };
  return { rising, falling };
}

async function violations(page) {
  // The page's own policy forbids scripts from elsewhere; evaluate() is not bound by it.
  await page.evaluate(axeSource);
  const result = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return result.violations.map(({ id, impact, nodes }) => ({
    id, impact, nodes: nodes.slice(0, 3).map((node) => node.html.slice(0, 200)),
  }));
}

// What is too wide for the screen scrolls inside itself, by touch and by key.
async function regions(page) {
  const wide = page.locator(".scroll[tabindex]");
  const first = wide.first();
  await first.focus();
  await page.keyboard.press("ArrowRight");
  await page.waitForFunction(() => document.activeElement.scrollLeft > 0);
  return page.$$eval(".scroll", (all) => {
    const wider = all.filter((one) => one.scrollWidth > one.clientWidth);
    for (const one of wider) one.scrollLeft = 1e6;
    return {
      wide: wider.length,
      tables: wider.filter((one) => one.querySelector("table")).length,
      stuck: wider.filter((one) => one.scrollLeft === 0).length,
      unreachable: wider.filter((one) => one.tabIndex !== 0).length,
      idle_stops: all.filter((one) => one.scrollWidth <= one.clientWidth && one.hasAttribute("tabindex")).length,
    };
  });
}

// The smallest letters of the figures, in pixels.
async function smallestText(page) {
  return page.$$eval("figure svg text", (all) =>
    Math.min(...all.map((one) => {
      const { a, b } = one.getScreenCTM();
      return Math.hypot(a, b) * parseFloat(getComputedStyle(one).fontSize);
    })));
}

async function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
}

async function main() {
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  const seen = { requests: [], console: [], dialogs: [], violations: {}, overflow: {} };
  try {
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    page.on("request", (request) => seen.requests.push(request.url()));
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) seen.console.push(message.text());
    });
    page.on("pageerror", (error) => seen.console.push(String(error)));
    page.on("dialog", async (dialog) => { seen.dialogs.push(dialog.message()); await dialog.dismiss(); });
    await page.goto(pathToFileURL(path.resolve(file)).href, { waitUntil: "load" });
    seen.requests.shift();
    await page.keyboard.press("Tab");
    seen.firstStop = await page.evaluate(() => document.activeElement.textContent);

    seen.overflow.wide = await overflow(page);
    await page.screenshot({ path: path.join(folder, "wide-light.png"), fullPage: true });
    seen.violations.light = await violations(page);

    const table = "#" + (await page.locator("[data-filter]").first().getAttribute("data-filter"));
    seen.sorted = await sorted(page, table, await firstVaried(page, table));
    const filter = page.locator("[data-filter]").first();
    seen.all = (await column(page, table, 0)).length;
    await filter.fill("no such row");
    seen.none = (await column(page, table, 0)).length;
    seen.announced = await page.locator("#announce").textContent();
    await filter.fill("");

    const extra = page.locator("[data-extra]").first();
    const hidden = `#${await extra.getAttribute("data-extra")} th.extra`;
    seen.extra = [await page.locator(hidden).first().isVisible()];
    await extra.click();
    seen.extra.push(await page.locator(hidden).first().isVisible());
    await extra.click();

    const button = page.locator("[data-highlight]").first();
    const key = await button.getAttribute("data-highlight");
    await button.click();
    seen.highlight = await page.$$eval("svg [data-series]", (marks, chosen) => ({
      strong: marks.filter((mark) => mark.dataset.series === chosen && mark.style.opacity === "").length,
      faint: marks.filter((mark) => mark.dataset.series !== chosen && mark.style.opacity !== "").length,
      wrong: marks.filter((mark) => (mark.dataset.series === chosen) !== (mark.style.opacity === "")).length,
    }), key);
    seen.pressed = await button.getAttribute("aria-pressed");
    await page.screenshot({ path: path.join(folder, "highlight.png") });
    await button.click();

    await page.emulateMedia({ colorScheme: "dark" });
    await page.screenshot({ path: path.join(folder, "wide-dark.png"), fullPage: true });
    seen.violations.dark = await violations(page);

    await page.setViewportSize({ width: 390, height: 844 });
    await page.screenshot({ path: path.join(folder, "phone-dark.png"), fullPage: true });
    seen.violations.phoneDark = await violations(page);
    await page.emulateMedia({ colorScheme: "light" });
    seen.overflow.phone = await overflow(page);
    await page.screenshot({ path: path.join(folder, "phone.png"), fullPage: true });
    seen.violations.phone = await violations(page);
    seen.regions = await regions(page);
    seen.smallestText = await smallestText(page);

    await page.emulateMedia({ media: "print" });
    await page.pdf({ path: path.join(folder, "print.pdf"), format: "A4" });
  } finally {
    await browser.close();
  }
  process.stdout.write(JSON.stringify(seen));
}

main().catch((error) => { process.stderr.write(`${error.stack}\n`); process.exit(1); });
