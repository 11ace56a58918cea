// Pictures a second on the overview, by uPlot. The element carries the numbers; a refresh changes them.

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
    const { x, y } = JSON.parse(shown);
    if (plot) return void plot.setData([x, y]);
    const [line, soft, ink, grid] = ["line", "soft", "ink", "grid"].map(colour);
    const axis = { stroke: ink, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "12px system-ui" };
    plot = new uPlot({
      width: place.clientWidth, height: place.clientHeight, legend: { show: false }, cursor: { y: false, points: { size: 7 } },
      scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.15, 0.1)] } },
      axes: [{ ...axis, space: 70, size: 36, values: (_, times) => times.map(clock) }, { ...axis, size: 44, grid: { stroke: grid, width: 1 } }],
      series: [{}, { stroke: line, width: 2, fill: soft, points: { show: false } }],
    }, [x, y], place);
  };
  const redraw = () => { plot?.destroy(); plot = null; draw(); };
  draw();
  new ResizeObserver(() => plot?.setSize({ width: place.clientWidth, height: place.clientHeight })).observe(place);
  document.addEventListener("htmx:after:swap", () => { if (place.dataset.series !== shown) draw(); });
  document.addEventListener("theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
