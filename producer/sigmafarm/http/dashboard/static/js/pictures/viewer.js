// The viewer: a click on a picture opens it over the whole window. Arrows and Space go on in the order of the page, also into
// chunks that are not filled yet; Escape, the button or "back" lead to where the reader was. Without this module the click
// follows the link to the job's page, and so does a click with Ctrl, Shift or the middle button.
import { isChoosing } from "./choose.js";
import { rate, ratingOf } from "./stars.js";

const viewer = document.getElementById("viewer");
const PICTURE = "a[data-picture]";
const FILL_MS = 15_000, SWIPE_PX = 50;

if (viewer) {
  const $ = (name) => document.getElementById(`viewer-${name}`);
  const image = $("image"), stage = $("stage"), facts = $("facts");
  let shown = "", opened = null, list = null, pinned = "", isBack = false;

  const links = () => [...(list ?? document).querySelectorAll(PICTURE)];
  const linkOf = (job) => links().find((each) => each.dataset.job === job) ?? null;

  // -- Opening and closing

  document.addEventListener("click", (event) => {
    const link = event.target instanceof Element ? event.target.closest(PICTURE) : null;
    if (!link || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    if (isChoosing()) return;
    event.preventDefault();
    open(link);
  });

  function open(link) {
    list = link.closest("#jobs, .is-recent, #canvas");
    opened = link.dataset.job;
    pinned = "";
    if (!viewer.open) {
      viewer.showModal();
      stage.focus(); // and no button, which Space would press
      history.pushState({ ...history.state, viewer: true }, "");
    }
    show(link);
  }

  function show(link) {
    shown = link.dataset.job;
    image.src = link.dataset.picture;
    image.alt = link.title || link.querySelector("img")?.alt || "";
    $("title").textContent = image.alt;
    $("page").href = `/jobs/${shown}`;
    $("save").href = link.dataset.picture;
    setActual(false);
    tell();
    if (!facts.hidden) askFacts();
    for (const by of [1, -1]) { // the neighbours are there before they are asked for
      const near = links()[links().indexOf(link) + by];
      if (near) new Image().src = near.dataset.picture;
    }
  }

  function tell(extra = "") {
    const all = links(), n = all.findIndex((each) => each.dataset.job === shown);
    const row = all[n]?.closest("[data-row]")?.dataset.row;
    const rating = ratingOf(shown), star = viewer.querySelector("[data-do=star]");
    const place = [
      row === undefined ? "" : `row ${row}`, rating ? `rated ${rating} of 5` : "",
      pinned && pinned !== shown ? "press c to compare" : "", extra,
    ];
    $("place").textContent = place.filter(Boolean).join(", ");
    if (!star) return;
    star.setAttribute("aria-pressed", String(rating > 0));
    star.title = rating ? `Rated ${rating} of 5 (0 takes it back)` : "Star (s; 1 to 5 rate)";
  }

  viewer.addEventListener("close", () => {
    image.removeAttribute("src");
    if (document.fullscreenElement) document.exitFullscreen();
    if (!isBack && history.state?.viewer) history.back();
    isBack = false;
    const link = linkOf(shown);
    if (!link) return;
    if (shown !== opened) link.scrollIntoView({ block: "nearest" });
    link.focus({ preventScroll: true });
  });

  addEventListener("popstate", () => {
    if (!viewer.open) return;
    isBack = true;
    viewer.close();
  });

  // -- Going on

  async function go(by) {
    const link = await neighbour(by);
    if (!viewer.open) return;
    if (link) show(link);
    else tell(by > 0 ? "that was the last" : "that was the first");
  }

  async function neighbour(by) {
    const link = linkOf(shown);
    const own = link?.closest(".chunk");
    if (!own) {
      const n = links().indexOf(link) + by;
      if (by > 0 && !links()[n]) await more();
      return links()[n] ?? null;
    }
    for (let each = own; each; each = by > 0 ? each.nextElementSibling : each.previousElementSibling) {
      if (!each.matches(".chunk")) continue;
      await filled(each);
      const here = [...each.querySelectorAll(PICTURE)];
      const next = each === own ? here[here.indexOf(link) + by] : here.at(by > 0 ? 0 : -1);
      if (next) return next;
    }
    return null;
  }

  const filled = (chunk) => chunk.classList.contains("is-filled") ? null : swapped(chunk, () => htmx.trigger(chunk, "fill"));
  const more = () => {
    const button = document.querySelector("#more button");
    return button && list?.id === "jobs" ? swapped(button, () => button.click()) : null;
  };

  // Waits for what an element asks of the server; a server that does not answer is waited for no longer than FILL_MS.
  function swapped(source, ask) {
    return new Promise((resolve) => {
      const done = (event) => {
        if (event && event.detail.ctx?.sourceElement !== source) return;
        document.removeEventListener("htmx:after:swap", done);
        document.removeEventListener("htmx:error", done);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(done, FILL_MS);
      document.addEventListener("htmx:after:swap", done);
      document.addEventListener("htmx:error", done);
      ask();
    });
  }

  // -- Looking closely

  function setActual(isActual, at) {
    stage.classList.toggle("is-actual", isActual);
    viewer.querySelector("[data-do=zoom]").setAttribute("aria-pressed", String(isActual));
    image.style.width = isActual ? `${image.naturalWidth / devicePixelRatio}px` : "";
    if (!isActual || !at) return;
    stage.scrollLeft = at.x * stage.scrollWidth - stage.clientWidth / 2;
    stage.scrollTop = at.y * stage.scrollHeight - stage.clientHeight / 2;
  }

  image.addEventListener("click", (event) => {
    const box = image.getBoundingClientRect();
    const at = { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
    setActual(!stage.classList.contains("is-actual"), at);
  });

  function askFacts() {
    htmx.ajax("GET", `/jobs/${shown}/facts`, { source: facts, target: facts, swap: "innerHTML" });
  }

  function compare() {
    if (!pinned || pinned === shown) {
      pinned = shown;
      tell("pinned: go to the other one and press c");
    } else {
      location.assign(`/compare?job=${pinned}&job=${shown}`);
    }
  }

  const acts = {
    next: () => go(1),
    previous: () => go(-1),
    zoom: () => setActual(!stage.classList.contains("is-actual")),
    facts: () => {
      facts.hidden = !facts.hidden;
      viewer.querySelector("[data-do=facts]").setAttribute("aria-expanded", String(!facts.hidden));
      if (!facts.hidden) askFacts();
    },
    full: () => (document.fullscreenElement ? document.exitFullscreen() : viewer.requestFullscreen?.()),
    star: () => rateShown(ratingOf(shown) ? 0 : 5),
    compare,
    close: () => viewer.close(),
  };

  async function rateShown(rating) {
    if (!viewer.querySelector("[data-do=star]")) return;
    tell(await rate([shown], rating) ? "" : "the star could not be kept: try again");
  }

  viewer.addEventListener("click", (event) => {
    const act = event.target.closest("[data-do]")?.dataset.do;
    if (act) acts[act]?.();
  });

  const KEYS = {
    ArrowRight: "next", ArrowLeft: "previous", " ": "next", Backspace: "previous", i: "facts", z: "zoom", f: "full", s: "star",
    c: "compare",
  };
  viewer.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.closest("button, a")) return; // it presses what has the focus
    if (/^[0-5]$/.test(event.key)) return void rateShown(Number(event.key));
    let act = KEYS[event.key];
    if (event.key === " " && event.shiftKey) act = "previous";
    if (stage.classList.contains("is-actual") && event.key.startsWith("Arrow") && event.target === stage) return; // it scrolls
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    acts[act]();
  });

  let from = null;
  stage.addEventListener("pointerdown", (event) => { from = event.pointerType === "touch" ? event.clientX : null; });
  stage.addEventListener("pointerup", (event) => {
    if (from === null || stage.classList.contains("is-actual")) return;
    const by = event.clientX - from;
    from = null;
    if (Math.abs(by) > SWIPE_PX) go(by < 0 ? 1 : -1);
  });
}
