// The charts of the last hour.

import { drawn, duration, element, write } from "./dom.js";

// chart draws one series over the last hour, with a value at the pointer. Its section is
// not there while there is nothing to draw. Options.now is the value of this moment.
export function chart(figure, values, options) {
  const points = bridged(Array(Math.max(0, 120 - values.length)).fill(null).concat(values.slice(-120)));
  figure.closest("section").hidden = points.every((v) => v === null);
  if (figure.closest("section").hidden) return;
  if (!figure.firstChild) frame(figure);
  figure.draw = () => draw(figure, points, options);
  figure.draw();
}

// frame makes what does not change of a chart.
function frame(figure) {
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

function draw(figure, points, options) {
  const { unit, format, steps } = options;
  const some = points.filter((v) => v !== null);
  const part = (name) => figure.querySelector(`.${name}`);
  const top = ceiling(some, options);
  for (const [name, d] of Object.entries(paths(points, top, steps))) part(name).setAttribute("d", d);
  const at = figure.at ?? 119;
  part("cursor").setAttribute("d", at === 119 ? "" : `M${at} 0V100`);
  const told = (v) => (v === null || v === undefined ? "no answer" : format(v));
  part("now").replaceChildren(told(at === 119 ? options.now : points[at]), " ",
    element("small", {}, at === 119 ? "now" : `${duration((119 - at) * 30)} ago`));
  const [low, high] = [Math.min(...some), Math.max(...some)].map(format);
  write(part("range"), low === high ? `always ${low}` : `lowest ${low}, highest ${high}`);
  write(part("above"), top < Math.max(...some) ? "peaks are cut off" : "");
  figure.querySelector("svg").setAttribute("aria-label", `${unit} in the last hour: now ${told(options.now)}, lowest ${low}, highest ${high}`);
}
