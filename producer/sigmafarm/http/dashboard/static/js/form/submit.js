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
    // Pictures change no number of jobs, and would be sent at each letter: only that there is one is said.
    const { body } = event.detail.ctx.request;
    for (const input of form.querySelectorAll("input[data-picture]")) {
      body.delete(input.name);
      if (input.files.length) body.set(input.name.replace(/_file$/, "_is_given"), "yes");
    }
  });

  // What is wrong is said beside its field while it is written, as soon as the reader has left the field or stopped typing.
  document.addEventListener("htmx:after:swap", () => {
    const said = document.getElementById("count-problems")?.dataset.problems;
    if (!said) return;
    const problems = JSON.parse(said);
    for (const field of form.elements) {
      if (!field.id || field.type === "hidden" || field.id === "prompts") continue;
      const words = problems[field.id] ?? "";
      let place = document.getElementById(`${field.id}-problem`);
      if (!words && !place) continue;
      if (!place) {
        place = document.createElement("p");
        place.id = `${field.id}-problem`;
        place.className = "problem";
        place.dir = "auto";
        field.closest(".field")?.append(place);
      }
      place.textContent = words;
      if (words) {
        field.setAttribute("aria-invalid", "true");
        field.setAttribute("aria-describedby", place.id);
      } else {
        field.removeAttribute("aria-invalid");
        field.removeAttribute("aria-describedby");
      }
    }
  });

  // Empty fields show what will be used, which is another model's when another model is chosen.
  const blanks = JSON.parse(form.dataset.blanks);
  const model = form.elements.model;
  const own = new Map([...form.elements].map((each) => [each, blankOf(each)]));
  function blankOf(each) { return each.tagName === "SELECT" ? each.options[0]?.text : each.placeholder; }
  const showBlanks = () => {
    const known = blanks[model.value || form.dataset.usual];
    for (const [each, text] of own) {
      if (each === model || !each.name) continue;
      const shown = known?.[each.name] ?? text;
      if (each.tagName === "SELECT") { if (each.options[0]?.value === "") each.options[0].text = shown; }
      else if (each.placeholder !== undefined && each.id in { ...known }) each.placeholder = shown;
    }
  };
  model?.addEventListener("change", showBlanks);
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
