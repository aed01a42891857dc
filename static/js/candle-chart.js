// A chart of candles. `<div data-candle-chart data-url="…">` fetches
//   { candles: [[epoch_s, open, high, low, close, volume]…],
//     lines:  [{ name, pane, color?, style?, values: [[epoch_s, value|null]…] }…]   pane "price" (or none) lies over the candles
//     marks:  [{ time, side, text, price }…]        entries and exits
//     levels: [{ price, kind, text }…]              kind: stop, target, entry or anything
//     tick?, live?: { symbol, start, seconds }, note? }
// and draws it in IST, light or dark, with its table, its CSV and its PNG. `data-poll="15"` asks again every 15 s;
// a new `data-url`, and an event `refetch` on the element, do so at once. `data-label` names it, `data-empty` says what
// will appear here. With `live` the running bar follows the prices of the page's own websocket (`desk:quotes`).
(() => {
  "use strict";
  const library = window.LightweightCharts;
  const IST_S = 19800; // charts know no time zones: seconds are shifted, and read back as if they were UTC
  const TABLE_ROWS = 300;
  const MINUS = "−";
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const indian = (digits) => new Intl.NumberFormat("en-IN", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const money = new Map();
  const priceText = (value, digits) => {
    if (!money.has(digits)) money.set(digits, indian(digits));
    return money.get(digits).format(value).replace("-", MINUS);
  };
  // Indicators live on scales of their own: four figures of what is small, two decimals of what is not.
  const valueText = (value) => (value === null || value === undefined || Number.isNaN(value) ? "—" : Math.abs(value) >= 1 || value === 0 ? priceText(value, 2) : String(+value.toPrecision(4)).replace("-", MINUS));
  const units = new Intl.NumberFormat("en-IN", { maximumFractionDigits: 0 });
  const short = (value) => (value >= 1e7 ? `${+(value / 1e7).toFixed(2)} cr` : value >= 1e5 ? `${+(value / 1e5).toFixed(2)} L` : units.format(value));
  const part = (options) => new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Kolkata", ...options });
  const dayAndTime = part({ day: "2-digit", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" });
  const dayOnly = part({ day: "2-digit", month: "short", year: "numeric" });
  const clock = part({ hour: "2-digit", minute: "2-digit" });
  const tickDay = part({ day: "numeric", month: "short" });
  const tickMonth = part({ month: "short" });
  const tickYear = part({ year: "numeric" });
  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  class CandleChart {
    constructor(box) {
      this.box = box;
      this.data = null;
      this.chart = null;
      this.cursor = null; // index of the bar that the keys have chosen
      this.asked = null;
      box.classList.add("candle-chart");
      this.build();
      this.observe();
      this.load();
    }

    get name() { return this.box.dataset.label || "Candles"; }

    // --- what stands around the chart --------------------------------------------------------------------------------
    build() {
      this.stage = make("div", { class: "stage", tabindex: "0", role: "group", "aria-roledescription": "chart", "aria-label": `${this.name}. Arrow keys walk along the bars, plus and minus zoom, Home and End jump.` });
      this.canvas = make("div", { class: "canvas", "aria-hidden": "true" });
      this.legend = make("div", { class: "legend" });
      this.spoken = make("p", { class: "hidden", "aria-live": "polite" });
      this.note = make("div", { class: "chart-note", role: "status" }, "Fetching candles…");
      this.stage.append(this.canvas, this.legend, this.note);
      this.table = make("div", { class: "scroll chart-table", hidden: "" });
      const button = (words, act, extra = {}) => {
        const element = make("button", { type: "button", class: "small ghost", ...extra }, words);
        element.addEventListener("click", act);
        return element;
      };
      this.tableButton = button("Show as table", () => this.toggleTable(), { "aria-expanded": "false" });
      this.exports = [this.tableButton, button("CSV", () => this.saveCsv(), { title: "Save what is shown as CSV" }), button("PNG", () => this.savePng(), { title: "Save the picture" })];
      this.behind = make("span", { class: "warn", role: "status" });
      // The licence of the library asks for this line where its logo is not shown.
      const thanks = make("span", { class: "muted thanks" }, "Charts by ", make("a", { href: "https://www.tradingview.com/", rel: "noopener noreferrer", target: "_blank" }, "TradingView Lightweight Charts™"));
      this.foot = make("div", { class: "chart-foot" }, ...this.exports, this.behind, make("span", { class: "gap" }), thanks);
      this.box.replaceChildren(this.stage, this.spoken, this.foot, this.table);
      this.stage.addEventListener("keydown", (event) => this.key(event));
      this.stage.addEventListener("blur", () => this.leave());
    }

    observe() {
      this.redress = () => { if (this.data) this.draw(true); };
      this.ask = () => this.load();
      this.visible = () => { if (!document.hidden && this.box.dataset.poll) this.load(); };
      this.prices = ({ detail }) => this.takePrice(detail);
      this.scheme = matchMedia("(prefers-color-scheme: dark)");
      document.addEventListener("desk:theme", this.redress);
      document.addEventListener("desk:quotes", this.prices);
      document.addEventListener("visibilitychange", this.visible);
      this.scheme.addEventListener("change", this.redress);
      this.box.addEventListener("refetch", this.ask);
      this.watch = new MutationObserver(this.ask);
      this.watch.observe(this.box, { attributes: true, attributeFilter: ["data-url"] });
      const seconds = Number(this.box.dataset.poll);
      if (seconds > 0) this.timer = setInterval(() => { if (!document.hidden) this.load(); }, seconds * 1000);
    }

    destroy() {
      clearInterval(this.timer);
      this.asked?.abort();
      this.watch.disconnect();
      document.removeEventListener("desk:theme", this.redress);
      document.removeEventListener("desk:quotes", this.prices);
      document.removeEventListener("visibilitychange", this.visible);
      this.scheme.removeEventListener("change", this.redress);
      this.chart?.remove();
      this.chart = null;
    }

    // --- fetching -----------------------------------------------------------------------------------------------------
    async load() {
      const url = this.box.dataset.url;
      const other = url !== this.shown;
      if (this.asked && !other && this.asked.url === url) return; // one question at a time
      this.asked?.abort();
      const asked = new AbortController();
      asked.url = url;
      this.asked = asked;
      this.box.setAttribute("aria-busy", "true");
      if (other) this.say("Fetching candles…");
      try {
        const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" }, signal: asked.signal });
        const body = await answer.json().catch(() => null);
        if (!answer.ok || !body || !Array.isArray(body.candles)) throw new Error(body?.detail || body?.message || `the desk answered ${answer.status}`);
        this.data = this.sorted(body);
        this.shown = url;
        this.behind.textContent = "";
        this.draw(other);
      } catch (error) {
        if (asked.signal.aborted) return;
        if (this.data && !other) this.behind.textContent = "The newest bars could not be fetched: trying again";
        else this.fail(error.message);
      } finally {
        if (this.asked === asked) { this.asked = null; this.box.removeAttribute("aria-busy"); }
      }
    }

    /** Bars in rising order, one an instant: what the library insists on, whatever was sent. */
    sorted(body) {
      const rising = (rows) => [...new Map(rows.map((row) => [row[0], row])).values()].sort((a, b) => a[0] - b[0]);
      const candles = rising(body.candles.filter((row) => row.slice(0, 5).every((value) => Number.isFinite(value))));
      const lines = (body.lines ?? []).map((line) => ({ ...line, values: rising(line.values), at: new Map(line.values.map((row) => [row[0], row[1]])) }));
      const gap = candles.slice(-60).reduce((least, row, index, all) => (index ? Math.min(least, row[0] - all[index - 1][0]) : least), Infinity);
      return { ...body, candles, lines, marks: body.marks ?? [], levels: body.levels ?? [], daily: gap >= 72000, digits: Math.max(2, (String(body.tick ?? "").split(".")[1] ?? "").replace(/0+$/, "").length) };
    }

    say(words) {
      this.note.replaceChildren(words);
      this.note.hidden = !words;
    }

    fail(reason) {
      this.data = null;
      this.shown = undefined;
      this.chart?.remove();
      this.chart = null;
      this.legend.replaceChildren();
      const again = make("button", { type: "button", class: "small" }, "Try again");
      again.addEventListener("click", () => this.load());
      this.note.replaceChildren(make("b", {}, "The candles could not be fetched"), make("span", {}, `${reason}.`.replace(/\.\.$/, ".")), again);
      this.note.hidden = false;
      for (const one of this.exports) one.disabled = true;
      this.closeTable();
    }

    // --- drawing --------------------------------------------------------------------------------------------------------
    draw(anew) {
      const { candles, lines } = this.data;
      for (const one of this.exports) one.disabled = candles.length === 0;
      if (!library) { this.fail("the chart library is not on this page"); return; }
      if (candles.length === 0) {
        this.chart?.remove();
        this.chart = null;
        this.legend.replaceChildren();
        this.closeTable();
        this.say(this.data.note || this.box.dataset.empty || "No candles are stored for this range yet.");
        return;
      }
      this.say("");
      const shape = JSON.stringify([lines.map((line) => [line.name, line.pane, line.style]), this.data.daily, candles.some((row) => row[5] > 0)]);
      const range = this.chart && !anew ? this.chart.timeScale().getVisibleLogicalRange() : null;
      const before = this.count;
      if (!this.chart || anew || shape !== this.shape) this.raise();
      this.shape = shape;
      this.fill();
      if (range && before === candles.length) this.chart.timeScale().setVisibleLogicalRange(range);
      else if (!range) this.frame();
      this.count = candles.length;
      this.describe(candles.length - 1);
      if (!this.table.hidden) this.fillTable();
    }

    colours() {
      return { text: css("--muted"), strong: css("--text"), line: css("--line"), ground: css("--surface"), up: css("--profit"), down: css("--loss"), buy: css("--buy"), sell: css("--sell"), accent: css("--accent") };
    }

    colourOf(line, index) {
      const named = line.color && /^[a-z-]+$/.test(line.color) ? css(`--${line.color}`) : line.color;
      return named || css(`--series-${(index % 6) + 1}`) || css("--accent");
    }

    /** The chart and its series, empty. Made again when the theme or the set of lines changes. */
    raise() {
      this.chart?.remove();
      const tone = this.colours();
      const panes = [...new Set(this.data.lines.map((line) => line.pane || "price").filter((pane) => pane !== "price"))];
      this.stage.style.height = panes.length ? `calc(var(--chart-height) + ${panes.length * 108}px)` : "";
      const asUtc = (time) => new Date((time - IST_S) * 1000);
      this.chart = library.createChart(this.canvas, {
        autoSize: true,
        layout: { attributionLogo: false, background: { color: tone.ground }, textColor: tone.text, fontFamily: getComputedStyle(this.box).fontFamily, fontSize: 12, panes: { separatorColor: tone.line, separatorHoverColor: tone.line } },
        grid: { vertLines: { color: tone.line }, horzLines: { color: tone.line } },
        rightPriceScale: { borderColor: tone.line },
        timeScale: { borderColor: tone.line, timeVisible: !this.data.daily, secondsVisible: false, rightOffset: 4, minBarSpacing: 0.2,
          tickMarkFormatter: (time, kind) => (kind === 0 ? tickYear : kind === 1 ? tickMonth : kind === 2 ? tickDay : clock).format(asUtc(time)) },
        localization: { locale: "en-IN", timeFormatter: (time) => (this.data.daily ? dayOnly : dayAndTime).format(asUtc(time)) },
        crosshair: { mode: library.CrosshairMode.Normal, vertLine: { color: tone.text, labelBackgroundColor: tone.text }, horzLine: { color: tone.text, labelBackgroundColor: tone.text } },
        handleScale: { mouseWheel: true, pinch: true }, kineticScroll: { touch: !matchMedia("(prefers-reduced-motion: reduce)").matches, mouse: false },
      });
      const { digits } = this.data;
      const price = { type: "custom", minMove: 10 ** -digits, formatter: (value) => priceText(value, digits) };
      this.candles = this.chart.addSeries(library.CandlestickSeries, { upColor: tone.up, downColor: tone.down, borderUpColor: tone.up, borderDownColor: tone.down, wickUpColor: tone.up, wickDownColor: tone.down, priceFormat: price });
      this.volume = null;
      if (this.data.candles.some((row) => row[5] > 0)) {
        this.volume = this.chart.addSeries(library.HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "custom", minMove: 1, formatter: short }, lastValueVisible: false, priceLineVisible: false });
        this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.82, bottom: 0 } });
        this.candles.priceScale().applyOptions({ scaleMargins: { top: 0.12, bottom: 0.2 } });
      }
      this.lines = this.data.lines.map((line, index) => {
        const pane = panes.indexOf(line.pane) + 1;
        const histogram = line.style === "histogram";
        const options = { color: this.colourOf(line, index), priceLineVisible: false, lastValueVisible: pane > 0, priceFormat: pane ? { type: "custom", minMove: 1e-6, formatter: valueText } : price };
        const dots = line.style === "dots";
        return this.chart.addSeries(histogram ? library.HistogramSeries : library.LineSeries, histogram ? options : { ...options, lineWidth: 1.5, crosshairMarkerRadius: 3, ...(dots ? { lineVisible: false, pointMarkersVisible: true, pointMarkersRadius: 1.5 } : {}) }, pane);
      });
      this.chart.panes().forEach((pane, index) => pane.setStretchFactor(index ? 1 : 3.4));
      this.marks = library.createSeriesMarkers(this.candles, []);
      this.levels = [];
      this.chart.subscribeCrosshairMove((move) => {
        if (this.cursor !== null && !move.sourceEvent) return;
        const index = move.time === undefined ? -1 : this.indexAt(move.time - IST_S);
        this.describe(index < 0 ? this.data.candles.length - 1 : index);
      });
    }

    fill() {
      const { candles, lines, marks, levels } = this.data;
      const tone = this.colours();
      this.candles.setData(candles.map(([time, open, high, low, close]) => ({ time: time + IST_S, open, high, low, close })));
      this.volume?.setData(candles.map(([time, open, , , close, volume]) => ({ time: time + IST_S, value: volume || 0, color: `${close >= open ? tone.up : tone.down}59` })));
      lines.forEach((line, index) => {
        // Every bar has its place, with or without a value: a warm-up is a gap, not a line from nowhere.
        this.lines[index].setData(candles.map(([time]) => { const value = line.at.get(time); return Number.isFinite(value) ? { time: time + IST_S, value } : { time: time + IST_S }; }));
      });
      const first = candles[0][0];
      this.marks.setMarkers(marks.filter((mark) => mark.time >= first).map((mark) => {
        const buy = mark.side === "BUY";
        return { time: candles[this.indexAt(mark.time)][0] + IST_S, position: buy ? "belowBar" : "aboveBar", shape: buy ? "arrowUp" : "arrowDown", color: buy ? tone.buy : tone.sell, text: mark.text };
      }).sort((a, b) => a.time - b.time));
      for (const line of this.levels) this.candles.removePriceLine(line);
      const kinds = { stop: tone.down, target: tone.up, entry: tone.accent };
      this.levels = levels.map((level) => this.candles.createPriceLine({ price: Number(level.price), color: kinds[level.kind] ?? tone.text, lineWidth: 1, lineStyle: level.kind === "entry" ? 2 : 0, axisLabelVisible: true, title: level.text ?? level.kind }));
    }

    /** A view of the newest bars: as many as can be told apart. */
    frame() {
      const wide = Math.max(40, Math.floor(this.canvas.clientWidth / 6)), count = this.data.candles.length;
      if (count > wide) this.chart.timeScale().setVisibleLogicalRange({ from: count - wide, to: count + 3 });
      else this.chart.timeScale().fitContent();
    }

    /** The bar that holds an instant: the last one that starts at or before it. */
    indexAt(time) {
      const { candles } = this.data;
      let low = 0, high = candles.length - 1;
      while (low < high) { const middle = (low + high + 1) >> 1; if (candles[middle][0] <= time) low = middle; else high = middle - 1; }
      return low;
    }

    timeText(time) { return (this.data.daily ? dayOnly : dayAndTime).format(new Date(time * 1000)); }

    describe(index) {
      const row = this.data?.candles[index];
      if (!row) return;
      const [time, open, high, low, close, volume] = row;
      const previous = this.data.candles[index - 1]?.[4] ?? open, change = close - previous, digits = this.data.digits;
      const figure = (name, text) => make("span", {}, make("i", {}, name), ` ${text}`);
      const sign = change > 0 ? "+" : "";
      const moved = make("span", { class: change > 0 ? "up" : change < 0 ? "down" : "" }, `${sign}${priceText(change, digits)} (${sign}${priceText((change / previous) * 100, 2)} %)`);
      const first = make("p", {}, make("b", {}, this.timeText(time)), figure("O", priceText(open, digits)), figure("H", priceText(high, digits)), figure("L", priceText(low, digits)), figure("C", priceText(close, digits)), moved);
      if (volume > 0) first.append(figure("Vol", short(volume)));
      const second = make("p", {});
      this.data.lines.forEach((line, at) => {
        const swatch = make("span", {}, make("i", { class: "swatch" }), `${line.name} ${valueText(line.at.get(time))}`);
        swatch.firstChild.style.background = this.colourOf(line, at);
        second.append(swatch);
      });
      this.legend.replaceChildren(first, ...(this.data.lines.length ? [second] : []));
    }

    // --- live -------------------------------------------------------------------------------------------------------------
    /** The running bar follows the last price; a bar that began since is begun here too, and fetched soon after. */
    takePrice({ quotes, now }) {
      const live = this.data?.live;
      const text = live && this.chart ? quotes[live.symbol]?.ltp : undefined;
      const price = text === undefined ? NaN : Number(text.replaceAll(",", "").replace(MINUS, "-"));
      if (!Number.isFinite(price)) return;
      const { candles } = this.data;
      let last = candles.at(-1);
      if (now >= live.start + live.seconds) {
        if (live.until && now >= live.until) return;
        live.start += Math.floor((now - live.start) / live.seconds) * live.seconds;
        setTimeout(() => this.load(), 1500); // the closed bar, as it was stored, and its indicators
      }
      if (last[0] < live.start) { last = [live.start, price, price, price, price, 0]; candles.push(last); this.count = candles.length; }
      last[2] = Math.max(last[2], price); last[3] = Math.min(last[3], price); last[4] = price;
      this.candles.update({ time: last[0] + IST_S, open: last[1], high: last[2], low: last[3], close: last[4] });
      if (this.cursor === null) this.describe(candles.length - 1);
    }

    // --- keys ---------------------------------------------------------------------------------------------------------------
    key(event) {
      if (!this.chart || event.ctrlKey || event.metaKey || event.altKey || event.target !== this.stage) return;
      const count = this.data.candles.length, scale = this.chart.timeScale();
      const at = this.cursor ?? count - 1, step = event.shiftKey ? 10 : 1;
      const to = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: count - 1 }[event.key];
      if (to !== undefined) this.point(Math.max(0, Math.min(count - 1, to)));
      else if (event.key === "+" || event.key === "=" || event.key === "-") {
        const range = scale.getVisibleLogicalRange(), centre = this.cursor ?? (range.from + range.to) / 2, by = event.key === "-" ? 1.3 : 1 / 1.3;
        scale.setVisibleLogicalRange({ from: centre - (centre - range.from) * by, to: centre + (range.to - centre) * by });
      } else if (event.key === "Escape" && this.cursor !== null) this.leave();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    point(index) {
      this.cursor = index;
      const row = this.data.candles[index], scale = this.chart.timeScale(), range = scale.getVisibleLogicalRange();
      if (index < range.from || index > range.to) {
        const half = (range.to - range.from) / 2;
        scale.setVisibleLogicalRange({ from: index - half, to: index + half });
      }
      this.chart.setCrosshairPosition(row[4], row[0] + IST_S, this.candles);
      this.describe(index);
      const marks = this.data.marks.filter((mark) => this.indexAt(mark.time) === index).map((mark) => mark.text);
      clearTimeout(this.speaking);
      this.speaking = setTimeout(() => { this.spoken.textContent = [this.timeText(row[0]), `open ${row[1]}, high ${row[2]}, low ${row[3]}, close ${row[4]}`, ...this.data.lines.map((line) => `${line.name} ${valueText(line.at.get(row[0]))}`), ...marks].join("; "); }, 250);
    }

    leave() {
      if (this.cursor === null) return;
      this.cursor = null;
      this.chart?.clearCrosshairPosition();
      if (this.data) this.describe(this.data.candles.length - 1);
    }

    // --- table and files ------------------------------------------------------------------------------------------------------
    toggleTable() {
      if (!this.table.hidden) { this.closeTable(); return; }
      this.fillTable();
      this.table.hidden = false;
      this.tableButton.textContent = "Hide the table";
      this.tableButton.setAttribute("aria-expanded", "true");
    }
    closeTable() {
      this.table.hidden = true;
      this.table.replaceChildren();
      this.tableButton.textContent = "Show as table";
      this.tableButton.setAttribute("aria-expanded", "false");
    }
    marksOf(index) { return this.markIndex.get(index)?.join("; ") ?? ""; }
    indexMarks() {
      this.markIndex = new Map();
      for (const mark of this.data.marks) {
        if (mark.time < this.data.candles[0][0]) continue;
        const at = this.indexAt(mark.time);
        this.markIndex.set(at, [...(this.markIndex.get(at) ?? []), mark.text]);
      }
    }
    fillTable() {
      this.indexMarks();
      const { candles, lines, marks, digits } = this.data;
      const heads = ["Time, IST", "Open", "High", "Low", "Close", "Volume", ...lines.map((line) => line.name), ...(marks.length ? ["Marks"] : [])];
      const body = make("tbody");
      for (let index = candles.length - 1; index >= Math.max(0, candles.length - TABLE_ROWS); index--) {
        const row = candles[index];
        const cells = [...row.slice(1, 5).map((value) => priceText(value, digits)), units.format(row[5] || 0), ...lines.map((line) => valueText(line.at.get(row[0])))];
        body.append(make("tr", {}, make("td", {}, this.timeText(row[0])), ...cells.map((text) => make("td", { class: "num" }, text)), ...(marks.length ? [make("td", {}, this.marksOf(index))] : [])));
      }
      const head = make("thead", {}, make("tr", {}, ...heads.map((text, at) => make("th", { scope: "col", class: at && text !== "Marks" ? "num" : undefined }, text))));
      const caption = make("caption", { class: "hidden" }, this.name);
      const all = candles.length > TABLE_ROWS ? [make("p", { class: "muted more" }, `The newest ${TABLE_ROWS} of ${units.format(candles.length)} bars; the CSV has them all.`)] : [];
      this.table.setAttribute("tabindex", "0");
      this.table.setAttribute("role", "region");
      this.table.setAttribute("aria-label", `${this.name}, table`);
      this.table.replaceChildren(...all, make("table", {}, caption, head, body));
    }
    saveCsv() {
      this.indexMarks();
      const { candles, lines } = this.data;
      // A cell that a spreadsheet would run as a formula is made plain text.
      const cell = (value) => { const text = String(value ?? ""); const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text; return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe; };
      const iso = (time) => new Date((time + IST_S) * 1000).toISOString().replace(/\.000Z$/, "+05:30");
      const rows = [["time", "open", "high", "low", "close", "volume", ...lines.map((line) => line.name), "marks"]];
      candles.forEach((row, index) => rows.push([iso(row[0]), ...row.slice(1, 6), ...lines.map((line) => line.at.get(row[0])), this.marksOf(index)]));
      this.save(new Blob([rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n"], { type: "text/csv" }), "csv");
    }
    savePng() { this.chart.takeScreenshot(true).toBlob((blob) => this.save(blob, "png"), "image/png"); }
    save(blob, extension) {
      const link = make("a", { href: URL.createObjectURL(blob), download: `${this.name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "")}.${extension}` });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    }
  }

  const charts = new Map();
  function mount() {
    for (const [box, chart] of charts) if (!box.isConnected) { chart.destroy(); charts.delete(box); }
    for (const box of document.querySelectorAll("[data-candle-chart]")) if (!charts.has(box)) charts.set(box, new CandleChart(box));
  }
  document.addEventListener("htmx:afterSettle", mount); // charts come with drawers and dialogs too
  mount();
})();
