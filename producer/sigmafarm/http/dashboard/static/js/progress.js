// A batch's page in a tab that nobody looks at: its title says how far it is, and whoever asked for it is told of the end.

const head = document.getElementById("head");
const bell = document.getElementById("bell");
const ASK_MS = 5000;

if (head) {
  const title = document.title;
  const batch = location.pathname.split("/")[2];
  let wasDone = null;

  const look = () => {
    const said = head.querySelector("[data-percent]");
    if (!said) return;
    const { percent, done, failed, words } = said.dataset;
    show(percent, done === "yes", failed, words);
  };
  const show = (percent, isDone, failed, words) => {
    document.title = isDone ? `${failed && failed !== "0" ? "⚠" : "✓"} ${title}` : `${percent} % ${title}`;
    if (isDone && wasDone === false && isAsked()) tell(words);
    wasDone = isDone;
    if (bell) bell.hidden = isDone || !("Notification" in globalThis);
  };

  const isAsked = () => bell?.getAttribute("aria-pressed") === "true"; // and the browser allowed it then
  const tell = (words) => {
    try {
      const told = new Notification(title.replace(/ · sigmafarm$/, ""), { body: words, tag: location.pathname });
      told.addEventListener("click", () => { focus(); told.close(); });
    } catch { /* some phones let only service workers tell: the title still says it */ }
  };

  bell?.addEventListener("click", async () => {
    const isOn = bell.getAttribute("aria-pressed") !== "true";
    if (isOn && (await Notification.requestPermission()) !== "granted") {
      bell.title = "The browser does not let this page tell anything: its settings decide";
      return;
    }
    bell.setAttribute("aria-pressed", String(isOn));
  });

  // A hidden tab gets no refreshes: while its batch is open it asks for the numbers alone, now and then.
  const ask = async () => {
    const answer = await fetch(`/v1/batches/${batch}`).catch(() => null);
    if (!answer?.ok || !document.hidden) return;
    const { counts, is_done } = await answer.json();
    const ended = counts.succeeded + counts.failed + counts.cancelled;
    const words = `${counts.succeeded} of ${counts.total} drawn${counts.failed ? `, ${counts.failed} failed` : ""}`;
    show(Math.floor((100 * ended) / Math.max(1, counts.total)), is_done, counts.failed, words);
  };
  setInterval(() => { if (document.hidden && !wasDone) ask(); }, ASK_MS);

  look();
  document.addEventListener("htmx:after:swap", look);
}
