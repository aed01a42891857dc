// The live page: one websocket, cells written by text alone, parts fetched again when an event says so.
(() => {
  "use strict";
  const body = document.body;
  const dialog = document.getElementById("dialog");
  const dialogBody = document.getElementById("dialog-body");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");

  // --- live cells: the newest text of each waits here, and is painted four times a second at most -------------------
  let cells = new Map(); // "row:<group>:pnl" → elements
  const waiting = new Map(); // the same key → {text, tone}
  const add = (key, element) => { const found = cells.get(key); if (found) found.push(element); else cells.set(key, [element]); };
  function index() {
    cells = new Map();
    for (const e of document.querySelectorAll("[data-row]")) add(`row:${e.dataset.row}:${e.dataset.field}`, e);
    for (const e of document.querySelectorAll("[data-quote]")) add(`quote:${e.dataset.quote}:${e.dataset.field}`, e);
    for (const e of document.querySelectorAll("[data-summary]")) add(`summary:${e.dataset.summary}`, e);
    for (const e of document.querySelectorAll("[data-tone='summary']")) add("tone:summary", e);
    for (const e of document.querySelectorAll("[data-tone='unrealised']")) add("tone:unrealised", e);
  }
  function paintTone(element, sign) {
    element.classList.toggle("up", sign > 0);
    element.classList.toggle("down", sign < 0);
    element.classList.toggle("flat", sign === 0);
  }
  function paint() {
    if (document.hidden || waiting.size === 0) return;
    const changed = [];
    for (const [key, { text, sign }] of waiting) {
      for (const element of cells.get(key) ?? []) {
        if (sign !== undefined) paintTone(element.closest("[data-tone]") ?? element, sign);
        if (text === undefined || element.textContent === text) continue;
        element.textContent = text;
        delete element.dataset.stale;
        element.removeAttribute("title");
        changed.push(element);
      }
    }
    waiting.clear();
    if (calm.matches) return;
    for (const element of changed) element.classList.add("changed");
    setTimeout(() => { for (const element of changed) element.classList.remove("changed"); }, 300);
  }
  setInterval(() => requestAnimationFrame(paint), 250);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) { paint(); tick(); } });

  function takeRows(rows) {
    for (const [group, row] of Object.entries(rows ?? {})) {
      waiting.set(`row:${group}:ltp`, { text: row.ltp });
      waiting.set(`row:${group}:pnl`, { text: row.pnl, sign: row.sign });
      waiting.set(`row:${group}:pnl_pct`, { text: row.pnl_pct, sign: row.sign });
    }
  }
  function takeQuotes(quotes) {
    for (const [symbol, quote] of Object.entries(quotes ?? {})) {
      waiting.set(`quote:${symbol}:ltp`, { text: quote.ltp });
      waiting.set(`quote:${symbol}:chg`, { text: quote.chg, sign: quote.dir });
    }
    if (quotes && Object.keys(quotes).length) document.dispatchEvent(new CustomEvent("desk:quotes", { detail: { quotes, now: venueNow() } }));
  }
  const signOf = (text) => (text === undefined ? undefined : text.startsWith("+") ? 1 : text.startsWith("−") ? -1 : 0);
  function takeSummary(summary) {
    if (!summary || String(summary.portfolio) !== body.dataset.portfolio) return;
    for (const name of ["equity", "day_pnl", "day_pnl_pct", "unrealised", "exposure"])
      if (summary[name] !== undefined) waiting.set(`summary:${name}`, { text: summary[name] });
    waiting.set("tone:summary", { sign: summary.sign });
    if (summary.unrealised !== undefined) waiting.set("tone:unrealised", { sign: signOf(summary.unrealised) });
    if (summary.clock) setClock(summary.clock);
    if (summary.heartbeat) setHeart(summary.heartbeat.age_s);
    document.dispatchEvent(new CustomEvent("desk:summary", { detail: summary }));
  }

  // --- market clock: an anchor from the server, let run here at the feed's speed -----------------------------------
  const clockBox = document.getElementById("clock");
  const clockPart = (name) => clockBox?.querySelector(`[data-clock='${name}']`);
  const clock = { venue: 0, at: 0, speed: 1, closes: null };
  const ist = new Intl.DateTimeFormat("en-GB", { timeZone: "Asia/Kolkata", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  function setClock(reading) {
    Object.assign(clock, { venue: reading.venue, at: performance.now(), speed: reading.speed, closes: reading.closes_at });
    if (!clockBox) return;
    if (reading.phase) clockPart("phase").textContent = reading.phase.replaceAll("_", " ");
    clockPart("speed").textContent = reading.speed !== 1 ? `×${+reading.speed.toFixed(2)}` : "";
    tick();
  }
  const span = (s) => (s < 120 ? `${Math.floor(s)} s` : s < 3600 ? `${Math.floor(s / 60)} min` : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} m`);
  const venueNow = () => clock.venue + ((performance.now() - clock.at) / 1000) * clock.speed;
  function tick() {
    if (!clockBox || document.hidden || !clock.venue) return;
    const now = venueNow();
    const time = clockPart("time"), closes = clockPart("closes");
    const text = ist.format(now * 1000), left = clock.closes ? clock.closes - now : 0;
    if (time.textContent !== text) time.textContent = text;
    const rest = left > 0 ? `· closes in ${span(left)}` : "";
    if (closes.textContent !== rest) closes.textContent = rest;
    beat();
  }
  setInterval(tick, 250);

  // --- heartbeat of the data ----------------------------------------------------------------------------------------
  const heartBox = document.getElementById("heartbeat");
  const heart = { age: null, at: performance.now() };
  function setHeart(age) { heart.age = age; heart.at = performance.now(); beat(); }
  function beat() {
    if (!heartBox) return;
    const age = heart.age === null || heart.age === undefined ? null : heart.age + (performance.now() - heart.at) / 1000;
    const is = age === null ? "offline" : age > 60 ? "offline" : age > 30 || !connected ? "delayed" : "live";
    const words = age === null ? "no data" : `${is} ${span(age)}`;
    const text = heartBox.querySelector("[data-heart]");
    if (heartBox.dataset.is !== is) heartBox.dataset.is = is;
    if (text.textContent !== words) text.textContent = words;
  }

  // --- parts that an event makes old: fetched again, not more often than every 150 ms ------------------------------
  const due = new Set();
  let rest = null, fetchedAt = -Infinity;
  function refetchFor(kind, data) {
    for (const part of document.querySelectorAll("[data-on]")) {
      if (!part.dataset.on.split(" ").includes(kind)) continue;
      if (part.dataset.onlyOrder && data?.order !== undefined && !inThisTrade(part, data)) continue;
      due.add(part.id);
    }
    schedule();
  }
  const inThisTrade = (part, data) => String(data.order) === part.dataset.onlyOrder || part.querySelector(`[data-open$="/${data.order}/"]`);
  function refetchAll() {
    for (const part of document.querySelectorAll("[data-on]")) due.add(part.id);
    schedule();
  }
  function schedule() {
    if (rest !== null || due.size === 0) return;
    // At once after a quiet moment; the little wait lets what one commit said arrive together.
    rest = setTimeout(() => {
      rest = null;
      fetchedAt = performance.now();
      const parts = [...due].map((id) => document.getElementById(id)).filter(Boolean);
      due.clear();
      fetchInTurn(parts.filter((part) => "first" in part.dataset), parts.filter((part) => !("first" in part.dataset)));
    }, Math.max(8, 150 - (performance.now() - fetchedAt)));
  }
  // What a trader looks at first does not wait at the server behind the rest of the page.
  function fetchInTurn(first, others) {
    const asked = new Set(first.map((part) => part.id));
    const go = () => {
      clearTimeout(patience);
      document.removeEventListener("htmx:afterRequest", answered);
      for (const { id } of others) { const part = document.getElementById(id); if (part) htmx.trigger(part, "refetch"); }
    };
    const answered = (event) => { if (asked.delete(event.detail.requestConfig.elt.id) && asked.size === 0) go(); };
    const patience = setTimeout(go, first.length ? 400 : 0);
    document.addEventListener("htmx:afterRequest", answered);
    for (const part of first) htmx.trigger(part, "refetch");
  }

  // --- the websocket -------------------------------------------------------------------------------------------------
  const catching = document.getElementById("catching");
  let socket = null, connected = false, last = Number(body.dataset.seq), greeted = false, delay = 500, heardAt = 0, missing = false;
  function say(words) { catching.hidden = !words; if (words) catching.lastElementChild.textContent = words; }
  let late = null;
  function trouble(words) { // said at once when a gap is seen; a short drop says nothing until half a second has passed
    if (late === null) late = setTimeout(() => { late = null; if (!connected || missing) say(words); }, 500);
  }
  async function catchUp(silent) {
    if (missing) return;
    missing = true;
    if (!silent) say("Catching up…");
    try {
      const answer = await fetch(`${body.dataset.stateUrl}?portfolio=${body.dataset.portfolio}`, { headers: { Accept: "application/json" }, credentials: "same-origin" });
      if (answer.status === 401) { location.assign(body.dataset.signIn); return; }
      if (!answer.ok) throw new Error(`state: ${answer.status}`);
      const state = await answer.json();
      takeQuotes(state.quotes); takeRows(state.rows); takeSummary(state.summary);
      refetchAll();
      missing = false;
      say("");
    } catch (error) {
      missing = false;
      say("Catching up… the desk does not answer");
      setTimeout(() => catchUp(false), Math.min(delay * 2, 8000));
    }
  }
  function hear(message) {
    heardAt = performance.now();
    if (message.kind === "beat") return;
    if (message.kind === "hello") {
      if (message.seq !== last || greeted) { last = message.seq; if (body.dataset.portfolio) catchUp(!greeted); }
      greeted = true;
      return;
    }
    if (message.first !== last + 1) { last = message.seq; if (body.dataset.portfolio) catchUp(false); }
    last = message.seq;
    if (message.kind === "cells") {
      takeQuotes(message.data.quotes); takeRows(message.data.rows);
      for (const summary of Object.values(message.data.summary ?? {})) takeSummary(summary);
    } else {
      refetchFor(message.kind, message.data);
      document.dispatchEvent(new CustomEvent(`desk:${message.kind}`, { detail: message.data }));
    }
  }
  function connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    try { socket = new WebSocket(`${scheme}//${location.host}${body.dataset.socket}`); } catch { lost(); return; } // refused before it began
    socket.onopen = () => { connected = true; delay = 500; heardAt = performance.now(); if (!missing) say(""); beat(); };
    socket.onmessage = (event) => hear(JSON.parse(event.data));
    socket.onerror = () => { if (socket.readyState === WebSocket.CLOSED) lost(); };
    socket.onclose = (event) => {
      connected = false;
      beat();
      if (event.code === 4401) { say("You are signed out"); location.assign(body.dataset.signIn); return; }
      lost();
    };
  }
  let retry = null;
  function lost() { // by whatever name the browser tells it: an exception, an error, a close
    if (retry !== null) return;
    trouble("Connection lost: trying again…");
    retry = setTimeout(() => { retry = null; connect(); }, delay * (0.75 + Math.random() / 2));
    delay = Math.min(delay * 2, 15000);
  }
  setInterval(() => { if (connected && performance.now() - heardAt > 12000) socket.close(); }, 2000); // silent is dead

  // --- dialogs, keys, small things ------------------------------------------------------------------------------------
  document.addEventListener("htmx:afterSwap", (event) => { if (event.target === dialogBody && !dialog.open) { dialog.showModal(); dialogBody.querySelector("[autofocus]")?.focus(); } });
  dialog.addEventListener("close", () => { dialogBody.textContent = ""; });
  document.addEventListener("click", (event) => {
    const target = event.target;
    if (target.closest("[data-close-dialog]")) target.closest("dialog") ? target.closest("dialog").close() : history.back();
    if (target === dialog) dialog.close();
    const pick = target.closest("[data-pick]");
    if (pick) pickSymbol(pick.dataset.pick);
    if (target.closest("[data-theme-switch]")) switchTheme();
  });
  document.addEventListener("change", (event) => {
    const form = event.target.closest("[data-submit-on-change]");
    if (form) form.requestSubmit();
    if (event.target.closest("[data-ticket]")) dressTicket();
  });
  document.addEventListener("input", (event) => { if (event.target.closest("[data-ticket]")) dressTicket(); });
  function switchTheme() {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
    document.documentElement.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("tarazu-theme", dark ? "light" : "dark"); } catch { /* private mode: for this page only */ }
    document.dispatchEvent(new CustomEvent("desk:theme"));
  }
  // A failed part keeps what it showed, and the page says that it is behind. Dialogs show the refusal.
  document.addEventListener("htmx:beforeSwap", (event) => {
    const { xhr, target, requestConfig } = event.detail;
    if (xhr.status >= 400 && requestConfig.verb === "get" && target !== dialogBody) event.detail.shouldSwap = false;
    if (target.closest?.("[data-on]")) openDetails = [...target.querySelectorAll("details[open][id]")].map((one) => one.id);
  });
  let openDetails = [];
  document.addEventListener("htmx:afterSettle", () => {
    for (const id of openDetails) document.getElementById(id)?.setAttribute("open", "");
    openDetails = [];
    index();
    dressTicket();
  });
  document.addEventListener("htmx:sendError", () => trouble("Connection lost: trying again…"));

  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, select, textarea, [contenteditable]");
    if (event.target.id === "t-symbol" && event.key === "ArrowDown") { event.preventDefault(); document.querySelector(".option")?.focus(); return; }
    if (event.target.matches?.(".option") && /^Arrow(Up|Down)$/.test(event.key)) {
      event.preventDefault();
      (event.key === "ArrowDown" ? event.target.nextElementSibling : event.target.previousElementSibling ?? document.getElementById("t-symbol"))?.focus();
      return;
    }
    if (typing || dialog.open) return;
    if (going) { going = false; document.querySelector(`.rail [data-go="${CSS.escape(event.key)}"]`)?.click(); return; }
    if (event.key === "g") { going = true; setTimeout(() => { going = false; }, 1200); }
    else if (event.key === "?") document.getElementById("keys").showModal();
    else if (event.key === "b" || event.key === "s") { event.preventDefault(); openTicket(event.key === "b" ? "BUY" : "SELL"); }
    else if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
    else if (event.key === "Enter" && event.target.dataset?.open) location.assign(event.target.dataset.open);
  });
  function move(step) {
    const rows = [...document.querySelectorAll("table.rows tbody tr")];
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement.closest("tr"));
    rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + step))].focus();
  }
  function openTicket(side) { if (body.dataset.portfolio) htmx.ajax("GET", `/ticket/?side=${side}`, { target: "#dialog-body" }); }

  // --- the ticket: its colour, and a button that says what it will do -------------------------------------------------
  const money = new Intl.NumberFormat("en-IN", { minimumFractionDigits: 2, maximumFractionDigits: 4 });
  const plain = new Intl.NumberFormat("en-IN");
  function dressTicket() {
    const form = document.querySelector("[data-ticket]");
    if (!form) return;
    const field = (name) => form.elements[name].value;
    form.dataset.side = field("side");
    const market = field("order_type") === "MARKET";
    form.querySelector("[data-limit-field]").hidden = market;
    form.elements.limit_price.required = !market;
    for (const one of form.querySelectorAll("[data-work]")) one.hidden = one.dataset.work !== field("work");
    const ticker = field("symbol").replace(/^\w+:/, "").replace(/-\w+$/, "");
    const quantity = Number(field("quantity"));
    const words = [field("side") === "SELL" ? "Sell" : "Buy"];
    if (quantity > 0) words.push(plain.format(quantity));
    if (ticker) words.push(ticker.toUpperCase());
    if (field("work") && !market) words.push(field("work") === "TWAP" ? "over time" : "as an iceberg");
    if (market) words.push("at market");
    else if (Number(field("limit_price")) > 0) words.push(`at ₹${money.format(Number(field("limit_price")))}`);
    form.querySelector("[data-ticket-send]").textContent = words.join(" ");
    const value = quantity * Number(market ? form.dataset.last : field("limit_price"));
    form.querySelector("[data-ticket-note]").textContent = value > 0 ? `About ₹${money.format(value)}. The gates judge it when you send it; a refusal changes nothing.` : "The gates judge it when you send it; a refusal changes nothing.";
  }
  async function pickSymbol(symbol) {
    const input = document.getElementById("t-symbol");
    const form = input?.form;
    if (!form) return;
    input.value = symbol;
    document.getElementById("t-found").textContent = "";
    form.elements.quantity.focus();
    dressTicket();
    const answer = await fetch(`${input.dataset.quoteUrl}?symbol=${encodeURIComponent(symbol)}`, { credentials: "same-origin" });
    if (answer.ok) {
      const quote = await answer.json();
      form.dataset.last = quote.last ?? "";
      if (quote.tick) for (const name of ["limit_price", "stop_price", "target_price"]) form.elements[name].step = quote.tick;
      if (quote.last && !form.elements.limit_price.value) form.elements.limit_price.value = Number(quote.last).toFixed(2);
    }
    dressTicket();
  }

  // --- kill switch: held for one second, by pointer or by key --------------------------------------------------------
  const kill = document.getElementById("kill");
  if (kill) {
    let timer = null;
    const start = () => { if (timer) return; kill.classList.add("holding"); timer = setTimeout(() => { stop(); htmx.trigger(kill, "held"); }, 1000); };
    const stop = () => { clearTimeout(timer); timer = null; kill.classList.remove("holding"); };
    kill.addEventListener("pointerdown", (event) => { if (event.button === 0) start(); });
    for (const name of ["pointerup", "pointerleave", "pointercancel", "blur"]) kill.addEventListener(name, stop);
    kill.addEventListener("keydown", (event) => { if ((event.key === " " || event.key === "Enter") && !event.repeat) { event.preventDefault(); start(); } });
    kill.addEventListener("keyup", stop);
    kill.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  index();
  if (clockBox) setClock({ venue: Number(clockBox.dataset.venue), speed: Number(clockBox.dataset.speed), closes_at: Number(clockBox.dataset.closes) || null });
  if (heartBox) setHeart(heartBox.dataset.age === "" ? null : Number(heartBox.dataset.age));
  connect();
})();
