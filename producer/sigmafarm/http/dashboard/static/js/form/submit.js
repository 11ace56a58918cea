// The submit form: the number of jobs while it is written, Ctrl+Enter, one submit a click. And searches kept in the URL.

const form = document.getElementById("submit");
// More than this a form's field cannot carry; a file can.
const MOST_BYTES = 900_000;

if (form) {
  const count = document.getElementById("count");
  const prompts = form.elements.prompts;
  let timer = 0;
  const ask = () => {
    clearTimeout(timer);
    timer = setTimeout(() => { if (!isTooLong()) htmx.trigger(count, "count"); }, 300);
  };
  const isTooLong = () => {
    const isLong = new Blob([prompts.value]).size > MOST_BYTES;
    prompts.setCustomValidity(isLong ? "This is more than the box can carry: save it as a file, and choose that." : "");
    return isLong;
  };
  form.addEventListener("input", ask);
  form.addEventListener("change", ask);
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    if (isTooLong()) {
      event.preventDefault();
      prompts.reportValidity();
    } else if (form.dataset.isSent) {
      event.preventDefault(); // a second click: the first one is on its way
    } else {
      form.dataset.isSent = "yes";
    }
  });
  addEventListener("pageshow", () => delete form.dataset.isSent);
  if (prompts.value.trim()) ask();
  document.addEventListener("htmx:config:request", (event) => {
    if (event.detail.ctx.sourceElement !== count) return;
    // Pictures change no number of jobs, and would be sent at each letter.
    for (const input of form.querySelectorAll("input[data-picture]")) event.detail.ctx.request.body.delete(input.name);
  });
}

const pictureForm = document.getElementById("from-picture");
if (pictureForm) {
  const pictureIn = (event) => [...(event.dataTransfer?.items ?? [])].some((item) => item.kind === "file" && item.type.startsWith("image/"));
  addEventListener("dragover", (event) => { if (pictureIn(event)) event.preventDefault(); });
  addEventListener("drop", (event) => {
    const file = [...(event.dataTransfer?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file) return;
    event.preventDefault();
    const dropped = new DataTransfer();
    dropped.items.add(file);
    pictureForm.elements.picture.files = dropped.files;
    pictureForm.requestSubmit();
  });
  pictureForm.elements.picture.addEventListener("change", () => pictureForm.requestSubmit());
}

document.addEventListener("htmx:after:request", (event) => {
  const box = event.detail.ctx.sourceElement;
  if (!box.dataset?.keepsUrl || event.detail.ctx.response?.status >= 400) return;
  const asked = new URL(event.detail.ctx.request.action, location.href);
  for (const [name, value] of [...asked.searchParams]) if (!value) asked.searchParams.delete(name);
  history.replaceState(null, "", box.dataset.keepsUrl + asked.search);
  document.getElementById("batches")?.setAttribute("hx-get", `/parts/batches${asked.search}`);
});
