"use strict";
// Contents, sorting, filtering, opening what a link names, light and dark. The page is complete without any of it.
(() => {
  const root = document.documentElement;
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    document.dispatchEvent(new Event("themechange"));
  });

  const list = document.querySelector("#contents details");
  const wide = matchMedia("(min-width: 1001px)");
  const unfold = () => { list.open = wide.matches; };
  wide.addEventListener("change", unfold);
  unfold();
  const links = new Map([...list.querySelectorAll("a")].map((link) => [link.hash.slice(1), link]));
  list.addEventListener("click", (event) => { if (event.target.closest("a") && !wide.matches) list.open = false; });
  const seen = new Set();
  const watch = new IntersectionObserver((entries) => {
    for (const entry of entries) seen[entry.isIntersecting ? "add" : "delete"](entry.target.id);
    const shown = [...links.keys()].filter((id) => seen.has(id));
    const here = shown.find((id) => !document.getElementById(id).matches("section")) || shown[0];
    for (const [id, link] of links) {
      if (id === here) {
        link.setAttribute("aria-current", "true");
        const box = document.getElementById("contents");
        if (wide.matches) box.scrollTop += Math.max(0, link.getBoundingClientRect().bottom - innerHeight)
          + Math.min(0, link.getBoundingClientRect().top);
      } else link.removeAttribute("aria-current");
    }
  }, { rootMargin: "0px 0px -55% 0px" });
  for (const id of links.keys()) watch.observe(document.getElementById(id));

  const key = (row, column) => {
    const cell = row.cells[column];
    if (!cell) return "";
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.classList.contains("number") ? -Infinity : cell.textContent.trim().toLowerCase();
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

  for (const table of document.querySelectorAll("table.sortable")) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const heads = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const next = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
      heads.forEach((other) => { other.ariaSort = "none"; });
      head.ariaSort = next;
      const rows = next === "none" ? original : original.filter((row) => !row.classList.contains("group"));
      const order = next === "descending" ? -1 : 1;
      const sorted = next === "none" ? rows : [...rows].sort((a, b) => order * compare(key(a, column), key(b, column)));
      body.replaceChildren(...sorted);
    }));
  }

  const filter = document.getElementById("filter");
  if (filter) {
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const card of document.querySelectorAll(".card")) {
        card.hidden = !words.every((word) => card.dataset.search.includes(word));
      }
    });
  }

  const openTarget = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.matches("details.card")) {
      target.hidden = false;
      target.open = true;
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", openTarget);
  openTarget();
})();
