// The editor of rules. A field `<div data-rule-editor data-kind="condition">` holds a textarea; over it lies the same text
// in colours, with the fault underlined at its character. What may be written comes from `data-names` (one address for
// the page), what is wrong from `data-check`. Nothing is judged here: the server's own parser answers.
(() => {
  "use strict";
  const form = document.querySelector("[data-contract-form]");
  if (!form) return;
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  // The same small alphabet as the server's lexer; what it does not know stays plain.
  const TOKEN = /(\s+)|((?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)|([A-Za-z_][A-Za-z0-9_]*)|("[^"\r\n]*"?)|(<=|>=|==|!=|[-+*/<>(),[\]])|([\s\S])/g;
  let names = new Map();
  const editors = [];

  const parameters = () => {
    const found = {};
    for (const row of form.querySelectorAll("[data-parameter]")) {
      const name = row.querySelector("[data-field='name']").value.trim();
      if (name) found[name] = row.querySelector("[data-field='default']").value.trim();
    }
    return found;
  };

  class Editor {
    constructor(box) {
      this.box = box;
      this.area = box.querySelector("textarea");
      this.kind = box.dataset.kind;
      this.fault = null;
      this.chosen = 0;
      this.found = [];
      this.paper = make("pre", { class: "paper", "aria-hidden": "true" });
      this.list = make("ul", { class: "names", role: "listbox", id: `${this.area.id}-names`, hidden: "" });
      this.says = make("div", { class: "says", id: `${this.area.id}-says`, role: "status" });
      const frame = make("div", { class: "frame" });
      this.area.before(frame);
      frame.append(this.paper, this.area, this.list);
      frame.after(this.says);
      Object.entries({ spellcheck: "false", autocapitalize: "off", autocomplete: "off", role: "combobox", "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": this.list.id, "aria-describedby": this.says.id }).forEach(([name, value]) => this.area.setAttribute(name, value));
      this.area.addEventListener("input", () => { this.fault = null; this.paint(); this.offer(); this.checkSoon(); });
      this.area.addEventListener("scroll", () => { this.paper.scrollTop = this.area.scrollTop; this.paper.scrollLeft = this.area.scrollLeft; });
      this.area.addEventListener("keydown", (event) => this.key(event));
      this.area.addEventListener("blur", () => setTimeout(() => this.close(), 150));
      this.paint();
      this.check();
    }

    paint() {
      this.paper.replaceChildren();
      const text = this.area.value, known = parameters();
      for (const match of text.matchAll(TOKEN)) {
        const [whole, , number, word, string, operator] = match;
        const kind = number ? "number" : string ? "string" : operator ? "operator" : !word ? "" : names.has(word) ? `name ${names.get(word).group}` : word in known ? "parameter" : "unknown";
        const here = this.fault !== null && this.fault.position >= match.index && this.fault.position < match.index + whole.length;
        const piece = kind || here ? make("span", { class: `${kind}${here ? " fault" : ""}` }, whole) : whole;
        this.paper.append(piece);
      }
      if (this.fault !== null && this.fault.position >= text.length) this.paper.append(make("span", { class: "fault" }, " "));
      this.paper.append("\n");
      this.area.style.height = "auto";
      this.area.style.height = `${Math.max(58, this.area.scrollHeight + 2)}px`;
    }

    checkSoon() {
      clearTimeout(this.waiting);
      this.waiting = setTimeout(() => this.check(), 250);
    }

    async check() {
      const text = this.area.value;
      if (!text.trim()) { this.tell(null); return; }
      this.asked?.abort();
      this.asked = new AbortController();
      try {
        const answer = await fetch(form.dataset.check, {
          method: "POST", signal: this.asked.signal, credentials: "same-origin",
          headers: { "Content-Type": "application/json", "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value },
          body: JSON.stringify({ rule: text, kind: this.kind, timeframe: form.elements.timeframe.value, parameters: parameters() }),
        });
        if (!answer.ok) throw new Error(String(answer.status));
        const judged = await answer.json();
        if (text === this.area.value) this.tell(judged);
      } catch (error) {
        if (error.name !== "AbortError") this.says.replaceChildren(make("p", { class: "muted" }, "Not checked: the desk does not answer."));
      }
    }

    tell(judged) {
      this.fault = judged?.error ?? null;
      this.area.setAttribute("aria-invalid", String(this.fault !== null));
      this.paint();
      this.says.replaceChildren();
      if (!judged) return;
      if (this.fault) {
        const line = make("p", { class: "down" }, this.fault.message);
        if (this.fault.suggestion) {
          const accept = make("button", { type: "button", class: "small", "data-accept": "" }, `Use ${this.fault.suggestion}`);
          accept.addEventListener("click", () => this.accept());
          line.append(" ", accept);
        }
        this.says.append(line);
      } else {
        this.says.append(make("p", { class: "muted" }, judged.words.join(" · ")));
        for (const note of judged.notes) this.says.append(make("p", { class: "muted" }, note));
      }
    }

    accept() {
      const text = this.area.value, at = this.fault.position;
      const rest = /^(?:[A-Za-z_][A-Za-z0-9_]*|"[^"]*"?|[\s\S])/.exec(text.slice(at));
      const quoted = rest && rest[0].startsWith('"') && !this.fault.suggestion.startsWith('"') ? `"${this.fault.suggestion}"` : this.fault.suggestion;
      this.area.setRangeText(quoted, at, at + (rest ? rest[0].length : 0), "end");
      this.area.dispatchEvent(new Event("input", { bubbles: true }));
      this.area.focus();
    }

    // --- names that begin like the word at the cursor -----------------------------------------------------------------
    word() {
      const before = /[A-Za-z_][A-Za-z0-9_]*$/.exec(this.area.value.slice(0, this.area.selectionStart));
      return before ? before[0] : "";
    }

    offer() {
      const word = this.word();
      const own = Object.keys(parameters()).map((name) => ({ name, signature: name, group: "parameter", doc: "parameter of this contract" }));
      this.found = word.length < 1 ? [] : [...own, ...names.values()].filter((entry) => entry.name.startsWith(word) && entry.name !== word).slice(0, 8);
      this.chosen = 0;
      this.show();
    }

    show() {
      this.list.replaceChildren(...this.found.map((entry, place) => {
        const option = make("li", { role: "option", id: `${this.list.id}-${place}`, "aria-selected": String(place === this.chosen) }, make("b", {}, entry.signature), make("small", {}, entry.doc));
        option.addEventListener("mousedown", (event) => { event.preventDefault(); this.chosen = place; this.take(); });
        return option;
      }));
      this.list.hidden = this.found.length === 0;
      this.area.setAttribute("aria-expanded", String(!this.list.hidden));
      if (this.list.hidden) this.area.removeAttribute("aria-activedescendant");
      else this.area.setAttribute("aria-activedescendant", `${this.list.id}-${this.chosen}`);
    }

    take() {
      const entry = this.found[this.chosen], word = this.word(), end = this.area.selectionStart;
      const brackets = entry.signature.includes("(");
      this.area.setRangeText(entry.name + (brackets ? "()" : ""), end - word.length, end, "end");
      if (brackets) this.area.selectionStart = this.area.selectionEnd = this.area.selectionEnd - 1;
      this.close();
      this.fault = null;
      this.paint();
      this.checkSoon();
    }

    close() { this.found = []; this.show(); }

    key(event) {
      if (event.ctrlKey && event.key === " ") { event.preventDefault(); this.offer(); return; }
      if (this.list.hidden) return;
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (step) { event.preventDefault(); this.chosen = (this.chosen + step + this.found.length) % this.found.length; this.show(); }
      else if (event.key === "Enter" || event.key === "Tab") { event.preventDefault(); this.take(); }
      else if (event.key === "Escape") { event.preventDefault(); event.stopPropagation(); this.close(); }
    }
  }

  // --- parameters: rows that come and go ------------------------------------------------------------------------------
  const again = () => { for (const editor of editors) { editor.paint(); editor.checkSoon(); } };
  const table = form.querySelector("[data-parameters]");
  form.querySelector("[data-add-parameter]")?.addEventListener("click", () => {
    const copy = form.querySelector("template[data-parameter-row]").content.cloneNode(true);
    table.append(copy);
    table.lastElementChild.querySelector("input").focus();
  });
  table?.addEventListener("click", (event) => {
    const button = event.target.closest("[data-remove-parameter]");
    if (button) { button.closest("tr").remove(); again(); }
  });
  table?.addEventListener("input", again);
  form.elements.timeframe?.addEventListener("change", again);

  // --- what is asked for only with some kinds --------------------------------------------------------------------------
  const shows = () => {
    for (const part of form.querySelectorAll("[data-when]")) {
      const [field, wanted] = part.dataset.when.split("=");
      const value = form.elements[field]?.value ?? "";
      part.hidden = !wanted.split("|").includes(value);
      for (const input of part.querySelectorAll("input, select, textarea")) input.disabled = part.hidden;
    }
    for (const part of form.querySelectorAll("[data-side]")) {
      const on = form.querySelector(`[name=sides][value=${part.dataset.side}]`).checked;
      part.hidden = !on;
      for (const input of part.querySelectorAll("textarea")) input.disabled = !on;
    }
  };
  form.addEventListener("change", shows);
  shows();

  // --- where it fired ---------------------------------------------------------------------------------------------------
  const chart = document.querySelector("[data-preview-chart]");
  document.querySelector("[data-preview-button]")?.addEventListener("click", () => {
    const query = new URLSearchParams({ symbol: document.querySelector("[data-preview-symbol]").value, timeframe: form.elements.timeframe.value, parameters: JSON.stringify(parameters()), universes: form.elements.universes.value });
    for (const name of ["long_entry", "short_entry", "long_exit", "short_exit"]) {
      const area = form.elements[`rules.${name}`];
      if (area && !area.disabled && area.value.trim()) query.set(name, area.value);
    }
    chart.closest("section").hidden = false;
    const url = `${form.dataset.preview}?${query}`;
    if (chart.hasAttribute("data-candle-chart") && chart.dataset.url) { chart.dataset.url = url; return; }
    chart.dataset.url = url;
    chart.setAttribute("data-candle-chart", "");
    document.dispatchEvent(new Event("htmx:afterSettle")); // charts look for their places then
  });

  fetch(form.dataset.names, { credentials: "same-origin" })
    .then((answer) => (answer.ok ? answer.json() : { names: [] }))
    .then((told) => { names = new Map(told.names.map((entry) => [entry.name, entry])); again(); })
    .catch(() => {});
  for (const box of form.querySelectorAll("[data-rule-editor]")) editors.push(new Editor(box));
})();
