// Where somebody tries a model: a form out of its signature, the answer, how long it took, and the same as code.

import { BASE, path, refusal, request } from "./api.js";
import { showBody, showTensors } from "./answers.js";
import { announce, field, h, say, svg } from "./dom.js";
import { bytes, seconds } from "./format.js";
import { handlerField, openField, tensorField } from "./inputs.js";
import { forHandler, forTensors } from "./snippets.js";
import { decode, encode } from "./wire.js";

const CLASSES = 10;

// For one model of the server. `signature` is that of its default version.
export function playground(app, model, signature) {
  const handled = signature.platform === "torchserve";
  const form = handled ? handlerForm() : tensorForm(signature);
  const version = h("select", {}, h("option", { value: "" }, "whichever answers"), model.versions.filter((each) => each.state === "READY").map((each) => h("option", { value: each.version }, each.version)));
  const problem = h("p", { class: "trouble", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: "primary" }, "Ask the model");
  const answer = h("div", { class: "answer" }, h("p", { class: "soft" }, "The answer will be here."));
  const code = codeBox();
  const asking = h(
    "form",
    { class: "panel", "aria-labelledby": "question-title", novalidate: true },
    h("h2", { id: "question-title" }, "Question"),
    form.nodes,
    field("Version", version),
    problem,
    h("p", { class: "row" }, button),
  );
  const where = () => ({ base: BASE, grpcPort: app.server.stats?.grpc_port ?? 0, lock: app.inferenceLock });

  async function ask(event) {
    event.preventDefault();
    problem.hidden = true;
    button.disabled = true;
    try {
      const question = await form.read(model.name, version.value);
      code.show(question.code(where()));
      await send(question, answer);
    } catch (error) {
      if (error.lock) {
        app.inferenceLock = error.lock;
        app.askForKey(error.lock, error.message);
      }
      say(problem, error.message);
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  }
  asking.addEventListener("submit", ask);
  return h(
    "div",
    { class: "playground" },
    asking,
    h("div", { class: "stack" }, h("section", { class: "panel", "aria-labelledby": "answer-title" }, h("h2", { id: "answer-title" }, "Answer"), answer), code.node),
  );
}

function tensorForm(signature) {
  const fields = signature.inputs.length ? signature.inputs.map(tensorField) : [openField()];
  const labelled = signature.outputs.filter((output) => output.labels).map((output) => output.name);
  return {
    nodes: fields.map((each) => each.node),
    async read(name, version) {
      const inputs = (await Promise.all(fields.map((each) => each.read()))).flat().filter(Boolean);
      const classes = labelled.length ? signature.outputs.map((output) => ({ name: output.name, count: output.labels ? CLASSES : 0 })) : [];
      const outputs = classes.map((each) => ({ name: each.name, parameters: { binary_data: true, ...(each.count ? { classification: each.count } : {}) } }));
      const place = `v2/models/${path(name)}${version ? `/versions/${path(version)}` : ""}/infer`;
      return {
        place,
        ...encode(inputs, outputs),
        show: (buffer, headers) => showTensors(decode(buffer, headers).outputs, new Set(labelled)),
        code: (where) => forTensors({ model: name, version, inputs, classes }, where),
      };
    },
  };
}

function handlerForm() {
  const one = handlerField();
  return {
    nodes: [one.node],
    async read(name, version) {
      const sent = await one.read();
      return {
        place: `predictions/${path(name)}${version ? `/${path(version)}` : ""}`,
        body: sent.body,
        headers: { "Content-Type": sent.type },
        show: (buffer, headers) => [showBody(new Uint8Array(buffer), headers.get("Content-Type") ?? "")],
        code: (where) => forHandler({ model: name, version, sent }, where),
      };
    },
  };
}

// Asks and shows. Throws Refused, or TypeError when there is no answer.
async function send(question, place) {
  place.setAttribute("aria-busy", "true");
  try {
    const start = performance.now();
    const answer = await request("POST", question.place, { ...question, headers: { ...question.headers, "X-Server-Timing": "1" } });
    const first = performance.now();
    if (!answer.ok) throw await refusal(answer);
    const buffer = await answer.arrayBuffer();
    const end = performance.now();
    const times = split(answer.headers.get("Server-Timing"), (first - start) / 1000, (end - first) / 1000);
    place.replaceChildren(...question.show(buffer, answer.headers), showTimes(times, (end - start) / 1000, buffer.byteLength));
    announce(`Answered in ${seconds((end - start) / 1000)}`);
  } catch (error) {
    place.replaceChildren(h("p", { class: "soft" }, "No answer."));
    throw error;
  } finally {
    place.removeAttribute("aria-busy");
  }
}

// What the server says of its time (queue;dur=1.2, …, in milliseconds), the rest of the way, and the answer's arrival.
function split(header, waited, read) {
  const parts = (header ?? "")
    .split(",")
    .map((entry) => /^\s*([\w!#$%&'*+.^`|~-]+)(?:.*?;\s*desc="?([^";]*)"?)?.*?;\s*dur=([\d.]+)/.exec(entry))
    .filter(Boolean)
    .map(([, name, words, time]) => ({ name: words || name, time: Number(time) / 1000 }));
  const inside = parts.filter((part) => part.name !== "total").reduce((sum, part) => sum + part.time, 0);
  const times = parts.filter((part) => part.name !== "total");
  return [...times, { name: times.length ? "on the way" : "until the answer began", time: Math.max(0, waited - inside) }, { name: "reading it", time: read }];
}

function showTimes(times, total, size) {
  let from = 0;
  const pieces = times.map(({ time }, place) => {
    const width = total ? (time / total) * 100 : 0;
    const piece = svg("rect", { class: `share-${place % 4}`, x: from, width: Math.max(0, width - 0.3), height: 10 });
    from += width;
    return piece;
  });
  return h(
    "div",
    { class: "times" },
    h("p", {}, h("strong", {}, seconds(total)), ` as this browser sees it · ${bytes(size)}`),
    svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, pieces),
    h("ul", {}, times.map(({ name, time }, place) => h("li", {}, svg("svg", { class: "dot", viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: `share-${place % 4}`, width: 10, height: 10, rx: 3 })), `${name} ${seconds(time)}`))),
  );
}

// The same call in three languages, each with a button that copies it.
function codeBox() {
  const shown = h("pre", { tabindex: "0", "aria-label": "code" }, "Ask the model, and the same call stands here.");
  const copy = h("button", { type: "button", class: "quiet", disabled: true, on: { click: () => copyText(shown.textContent, copy) } }, "Copy");
  let codes = {};
  let chosen = "curl";
  const buttons = ["curl", "Python", "gRPC"].map((name) => h("button", { type: "button", class: "tab", "aria-pressed": String(name === chosen), on: { click: () => choose(name) } }, name));

  function choose(name) {
    chosen = name;
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.textContent === name)));
    const text = codes[name];
    copy.disabled = !text;
    if (Object.keys(codes).length) say(shown, text || "gRPC is not served here: pip install 'dragoman[grpc]'");
  }
  return {
    node: h("section", { class: "panel code", "aria-labelledby": "code-title" }, h("div", { class: "title" }, h("h2", { id: "code-title" }, "The same as code"), h("div", { class: "row" }, buttons, copy)), shown),
    show(found) {
      codes = found;
      choose(chosen);
    },
  };
}

async function copyText(text, button) {
  let outcome = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Only pages that came over TLS or from this machine may write to the clipboard; the text can still be selected.
    outcome = "Select it to copy";
  }
  say(button, outcome);
  announce(outcome);
  setTimeout(() => say(button, "Copy"), 1500);
}
