// What every part of the page is made with. Text from the daemon gets into the page as text
// only; there is no innerHTML here.

export const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// element makes an element with attributes and children. A child that is a string is text.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

// drawn is element for SVG.
export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const icon = (name) => drawn("svg", { "aria-hidden": "true" }, drawn("use", { href: `#i-${name}` }));

// write sets an element's text if it is another one, so that screen readers and
// selections are left in peace.
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// say has a screen reader say something.
export const say = (text) => write($("said"), text);

// duration returns seconds in words: "45 s", "12 min", "2 h 5 min", "3 d 4 h".
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 90) return `${s} s`;
  const minutes = Math.round(s / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

// latency returns milliseconds with as many digits as mean something.
export function latency(ms) {
  if (ms === null || ms === undefined) return "";
  if (ms < 1) return "< 1 ms";
  if (ms >= 999.5) return `${(ms / 1000).toFixed(1)} s`;
  return ms < 9.95 ? `${ms.toFixed(1)} ms` : `${Math.round(ms)} ms`;
}

export const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// arrange makes the nodes the children of a parent, in this order. One that is in its place
// is not touched, and the focus stays where it is.
export function arrange(parent, nodes) {
  const focus = document.activeElement;
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  nodes.forEach((node, i) => { if (parent.children[i] !== node) parent.insertBefore(node, parent.children[i] ?? null); });
  if (focus !== document.activeElement && focus.isConnected) focus.focus({ preventScroll: true });
}

// glide makes a change, and lets what is elsewhere afterwards glide there instead of jump.
// What is in a box moves with it: nodes are measured from the top of their parent.
export function glide(nodes, change) {
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) return change();
  const top = (node) => node.getBoundingClientRect().top - node.parentElement.getBoundingClientRect().top;
  const before = nodes().map((node) => [node, top(node)]);
  document.getAnimations().filter((one) => one.id === "glide").forEach((one) => one.cancel()); // on from where it is
  change();
  for (const [node, was] of before) {
    const by = node.isConnected ? was - top(node) : 0;
    if (by) node.animate([{ transform: `translateY(${by}px)` }, { transform: "none" }], { id: "glide", duration: 250, easing: "ease-out" });
  }
}

// copyButton returns a button that copies what it says: see label.
export function copyButton(text) {
  const button = element("button", { class: "copy", type: "button" }, icon("copy"));
  button.addEventListener("click", () => copyText(button));
  if (text) label(button, text);
  return button;
}

// label sets what a button copies.
export function label(button, text) {
  button.dataset.text = text;
  if (!button.classList.contains("done")) button.setAttribute("aria-label", `Copy ${text}`);
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
  say(done ? `Copied ${text}` : `${text} could not be copied`);
  if (!done) return;
  button.classList.add("done");
  button.querySelector("use").setAttribute("href", "#i-ok");
  button.setAttribute("aria-label", `Copied ${text}`);
  setTimeout(() => {
    button.classList.remove("done");
    button.querySelector("use").setAttribute("href", "#i-copy");
    label(button, button.dataset.text);
    say(""); // the same can be said again
  }, 1500);
}

// showCommands fills a box with commands, each in a block of its own that can be copied.
export function showCommands(box, commands) {
  if (box.dataset.commands === commands.join("\n")) return;
  box.dataset.commands = commands.join("\n");
  box.replaceChildren(...commands.map((command) => element("div", { class: "command" },
    element("code", {}, command), copyButton(command))));
}
