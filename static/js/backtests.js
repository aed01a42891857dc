// A trade that is chosen in the table is shown on its candles; what is ticked stays ticked when the list is fetched anew.
(() => {
  "use strict";
  document.addEventListener("click", (event) => {
    const row = event.target.closest("[data-trade-chart]");
    if (!row || event.target.closest("a, input")) return;
    const chart = document.getElementById("candles-of-trade");
    if (!chart) return;
    chart.dataset.url = row.dataset.tradeChart;
    chart.dataset.label = `Candles of ${row.dataset.tradeName}`;
    const title = document.querySelector("[data-trade-title]");
    if (title) title.textContent = row.dataset.tradeName;
    document.getElementById("trade-chart").scrollIntoView({ block: "start", behavior: "auto" });
  });
  document.addEventListener("keydown", (event) => {
    const row = event.key === "Enter" ? event.target.closest("tr[data-trade-chart]") : null;
    if (row && event.target === row) row.click();
  });
  let ticked = [];
  document.addEventListener("htmx:beforeSwap", (event) => {
    ticked = [...event.detail.target.querySelectorAll?.("[data-keep-checked] input:checked") ?? []].map((one) => one.value);
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const value of ticked) {
      const box = document.querySelector(`[data-keep-checked] input[value="${CSS.escape(value)}"]`);
      if (box) box.checked = true;
    }
  });
})();
