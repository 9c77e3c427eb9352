// The first view: how the server is doing, and every model on a card.

import { sparkline, shareBar } from "./charts.js";
import { h, keep, say } from "./dom.js";
import { bytes, count, digits, rate, seconds } from "./format.js";
import { openLoad } from "./actions.js";

export function overview(app) {
  const tiles = makeTiles();
  const cards = h("ul", { class: "cards" });
  const none = h("p", { class: "soft", hidden: true }, "No models yet.");
  const load = h("button", { type: "button", class: "primary", hidden: true, on: { click: () => openLoad(app) } }, "Load a model");
  const node = h(
    "div",
    {},
    h("h1", { class: "unseen" }, "Models of this server"),
    h("section", { class: "tiles", "aria-label": "The server now" }, tiles.nodes),
    h("section", { "aria-labelledby": "models-title" }, h("div", { class: "title" }, h("h2", { id: "models-title" }, "Models"), load), none, cards),
  );
  return {
    node,
    title: "Models",
    update() {
      const { server } = app;
      load.hidden = !server.manages;
      none.hidden = server.models.length > 0;
      tiles.update(server);
      keep(cards, server.models, (model) => model.name, (model) => makeCard(app, model));
    },
  };
}

function makeTiles() {
  const made = [
    ["Requests", "one", (numbers) => sumOf(numbers.rates), rate, (numbers, server) => `${count(answersOf(numbers))} so far, ${count(Math.max(0, server.stats.in_flight - 1))} in flight`],
    ["Failures", "four", (numbers) => numbers.rates.failure, rate, (numbers) => `${count(numbers.answered.failure)} of the server or a model, ${count(numbers.answered.mistake)} of clients`],
    ["Latency", "two", (numbers) => numbers.percentiles.p95, seconds, (numbers) => `the 95th percentile; median ${seconds(numbers.percentiles.p50.at(-1) ?? null)}, 99th ${seconds(numbers.percentiles.p99.at(-1) ?? null)}`],
    ["Waiting", "three", (numbers) => numbers.waiting, count, (numbers) => `in queues; ${count(numbers.running.at(-1) ?? 0)} being executed`],
    ["Memory", "one", (numbers) => numbers.memory, bytes, (numbers, server) => `of models' processes; the server's own: ${bytes(server.stats.memory_bytes)}`],
  ].map(([name, look, select, format, explain]) => {
    const spark = sparkline(look);
    const value = h("strong", {}, "–");
    const about = h("p", {}, "");
    return { node: h("article", { class: "tile" }, h("h2", {}, name), value, about, spark.node), spark, value, about, select, format, explain };
  });
  return {
    nodes: made.map((tile) => tile.node),
    update(server) {
      const numbers = server.history.read();
      for (const tile of made) {
        const list = tile.select(numbers);
        tile.spark.update(list);
        say(tile.value, tile.format(list.at(-1) ?? null));
        say(tile.about, tile.explain(numbers, server));
      }
    },
  };
}

const answersOf = (numbers) => Object.values(numbers.answered).reduce((one, other) => one + other, 0);

export function sumOf(rates) {
  return rates.ok.map((value, place) => value + rates.mistake[place] + rates.failure[place]);
}

// A badge with a mark of its own for each state: colour is not the only difference.
export function badge(state) {
  const looks = { READY: ["good", "●"], LOADING: ["busy", "◐"], NEW: ["busy", "○"], DRAINING: ["busy", "◑"], UNLOADED: ["gone", "○"], FAILED: ["bad", "✕"] };
  const [look, mark] = looks[state] ?? ["gone", "○"];
  return h("span", { class: `badge ${look}` }, h("span", { "aria-hidden": "true" }, mark), ` ${state.toLowerCase()}`);
}

function makeCard(app, model) {
  const place = `#/models/${encodeURIComponent(model.name)}`;
  const versions = h("p", { class: "versions" });
  const traffic = h("div", {});
  const numbers = h("p", { class: "numbers" });
  const trouble = h("p", { class: "trouble" });
  const spark = sparkline("one");
  const node = h(
    "li",
    { class: "card" },
    h("h3", {}, h("a", { href: place }, model.name)),
    versions,
    traffic,
    spark.node,
    numbers,
    trouble,
  );
  let drawn = "";
  return {
    node,
    update(now) {
      const shape = JSON.stringify([now.default, now.versions.map(({ version, state, reason, step, runtime, instances }) => [version, state, reason, step, runtime, instances]), now.traffic?.shares, now.traffic?.shadow]);
      if (shape !== drawn) {
        drawn = shape;
        versions.replaceChildren(...now.versions.map((each) => describeVersion(now, each)));
        traffic.replaceChildren(...drawTraffic(now));
        say(trouble, now.versions.map((each) => each.reason).find(Boolean) ?? "");
      }
      const history = app.server.history.read((line) => line.name === now.name);
      const rates = sumOf(history.rates);
      spark.node.toggleAttribute("hidden", !rates.some(Boolean));
      spark.update(rates);
      say(numbers, describeNumbers(history));
      const dead = app.server.crashes.filter((report) => report.model === now.name).length;
      trouble.hidden = !trouble.textContent && !dead;
      if (dead && !now.versions.some((each) => each.reason)) say(trouble, `${dead} crash ${dead === 1 ? "report" : "reports"}`);
    },
  };
}

function describeVersion(model, each) {
  const parts = [each.runtime, each.instances && `${each.instances.now} ${each.instances.now === 1 ? "instance" : "instances"}`, each.step];
  return h(
    "span",
    { class: "version" },
    h("b", {}, each.version || "–"),
    each.version === model.default && model.versions.length > 1 ? h("small", {}, " default") : null,
    badge(each.state),
    h("small", {}, parts.filter(Boolean).join(" · ")),
  );
}

export function drawTraffic(model) {
  const shares = Object.entries(model.traffic?.shares ?? {});
  if (shares.length < 2 && !model.traffic?.shadow) return [];
  const drawn = shares.length > 1 ? [shareBar(shares.map(([name, part]) => ({ name, part: part / 100 })))] : [];
  if (model.traffic.shadow) drawn.push(h("p", { class: "soft" }, `version ${model.traffic.shadow} is the shadow: it gets copies and answers nobody`));
  return drawn;
}

function describeNumbers(history) {
  const now = sumOf(history.rates).at(-1) ?? null;
  const p95 = history.percentiles.p95.at(-1) ?? null;
  const memory = history.memory.at(-1) ?? null;
  const parts = [rate(now), p95 === null ? null : `p95 ${seconds(p95)}`, memory ? bytes(memory) : null];
  const waiting = history.waiting.at(-1);
  if (waiting) parts.push(`${digits(waiting)} waiting`);
  return parts.filter(Boolean).join(" · ");
}
