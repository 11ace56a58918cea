// The seed of the form: locked to a number, or open, so that each job draws its own; the die writes another number.

const acts = document.querySelector(".seed-acts");
const END = 2 ** 32; // what random seeds are below

if (acts) {
  const seed = document.getElementById("seed");
  const lock = acts.querySelector("[data-seed=lock]");
  let last = "";
  const tell = () => {
    const isLocked = seed.value.trim() !== "";
    lock.setAttribute("aria-pressed", String(isLocked));
    lock.textContent = isLocked ? "Locked" : "Lock";
  };
  const set = (text) => {
    seed.value = text;
    seed.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const roll = () => String(crypto.getRandomValues(new Uint32Array(1))[0] % END);
  acts.hidden = false;
  acts.addEventListener("click", (event) => {
    const act = event.target.closest("[data-seed]")?.dataset.seed;
    if (act === "die") set(roll());
    if (act === "lock") {
      const held = seed.value.trim();
      if (held) last = held;
      set(held ? "" : last || roll());
    }
  });
  seed.addEventListener("input", tell);
  tell();
}
