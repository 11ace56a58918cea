// Choosing jobs of a batch: the boxes are a form's and work by themselves; this adds ranges with Shift, a click on a picture
// while something is chosen, keys, and the number. What is chosen outlasts refreshes of the page's parts.
import { rate } from "./stars.js";

const form = document.getElementById("choice");
const jobs = document.getElementById("jobs");
const chosen = new Set();
let last = null;

export const isChoosing = () => chosen.size > 0;

if (form && jobs) {
  const boxes = () => [...jobs.querySelectorAll("input.choose")];
  const boxOf = (element) => element?.closest("[data-row]")?.querySelector("input.choose") ?? null;

  const note = (box) => (box.checked ? chosen.add(box.value) : chosen.delete(box.value));
  const tell = () => {
    const num = chosen.size;
    form.classList.toggle("is-choosing", num > 0);
    jobs.classList.toggle("is-choosing", num > 0);
    document.getElementById("choice-num").textContent = String(num);
    for (const each of form.querySelectorAll("[data-needs]")) each.disabled = num !== Number(each.dataset.needs);
  };
  const set = (box, isChosen) => {
    box.checked = isChosen;
    note(box);
  };

  // From the last box that was clicked to this one, as the page shows them.
  const setRange = (to, isChosen) => {
    const all = boxes(), ends = [all.findIndex((each) => each.value === last), all.indexOf(to)].sort((a, b) => a - b);
    for (const each of ends[0] < 0 ? [to] : all.slice(ends[0], ends[1] + 1)) set(each, isChosen);
  };
  const toggle = (box, hasShift) => {
    const isChosen = hasShift ? true : !chosen.has(box.value);
    if (hasShift) setRange(box, isChosen);
    else set(box, isChosen);
    last = box.value;
    tell();
  };

  jobs.addEventListener("click", (event) => {
    const box = event.target.closest("input.choose");
    if (box) {
      if (event.shiftKey && last !== null) setRange(box, box.checked);
      note(box);
      last = box.value;
      return void tell();
    }
    const tile = event.target.closest("a.tile");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey || !(event.shiftKey || isChoosing())) return;
    event.preventDefault();
    toggle(boxOf(tile), event.shiftKey);
  }, { capture: true });

  // Arrows go through the tiles, x chooses, with Shift all on the way.
  jobs.addEventListener("keydown", (event) => {
    const tile = event.target.closest("a.tile");
    if (!tile || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "x") return void toggle(boxOf(tile), false);
    const next = neighbour(tile, event.key);
    if (!next) return;
    event.preventDefault();
    if (event.shiftKey) {
      if (!isChoosing()) toggle(boxOf(tile), false);
      const all = boxes(), [a, b] = [all.indexOf(boxOf(tile)), all.indexOf(boxOf(next))];
      for (const each of all.slice(Math.min(a, b), Math.max(a, b) + 1)) set(each, true);
      last = boxOf(next).value;
      tell();
    }
    next.focus();
  });

  function neighbour(tile, key) {
    const all = [...jobs.querySelectorAll("a.tile")], n = all.indexOf(tile);
    if (key === "ArrowRight") return all[n + 1];
    if (key === "ArrowLeft") return all[n - 1];
    const by = { ArrowDown: 1, ArrowUp: -1 }[key];
    if (!by) return null;
    const box = tile.getBoundingClientRect();
    for (let k = n + by; all[k]; k += by) {
      const other = all[k].getBoundingClientRect();
      if (Math.abs(other.left - box.left) < box.width / 2 && by * (other.top - box.top) > 0) return all[k];
    }
    return all.at(by > 0 ? -1 : 0);
  }

  const clear = () => {
    chosen.clear();
    last = null;
    for (const each of boxes()) each.checked = false;
    tell();
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && isChoosing() && !document.querySelector("dialog[open]")) clear();
  });
  form.addEventListener("click", async (event) => {
    const act = event.target.closest("[data-choice]")?.dataset.choice;
    if (!act) return;
    event.preventDefault();
    if (act === "clear") clear();
    if (act === "all") { for (const each of boxes()) set(each, true); tell(); }
    if (act === "star") {
      const isKept = await rate([...chosen], 5);
      document.getElementById("choice-said").textContent = isKept ? "Starred." : "The stars could not be kept: try again.";
    }
  });

  // What is sent is what was chosen, also what a narrowed or renewed list does not hold any more.
  form.addEventListener("formdata", (event) => {
    event.formData.delete("job");
    for (const job of chosen) event.formData.append("job", job);
  });
  document.addEventListener("htmx:after:swap", () => {
    for (const each of boxes()) if (each.checked !== chosen.has(each.value)) each.checked = chosen.has(each.value);
  });
  addEventListener("pageshow", () => { // the browser may have kept the boxes of before
    for (const each of boxes()) note(each);
    tell();
  });
}
