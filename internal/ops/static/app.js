// The status page. It shows what /api/v1/events sends and never asks for anything else.
// Text from the daemon gets into the page as text only; there is no innerHTML here.

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// element makes an element with attributes and children. A child that is a string is text.
function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// drawn is element for SVG.
function drawn(name, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const icon = (name) => drawn("svg", { "aria-hidden": "true" }, drawn("use", { href: `#i-${name}` }));

// write sets an element's text if it is another one, so that screen readers and
// selections are left in peace.
function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// duration returns seconds in words: "45 s", "12 min", "2 h 5 min", "3 d 4 h".
function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// latency returns milliseconds with as many digits as mean something.
function latency(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1) return "< 1 ms";
  return ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// shown is the last picture, skew how far the daemon's clock is ahead of ours, in milliseconds.
let shown = null;
let skew = 0;
const now = () => Date.now() + skew;

const stateWords = { ok: "works", degraded: "degraded", down: "down", unknown: "not known" };

function showVerdict(verdict) {
  $("verdict").dataset.state = verdict.state;
  $("verdict-icon").setAttribute("href", `#i-${verdict.state}`);
  write($("title"), verdict.title);
  write($("detail"), verdict.detail);
  write($("remedy"), verdict.remedy);
  $("remedy").hidden = !verdict.remedy;
  document.title = `${verdict.title} – doublenat`;
}

function showHops(hops) {
  const list = $("hops");
  for (const hop of hops) {
    let item = list.querySelector(`[data-hop="${CSS.escape(hop.name)}"]`);
    if (!item) {
      const dot = element("div", { class: "dot" }, icon(hop.name));
      item = element("li", { class: "hop", "data-hop": hop.name }, dot,
        element("h3", {}, element("span", { class: "name" }), element("span", { class: "ms" })),
        element("p", { class: "summary" }), element("p", { class: "detail" }));
      list.append(item);
    }
    item.dataset.state = hop.state;
    const part = (name) => item.querySelector(`.${name}`);
    write(part("name"), hop.title);
    write(part("ms"), latency(hop.latency_ms));
    write(part("summary"), hop.state === "ok" ? hop.summary : `${stateWords[hop.state]}: ${hop.summary}`);
    write(part("detail"), hop.detail);
    part("detail").title = hop.detail;
  }
}

const keyOf = (m) => `${m.protocol} ${m.client}:${m.internal_port}`;
const kinds = { static: "static", companion: "companion", adopted: "from before" };

function newRow(m) {
  const copy = element("button", { class: "copy", type: "button" }, icon("copy"));
  copy.addEventListener("click", () => copyText(copy));
  return element("tr", { "data-key": keyOf(m) },
    element("td", {}, element("div", { class: "public" },
      element("span", { class: "address" }, element("span", { class: "host" }), element("span", { class: "port" })),
      element("span", { class: "tag proto" }), copy)),
    element("td", { class: "to" }, element("span", { class: "client" }), " ", element("span", { class: "tag kind" })),
    element("td", { class: "lease" }, element("span", { class: "left" }),
      element("div", { class: "track", "aria-hidden": "true" }, element("i"))),
    element("td", { class: "number packets" }));
}

function showRow(row, m) {
  const part = (name) => row.querySelector(`.${name}`);
  const host = m.public ? m.public.slice(0, m.public.lastIndexOf(":")) : "port ";
  write(part("host"), m.public ? `${host}:` : host);
  write(part("port"), String(m.external_port));
  write(part("proto"), m.protocol);
  write(part("client"), `${m.client}:${m.internal_port}`);
  write(part("kind"), m.closing ? "closing" : kinds[m.kind] || "");
  part("kind").hidden = !part("kind").textContent;
  write(part("packets"), m.packets.toLocaleString());
  row.classList.toggle("closing", m.closing);
  const text = m.public || String(m.external_port);
  part("copy").dataset.text = text;
  if (!part("copy").classList.contains("done")) part("copy").setAttribute("aria-label", `Copy ${text}`);
  row.dataset.ends = Date.parse(m.lease_ends);
  row.dataset.lasts = m.lease_seconds;
}

function showMappings(mappings, first) {
  const rows = $("rows");
  const known = new Map([...rows.children].map((row) => [row.dataset.key, row]));
  let before = null;
  for (const m of mappings) {
    let row = known.get(keyOf(m));
    known.delete(keyOf(m));
    if (!row) {
      row = newRow(m);
      if (!first) row.classList.add("fresh");
    }
    showRow(row, m);
    const place = before ? before.nextSibling : rows.firstChild;
    if (place !== row) rows.insertBefore(row, place);
    before = row;
  }
  for (const row of known.values()) row.remove();
  $("none").hidden = mappings.length > 0;
  document.querySelector(".ports").hidden = mappings.length === 0;
  write($("count"), mappings.length > 1 ? String(mappings.length) : "");
  runDown();
}

// runDown sets each row's bar and the time that its lease has left.
function runDown() {
  for (const row of $("rows").children) {
    const left = (Number(row.dataset.ends) - now()) / 1000;
    const lasts = Number(row.dataset.lasts);
    const part = lasts > 0 ? Math.min(1, Math.max(0, left / lasts)) : 0;
    row.querySelector(".track i").style.setProperty("--part", part.toFixed(4));
    row.classList.toggle("late", left < 0);
    write(row.querySelector(".left"), left < 0 ? "overdue" : `in ${duration(left)}`);
  }
}

// chart draws one series over the last hour, with a value at the pointer.
function chart(figure, values, options) {
  if (!figure.firstChild) {
    const picture = drawn("svg", { viewBox: "0 0 119 100", preserveAspectRatio: "none", role: "img" },
      drawn("path", { class: "area" }), drawn("path", { class: "base", d: "M0 100H119" }),
      drawn("path", { class: "line" }), drawn("path", { class: "cursor" }));
    figure.append(element("p", { class: "now" }), picture,
      element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "1 h ago"), element("span", { class: "top" }), element("span", {}, "now")));
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      figure.at = Math.round(((event.clientX - box.left) / box.width) * 119);
      figure.draw();
    });
    picture.addEventListener("pointerleave", () => { figure.at = null; figure.draw(); });
  }
  figure.draw = () => draw(figure, values, options);
  figure.draw();
}

// bridged fills gaps of one or two points, which are no outages: the gateway is
// asked every other step at least.
function bridged(points) {
  let last = -1;
  points.forEach((v, x) => {
    if (v === null) return;
    const gap = x - last - 1;
    if (last >= 0 && gap > 0 && gap <= 2) points.fill((points[last] + v) / 2, last + 1, x);
    last = x;
  });
  if (last >= 0 && points.length - last - 1 <= 2) points.fill(points[last], last + 1);
  return points;
}

function draw(figure, values, { unit, format, steps, least }) {
  const points = bridged(Array(Math.max(0, 120 - values.length)).fill(null).concat(values.slice(-120)));
  const some = points.filter((v) => v !== null);
  const top = Math.max(least, ...some) * 1.1;
  const y = (v) => (100 - (v / top) * 100).toFixed(2);
  let line = "";
  let area = "";
  let start = null;
  points.forEach((v, x) => {
    if (v === null) { start = null; return; }
    if (start === null) {
      start = x;
      line += `M${x} ${y(v)}`;
      if (points[x + 1] === null || x === 119) line += "h.01";
    } else {
      line += steps ? `H${x}V${y(v)}` : `L${x} ${y(v)}`;
    }
    if (x === 119 || points[x + 1] === null) {
      const from = points.slice(start, x + 1);
      area += `M${start} 100` + from.map((w, i) => (steps && i ? `H${start + i}` : "") + `${steps && i ? "V" : "L"}${steps && i ? "" : `${start + i} `}${y(w)}`).join("") + `V100Z`;
    }
  });
  figure.querySelector(".line").setAttribute("d", line);
  figure.querySelector(".area").setAttribute("d", area);
  const at = figure.at ?? null;
  figure.querySelector(".cursor").setAttribute("d", at === null ? "" : `M${at} 0V100`);
  const value = at === null ? points[119] : points[at];
  const when = at === null || at === 119 ? "now" : `${duration((119 - at) * 30)} ago`;
  const text = some.length === 0 ? "no data yet" : value === null ? `no answer, ${when}` : format(value);
  const label = figure.querySelector(".now");
  label.classList.toggle("quiet", some.length === 0);
  label.replaceChildren(text, element("small", {}, some.length === 0 || value === null ? "" : when));
  write(figure.querySelector(".top"), some.length ? `highest ${format(Math.max(...some))}` : "");
  figure.querySelector("svg").setAttribute("aria-label", some.length ? `${unit}: now ${text}, highest in the last hour ${format(Math.max(...some))}` : `${unit}: no data yet`);
}

// changeSign tells good news from bad ones among the events of mappings.
const eventState = { created: "ok", rule_restored: "degraded", lost: "down", port_changed: "degraded" };

function showEvents(events) {
  const list = $("events");
  const newest = list.firstChild ? Number(list.firstChild.dataset.id) : 0;
  if (events.length && events[0].id < newest) list.replaceChildren(); // the daemon was restarted
  const known = list.firstChild ? Number(list.firstChild.dataset.id) : 0;
  for (const event of events.filter((e) => e.id > known).reverse()) {
    const at = new Date(event.time);
    const item = element("li", { "data-id": event.id },
      element("time", { datetime: event.time, title: at.toLocaleString() }, clock.format(at)), element("span", {}, event.text));
    const state = event.state || eventState[event.kind];
    if (state) item.dataset.state = state;
    list.prepend(item);
  }
  while (list.children.length > events.length) list.lastChild.remove();
  $("no-events").hidden = events.length > 0;
}

function show(status) {
  const first = shown === null;
  shown = status;
  skew = Date.parse(status.time) - Date.now();
  showVerdict(status.verdict);
  showHops(status.hops);
  showMappings(status.mappings, first);
  chart($("chart-ports"), status.series.mappings, { unit: "Open ports", format: (v) => String(v), steps: true, least: 1 });
  chart($("chart-latency"), status.series.gateway_ms, { unit: "Latency of the VPN gateway", format: latency, steps: false, least: 1 });
  showEvents(status.events);
  write($("instance"), status.instance === "default" ? "" : status.instance);
  showAge();
  $("main").setAttribute("aria-busy", "false");
}

function showAge() {
  write($("about"), `${shown.version}, up for ${duration((now() - Date.parse(shown.started)) / 1000)}`);
}

// copyText copies what the button says. Without HTTPS there is no clipboard API, so
// the old way has to do.
async function copyText(button) {
  const text = button.dataset.text;
  let done = false;
  try {
    await navigator.clipboard.writeText(text);
    done = true;
  } catch {
    const area = element("textarea", { class: "unseen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    done = document.execCommand("copy");
    area.remove();
    button.focus();
  }
  if (!done) return;
  button.classList.add("done");
  button.querySelector("use").setAttribute("href", "#i-ok");
  button.setAttribute("aria-label", `Copied ${text}`);
  setTimeout(() => {
    button.classList.remove("done");
    button.querySelector("use").setAttribute("href", "#i-copy");
    button.setAttribute("aria-label", `Copy ${button.dataset.text}`);
  }, 1500);
}

// A picture that is old is not shown as the truth: without a connection for ten
// seconds the headline says so, and the rest pales.
const patience = 10_000;
let broken = 0;

function connected(yes) {
  $("live").dataset.live = yes ? "yes" : "no";
  write($("live"), yes ? "live" : "reconnecting");
  if (yes) {
    broken = 0;
    document.documentElement.classList.remove("stale");
  } else if (!broken) {
    broken = Date.now();
  }
}

function noticeSilence() {
  if (!broken || Date.now() - broken < patience) return;
  document.documentElement.classList.add("stale");
  const since = shown ? `What you see is of ${clock.format(new Date(shown.time))}.` : "";
  showVerdict({ state: "unknown", title: "No connection to doublenat", detail: since, remedy: "is doublenat running, and is this host on its network?" });
}

function listen() {
  const source = new EventSource("/api/v1/events");
  source.addEventListener("status", (event) => {
    connected(true);
    show(JSON.parse(event.data));
  });
  source.addEventListener("open", () => connected(true));
  source.addEventListener("error", () => {
    connected(false);
    if (source.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
    source.close();
    setTimeout(listen, 5000);
  });
}

listen();
setInterval(() => {
  noticeSilence();
  if (!shown) return;
  runDown();
  showAge();
}, 1000);
