// The job's page: keeps the previews that come by, in order. They are the farm's for a second each, the page's for good.

const strip = document.getElementById("strip");
const MOST = 60;

if (strip) {
  let last = "";
  const keep = () => {
    const preview = document.getElementById("preview");
    const key = preview && `${preview.dataset.fence}/${preview.dataset.step}`;
    if (!key || key === last) return;
    last = key;
    const item = document.createElement("li");
    const image = document.createElement("img");
    image.src = preview.src;
    image.alt = `Preview at step ${preview.dataset.step}`;
    item.append(image, `step ${preview.dataset.step}`);
    strip.append(item);
    while (strip.childElementCount > MOST) strip.firstElementChild.remove();
    document.getElementById("strip-section").hidden = false;
    strip.scrollLeft = strip.scrollWidth;
  };
  keep();
  document.addEventListener("htmx:after:swap", keep);
}
