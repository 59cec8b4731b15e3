"use strict";
(() => {
  const announce = document.getElementById("announce");
  const say = (text) => { announce.textContent = text; };

  for (const tools of document.querySelectorAll(".tools, .highlight")) tools.hidden = false;

  // A region is a stop of the tab key only while there is something to scroll to.
  const measure = (region) => {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  };
  const watch = new ResizeObserver((entries) => entries.forEach(({ target }) => measure(target)));
  for (const region of document.querySelectorAll(".scroll")) watch.observe(region);

  const byValue = (index, direction, numeric) => (one, other) => {
    const [a, b] = [one, other].map((row) => row.cells[index].dataset.sort);
    // What is unknown stands last, whichever way the column is sorted.
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = numeric ? Number(a.replace("inf", "Infinity")) - Number(b.replace("inf", "Infinity"))
      : a.localeCompare(b, "en", { numeric: true });
    return direction * order;
  };

  const sort = (table, head) => {
    const index = [...head.parentNode.cells].indexOf(head);
    const rising = head.getAttribute("aria-sort") !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const body = table.tBodies[0];
    const numeric = head.classList.contains("number");
    body.append(...[...body.rows].sort(byValue(index, rising ? 1 : -1, numeric)));
    say(`sorted by ${head.textContent.trim()}, ${rising ? "ascending" : "descending"}`);
  };

  for (const table of document.querySelectorAll("table")) {
    if (table.tBodies[0].rows.length < 2) continue;
    for (const head of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => sort(table, head));
    }
  }

  for (const input of document.querySelectorAll("[data-filter]")) {
    const rows = [...document.querySelectorAll(`#${input.dataset.filter} tbody tr`)];
    input.addEventListener("input", () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      say(`${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`);
    });
  }

  for (const button of document.querySelectorAll("[data-extra]")) {
    button.addEventListener("click", () => {
      const all = document.querySelector(`#${button.dataset.extra} table`).classList.toggle("all");
      button.setAttribute("aria-expanded", String(all));
      button.textContent = all ? "Fewer columns" : "All columns";
      measure(button.closest(".table").querySelector(".scroll"));
    });
  }

  const highlight = (key) => {
    for (const mark of document.querySelectorAll("[data-series]")) {
      mark.style.opacity = !key || mark.dataset.series === key ? "" : "0.12";
    }
    for (const row of document.querySelectorAll("tr[data-series]")) {
      row.style.opacity = !key || row.dataset.series === key ? "" : "0.45";
    }
  };
  const buttons = [...document.querySelectorAll("[data-highlight]")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      const on = button.getAttribute("aria-pressed") !== "true";
      for (const other of buttons) other.setAttribute("aria-pressed", String(on && other === button));
      highlight(on ? button.dataset.highlight : "");
      say(on ? `${button.textContent.trim()} highlighted` : "nothing highlighted");
    });
  }
})();
