// The table of open ports: a few as they are; of many the clients, folded, with a filter.
// What is not shown is not in the page: its cost does not grow with the table.

import { $, arrange, copyButton, duration, element, label, say, write } from "./dom.js";

// many is from how many ports on there are groups and tools, and first how many lines of
// them, and rows of a client, are shown at first. They stay until there are clearly fewer,
// so that nobody loses them while he reads.
const many = 21;
const still = 15;
const first = 20;
const more = 100;

const protocols = { natpmp: "NAT-PMP", pcp: "PCP", igd: "UPnP" };
const kinds = { static: "static", companion: "companion", adopted: "from before" };

// orders are how rows can be sorted. The daemon's order is by client and port.
const orders = {
  port: (a, b) => a.external_port - b.external_port,
  newest: (a, b) => Date.parse(b.created) - Date.parse(a.created),
  packets: (a, b) => b.packets - a.packets,
};

let mappings = []; // all of the last picture
let keys = null; // theirs, to know new ones; null before the first picture
let crowded = false; // whether there are groups and tools
let limit = first; // how many lines are shown
const unfolded = new Map(); // whether a client's rows are shown, and how many
const made = new Map(); // the elements of the lines that are shown, by key

const keyOf = (m) => `${m.protocol} ${m.client}:${m.internal_port}`;
const target = (m) => `${m.client}:${m.internal_port || m.external_port}`; // who asks for port 0 is reached on the external one
const tags = (m) => (m.closing ? "closing" : [kinds[m.kind], m.remote && `only from ${m.remote}`].filter(Boolean).join(", "));
const rest = (left) => (left > more ? `Show ${more} more of ${left.toLocaleString()}` : `Show ${left} more`);
const plural = (n, one, some) => `${n.toLocaleString()} ${n === 1 ? one : some}`;

// showMappings shows the ports of a new picture.
export function showMappings(all, now) {
  mappings = all;
  crowded = all.length >= (crowded ? still : many);
  const known = keys;
  keys = new Set(all.map(keyOf));
  const clients = new Set(all.map((m) => m.client));
  // A daemon that starts again has none for a moment: what was unfolded stays so.
  if (all.length > 0) for (const client of unfolded.keys()) if (!clients.has(client)) unfolded.delete(client);
  if (!crowded) for (const client of clients) unfolded.set(client, first); // what is read is not folded meanwhile
  $("none").hidden = all.length > 0;
  $("table").hidden = all.length === 0;
  $("tools").hidden = !crowded;
  render(known);
  runDown(now);
}

// render shows the lines; those of ports that are not known yet light up.
function render(known = keys) {
  const words = crowded ? $("filter").value.toLowerCase().split(/\s+/).filter(Boolean) : [];
  const order = crowded ? $("sort").value : "client";
  const chosen = words.length ? mappings.filter((m) => matches(m, words)) : mappings;
  const entries = crowded && order === "client" && !words.length ? groups(chosen)
    : (orders[order] ? chosen.toSorted(orders[order]) : chosen).map((m) => [m]);
  const shown = entries.slice(0, crowded ? limit : entries.length).flatMap(linesOf);
  const rows = new Set(shown.map((line) => line.key));
  for (const key of made.keys()) if (!rows.has(key)) made.delete(key);
  arrange($("rows"), shown.map((line) => nodeOf(line, known)));
  const left = entries.length - limit;
  $("more").hidden = !crowded || left <= 0;
  write($("more"), rest(left));
  for (const head of document.querySelectorAll("#head th")) {
    if (head.dataset.order === order && crowded) head.setAttribute("aria-sort", order === "packets" ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  tell(words.length ? chosen.length : null);
}

// tell says how many ports there are. Those that are being closed are open no more.
function tell(found) {
  const open = mappings.filter((m) => !m.closing).length;
  if (found !== null) write($("count"), `${found.toLocaleString()} of ${mappings.length.toLocaleString()}`);
  else if (crowded) write($("count"), `${open.toLocaleString()} from ${plural(new Set(mappings.map((m) => m.client)).size, "client", "clients")}`);
  else write($("count"), mappings.length > 1 ? String(open) : "");
}

// matches says whether each word is somewhere in what a row shows.
function matches(m, words) {
  const text = `${m.public} ${m.external_port} ${m.protocol} ${target(m)} ${protocols[m.by] ?? ""} ${tags(m)} ${m.description}`.toLowerCase();
  return words.every((word) => text.includes(word));
}

// groups puts the ports of each client together.
function groups(all) {
  const by = new Map();
  for (const m of all) by.get(m.client)?.push(m) ?? by.set(m.client, [m]);
  return [...by.values()];
}

// linesOf returns the lines of ports that belong together: a client with several has a line of its own.
function linesOf(group) {
  const rows = group.map((m) => ({ key: keyOf(m), m }));
  if (group.length === 1) return rows;
  const { client } = group[0];
  const shown = unfolded.get(client) ?? 0;
  const lines = [{ key: `client ${client}`, client, group }, ...rows.slice(0, shown)];
  if (shown && shown < rows.length) lines.push({ key: `more ${client}`, client, left: rows.length - shown });
  return lines;
}

// nodeOf returns the element of a line as it is now.
function nodeOf(line, known) {
  let node = made.get(line.key);
  if (!node) {
    node = line.m ? newRow() : newHead(line);
    made.set(line.key, node);
    if (line.m && known && !known.has(line.key)) node.classList.add("fresh");
  }
  if (line.m) showRow(node, line.m);
  else if (line.group) showHead(node, line);
  else write(node.querySelector("button"), rest(line.left));
  return node;
}

// newHead makes the line of a client, or the one that shows more of its ports.
function newHead({ client, group }) {
  const button = element("button", { type: "button", class: group ? "fold" : "plain" });
  const cell = element(group ? "th" : "td", { colspan: 4, role: group ? "rowheader" : "cell" }, button);
  if (group) {
    cell.setAttribute("scope", "row");
    button.append(element("span", { class: "client" }, client), element("span", { class: "size" }));
    cell.append(element("span", { class: "preview" }));
  }
  button.addEventListener("click", () => {
    unfolded.set(client, group && unfolded.get(client) ? 0 : (unfolded.get(client) ?? 0) + (group ? first : more));
    render();
    runDown();
  });
  return element("tr", { role: "row", class: group ? "group" : "rest" }, cell);
}

// ahead is how many of a client's ports its line names.
const ahead = 8;

function showHead(node, { client, group }) {
  node.querySelector("button").setAttribute("aria-expanded", String(Boolean(unfolded.get(client))));
  write(node.querySelector(".size"), plural(group.length, "port", "ports"));
  const named = group.slice(0, ahead).map((m) => m.external_port).join(", ");
  write(node.querySelector(".preview"), unfolded.get(client) ? "" : named + (group.length > ahead ? ", …" : ""));
}

function newRow() {
  const cell = (name, ...children) => element("td", { class: name, role: "cell" }, ...children);
  return element("tr", { role: "row", class: "port-row" },
    cell("from", element("div", { class: "public" },
      element("span", { class: "address" }, element("span", { class: "host" }), element("span", { class: "port" })),
      element("span", { class: "tag proto" }), copyButton())),
    cell("to", element("span", { class: "client" }), " ", element("span", { class: "tag by" }), " ", element("span", { class: "tag kind" }),
      element("bdi", { class: "description" })),
    cell("lease", element("span", { class: "left" }), element("div", { class: "track", "aria-hidden": "true" }, element("i"))),
    cell("number packets"));
}

function showRow(row, m) {
  const part = (name) => row.querySelector(`.${name}`);
  write(part("host"), m.public ? m.public.slice(0, m.public.lastIndexOf(":") + 1) : "port ");
  write(part("port"), String(m.external_port));
  write(part("proto"), m.protocol);
  write(part("client"), target(m));
  write(part("kind"), tags(m));
  part("kind").hidden = !part("kind").textContent;
  write(part("by"), protocols[m.by] || "");
  part("by").hidden = !part("by").textContent;
  write(part("description"), m.description); // of somebody on the LAN: text, and nothing else
  part("description").hidden = !m.description;
  write(part("packets"), m.packets.toLocaleString());
  row.classList.toggle("closing", m.closing);
  label(part("copy"), m.public || String(m.external_port));
  row.dataset.ends = Date.parse(m.lease_ends);
  row.dataset.lasts = m.lease_seconds;
}

let time = Date.now; // the daemon's clock

// runDown sets each row's bar and the time that its lease has left.
export function runDown(now = time) {
  time = now;
  for (const row of document.querySelectorAll("#rows .port-row")) {
    const left = (Number(row.dataset.ends) - now()) / 1000;
    const lasts = Number(row.dataset.lasts);
    const part = lasts > 0 ? Math.min(1, Math.max(0, left / lasts)) : 0;
    row.querySelector(".track i").style.setProperty("--part", part.toFixed(4));
    row.classList.toggle("late", left < 0);
    write(row.querySelector(".left"), left < 0 ? "overdue" : `in ${duration(left)}`);
  }
}

let pause = 0;

// choose shows what the tools say, from the first line on.
function choose() {
  limit = first;
  render();
  runDown();
  clearTimeout(pause);
  pause = setTimeout(() => say(`Open ports: ${$("count").textContent}`), 600); // once he has typed it all
}

$("filter").addEventListener("input", choose);
$("sort").addEventListener("change", choose);
$("more").addEventListener("click", () => {
  limit += more;
  render();
  runDown();
});
