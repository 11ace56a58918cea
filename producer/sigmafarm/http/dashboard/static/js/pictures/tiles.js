// The grid of a batch: chunks are filled when they come into view; jobs that moved are asked for together, by row, and
// each answer takes its tile's place. Running ones in view are asked for every second, for their step and preview.

import { AGAIN_MS, wasTaken } from "../live.js";

const jobs = document.getElementById("jobs");
const MOST = 300, PAUSE_MS = 250, STEP_MS = 1000;

if (jobs) {
  const chunks = [...jobs.querySelectorAll(".chunk")];
  const inView = new Set();
  const stale = new Set(chunks.slice(1));
  const moved = new Set();
  let isBusy = false, wasLost = false, timer = 0;

  // Chunks that are not filled yet take the height of the first: the scroll bar tells the truth from the start.
  if (chunks.length > 1) {
    new ResizeObserver(([entry]) => {
      if (entry.contentRect.height) jobs.style.setProperty("--chunk-height", `${entry.contentRect.height}px`);
    }).observe(chunks[0]);
  }

  const fill = (chunk) => {
    if (!stale.has(chunk) || document.hidden) return;
    stale.delete(chunk);
    htmx.trigger(chunk, "fill");
  };
  const observer = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) { inView.delete(target); continue; }
      inView.add(target);
      fill(target);
    }
  }, { rootMargin: "600px" });
  for (const chunk of chunks) observer.observe(chunk);

  document.addEventListener("htmx:after:swap", (event) => {
    const chunk = event.detail.ctx.sourceElement;
    if (chunk.matches?.(".chunk")) chunk.classList.add("is-filled");
  });
  // A chunk whose answer was lost or refused is asked for again, while it is in view or when it comes into view; and so
  // is what a search goes on with by itself.
  document.addEventListener("htmx:finally:request", (event) => {
    const source = event.detail.ctx.sourceElement;
    if (wasTaken(event.detail.ctx)) return;
    if (source.matches?.("#more [hx-trigger]")) setTimeout(() => htmx.trigger(source, "again"), AGAIN_MS);
    if (!source.matches?.(".chunk")) return;
    stale.add(source);
    setTimeout(() => { if (inView.has(source)) fill(source); }, AGAIN_MS);
  });

  const rowOf = (id) => Number(id.slice(id.lastIndexOf("-") + 1));
  const isKnown = (row) => document.getElementById(`j${row}`) !== null;
  const isSeen = (element) => {
    const box = element.getBoundingClientRect();
    return box.bottom > 0 && box.top < innerHeight;
  };

  const asker = document.createElement("div");
  asker.id = "tile-asker";
  asker.hidden = true;
  asker.addEventListener("htmx:finally:request", (event) => { wasLost = !wasTaken(event.detail.ctx); });
  jobs.append(asker);

  async function ask() {
    timer = 0;
    if (isBusy || document.hidden || !moved.size) return;
    const rows = [...moved].slice(0, MOST);
    for (const row of rows) moved.delete(row);
    isBusy = true;
    wasLost = true;
    const url = new URL(jobs.dataset.tiles, location.href);
    url.searchParams.set("rows", rows.join(","));
    try {
      await htmx.ajax("GET", url.pathname + url.search, { source: asker, target: asker, swap: "none" });
    } finally {
      isBusy = false;
      if (wasLost) for (const row of rows) moved.add(row);
      if (moved.size) plan(wasLost ? AGAIN_MS : PAUSE_MS);
    }
  }
  function plan(waitMs = PAUSE_MS) { timer ||= setTimeout(ask, waitMs); }

  // A list that renews itself whole needs no single tiles.
  const renewsItself = () => document.getElementById("rows")?.hasAttribute("data-live");

  document.addEventListener("farm", ({ detail }) => {
    if (renewsItself()) return;
    if (detail.job_id) {
      const row = rowOf(detail.job_id);
      if (isKnown(row)) { moved.add(row); plan(); }
    } else if (detail.kind !== "batch.priority") {
      renewAll(); // many may have moved at once
    }
  });
  document.addEventListener("catch-up", () => renewAll());

  function renewAll() {
    if (renewsItself()) return;
    for (const chunk of chunks) if (chunk.classList.contains("is-filled")) stale.add(chunk);
    for (const chunk of inView) fill(chunk);
    for (const each of document.querySelectorAll("#rows [data-open]")) moved.add(Number(each.dataset.row));
    if (moved.size) plan();
  }

  setInterval(() => {
    if (document.hidden || renewsItself()) return;
    for (const each of jobs.querySelectorAll("[data-open=running]")) if (isSeen(each)) moved.add(Number(each.dataset.row));
    if (moved.size) plan();
  }, STEP_MS);

  // Whoever asked for more rows has a list that must not shrink to its first page again.
  document.addEventListener("htmx:before:request", (event) => {
    if (event.detail.ctx.target?.id === "more") document.getElementById("rows")?.removeAttribute("data-live");
  });
  document.addEventListener("htmx:before:swap", (event) => { // a renewal that was under way then comes too late
    const source = event.detail.ctx.sourceElement;
    if (source.id === "rows" && !source.hasAttribute("data-live")) event.preventDefault();
  });
}
