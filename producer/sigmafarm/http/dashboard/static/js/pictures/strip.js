// The job's page: adds the previews that come by to its film strip. The server keeps those that were shown for a later visit.

const strip = document.getElementById("strip");
const MOST = 60;

if (strip) {
  const keep = () => {
    const preview = document.getElementById("preview");
    if (!preview) return;
    const { fence, step } = preview.dataset;
    if (strip.dataset.fence !== fence) { // drawn anew: the strip begins anew
      strip.dataset.fence = fence;
      strip.replaceChildren();
    }
    if (Number(strip.lastElementChild?.dataset.step ?? -1) >= Number(step)) return;
    const item = document.createElement("li");
    item.dataset.step = step;
    const image = document.createElement("img");
    image.src = preview.src;
    image.alt = `Preview at step ${step}`;
    item.append(image, `step ${step}`);
    strip.append(item);
    while (strip.childElementCount > MOST) strip.firstElementChild.remove();
    document.getElementById("strip-section").hidden = false;
    strip.scrollLeft = strip.scrollWidth;
  };
  keep();
  document.addEventListener("htmx:after:swap", keep);
}
