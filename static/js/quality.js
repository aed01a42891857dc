// Slippage and latency by day and by hour: three plots of one answer of the server.
(() => {
  "use strict";
  const box = document.getElementById("quality-charts");
  if (!box) return;
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const day = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short" });
  const plain = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 1 });
  const PLOTS = {
    days: ["days", [["slippage", "--accent"], ["slippage_p95", "--loss"]]],
    latency: ["days", [["wire_p95", "--buy"], ["ack_p95", "--warn"]]],
    hours: ["hours", [["by_hour", "--accent"], ["by_hour_p95", "--loss"]]],
  };
  let found = null, plots = [];

  function draw() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    if (!found) return;
    for (const place of box.querySelectorAll("[data-plot]")) {
      const [along, lines] = PLOTS[place.dataset.plot];
      const by_day = along === "days", xs = found[along].map((x) => (by_day ? x * 86400 : x));
      place.replaceChildren();
      if (!lines.some(([name]) => found[name].some((value) => value !== null))) {
        place.append(Object.assign(document.createElement("p"), { className: "none", textContent: "Nothing measured in these days" }));
        continue;
      }
      const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
      const room = by_day ? 43200 : 0.5;
      const plot = new uPlot({
        width: place.clientWidth, height: place.clientHeight, legend: { show: false }, padding: [10, 8, 0, 0],
        cursor: { y: false, points: { size: 6 } },
        scales: { x: { time: false, range: () => [xs[0] - room, xs.at(-1) + room] } },
        axes: [
          { ...axis, size: 28, splits: () => xs.filter((_, at) => at % Math.ceil(xs.length / 6) === 0), values: (_, marks) => marks.map((m) => (by_day ? day.format(m * 1000) : `${m}:00`)) },
          { ...axis, size: 52, values: (_, marks) => marks.map((m) => plain.format(m)) },
        ],
        series: [{}, ...lines.map(([name, tone]) => ({ label: name, stroke: colour(tone), fill: undefined, width: 1.5, spanGaps: true, points: { show: true, size: 5, fill: colour(tone) } }))],
      }, [xs, ...lines.map(([name]) => found[name])], place);
      plot.over.setAttribute("aria-hidden", "true");
      plots.push(plot);
    }
  }
  async function load() {
    try {
      const answer = await fetch(box.dataset.source, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      found = await answer.json();
      draw();
    } catch { document.getElementById("quality-note").textContent = "The charts could not be fetched; load the page again"; }
  }
  document.addEventListener("desk:theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = 0;
  new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; draw(); } }).observe(box);
  load();
})();
