// What was written in the form and not sent is kept in this browser: it is there again after a visit elsewhere. Files are not
// kept. It is dropped when it was sent, when the reader begins anew, and when he signs out.

const KEY = "draft", SENT = "draft-sent";
const form = document.getElementById("submit");
const store = { // private windows may refuse
  get: (where, name) => { try { return where.getItem(name); } catch { return null; } },
  set: (where, name, text) => { try { text === null ? where.removeItem(name) : where.setItem(name, text); } catch { /* not kept */ } },
};

const fields = () => [...form.elements].filter((each) => each.name && !["hidden", "file", "submit"].includes(each.type));
const isNew = (each) => (each.type === "checkbox" ? each.checked === each.defaultChecked : each.value.trim() === "");

if (form) {
  const save = () => {
    const said = Object.fromEntries(fields().filter((each) => !isNew(each)).map((each) => [each.name, each.type === "checkbox" ? each.checked : each.value]));
    store.set(localStorage, KEY, Object.keys(said).length ? JSON.stringify(said) : null);
  };
  const restore = () => {
    let said = {};
    try { said = JSON.parse(store.get(localStorage, KEY) ?? "{}"); } catch { /* no draft */ }
    const found = fields().filter((each) => each.name in said && isNew(each));
    for (const each of found) {
      if (each.type === "checkbox") each.checked = said[each.name];
      else each.value = said[each.name];
      const folded = each.closest("details");
      if (folded) folded.open = true;
    }
    if (!found.length) return;
    document.getElementById("draft").hidden = false;
    form.elements.prompts.dispatchEvent(new Event("input", { bubbles: true }));
  };

  if (form.hasAttribute("data-fresh")) restore();
  form.addEventListener("input", save);
  form.addEventListener("change", save);
  form.addEventListener("submit", () => store.set(sessionStorage, SENT, "yes"));
  document.getElementById("draft-drop").addEventListener("click", () => {
    store.set(localStorage, KEY, null);
    location.assign("/submit");
  });
} else if (document.body.dataset.did === "submitted" && store.get(sessionStorage, SENT)) {
  store.set(localStorage, KEY, null);
  store.set(sessionStorage, SENT, null);
}
document.querySelector("form[action='/sign-out']")?.addEventListener("submit", () => store.set(localStorage, KEY, null));
