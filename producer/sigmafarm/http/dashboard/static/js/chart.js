// Pictures and failures a minute, and waiting jobs (on a scale of their own), on the overview, by uPlot. The element carries the numbers; a refresh changes them.

const place = document.getElementById("chart");

if (place && globalThis.uPlot) {
  let plot = null, shown = "";
  const colour = (name) => {
    const probe = document.createElement("i");
    probe.className = `probe-${name}`;
    place.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const clock = (at_s) => new Date(at_s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const draw = () => {
    shown = place.dataset.series;
    const { x, y, failed, waiting } = JSON.parse(shown);
    const data = [x, y, failed, waiting];
    if (plot) return void plot.setData(data);
    const [line, soft, ink, grid, bad, wait] = ["line", "soft", "ink", "grid", "failed", "waiting"].map(colour);
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    plot = new uPlot({
      width: place.clientWidth, height: place.clientHeight, legend: { show: false }, cursor: { y: false, points: { size: 7 } },
      scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.15, 1)] }, jobs: { range: (_, __, most) => [0, Math.max(most * 1.15, 1)] } },
      axes: [{ ...axis, space: 70, size: 36, values: (_, times) => times.map(clock) }, { ...axis, size: 44, grid: { stroke: grid, width: 1 } }, { ...axis, scale: "jobs", side: 1, size: 52, grid: { show: false } }],
      series: [
        {},
        { stroke: line, width: 2, fill: soft, points: { show: false } },
        { stroke: bad, width: 2, dash: [2, 3], points: { show: false } },
        { stroke: wait, width: 1.5, dash: [8, 4], scale: "jobs", points: { show: false } },
      ],
    }, data, place);
  };
  const redraw = () => { plot?.destroy(); plot = null; draw(); };
  draw();
  new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
  document.addEventListener("htmx:after:swap", () => { if (place.dataset.series !== shown) draw(); });
  document.addEventListener("theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
