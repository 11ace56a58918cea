// The job's page: what the picture was drawn with is asked for when its part is opened, and again after changes of the
// job until there is a picture; it never changes then.

const details = document.getElementById("inside");
const body = document.getElementById("inside-body");

if (details) {
  const look = () => {
    if (!details.open || body.querySelector("[data-is-whole]")) return void delete body.dataset.live;
    body.dataset.live = "";
    htmx.trigger(body, "live");
  };
  details.addEventListener("toggle", look);
  document.addEventListener("htmx:after:swap", () => {
    if (body.querySelector("[data-is-whole]")) delete body.dataset.live;
  });
  look();
}
