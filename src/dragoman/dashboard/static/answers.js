// An answer for eyes: tables, classes with bars, pictures, JSON, text. Everything in it is somebody else's text, and is
// shown as text.

import { h, svg } from "./dom.js";
import { bytes, digits, shape } from "./format.js";

const MOST_ROWS = 100;
const MOST_COLUMNS = 64;
const MOST_CLASSES = 20;
const MOST_TEXT = 20000;
const PICTURES = [["image/png", [0x89, 0x50, 0x4e, 0x47]], ["image/jpeg", [0xff, 0xd8, 0xff]], ["image/gif", [0x47, 0x49, 0x46, 0x38]], ["image/webp", [0x52, 0x49, 0x46, 0x46]]];

// The outputs of an answer in the Open Inference Protocol. `classified` has the names of those that are classes.
export function showTensors(outputs, classified) {
  return outputs.map((output) =>
    h("section", { class: "output", "aria-label": `output ${output.name}` }, h("h3", {}, output.name, " ", h("small", {}, `${output.datatype} ${shape(output.shape)}`)), showTensor(output, classified.has(output.name))),
  );
}

function showTensor(output, classes) {
  if (classes) return showClassification(output.values.map(text));
  if (output.datatype === "BYTES") {
    if (output.values.length === 1) return showBytes(output.values[0]);
    return table(output.shape, output.values.map((value) => (pictureType(value) ? picture(value) : text(value))));
  }
  if (isDistribution(output)) return bars(output.values.map((value, place) => ({ name: String(place), value })));
  return table(output.shape, output.values.map(number));
}

// One row of a few numbers from 0 to 1 that are 1 together.
function isDistribution({ datatype, shape: dimensions, values }) {
  if (!/^(FP|BF)/.test(datatype) || values.length < 2 || dimensions.at(-1) !== values.length) return false;
  return values.every((value) => value >= 0 && value <= 1) && Math.abs(values.reduce((one, other) => one + other, 0) - 1) < 0.01;
}

// The protocol's classification: "value:index:label".
function showClassification(lines) {
  return bars(
    lines.map((line) => {
      const [value, index, ...name] = line.split(":");
      return { name: name.join(":") || index, value: Number(value) };
    }),
  );
}

// What a handler has answered, by its content type. Without one, what it looks like.
export function showBody(body, contentType) {
  const [type] = contentType.split(";");
  if (type.startsWith("image/") && type !== "image/svg+xml") return picture(body, type);
  if (pictureType(body)) return picture(body);
  const words = decodeText(body);
  return words === null ? download(body, type) : showText(words);
}

function showBytes(value) {
  return showBody(value, "");
}

function showText(words) {
  try {
    return showJson(JSON.parse(words));
  } catch {
    return h("pre", {}, words.length > MOST_TEXT ? `${words.slice(0, MOST_TEXT)}…` : words);
  }
}

// Labels with numbers are classes, lists of lists are tables, the rest is JSON.
export function showJson(value) {
  if (isObject(value) && Object.keys(value).length > 1 && Object.values(value).every((each) => typeof each === "number" && each >= 0 && each <= 1)) {
    return bars(Object.entries(value).map(([name, part]) => ({ name, value: part })));
  }
  if (Array.isArray(value) && value.length && value.every((row) => Array.isArray(row) && row.length === value[0].length && row.every((each) => typeof each !== "object"))) {
    return table([value.length, value[0].length], value.flat().map(String));
  }
  return h("pre", {}, JSON.stringify(value, null, 2).slice(0, MOST_TEXT));
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

// Classes, the likeliest first.
function bars(classes) {
  const sorted = [...classes].sort((one, other) => other.value - one.value);
  const most = Math.max(...sorted.map(({ value }) => Math.abs(value)), 1e-300);
  const shown = sorted.slice(0, MOST_CLASSES).map(({ name, value }) =>
    h(
      "li",
      {},
      h("span", { class: "class" }, name),
      svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" }, svg("rect", { class: "bar", width: (Math.abs(value) / most) * 100, height: 10 })),
      h("b", {}, value > 0 && value < 0.001 ? "< 0.001" : digits(value)),
    ),
  );
  const rest = sorted.length - shown.length;
  return h("div", {}, h("ol", { class: "bars" }, shown), rest > 0 ? h("p", { class: "soft" }, `and ${rest} more`) : null);
}

// Any shape as rows: the last dimension goes across, all others down.
function table(dimensions, cells) {
  if (!cells.length) return h("p", { class: "soft" }, "empty");
  if (cells.length === 1) return h("p", { class: "single" }, cells[0]);
  const across = dimensions.length > 1 ? dimensions.at(-1) : 1;
  const down = cells.length / across;
  const rows = Array.from({ length: Math.min(down, MOST_ROWS) }, (_, row) =>
    h("tr", {}, h("th", { scope: "row" }, String(row)), cells.slice(row * across, row * across + Math.min(across, MOST_COLUMNS)).map((cell) => h("td", {}, cell))),
  );
  const cut = down > MOST_ROWS || across > MOST_COLUMNS ? h("p", { class: "soft" }, `the first ${Math.min(down, MOST_ROWS)} of ${down} rows, ${Math.min(across, MOST_COLUMNS)} of ${across} columns`) : null;
  return h("div", {}, h("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "values" }, h("table", { class: "values" }, h("tbody", {}, rows))), cut);
}

function number(value) {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  return String(Number(value.toPrecision(7)));
}

const text = (value) => decodeText(value) ?? `${bytes(value.length)} that are no text`;

// Null where the bytes are no UTF-8.
function decodeText(value) {
  try {
    const words = new TextDecoder("utf-8", { fatal: true }).decode(value);
    return /[\0-\x08]/.test(words) ? null : words;
  } catch {
    return null;
  }
}

function pictureType(value) {
  const found = PICTURES.find(([, magic]) => magic.every((byte, place) => value[place] === byte));
  return found ? found[0] : null;
}

function picture(value, type = pictureType(value)) {
  const image = h("img", { class: "picture", alt: `the answer: ${type}, ${bytes(value.length)}` });
  image.src = URL.createObjectURL(new Blob([value], { type }));
  image.addEventListener("load", () => URL.revokeObjectURL(image.src), { once: true });
  return image;
}

function download(value, type) {
  const link = h("a", { download: "answer.bin" }, `Save the answer (${bytes(value.length)}${type ? `, ${type}` : ""})`);
  link.href = URL.createObjectURL(new Blob([value], { type: "application/octet-stream" }));
  return h("p", {}, link);
}
