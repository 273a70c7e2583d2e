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
  if (ms >= 999.5) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
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
  write($("remedy-text"), verdict.remedy);
  $("remedy").hidden = !verdict.remedy;
  document.title = `${verdict.title} – doublenat`;
}

function newHop(name) {
  return element("li", { class: "hop", "data-hop": name }, element("div", { class: "dot" }, icon(name)),
    element("h3", {}, element("span", { class: "name" }), " ", element("span", { class: "ms" })),
    element("p", { class: "summary" }), element("p", { class: "detail" }),
    element("details", { class: "help" }, element("summary", {}), element("p", { class: "error" }), element("p", { class: "advice" })));
}

// long is from how many characters on a detail, an error then, is not shown at once.
const long = 80;

function showHops(hops, verdict) {
  const list = $("hops");
  for (const hop of hops) {
    let item = list.querySelector(`[data-hop="${CSS.escape(hop.name)}"]`);
    if (!item) list.append(item = newHop(hop.name));
    item.dataset.state = hop.state;
    const part = (name) => item.querySelector(`.${name}`);
    write(part("name"), hop.title);
    write(part("ms"), latency(hop.latency_ms));
    write(part("summary"), hop.state === "ok" ? hop.summary : `${stateWords[hop.state]}: ${hop.summary}`);
    // What the verdict says of this hop, in full and in large, is not said again.
    const told = verdict.hop === hop.name && verdict.detail === hop.detail;
    const folded = told || hop.detail.length > long;
    write(part("detail"), folded ? "" : hop.detail);
    write(part("error"), folded && hop.state !== "ok" ? hop.detail : "");
    write(part("advice"), hop.remedy);
    showHelp(part("help"), hop, told);
  }
}

// showHelp unfolds what to do about a hop if the verdict does not say so already.
// What the reader then folds or unfolds stays so until the hop changes.
function showHelp(help, hop, told) {
  help.hidden = !hop.remedy && !help.querySelector(".error").textContent;
  write(help.querySelector("summary"), hop.remedy ? "What to do" : "Details");
  const wanted = `${hop.state} ${told}`;
  if (help.dataset.wanted === wanted) return;
  help.dataset.wanted = wanted;
  help.open = !told && hop.remedy !== "";
}

const keyOf = (m) => `${m.protocol} ${m.client}:${m.internal_port}`;
const kinds = { static: "static", companion: "companion", adopted: "from before" };

function newRow(m) {
  const copy = element("button", { class: "copy", type: "button" }, icon("copy"));
  copy.addEventListener("click", () => copyText(copy));
  const cell = (name, ...children) => element("td", { class: name, role: "cell" }, ...children);
  return element("tr", { "data-key": keyOf(m), role: "row" },
    cell("from", element("div", { class: "public" },
      element("span", { class: "address" }, element("span", { class: "host" }), element("span", { class: "port" })),
      element("span", { class: "tag proto" }), copy)),
    cell("to", element("span", { class: "client" }), " ", element("span", { class: "tag kind" })),
    cell("lease", element("span", { class: "left" }), element("div", { class: "track", "aria-hidden": "true" }, element("i"))),
    cell("number packets"));
}

function showRow(row, m) {
  const part = (name) => row.querySelector(`.${name}`);
  const host = m.public ? m.public.slice(0, m.public.lastIndexOf(":")) : "port ";
  write(part("host"), m.public ? `${host}:` : host);
  write(part("port"), String(m.external_port));
  write(part("proto"), m.protocol);
  // Who asks for internal port 0 is reached on the external one.
  write(part("client"), `${m.client}:${m.internal_port || m.external_port}`);
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
  const open = mappings.filter((m) => !m.closing).length;
  write($("count"), mappings.length > 1 ? String(open) : "");
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
      drawn("path", { class: "line" }), drawn("path", { class: "cut" }), drawn("path", { class: "cursor" }));
    figure.append(element("p", { class: "facts" }, element("span", { class: "now" }), element("span", { class: "range" })), picture,
      element("div", { class: "axis", "aria-hidden": "true" }, element("span", {}, "1 h ago"), element("span", { class: "above" }), element("span", {}, "now")));
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      figure.at = Math.min(119, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * 119)));
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

// ceiling is up to what value the chart is drawn. One slow answer must not flatten
// the other 119: peaks far above 19 of 20 points are cut off, and the chart says so.
function ceiling(some, { steps, least }) {
  const sorted = some.toSorted((a, b) => a - b);
  const high = sorted.at(-1);
  const usual = 1.5 * sorted[Math.floor(.95 * (sorted.length - 1))];
  return Math.max(least, steps || some.length < 20 || high < 2 * usual ? high * 1.1 : usual);
}

// paths are the line of the points and the area under it, interrupted where there
// was no answer, and a mark for each peak that is cut off.
function paths(points, top, steps) {
  const y = (v) => Math.max(0, 100 - (v / top) * 100).toFixed(2);
  const drawnPaths = { line: "", area: "", cut: "" };
  points.forEach((v, x) => {
    if (v === null) return;
    if (v > top && !(points[x - 1] > top)) drawnPaths.cut += `M${x - 1.2} 6L${x} 0L${x + 1.2} 6`;
    const begins = x === 0 || points[x - 1] === null;
    const ends = x === 119 || points[x + 1] === null;
    const step = steps ? `H${x}V${y(v)}` : `L${x} ${y(v)}`;
    drawnPaths.line += begins ? `M${x} ${y(v)}${ends ? "h.01" : ""}` : step;
    drawnPaths.area += (begins ? `M${x} 100V${y(v)}` : step) + (ends ? "V100Z" : "");
  });
  return drawnPaths;
}

function draw(figure, values, options) {
  const { unit, format, steps } = options;
  const points = bridged(Array(Math.max(0, 120 - values.length)).fill(null).concat(values.slice(-120)));
  const some = points.filter((v) => v !== null);
  const part = (name) => figure.querySelector(`.${name}`);
  figure.classList.toggle("none", some.length === 0);
  if (some.length === 0) {
    part("now").replaceChildren("No data yet");
    write(part("range"), "");
    return;
  }
  const top = ceiling(some, options);
  for (const [name, d] of Object.entries(paths(points, top, steps))) part(name).setAttribute("d", d);
  const at = figure.at ?? null;
  part("cursor").setAttribute("d", at === null ? "" : `M${at} 0V100`);
  const value = points[at ?? 119];
  const when = at === null || at === 119 ? "now" : `${duration((119 - at) * 30)} ago`;
  part("now").replaceChildren(value === null ? "no answer" : format(value), " ", element("small", {}, when));
  const [low, high] = [Math.min(...some), Math.max(...some)].map(format);
  write(part("range"), low === high ? `always ${low}` : `lowest ${low}, highest ${high}`);
  write(part("above"), high && top < Math.max(...some) ? "peaks are cut off" : "");
  const last = points[119] === null ? "no answer" : format(points[119]);
  figure.querySelector("svg").setAttribute("aria-label", `${unit} in the last hour: now ${last}, lowest ${low}, highest ${high}`);
}

// eventState tells good news from bad ones among the events of mappings.
const eventState = { created: "ok", rule_restored: "degraded", lost: "down", port_changed: "degraded" };

function showEvents(events, anew) {
  const list = $("events");
  if (anew) list.replaceChildren(); // each run counts its events from 1
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
  $("events-box").hidden = events.length === 0;
}

function show(status) {
  const first = shown === null;
  const anew = first || shown.started !== status.started;
  shown = status;
  skew = Date.parse(status.time) - Date.now();
  showVerdict(status.verdict);
  showHops(status.hops, status.verdict);
  showMappings(status.mappings, first);
  chart($("chart-ports"), status.series.mappings, { unit: "Open ports", format: (v) => v.toLocaleString(), steps: true, least: 1 });
  chart($("chart-latency"), status.series.gateway_ms, { unit: "Latency of the VPN gateway", format: latency, steps: false, least: 1 });
  showEvents(status.events, anew);
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
  write($("said"), done ? `Copied ${text}` : `${text} could not be copied`);
  if (!done) return;
  button.classList.add("done");
  button.querySelector("use").setAttribute("href", "#i-ok");
  button.setAttribute("aria-label", `Copied ${text}`);
  setTimeout(() => {
    button.classList.remove("done");
    button.querySelector("use").setAttribute("href", "#i-copy");
    button.setAttribute("aria-label", `Copy ${button.dataset.text}`);
    write($("said"), ""); // the same can be said again
  }, 1500);
}

// A picture that is old is not shown as the truth: without a connection for ten
// seconds the headline says so, and the colors go. A connection can die without a
// word, in a power cut or while this host sleeps: the daemon says something every 15
// seconds, and where two of these are missed the page connects again.
const patience = 10_000;
const silence = 35_000;
let source = null;
let retry = 0;
let heard = Date.now(); // when the daemon last said something, or we last asked
let broken = 0; // since when there is no connection, 0 while there is one

function connected(yes, since = Date.now()) {
  $("live").dataset.live = yes ? "yes" : "no";
  write($("live"), yes ? "live" : "reconnecting");
  if (yes) {
    heard = Date.now();
    broken = 0;
    document.documentElement.classList.remove("stale");
  } else if (!broken) {
    broken = since;
  }
}

function noticeSilence() {
  if (Date.now() - heard > silence) {
    connected(false, heard);
    listen();
  }
  if (!broken || Date.now() - broken < patience) return;
  document.documentElement.classList.add("stale");
  const since = shown ? `What you see is of ${clock.format(new Date(shown.time))}.` : "";
  showVerdict({ state: "unknown", title: "No connection to doublenat", detail: since, remedy: "is doublenat running, and is this host on its network?" });
}

function listen() {
  clearTimeout(retry);
  source?.close();
  heard = Date.now();
  const mine = source = new EventSource("/api/v1/events");
  mine.addEventListener("status", (event) => {
    connected(true);
    show(JSON.parse(event.data));
  });
  mine.addEventListener("alive", () => connected(true));
  mine.addEventListener("error", () => {
    connected(false);
    if (mine.readyState === EventSource.CLOSED) retry = setTimeout(listen, 5000); // else the browser tries again by itself
  });
}

function tick() {
  noticeSilence();
  if (!shown) return;
  runDown();
  showAge();
}

listen();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick); // timers of hidden pages are slow
