// What changes the server: dialogs that say what will happen, ask, and show what the server says to it.

import { call, get, path } from "./api.js";
import { announce, field, h, newId, say } from "./dom.js";
import { bytes } from "./format.js";

// A native dialog over a form. `submit()` does it, and may say so with a text; what it throws is shown.
export function openDialog({ title, about = null, content = [], confirm, danger = false, submit, cancelled = () => {} }) {
  const problem = h("p", { class: "trouble", role: "alert", hidden: true });
  const button = h("button", { type: "submit", class: danger ? "danger" : "primary" }, confirm);
  const heading = h("h2", { id: newId() }, title);
  const close = h("button", { type: "button", class: "quiet", on: { click: () => dialog.close() } }, "Cancel");
  const form = h("form", { novalidate: true }, heading, about && h("p", {}, about), content, problem, h("p", { class: "row end" }, close, button));
  const dialog = h("dialog", { "aria-labelledby": heading.id }, form);
  let done = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.hidden = true;
    button.disabled = true;
    try {
      const words = await submit();
      done = true;
      dialog.close();
      if (words) announce(words);
    } catch (error) {
      say(problem, error.message);
      problem.hidden = false;
    } finally {
      button.disabled = false;
    }
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (!done) cancelled();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

// Dialogs that change a model, and show how the server is afterwards.
function change(app, options) {
  openDialog({
    ...options,
    async submit() {
      let words;
      try {
        words = await options.submit();
      } catch (error) {
        if (error.lock) app.askForKey(error.lock, error.message);
        throw error;
      }
      app.server.forget();
      await app.refresh();
      return words;
    },
  });
}

export function openLoad(app, name = "") {
  const source = h("input", { type: "text", required: true, autocomplete: "off", spellcheck: "false" });
  const named = h("input", { type: "text", value: name, autocomplete: "off", spellcheck: "false" });
  const version = h("input", { type: "text", autocomplete: "off" });
  const asDefault = h("input", { type: "checkbox", id: newId(), checked: true });
  const step = h("p", { class: "soft", role: "status" });
  const bar = h("progress", { "aria-label": "progress", hidden: true, max: 1 });
  change(app, {
    title: name ? `Load another version of ${name}` : "Load a model",
    about: "A name in the server's model store, or a URL that its operator allows.",
    content: [
      field("Source", source),
      field("Name", named, "without one it is the model's own"),
      field("Version", version, "without one it is the model's own, or the next"),
      h("p", { class: "check" }, asDefault, h("label", { for: asDefault.id }, "Answer with it from the moment it is ready")),
      bar,
      step,
    ],
    confirm: "Load",
    async submit() {
      if (!source.value.trim()) throw new Error("say what to load");
      const order = { source: source.value.trim(), default: asDefault.checked, wait: false };
      if (named.value.trim()) order.name = named.value.trim();
      if (version.value.trim()) order.version = version.value.trim();
      const ended = await follow(await call("POST", "management/models", order), step, bar);
      return `${ended.loaded.map((record) => `${record.name} ${record.version}`).join(", ")} is loaded`;
    },
  });
}

// Looks at an operation until it is over. Throws Error with why it has failed.
async function follow(operation, step, bar) {
  bar.hidden = false;
  try {
    while (operation.state === "running") {
      const { done_bytes: done, total_bytes: total } = operation;
      say(step, [operation.step, done ? `${bytes(done)}${total ? ` of ${bytes(total)}` : ""}` : ""].filter(Boolean).join(", "));
      if (total) bar.value = done / total;
      await new Promise((resolve) => setTimeout(resolve, 150));
      operation = await get(`management/operations/${path(operation.id)}`);
    }
  } finally {
    bar.hidden = true;
    say(step, "");
  }
  if (operation.state === "failed") throw new Error(operation.error);
  return operation;
}

export function openRollback(app, model) {
  change(app, {
    title: `Roll ${model.name} back?`,
    about: `Version ${model.default} answers now. The default version before it will answer from this moment; nothing is unloaded.`,
    confirm: "Roll back",
    async submit() {
      const now = await call("POST", `management/models/${path(model.name)}/rollback`);
      return `version ${now.default} of ${model.name} answers now`;
    },
  });
}

export function openDefault(app, model, version) {
  change(app, {
    title: `Make version ${version} the default?`,
    about: `Requests to ${model.name} that name no version will be answered by version ${version}.`,
    confirm: "Make it the default",
    async submit() {
      await call("PUT", `management/models/${path(model.name)}/default`, { version });
      return `version ${version} is the default`;
    },
  });
}

export function openScale(app, model, each) {
  const limits = each.instances ?? { now: 0, min: 1, max: 1 };
  const number = (value, least) => h("input", { type: "number", min: least, max: 1000, step: 1, value });
  const least = number(limits.min, 0);
  const most = number(limits.max, 1);
  change(app, {
    title: `Instances of ${model.name} ${each.version}`,
    about: `${limits.now} now. Between the two numbers their number follows the load; none at least means that it may sleep.`,
    content: [h("div", { class: "pair" }, field("At least", least), field("At most", most))],
    confirm: "Scale",
    async submit() {
      const place = `management/models/${path(model.name)}/versions/${path(each.version)}/instances`;
      const { instances } = await call("PUT", place, { min: Number(least.value), max: Number(most.value) });
      return `${instances.now} instances now`;
    },
  });
}

export function openTraffic(app, model) {
  const ready = model.versions.filter((each) => each.state === "READY");
  const shares = model.traffic?.shares ?? {};
  const fallback = (version) => (Object.keys(shares).length ? 0 : version === model.default ? 100 : 0);
  const inputs = ready.map((each) => h("input", { type: "number", min: 0, max: 100, step: 1, value: shares[each.version] ?? fallback(each.version), "data-version": each.version }));
  const shadow = h("select", {}, h("option", { value: "" }, "none"), ready.map((each) => h("option", { value: each.version, selected: each.version === model.traffic?.shadow }, each.version)));
  const sum = h("p", { class: "soft", role: "status" });
  const add = () => inputs.reduce((total, input) => total + Number(input.value), 0);
  const tell = () => say(sum, add() === 100 ? "100 % in all" : `${add()} % in all: they have to be 100 together`);
  inputs.forEach((input) => input.addEventListener("input", tell));
  tell();
  change(app, {
    title: `Traffic of ${model.name}`,
    about: "Requests that name no version are shared out exactly. A shadow gets a copy of each and answers nobody.",
    content: [h("div", { class: "pair" }, inputs.map((input) => field(`Version ${input.dataset.version}, %`, input))), sum, field("Shadow", shadow)],
    confirm: "Share it out",
    async submit() {
      const wanted = Object.fromEntries(inputs.filter((input) => Number(input.value)).map((input) => [input.dataset.version, Number(input.value)]));
      const one = Object.keys(wanted).length === 1 && wanted[model.default] === 100;
      await call("PUT", `management/models/${path(model.name)}/traffic`, { shares: one ? {} : wanted, shadow: shadow.value });
      return "the traffic is shared out";
    },
  });
}

export function openUnload(app, model, version = "") {
  change(app, {
    title: version ? `Unload version ${version} of ${model.name}?` : `Unload ${model.name}?`,
    about: "Everything it has accepted is answered first. After that it is unknown to clients until somebody loads it again.",
    confirm: "Unload",
    danger: true,
    async submit() {
      const place = `management/models/${path(model.name)}${version ? `/versions/${path(version)}` : ""}`;
      const { unloaded } = await call("DELETE", place);
      return `unloaded: ${unloaded.join(", ")}`;
    },
  });
}
