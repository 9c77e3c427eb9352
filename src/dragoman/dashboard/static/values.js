// What somebody types, as a tensor: JSON lists or rows of a table in, a shape and flat values out. Numbers stay texts
// all the way, so that no digit of a 64-bit one is lost. Knows no element.

const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const SPECIAL = { nan: "NaN", inf: "Infinity", infinity: "Infinity", "-inf": "-Infinity", "-infinity": "-Infinity" };
const INTEGER = /^[+-]?\d+$/;

// {shape, items}: items are texts. Throws Error with what is wrong, for people.
export function parse(text, spec) {
  const { shape, items } = text.trim().startsWith("[") ? fromJson(text, spec) : fromTable(text, spec);
  return { shape: fit(shape, items.length, spec), items: spec.datatype === "BYTES" ? items : items.map((item) => check(item, spec)) };
}

function fromJson(text, spec) {
  // Numbers become texts before JSON.parse can round them; a text's own quotes keep it as it is.
  const quoted = spec.datatype === "BYTES" ? text : text.replace(/[-+.\w]+/g, '"$&"');
  let lists;
  try {
    lists = JSON.parse(quoted);
  } catch {
    throw new Error(`${spec.name}: this begins like JSON and is none; check its brackets and commas`);
  }
  const shape = [];
  for (let level = lists; Array.isArray(level); level = level[0]) shape.push(level.length);
  const items = lists.flat(Infinity);
  if (!isRegular(lists, shape)) throw new Error(`${spec.name}: the lists are not all of one length`);
  return { shape, items: items.map(String) };
}

function isRegular(lists, [size, ...rest]) {
  if (size === undefined) return !Array.isArray(lists);
  return Array.isArray(lists) && lists.length === size && lists.every((each) => isRegular(each, rest));
}

function fromTable(text, spec) {
  const lines = text.split("\n").filter((line) => line.trim());
  const split = spec.datatype === "BYTES" && spec.shape.length < 2 ? (line) => [line] : (line) => line.trim().split(spec.datatype === "BYTES" ? /\s*[,;\t]\s*/ : /[\s,;]+/).filter(Boolean);
  const rows = lines.map(split);
  const odd = rows.findIndex((row) => row.length !== rows[0].length);
  if (odd > 0) throw new Error(`${spec.name}: row ${odd + 1} has ${rows[odd].length} values, the first one has ${rows[0].length}`);
  return { shape: rows.length ? [rows.length, rows[0].length] : [0], items: rows.flat() };
}

// The shape that these values have for the model: theirs, or the model's with its open dimensions worked out.
export function fit(given, total, { name, shape }) {
  const open = shape.filter((size) => size < 0).length;
  const fixed = shape.reduce((product, size) => (size < 0 ? product : product * size), 1);
  const wanted = `${name} expects the shape [${shape.map((size) => (size < 0 ? "?" : size)).join(", ")}]`;
  if (!total) throw new Error(`${wanted}, and there are no values`);
  if (given.length === shape.length && given.every((size, place) => shape[place] < 0 || shape[place] === size)) return given;
  if (!open && total !== fixed) throw new Error(`${wanted}, which is ${fixed} values; there are ${total}`);
  if (total % fixed) throw new Error(`${wanted}: a multiple of ${fixed} values; there are ${total}`);
  let rest = total / fixed;
  let left = open;
  return shape.map((size) => {
    if (size >= 0) return size;
    left -= 1;
    if (left) return 1; // of several open dimensions the last one takes all
    return rest;
  });
}

// A text as the wire has it. Throws Error for what is no number of this datatype.
function check(text, { name, datatype }) {
  if (datatype === "BOOL") {
    const known = { true: "true", 1: "true", false: "false", 0: "false" }[text.toLowerCase()];
    if (known) return known;
    throw new Error(`${name}: ${text} is neither true nor false`);
  }
  const whole = datatype.includes("INT");
  const special = whole ? null : SPECIAL[text.toLowerCase()];
  if (special) return special;
  if (!(whole ? INTEGER : NUMBER).test(text)) throw new Error(`${name}: ${text} is no ${whole ? "whole number" : "number"}`);
  return tidy(text);
}

// As JSON writes it: no plus, no leading zeros or points.
function tidy(text) {
  const [, minus, rest] = /^[+]?(-?)(.*)$/.exec(text);
  const [, mantissa, exponent] = /^([^e]*)(e.*)?$/i.exec(rest);
  const [before, after] = mantissa.split(".");
  return `${minus}${before.replace(/^0+(?=\d)/, "") || "0"}${after ? `.${after}` : ""}${exponent ?? ""}`;
}

// Flat items as nested lists, for whoever writes them.
export function nest(items, shape) {
  if (shape.length < 2) return items;
  const size = items.length / shape[0];
  return Array.from({ length: shape[0] }, (_, row) => nest(items.slice(row * size, (row + 1) * size), shape.slice(1)));
}
