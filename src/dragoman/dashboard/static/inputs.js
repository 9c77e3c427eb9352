// Fields for what a model takes, one for each tensor of its signature, and one for whatever a handler reads. Each gives
// {node, read()}; `read` throws Error with what is wrong, for people.

import { field, h, newId, say } from "./dom.js";
import { bytes, shape } from "./format.js";
import { parse } from "./values.js";

const LARGEST_EXAMPLE = 4096; // values

// A tensor's field, by its datatype and shape. `read()` gives an input for the wire, or null for one that is left out.
export function tensorField(spec) {
  const made = spec.datatype === "BYTES" && holdsOne(spec.shape) ? bytesField(spec) : isSingle(spec) ? singleField(spec) : tableField(spec);
  if (!spec.optional) return made;
  const used = h("input", { type: "checkbox", id: newId() });
  made.node.hidden = true;
  used.addEventListener("change", () => (made.node.hidden = !used.checked));
  const node = h("div", {}, h("p", { class: "check" }, used, h("label", { for: used.id }, `Send ${spec.name}, which is optional`)), made.node);
  return { node, read: async () => (used.checked ? made.read() : null) };
}

const sizeOf = (dimensions) => dimensions.reduce((product, size) => product * Math.max(1, size), 1);
const holdsOne = (dimensions) => sizeOf(dimensions) === 1;

// One number: every dimension is 1, or the first one counts rows.
function isSingle({ datatype, shape: dimensions }) {
  const [first, ...rest] = dimensions;
  return datatype !== "BYTES" && [Math.abs(first ?? 1), ...rest].every((size) => size === 1) && (rest.length > 0 || first !== -1);
}

const label = (spec) => `${spec.name} (${spec.datatype} ${shape(spec.shape)})`;

function singleField(spec) {
  const ones = spec.shape.map(() => 1);
  if (spec.datatype === "BOOL") {
    const box = h("input", { type: "checkbox", id: newId() });
    const node = h("p", { class: "check" }, box, h("label", { for: box.id }, label(spec)));
    return { node, read: async () => ({ ...spec, shape: ones, items: [String(box.checked)] }) };
  }
  const input = h("input", { type: "text", inputmode: spec.datatype.includes("INT") ? "numeric" : "decimal", value: "0", autocomplete: "off" });
  return { node: field(label(spec), input), read: async () => take(spec, input.value) };
}

function take(spec, text) {
  const { shape: found, items } = parse(text, spec);
  return { name: spec.name, datatype: spec.datatype, shape: found, items };
}

function tableField(spec) {
  const columns = Math.abs(spec.shape.at(-1) ?? 1);
  const rows = Math.min(6, Math.max(2, Math.ceil(columns / 8)));
  const area = h("textarea", { rows, spellcheck: "false", autocomplete: "off" });
  const start = spec.datatype === "BYTES" ? "" : example(spec);
  area.value = start;
  const words = spec.datatype === "BYTES" ? "a row a line, commas between texts; or JSON" : "a row a line, commas or blanks between numbers; or JSON. A CSV file can be dropped here";
  acceptText(area);
  return { node: field(label(spec), area, words), read: async () => take(spec, area.value) };
}

// Something that fits, to begin with: zeros, or a few numbers where any will do.
function example({ datatype, shape: dimensions }) {
  const last = dimensions.at(-1) ?? 1;
  const width = last < 0 ? 4 : last;
  const rows = dimensions.slice(0, -1).reduce((product, size) => product * Math.abs(size), 1);
  if (rows * width > LARGEST_EXAMPLE) return "";
  const value = (place) => (datatype === "BOOL" ? "false" : last < 0 ? String(place + 1) : "0");
  const line = Array.from({ length: width }, (_, place) => value(place)).join(", ");
  return Array.from({ length: rows }, () => line).join("\n");
}

function acceptText(area) {
  area.addEventListener("dragover", (event) => event.preventDefault());
  area.addEventListener("drop", async (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return;
    event.preventDefault();
    area.value = (await file.text()).trim();
  });
}

// Texts or a file, as elements of a BYTES tensor.
function bytesField(spec) {
  const one = bodyField(label(spec), ["Text", "Lines", "File"]);
  return {
    node: one.node,
    async read() {
      const { kind, text, file } = one.value();
      const dimensions = (size) => spec.shape.map((each, place) => (place === spec.shape.findIndex((n) => n < 0) ? size : Math.abs(each)));
      const base = { name: spec.name, datatype: "BYTES" };
      if (kind === "File") return { ...base, shape: dimensions(1), files: [await read(file)], file };
      const items = kind === "Lines" ? text.split("\n").filter(Boolean) : [text];
      if (items.length !== 1 && !spec.shape.some((size) => size < 0)) throw new Error(`${spec.name} takes one text, there are ${items.length}`);
      return { ...base, shape: dimensions(items.length), items };
    },
  };
}

const read = async (file) => new Uint8Array(await file.arrayBuffer());

// What a handler gets as the body of its request: {body, type, kind, text, file}.
export function handlerField() {
  const one = bodyField("Body", ["Text", "JSON", "File"], "File");
  return {
    node: one.node,
    async read() {
      const { kind, text, file } = one.value();
      if (kind === "File") return { kind, body: file, type: file.type || "application/octet-stream", file };
      if (kind === "JSON") check(text);
      return { kind, body: text, text, type: kind === "JSON" ? "application/json" : "text/plain" };
    },
  };
}

function check(text) {
  try {
    JSON.parse(text);
  } catch (error) {
    throw new Error(`this is no JSON: ${error.message}`);
  }
}

// A text or a file, dropped or chosen. `value()` gives {kind, text, file}; throws Error without a file.
function bodyField(title, kinds, first = kinds[0]) {
  const name = newId();
  const area = h("textarea", { rows: 5, spellcheck: "false", "aria-label": title });
  const chooser = h("input", { type: "file", id: newId() });
  const about = h("p", { class: "soft", role: "status" }, "no file yet");
  const preview = h("img", { alt: "", hidden: true });
  const drop = h("div", { class: "drop" }, preview, h("label", { for: chooser.id }, "Drop a file here, or choose one"), chooser, about);
  const radios = kinds.map((kind) => h("input", { type: "radio", name, value: kind, id: newId(), checked: kind === first }));
  const choices = h("div", { class: "choices" }, radios.map((radio) => [radio, h("label", { for: radio.id }, radio.value)]));
  let file = null;

  function kind() {
    return radios.find((radio) => radio.checked).value;
  }
  function show() {
    area.hidden = kind() === "File";
    drop.hidden = !area.hidden;
  }
  function choose(chosen) {
    if (!chosen) return;
    file = chosen;
    say(about, `${file.name}, ${bytes(file.size)}${file.type ? `, ${file.type}` : ""}`);
    if (!preview.hidden) URL.revokeObjectURL(preview.src);
    preview.hidden = !file.type.startsWith("image/");
    if (!preview.hidden) preview.src = URL.createObjectURL(file);
    radios.find((radio) => radio.value === "File").checked = true;
    show();
  }
  chooser.addEventListener("change", () => choose(chooser.files[0]));
  for (const place of [drop, area]) {
    place.addEventListener("dragover", (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
    place.addEventListener("dragleave", () => drop.classList.remove("over"));
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      choose(event.dataTransfer.files[0]);
    });
  }
  radios.forEach((radio) => radio.addEventListener("change", show));
  show();
  return {
    node: h("fieldset", {}, h("legend", {}, title), choices, area, drop),
    value() {
      if (kind() === "File" && !file) throw new Error(`${title}: choose a file first, or drop one`);
      return { kind: kind(), text: area.value, file };
    },
  };
}

// For a model that says nothing of its inputs: the list of inputs as the protocol's JSON has it.
export function openField() {
  const area = h("textarea", { rows: 8, spellcheck: "false" });
  area.value = '[{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]';
  return {
    node: field("Inputs, as the Open Inference Protocol has them", area, "the model says nothing of what it takes"),
    async read() {
      check(area.value);
      return JSON.parse(area.value).map(({ name, datatype, shape: given, data }) => ({ name, datatype, shape: given, items: data.flat(Infinity).map((item) => (datatype === "BYTES" ? item : JSON.stringify(item))) }));
    },
  };
}
