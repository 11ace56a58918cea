// Keys for every page: the sheet of them, the search, the pages, and a job's neighbours. None where somebody types.

const sheet = document.getElementById("keys");
const PLACES = { o: "/", b: "/batches", w: "/workers", s: "/submit" };
const TYPED = "input:not([type=checkbox], [type=radio], [type=range], [type=submit]), textarea, select, [contenteditable]";
let isGoing = 0;

export const isTyping = (target) => target instanceof Element && target.matches(TYPED);

if (sheet) {
  const open = () => (sheet.open ? sheet.close() : sheet.showModal());
  document.getElementById("keys-button")?.addEventListener("click", open);
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const dialog = document.querySelector("dialog[open]");
    if (event.key === "?" && (!dialog || sheet.open || dialog.id === "viewer")) {
      event.preventDefault();
      return void open();
    }
    if (dialog) return;
    if (Date.now() < isGoing && PLACES[event.key]) return void location.assign(PLACES[event.key]);
    isGoing = event.key === "g" ? Date.now() + 1500 : 0;
    if (event.key === "/") {
      const search = document.querySelector("input[type=search]");
      if (!search) return void location.assign("/batches#search");
      event.preventDefault();
      search.focus();
      search.select();
    }
    const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
    if (rel && document.body.dataset.job && event.target === document.body) document.querySelector(`.neighbours [rel=${rel}]`)?.click();
  });
  if (location.hash === "#search") document.querySelector("input[type=search]")?.focus();
}
