// Keeps [data-live] elements up to date: when something happens (server-sent events), and where the server asks for it
// (an element .poll inside says how often). Nothing is sent while the tab is hidden; when it is shown again, everything
// is looked at anew. A refresh is htmx's: the element says where from (hx-get) and how (morph).

const KINDS = [
  "job.queued", "job.running", "job.succeeded", "job.failed", "job.cancelled", "job.rated",
  "batch.submitted", "batch.finished", "batch.cancelled", "batch.paused", "batch.resumed", "batch.retried",
  "batch.priority", "resync",
];
export const AGAIN_MS = 3000; // after an answer that was lost or refused
const link = document.getElementById("link");
const words = document.getElementById("link-words");
let source = document.body.dataset.events;
const states = new WeakMap();
let events = null;
let lastRefresh = null;

// Whether an answer came and was put into the page, or never will come: what is gone is not asked for again.
export const wasTaken = ({ status, response }) => status === "swapped" || response?.status === 404;

const living = () => document.querySelectorAll("[data-live]");

function stateOf(element) {
  if (!states.has(element)) states.set(element, { isBusy: false, isWanted: false, lastMs: 0, pause: 0, poll: 0 });
  return states.get(element);
}

// Refreshes an element now, or as soon as it may: not twice at once, and not more often than it says.
function refresh(element) {
  const state = stateOf(element);
  if (document.hidden || !element.isConnected || !element.matches("[data-live]")) return;
  if (state.isBusy) return void (state.isWanted = true);
  if (state.pause) return;
  const waitMs = state.lastMs + Number(element.dataset.pauseMs ?? 500) - performance.now();
  if (waitMs > 0) {
    state.pause = setTimeout(() => { state.pause = 0; refresh(element); }, waitMs);
    return;
  }
  state.isBusy = true;
  state.isWanted = false;
  state.lastMs = performance.now();
  htmx.trigger(element, "live");
}

function planPoll(element) {
  const state = stateOf(element);
  clearTimeout(state.poll);
  const asked = element.querySelector(".poll")?.dataset.pollMs ?? (element.querySelector("[data-open=running]") ? 1000 : 0);
  if (Number(asked) && !document.hidden) state.poll = setTimeout(() => refresh(element), Number(asked));
}

function say(state, text) {
  if (!link) return;
  link.dataset.state = state;
  if (words.textContent !== text) words.textContent = text;
  link.title = lastRefresh ? `last refresh ${lastRefresh.toLocaleTimeString()}` : "";
}

function sayLost() {
  say("lost", lastRefresh ? `connection lost, as of ${lastRefresh.toLocaleTimeString()}` : "connection lost");
}

document.addEventListener("htmx:before:response", (event) => {
  const { sourceElement, response } = event.detail.ctx;
  if (!sourceElement.matches?.("[data-live], .chunk, #tile-asker, #more button")) return;
  if (response.status < 400) return;
  event.preventDefault(); // what is on the page is old, and better than an error in its place
  if (response.status === 401) location.reload(); // the way to the sign-in
  else if (response.status === 404) say("lost", "this is gone");
  else sayLost();
});

document.addEventListener("htmx:after:request", (event) => {
  if (event.detail.ctx.sourceElement.matches?.("[data-live]") && event.detail.ctx.response?.status < 400) {
    lastRefresh = new Date();
    say("live", "live");
  }
});

document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx?.sourceElement?.matches?.("[data-live]")) sayLost();
});

document.addEventListener("htmx:finally:request", (event) => {
  const element = event.detail.ctx.sourceElement;
  if (!element.matches?.("[data-live]")) return;
  const state = stateOf(element);
  state.isBusy = false;
  if (state.isWanted) refresh(element);
  else if (!wasTaken(event.detail.ctx)) setTimeout(() => refresh(element), AGAIN_MS);
  planPoll(element);
});

function listen() {
  if (!source || events) return;
  events = new EventSource(source);
  source = source.split("?")[0]; // from where the page was made: that is for the first time; later all is looked at anew
  let wasLost = false;
  events.addEventListener("open", () => {
    say("live", "live");
    if (wasLost) refreshAll();
    wasLost = false;
  });
  events.addEventListener("error", () => {
    wasLost = true;
    sayLost();
    if (events.readyState === EventSource.CLOSED) { // refused, not interrupted: the browser does not try again by itself
      events = null;
      setTimeout(() => { if (!document.hidden) { listen(); refreshAll(); } }, AGAIN_MS);
    }
  });
  for (const kind of KINDS) {
    events.addEventListener(kind, (event) => {
      const said = JSON.parse(event.data);
      document.dispatchEvent(new CustomEvent("farm", { detail: { ...said, kind } }));
      if (document.body.dataset.job && said.job_id && said.job_id !== document.body.dataset.job) return;
      for (const element of living()) refresh(element);
    });
  }
}

function refreshAll() {
  document.dispatchEvent(new Event("catch-up"));
  for (const element of living()) refresh(element);
}

function stop() {
  events?.close();
  events = null;
  for (const element of living()) {
    const state = stateOf(element);
    clearTimeout(state.poll);
    clearTimeout(state.pause);
    state.pause = 0;
  }
  say("off", "paused");
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) return stop();
  listen();
  refreshAll();
});
addEventListener("pagehide", () => events?.close());
addEventListener("pageshow", (event) => { if (event.persisted) { events = null; listen(); refreshAll(); } });

if (living().length && !document.hidden) {
  lastRefresh = new Date();
  listen();
  for (const element of living()) planPoll(element);
}
