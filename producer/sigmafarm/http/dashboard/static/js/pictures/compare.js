// The slider between two pictures that lie over each other.

const over = document.getElementById("compare-over");
const slider = document.getElementById("compare-slider");

if (over && slider) {
  const set = () => over.style.setProperty("--at", `${slider.value}%`);
  slider.addEventListener("input", set);
  const follow = (event) => {
    if (!(event.buttons & 1)) return;
    const box = over.getBoundingClientRect();
    slider.value = String((100 * (event.clientX - box.left)) / box.width);
    set();
  };
  over.addEventListener("pointerdown", follow);
  over.addEventListener("pointermove", follow);
  over.addEventListener("dragstart", (event) => event.preventDefault());
  set();
}
