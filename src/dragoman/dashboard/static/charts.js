// Small charts of our own: lines over time, bars, a share. Every number that is drawn is also there as text.

import { h, say, svg } from "./dom.js";
import { back } from "./format.js";

const WIDTH = 300;
const HEIGHT = 100;

// Lines over time. `series` are {name, look}: the look says colour and dashes, so that no line is told by colour alone.
// `update(times, values)` takes a list for each series; `format` writes a value.
export function timeChart(title, series, format) {
  const paths = series.map(({ look }) => svg("path", { class: `line ${look}`, "vector-effect": "non-scaling-stroke" }));
  const area = svg("path", { class: `area ${series[0].look}` });
  const cursor = svg("line", { class: "cursor", y1: 0, y2: HEIGHT, "vector-effect": "non-scaling-stroke", hidden: true });
  const grid = [0.5, 50, 99.5].map((y) => svg("line", { class: "rule", x1: 0, x2: WIDTH, y1: y, y2: y, "vector-effect": "non-scaling-stroke" }));
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, grid, area, paths, cursor);
  const values = series.map(() => h("b", {}, "–"));
  const legend = h("ul", { class: "legend" }, series.map(({ name, look }, place) => h("li", {}, swatch(look), `${name} `, values[place])));
  const top = h("span", {}, "");
  const middle = h("span", {}, "");
  const when = h("span", {}, "now");
  const frame = h("div", { class: "plot", tabindex: "0", role: "img" }, plot, h("div", { class: "scale", "aria-hidden": "true" }, top, middle, h("span", {}, "0")));
  const node = h("figure", { class: "chart" }, h("figcaption", {}, title), frame, h("p", { class: "axis", "aria-hidden": "true" }, h("span", { class: "since" }, ""), when), legend);
  let shown = { times: [], lists: [] };
  let chosen = null;

  function update(times, lists) {
    shown = { times, lists };
    const highest = Math.max(...lists.flat().filter((value) => value !== null && value !== undefined), 0);
    const ceiling = nice(highest);
    say(top, ceiling ? format(ceiling) : "");
    say(middle, ceiling ? format(ceiling / 2) : "");
    say(node.querySelector(".since"), times.length ? back(times.at(-1) - times[0]) : "");
    lists.forEach((list, place) => paths[place].setAttribute("d", line(list, ceiling)));
    area.setAttribute("d", filled(lists[0] ?? [], ceiling));
    write();
  }

  function write() {
    const { times, lists } = shown;
    const place = chosen === null ? times.length - 1 : Math.min(chosen, times.length - 1);
    lists.forEach((list, number) => say(values[number], list.length ? format(list[place] ?? null) : "–"));
    say(when, chosen === null || place === times.length - 1 ? "now" : back(times.at(-1) - times[place]));
    if (chosen === null) cursor.setAttribute("hidden", "");
    else cursor.removeAttribute("hidden");
    const x = across(place, times.length);
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    const words = series.map(({ name }, number) => `${name} ${values[number].textContent}`);
    frame.setAttribute("aria-label", `${title}, ${when.textContent}: ${words.join(", ")}. Arrow keys look back.`);
  }

  function choose(place) {
    chosen = place === null ? null : Math.max(0, Math.min(shown.times.length - 1, place));
    write();
  }

  frame.addEventListener("pointermove", (event) => {
    const box = plot.getBoundingClientRect();
    choose(Math.round(((event.clientX - box.left) / box.width) * (shown.times.length - 1)));
  });
  frame.addEventListener("pointerleave", () => choose(null));
  frame.addEventListener("blur", () => choose(null));
  frame.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    choose((chosen ?? shown.times.length - 1) + step);
  });
  return { node, update };
}

// Bars with their names, for a distribution. `update(names, numbers)`.
export function barChart(title, about) {
  const list = h("ul", { class: "columns" });
  const nothing = h("p", { class: "soft" }, "nothing yet");
  const node = h("figure", { class: "chart" }, h("figcaption", {}, title, h("small", {}, about)), list, nothing);
  return {
    node,
    update(names, numbers) {
      const first = numbers.findIndex(Boolean);
      const last = numbers.findLastIndex(Boolean);
      nothing.hidden = first >= 0;
      const all = numbers.reduce((one, other) => one + other, 0);
      const most = Math.max(...numbers, 1);
      list.replaceChildren(
        ...(first < 0 ? [] : numbers.slice(first, last + 1)).map((number, place) => {
          const part = `${Math.round((number / all) * 100)} %`;
          const bar = svg("svg", { viewBox: "0 0 10 100", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "bar", x: 0, width: 10, y: 100 - (number / most) * 100, height: (number / most) * 100 }));
          return h("li", {}, h("b", {}, part), bar, h("span", {}, names[first + place]));
        }),
      );
    },
  };
}

// A line without words, beside a number that says the same.
export function sparkline(look = "one") {
  const stroke = svg("path", { class: `line ${look}`, "vector-effect": "non-scaling-stroke" });
  const area = svg("path", { class: `area ${look}` });
  const node = svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, area, stroke);
  return {
    node,
    update(list) {
      const ceiling = nice(Math.max(...list.filter((value) => value !== null), 0)) || 1;
      stroke.setAttribute("d", line(list, ceiling));
      area.setAttribute("d", filled(list, ceiling));
    },
  };
}

// How a whole is divided: [{name, part}] with parts of 1. Names and numbers stand in the bar, or behind it.
export function shareBar(shares) {
  let from = 0;
  const pieces = shares.map(({ part }, place) => {
    const piece = svg("rect", { class: `share-${place % 4}`, x: from * 100, width: Math.max(0, part * 100 - 0.4), y: 0, height: 10 });
    from += part;
    return piece;
  });
  const words = shares.map(({ name, part }) => `version ${name}: ${Math.round(part * 1000) / 10} %`);
  return h(
    "div",
    { class: "shares" },
    svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, pieces),
    h("p", {}, words.join(" · ")),
  );
}

function swatch(look) {
  return svg("svg", { class: "swatch", viewBox: "0 0 24 8", "aria-hidden": "true" }, svg("path", { class: `line ${look}`, d: "M0 4H24" }));
}

function across(place, length) {
  return length < 2 ? WIDTH : (place / (length - 1)) * WIDTH;
}

// A path through the values; where there are none it is interrupted, and a value alone is a point.
function line(list, ceiling) {
  const parts = [];
  let drawing = false;
  list.forEach((value, place) => {
    if (value === null || value === undefined) drawing = false;
    else {
      const point = `${across(place, list.length).toFixed(1)} ${down(value, ceiling)}`;
      parts.push(drawing ? `L${point}` : `M${point}h0.01`);
      drawing = true;
    }
  });
  return parts.join("");
}

function filled(list, ceiling) {
  if (list.length < 2) return "";
  const points = list.map((value, place) => `L${across(place, list.length).toFixed(1)} ${down(value ?? 0, ceiling)}`);
  return `M0 ${HEIGHT}${points.join("")}L${WIDTH} ${HEIGHT}Z`;
}

function down(value, ceiling) {
  return (HEIGHT - 2 - (ceiling ? value / ceiling : 0) * (HEIGHT - 4)).toFixed(1);
}

// The next of 1, 2, 5, 10, …
export function nice(value) {
  if (value <= 0) return 0;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999999);
}
