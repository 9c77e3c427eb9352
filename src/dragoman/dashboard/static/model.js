// One model: try it, watch it, its versions, why its workers died.

import { openDefault, openLoad, openRollback, openScale, openTraffic, openUnload } from "./actions.js";
import { barChart, timeChart } from "./charts.js";
import { showCrashes } from "./crashes.js";
import { h, keep, say } from "./dom.js";
import { bytes, count, percent, rate, seconds, shape } from "./format.js";
import { badge, drawTraffic } from "./overview.js";
import { playground } from "./playground.js";

const PARTS = [["", "Try it"], ["live", "Live"], ["versions", "Versions"], ["crashes", "Crashes"]];

export function modelView(app, name, part) {
  const place = `#/models/${encodeURIComponent(name)}`;
  const badges = h("span", { class: "row" });
  const actions = h("div", { class: "row actions", role: "group", "aria-label": `change ${name}` });
  const links = PARTS.map(([word, title]) => h("a", { href: word ? `${place}/${word}` : place, "aria-current": word === part ? "page" : null }, title));
  const make = { "": tryIt, live, versions: versionList, crashes: crashList }[part];
  const inner = make ? make(app, name) : { node: h("p", {}, "There is no such view."), update() {} };
  const missing = h("p", { class: "banner", hidden: true }, `There is no model ${name} on this server.`);
  const node = h(
    "div",
    {},
    h("p", { class: "crumbs" }, h("a", { href: "#/" }, "Models"), " / "),
    h("div", { class: "title" }, h("h1", {}, name, " ", badges), actions),
    missing,
    h("nav", { class: "parts", "aria-label": name }, links),
    inner.node,
  );
  let drawn = "";
  return {
    node,
    title: name,
    update() {
      const model = app.server.model(name);
      missing.hidden = Boolean(model);
      inner.node.hidden = !model;
      if (!model) return;
      const about = JSON.stringify([model.versions.map(({ version, state }) => [version, state]), model.default, app.server.manages, app.server.lock]);
      if (about !== drawn) {
        drawn = about;
        badges.replaceChildren(...new Set(model.versions.map((each) => each.state)).values().map(badge));
        actions.replaceChildren(...makeActions(app, name));
      }
      const dead = app.server.crashes.filter((report) => report.model === name).length;
      say(links[3], dead ? `Crashes (${dead})` : "Crashes");
      inner.update(model);
    },
  };
}

function makeActions(app, name) {
  const { server } = app;
  if (!server.manages) return [];
  const button = (words, open, look = "quiet") => h("button", { type: "button", class: look, on: { click: () => open(app, server.model(name)) } }, words);
  if (server.lock) return [h("button", { type: "button", class: "quiet", on: { click: () => app.askForKey(server.lock) } }, "Enter the key to manage it")];
  return [
    button("Load a version", () => openLoad(app, name)),
    button("Traffic", openTraffic),
    button("Roll back", openRollback),
    button("Unload", (_, model) => openUnload(app, model), "quiet danger-text"),
  ];
}

function tryIt(app, name) {
  const node = h("div", {}, h("p", { class: "soft" }, "Reading its signature."));
  let asked = "";
  return {
    node,
    async update(model) {
      const ready = model.versions.filter((each) => each.state === "READY").map((each) => each.version);
      const key = JSON.stringify(ready);
      if (key === asked) return;
      asked = key;
      if (!ready.length) {
        const reason = model.versions.map((each) => each.reason).find(Boolean);
        node.replaceChildren(h("p", { class: "banner" }, reason ? `It can't answer: ${reason}` : "It can't answer now: no version is ready."));
        return;
      }
      try {
        const signature = await app.server.signature(name, ready.includes(model.default) ? model.default : "");
        node.replaceChildren(playground(app, model, signature), describeSignature(signature));
      } catch (error) {
        asked = ""; // the next update tries again
        node.replaceChildren(h("p", { class: "trouble", role: "alert" }, error.message));
      }
    },
  };
}

function describeSignature(signature) {
  const list = (title, specs) =>
    h("div", {}, h("h3", {}, title), specs.length ? h("ul", { class: "specs" }, specs.map((spec) => h("li", {}, h("code", {}, spec.name), h("span", {}, ` ${spec.datatype} ${shape(spec.shape)}`), spec.optional ? h("small", {}, " optional") : null))) : h("p", { class: "soft" }, "It doesn't say."));
  return h("section", { class: "panel", "aria-labelledby": "signature-title" }, h("h2", { id: "signature-title" }, "Signature ", h("small", {}, signature.platform)), h("div", { class: "pair" }, list("Takes", signature.inputs), list("Gives", signature.outputs)));
}

function live(app, name) {
  const requests = timeChart("Requests", [{ name: "answered", look: "one" }, { name: "client's mistake", look: "three" }, { name: "failed", look: "four" }], rate);
  const latency = timeChart("Latency, from arrival to answer", [{ name: "median", look: "one" }, { name: "95th percentile", look: "two" }, { name: "99th", look: "four" }], seconds);
  const queue = timeChart("Requests waiting and running", [{ name: "waiting", look: "three" }, { name: "running", look: "one" }], count);
  const memory = timeChart("Memory of its processes", [{ name: "memory", look: "one" }], bytes);
  const batches = barChart("Batch sizes ", "rows per execution, share of all in these minutes");
  const charts = [requests, latency, queue, batches, memory];
  return {
    node: h("section", { class: "charts", "aria-label": "live numbers" }, charts.map((chart) => chart.node)),
    update() {
      const { history } = app.server;
      const numbers = history.read((line) => line.name === name);
      const { times } = history;
      requests.update(times, Object.values(numbers.rates));
      latency.update(times, Object.values(numbers.percentiles));
      queue.update(times, [numbers.waiting, numbers.running]);
      memory.update(times, [numbers.memory]);
      memory.node.hidden = !numbers.memory.some(Boolean);
      batches.update(bucketNames(history.bounds.rows), numbers.batches);
    },
  };
}

// What each bucket holds: "1", "2", "3–4", "5–8", …, "more than 1024".
function bucketNames(bounds) {
  const names = bounds.map((bound, place) => (place && bounds[place - 1] + 1 < bound ? `${bounds[place - 1] + 1}–${bound}` : String(bound)));
  return [...names, `> ${bounds.at(-1)}`];
}

function versionList(app, name) {
  const rows = h("tbody", {});
  const traffic = h("div", {});
  const report = h("div", {});
  const heads = ["Version", "State", "Runtime", "Instances", "Memory", "From", ""].map((text) => h("th", { scope: "col" }, text || h("span", { class: "unseen" }, "change")));
  const node = h("section", { class: "panel", "aria-label": "versions" }, traffic, report, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "versions" }, h("table", {}, h("thead", {}, h("tr", {}, heads)), rows)));
  return {
    node,
    update(model) {
      traffic.replaceChildren(...drawTraffic(model));
      report.replaceChildren(...describeShadow(model));
      keep(rows, model.versions, (each) => each.version, (each) => versionRow(app, name, each.version));
    },
  };
}

function versionRow(app, name, version) {
  const cells = Array.from({ length: 7 }, () => h("td", {}));
  const node = h("tr", {}, cells);
  let drawn = "";
  return {
    node,
    update(each) {
      const model = app.server.model(name);
      const shown = JSON.stringify([each, model.default, app.server.lock]);
      if (shown === drawn) return;
      drawn = shown;
      const [title, state, runtime, instances, memory, from, change] = cells;
      title.replaceChildren(h("b", {}, version || "–"), version === model.default ? h("small", {}, " default") : "");
      state.replaceChildren(badge(each.state), each.reason ? h("p", { class: "trouble" }, each.reason) : "", each.step ? h("small", {}, ` ${each.step}`) : "");
      say(runtime, each.runtime || "–");
      say(instances, each.instances ? `${each.instances.now} (${each.instances.min} to ${each.instances.max})` : "–");
      say(memory, each.memory_bytes ? bytes(each.memory_bytes) : "–");
      say(from, each.source ?? "");
      if (!change.childNodes.length || change.dataset.default !== model.default) {
        change.dataset.default = model.default;
        change.replaceChildren(...versionActions(app, name, version, model));
      }
    },
  };
}

function versionActions(app, name, version, model) {
  if (!app.server.manages || app.server.lock) return [];
  const now = () => app.server.model(name);
  const each = () => now().versions.find((other) => other.version === version);
  const button = (words, open) => h("button", { type: "button", class: "quiet", "aria-label": `${words} version ${version}`, on: { click: open } }, words);
  return [
    h(
      "div",
      { class: "row" },
      button("Scale", () => openScale(app, now(), each())),
      version === model.default ? null : button("Make default", () => openDefault(app, now(), version)),
      version === model.default ? null : button("Unload", () => openUnload(app, now(), version)),
    ),
  ];
}

function describeShadow(model) {
  const report = model.traffic?.report;
  if (!report) return [];
  const facts = [
    ["copied", count(report.copied)],
    ["equal", count(report.equal)],
    ["different", `${count(report.different)} (${percent(report.disagreement)})`],
    ["largest difference", String(report.largest_difference)],
    ["failed", count(report.failed)],
    ["seconds", `${seconds(report.seconds)}, the shadow ${seconds(report.shadow_seconds)}`],
  ];
  return [h("h3", {}, `How often would version ${model.traffic.shadow} have answered otherwise?`), h("dl", { class: "facts" }, facts.map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))))];
}

function crashList(app, name) {
  const node = h("section", { "aria-label": "crash reports" });
  let drawn = null;
  return {
    node,
    update() {
      const reports = app.server.crashes.filter((report) => report.model === name);
      const shown = reports.map((report) => report.id).join();
      if (shown === drawn) return;
      drawn = shown;
      node.replaceChildren(...showCrashes(reports));
    },
  };
}
