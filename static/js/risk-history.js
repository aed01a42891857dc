// The history of one session's risk: three plots on one axis of time, fetched again when a new minute was kept.
(() => {
  "use strict";
  const box = document.getElementById("risk-history");
  if (!box) return;
  const empty = box.querySelector(".empty"), pair = box.querySelector(".pair");
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ist = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Kolkata", hour: "2-digit", minute: "2-digit" });
  // As many decimals as tell two marks apart.
  const short = (step) => new Intl.NumberFormat("en-IN", { notation: "compact", maximumFractionDigits: step < 1 ? Math.min(4, Math.ceil(-Math.log10(step))) : 1 });
  const PLOTS = {
    exposure: [["gross", "--accent"], ["net", "--muted"]],
    risk: [["open_risk", "--warn"], ["worst_case", "--loss"], ["var", "--buy"]],
    drawdown: [["drawdown", "--loss"]],
  };
  let found = null, plots = [];

  function draw() {
    plots.forEach((plot) => plot.destroy());
    plots = [];
    const something = found && found.at.length > 1;
    pair.hidden = !something;
    empty.hidden = Boolean(something);
    if (!something) return;
    for (const place of box.querySelectorAll("[data-plot]")) {
      const lines = PLOTS[place.dataset.plot];
      const axis = { stroke: colour("--muted"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
      const plot = new uPlot({
        width: place.clientWidth, height: place.clientHeight, legend: { show: false }, padding: [10, 8, 0, 0],
        cursor: { y: false, points: { size: 6 }, sync: { key: "risk" } },
        axes: [{ ...axis, size: 28, values: (_, marks) => marks.map((m) => ist.format(m * 1000)) }, { ...axis, size: 56, values: (_, marks, _axis, _space, step) => marks.map((m) => short(step).format(m || 0)) }],
        series: [{}, ...lines.map(([name, tone]) => ({ label: name, stroke: colour(tone), width: 1.5, points: { show: false } }))],
      }, [found.at, ...lines.map(([name]) => found[name])], place);
      plot.over.setAttribute("aria-hidden", "true");
      plots.push(plot);
    }
  }
  async function load() {
    if (document.hidden) return;
    try {
      const answer = await fetch(box.dataset.source, { credentials: "same-origin" });
      if (!answer.ok) throw new Error(String(answer.status));
      found = await answer.json();
      document.getElementById("history-note").textContent = found.day ? `${found.day}, ₹, market time IST` : "₹, market time IST";
      draw();
    } catch { document.getElementById("history-note").textContent = "The history could not be fetched; trying again"; }
  }
  document.addEventListener("desk:theme", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  document.addEventListener("visibilitychange", load);
  let width = 0;
  new ResizeObserver(() => { if (box.clientWidth !== width) { width = box.clientWidth; draw(); } }).observe(box);
  setInterval(load, 20000);
  load();
})();
