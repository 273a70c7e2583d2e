// The status page. It shows what api/v1/events sends and never asks for anything else. All
// addresses are relative: a proxy may have the page under a path.

import { chart } from "./chart.js";
import { $, clock, duration, element, glide, icon, latency, showCommands, write } from "./dom.js";
import { runDown, showMappings } from "./ports.js";

// shown is the last picture, skew how far the daemon's clock is ahead of ours, in milliseconds.
let shown = null;
let skew = 0;
const now = () => Date.now() + skew;

// What is not known says so itself: "connecting", "not asked yet".
const stateWords = { degraded: "degraded: ", down: "down: " };
const broken = (state) => state in stateWords;

// showVerdict shows the whole in one sentence; hop is the one that it is about, if any.
function showVerdict(verdict, hop) {
  $("verdict").dataset.state = verdict.state;
  $("verdict-icon").setAttribute("href", `#i-${verdict.state}`);
  write($("title"), verdict.title);
  write($("detail"), verdict.detail);
  write($("remedy-text"), verdict.remedy);
  $("remedy").hidden = !verdict.remedy;
  showCommands($("commands"), verdict.commands ?? []);
  write($("error"), hop?.error ?? "");
  $("error-box").hidden = !hop?.error;
  document.title = `${verdict.title} – doublenat`;
}

function newHop(name) {
  return element("li", { class: "hop", "data-hop": name }, element("div", { class: "dot" }, icon(name)),
    element("h3", {}, element("span", { class: "name" }), " ", element("span", { class: "ms" })),
    element("p", { class: "summary" }), element("p", { class: "since" }), element("p", { class: "detail" }),
    element("details", { class: "help" }, element("summary", {}), element("p", { class: "advice" }),
      element("div", { class: "commands" }), element("p", { class: "error" })));
}

function showHops(hops, verdict) {
  const list = $("hops");
  for (const hop of hops) {
    let item = list.querySelector(`[data-hop="${CSS.escape(hop.name)}"]`);
    if (!item) list.append(item = newHop(hop.name));
    item.dataset.state = hop.state;
    const part = (name) => item.querySelector(`.${name}`);
    write(part("name"), hop.title);
    write(part("ms"), latency(hop.latency_ms));
    write(part("summary"), (stateWords[hop.state] ?? "") + hop.summary);
    // What the verdict says of this hop, in full and in large, is not said again.
    const told = verdict.hop === hop.name;
    write(part("detail"), told && verdict.detail === hop.detail ? "" : hop.detail);
    write(part("advice"), told ? "" : hop.remedy);
    showCommands(part("commands"), told ? [] : hop.commands);
    write(part("error"), told ? "" : hop.error);
    showHelp(part("help"), hop, told);
  }
}

// showHelp unfolds what to do about a hop if the verdict does not say so already.
// What the reader then folds or unfolds stays so until the hop changes.
function showHelp(help, hop, told) {
  help.hidden = told || !hop.remedy && !hop.error;
  write(help.querySelector("summary"), hop.remedy ? "What to do" : "Details");
  const wanted = `${hop.state} ${told}`;
  if (help.dataset.wanted === wanted) return;
  help.dataset.wanted = wanted;
  help.open = hop.remedy !== "";
}

// eventState tells good news from bad ones among the events of mappings.
const eventState = { created: "ok", rule_restored: "degraded", lost: "down", port_changed: "degraded", address: "degraded" };

function showEvents(events, anew) {
  const list = $("events");
  if (anew) list.replaceChildren(); // each run counts its events from 1
  const told = new Set(events.map((e) => String(e.id)));
  for (const item of [...list.children]) if (!told.has(item.dataset.id)) item.remove(); // now part of a later one
  const known = list.firstChild ? Number(list.firstChild.dataset.id) : 0;
  for (const event of events.filter((e) => e.id > known).reverse()) {
    const at = new Date(event.time);
    const item = element("li", { "data-id": event.id },
      element("time", { datetime: event.time, title: at.toLocaleString() }, clock.format(at)), element("span", {}, event.text));
    const state = event.state || eventState[event.kind];
    if (state) item.dataset.state = state;
    list.prepend(item);
  }
  $("no-events").hidden = events.length > 0;
  $("events-box").hidden = events.length === 0;
}

function show(status) {
  const shownFirst = shown === null;
  const anew = shownFirst || shown.started !== status.started;
  shown = status;
  showVerdict(status.verdict, status.hops.find((hop) => hop.name === status.verdict.hop));
  showHops(status.hops, status.verdict);
  showMappings(status.mappings, now);
  const gateway = status.hops.find((hop) => hop.name === "gateway");
  chart($("chart-ports"), status.series.mappings, { unit: "Open ports", now: status.series.mappings.at(-1), format: (v) => v.toLocaleString(), steps: true, least: 1 });
  chart($("chart-latency"), status.series.gateway_ms, { unit: "Latency of the gateway", now: gateway?.latency_ms, format: latency, steps: false, least: 1 });
  showEvents(status.events, anew);
  write($("instance"), status.instance === "default" ? "" : status.instance);
  showAge();
  if (shownFirst) performance.mark("ports shown");
  $("main").setAttribute("aria-busy", "false");
}

// showAge says how long it has been like that and, of a broken hop, how the open ports fare.
function showAge() {
  write($("about"), `${shown.version}, up for ${duration((now() - Date.parse(shown.started)) / 1000)}`);
  for (const hop of shown.hops) {
    const since = hop.since ? `Since ${clock.format(new Date(hop.since))} (${duration((now() - Date.parse(hop.since)) / 1000)}). ` : "";
    write(document.querySelector(`[data-hop="${CSS.escape(hop.name)}"] .since`), broken(hop.state) ? since + (hop.meanwhile) : "");
  }
}

// movers are what glides to its place when something above it grows.
const movers = () => [...document.querySelectorAll("main > *, .columns > *, #side > *, #ports > *, .foot, #rows tr")].filter((node) => node.checkVisibility());
const change = (make) => (shown ? glide(movers, make) : make());

// A picture that is old is not shown as the truth: the headline says so, and the colors go.
// A connection can end without a word, in a power cut or while this host sleeps: the daemon
// says something every second, and who hears nothing for patience milliseconds has lost it.
// What has been asked for patiently, and is not answered, is asked for again.
const patience = 2800;
const again = 10_000;
let source = null;
let asked = 0; // when we last asked
let heard = Date.now(); // when the daemon last said something
let losing = 0;

function alive() {
  heard = Date.now();
  clearTimeout(losing);
  losing = setTimeout(noticeSilence, patience);
  live(true);
  document.documentElement.classList.remove("stale");
}

function live(yes) {
  $("live").dataset.live = yes ? "yes" : "no";
  write($("live"), yes ? "live" : "reconnecting");
}

function noticeSilence() {
  const silent = Date.now() - heard;
  if (silent < patience) return;
  live(false);
  document.documentElement.classList.add("stale");
  const since = shown ? `What you see is of ${clock.format(new Date(shown.time))}.` : "";
  change(() => showVerdict({ state: "unknown", title: "No connection to doublenat", detail: since, remedy: "is doublenat running, and is this host on its network?" }));
  if (Date.now() - asked > again) listen();
}

function listen() {
  source?.close();
  asked = Date.now();
  source = new EventSource("api/v1/events");
  source.addEventListener("status", (event) => {
    alive();
    const status = JSON.parse(event.data);
    skew = Date.parse(status.time) - Date.now(); // here alone: a picture that is shown again is old
    change(() => show(status));
  });
  source.addEventListener("alive", () => {
    alive();
    // Said after it was lost: what was shown is true again.
    if (shown && $("title").textContent !== shown.verdict.title) change(() => show(shown));
  });
  source.addEventListener("error", () => live(false)); // the browser tries again, or noticeSilence does
}

function tick() {
  noticeSilence();
  if (!shown) return;
  runDown(now);
  showAge();
}

showCommands($("try"), ["natpmpc -a 8080 8080 tcp 600"]);
showCommands($("try-map"), ["doublenat map tcp 8080 --lifetime 10m"]);
listen();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", tick); // timers of hidden pages are slow
