// The equity of the day. The server's points, fetched now and then, and the newest worth as it is announced.
(() => {
  "use strict";
  const box = document.getElementById("curve");
  if (!box) return;
  const empty = document.getElementById("curve-empty");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ist = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Kolkata", hour: "2-digit", minute: "2-digit" });
  const money = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 0 });
  let points = [], opening = null, plot = null, session = null;

  function data() {
    return [points.map((p) => p[0]), points.map((p) => p[1]), points.map(() => opening)];
  }
  function draw() {
    const something = points.length > 1;
    box.hidden = !something;
    empty.hidden = something;
    if (!something) return;
    const up = points.at(-1)[1] >= (opening ?? points[0][1]);
    const tone = up ? "up" : "down";
    if (plot && session === tone) { plot.setData(data()); return; }
    plot?.destroy();
    session = tone;
    const line = colour(up ? "--profit" : "--loss");
    plot = new uPlot({
      width: box.clientWidth, height: box.clientHeight, legend: { show: false }, cursor: { y: false, points: { size: 7 } },
      padding: [10, 8, 0, 0],
      scales: { x: { time: true }, y: { range: (_, low, high) => { const room = Math.max((high - low) * 0.08, 50); return [low - room, high + room]; } } },
      axes: [
        { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui", size: 30, values: (_, marks) => marks.map((m) => ist.format(m * 1000)) },
        { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui", size: 78, values: (_, marks) => marks.map((m) => money.format(m)) },
      ],
      series: [{}, { label: "Equity", stroke: line, width: 1.5, fill: colour(up ? "--profit-wash" : "--loss-wash"), points: { show: false } }, { label: "Opening", stroke: colour("--line-strong"), width: 1, dash: [4, 4], points: { show: false } }],
    }, data(), box);
    plot.over.setAttribute("aria-hidden", "true");
  }
  async function load() {
    if (document.hidden) return;
    try {
      const answer = await fetch(box.dataset.source, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      const curve = await answer.json();
      points = curve.day;
      opening = curve.opening;
      draw();
    } catch { document.getElementById("curve-note").textContent = "The curve could not be fetched; trying again"; }
  }
  document.addEventListener("desk:summary", ({ detail }) => {
    if (document.hidden || detail.equity_value === undefined || !detail.clock) return;
    const at = Math.round(detail.clock.venue), newest = points.at(-1);
    if (newest && at - newest[0] < 30) newest[1] = detail.equity_value; // the last half minute is one point
    else points.push([at, detail.equity_value]);
    draw();
  });
  function redraw() { plot?.destroy(); plot = null; draw(); }
  document.addEventListener("desk:theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  new ResizeObserver(() => { if (plot && box.clientWidth) plot.setSize({ width: box.clientWidth, height: box.clientHeight }); }).observe(box);
  document.addEventListener("visibilitychange", load);
  setInterval(load, 30000);
  load();
})();
