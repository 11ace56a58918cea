// Small things: the theme, copying, dialogs, menus, times in the reader's zone.

const root = document.documentElement;

document.getElementById("theme").addEventListener("click", () => {
  const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = isDark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* it holds for this page */ }
  document.dispatchEvent(new Event("theme"));
});

document.addEventListener("click", async (event) => {
  const target = event.target instanceof Element ? event.target : null;
  const copy = target?.closest("[data-copy]");
  if (copy) return void copied(copy);
  if (target?.closest("dialog [data-close]")) {
    event.preventDefault();
    target.closest("dialog").close();
  }
  if (target?.matches("dialog")) target.close(); // its backdrop
  if (target?.closest("[data-back]")) {
    event.preventDefault();
    history.back();
  }
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(target)) menu.open = false;
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

async function copied(button) {
  const words = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    words.textContent = "Copied";
  } catch { // without https there is no clipboard: let the reader take it by hand
    getSelection().selectAllChildren(button.previousElementSibling);
    words.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { words.textContent = "Copy"; }, 2000);
}

// A question that arrived in the dialog is shown; one that cannot be answered too, as an error.
document.addEventListener("htmx:after:swap", () => {
  const dialog = document.getElementById("dialog");
  if (dialog.childElementCount && !dialog.open && dialog.dataset.asked) {
    dialog.showModal();
    delete dialog.dataset.asked;
  }
});
document.addEventListener("htmx:before:request", (event) => {
  const dialog = document.getElementById("dialog");
  if (event.detail.ctx.target === dialog) dialog.dataset.asked = "yes";
});
document.getElementById("dialog").addEventListener("close", (event) => event.target.replaceChildren());

document.addEventListener("mouseover", (event) => {
  const time = event.target instanceof Element ? event.target.closest("time") : null;
  if (time) time.title = new Date(time.dateTime).toLocaleString();
});

const again = document.querySelector("[data-again-ms]");
if (again) setInterval(() => { if (!document.hidden) location.reload(); }, Number(again.dataset.againMs));

// What was done is said once: reloading the page does not say it again.
const here = new URL(location.href);
if (here.searchParams.has("did")) {
  for (const name of ["did", "num", "rest"]) here.searchParams.delete(name);
  history.replaceState(null, "", here);
}
document.getElementById("errors")?.focus();
document.querySelector("form#submit [aria-invalid]")?.focus();
