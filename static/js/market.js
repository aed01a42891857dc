// Market pages: what an indicator's constants are called, arrows through search results, a search that closes.
(() => {
  "use strict";
  function dress() {
    for (const select of document.querySelectorAll("select[data-constants]")) {
      const input = document.getElementById(select.dataset.constants), names = select.selectedOptions[0]?.dataset.constants ?? "";
      input.placeholder = names || "no constants";
      input.disabled = !names;
    }
  }
  document.addEventListener("change", (event) => {
    if (!event.target.matches("select[data-constants]")) return;
    document.getElementById(event.target.dataset.constants).value = "";
    dress();
  });
  document.addEventListener("htmx:afterSettle", dress);
  document.addEventListener("keydown", (event) => {
    const search = event.target.closest?.(".market-search");
    if (!search || !["ArrowDown", "ArrowUp", "Escape"].includes(event.key)) return;
    const found = search.querySelector(".found"), options = [...found.querySelectorAll("a.option")];
    event.preventDefault();
    if (event.key === "Escape") { found.replaceChildren(); search.querySelector("input").focus(); return; }
    const at = options.indexOf(document.activeElement), to = at + (event.key === "ArrowDown" ? 1 : -1);
    (to < 0 ? search.querySelector("input") : options[Math.min(to, options.length - 1)])?.focus();
  });
  document.addEventListener("click", (event) => { for (const search of document.querySelectorAll(".market-search")) if (!search.contains(event.target)) search.querySelector(".found").replaceChildren(); });
  dress();
})();
