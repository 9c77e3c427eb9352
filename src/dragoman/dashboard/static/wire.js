// The Open Inference Protocol with its binary extension: tensors to a body, an answer's bytes to tensors. Knows no
// element and no connection.

const HEADER = "Inference-Header-Content-Length";
const BITS = new Uint32Array(1);
const FLOAT = new Float32Array(BITS.buffer);
const READERS = {
  BOOL: [1, (view, at) => view.getUint8(at) !== 0],
  UINT8: [1, (view, at) => view.getUint8(at)],
  UINT16: [2, (view, at) => view.getUint16(at, true)],
  UINT32: [4, (view, at) => view.getUint32(at, true)],
  UINT64: [8, (view, at) => view.getBigUint64(at, true)],
  INT8: [1, (view, at) => view.getInt8(at)],
  INT16: [2, (view, at) => view.getInt16(at, true)],
  INT32: [4, (view, at) => view.getInt32(at, true)],
  INT64: [8, (view, at) => view.getBigInt64(at, true)],
  FP16: [2, (view, at) => half(view.getUint16(at, true))],
  BF16: [2, (view, at) => brain(view.getUint16(at, true))],
  FP32: [4, (view, at) => view.getFloat32(at, true)],
  FP64: [8, (view, at) => view.getFloat64(at, true)],
};

// `inputs` are {name, datatype, shape} with `items` (texts) or `files` (Uint8Arrays); `outputs` as the protocol has
// them, or none for all as binary data. Gives {body, headers, json, tail}: `tail` are the pieces behind the JSON.
export function encode(inputs, outputs = []) {
  const tail = [];
  const described = inputs.map((input) => describe(input, tail));
  const wanted = outputs.length ? `"outputs":${JSON.stringify(outputs)}` : '"parameters":{"binary_data_output":true}';
  const json = `{"inputs":[${described.join(",")}],${wanted}}`;
  if (!tail.length) return { body: json, headers: { "Content-Type": "application/json" }, tail };
  const length = new TextEncoder().encode(json).length;
  const headers = { "Content-Type": "application/octet-stream", [HEADER]: String(length) };
  return { body: new Blob([json, ...tail]), headers, tail };
}

// One input in JSON. Its bytes go to `tail` where JSON can't carry them.
export function describe({ name, datatype, shape, items, files }, tail) {
  const head = `{"name":${JSON.stringify(name)},"datatype":"${datatype}","shape":${JSON.stringify(shape)}`;
  if (files) {
    const pieces = files.flatMap((file) => [new Uint8Array(new Uint32Array([file.length]).buffer), file]);
    tail.push(...pieces);
    return `${head},"parameters":{"binary_data_size":${pieces.reduce((sum, piece) => sum + piece.length, 0)}}}`;
  }
  if (datatype === "BF16") {
    tail.push(new Uint8Array(Uint16Array.from(items, toBrain).buffer));
    return `${head},"parameters":{"binary_data_size":${2 * items.length}}}`;
  }
  const values = datatype === "BYTES" ? items.map((item) => JSON.stringify(item)) : items;
  return `${head},"data":[${values.join(",")}]}`;
}

// The outputs of an answer: {name, datatype, shape, values}. Values of BYTES are Uint8Arrays.
export function decode(buffer, headers) {
  const length = Number(headers.get(HEADER) ?? buffer.byteLength);
  const document = JSON.parse(new TextDecoder().decode(buffer.slice(0, length)));
  let at = length;
  const outputs = document.outputs.map(({ name, datatype, shape, data, parameters }) => {
    const size = parameters?.binary_data_size;
    if (size === undefined) return { name, datatype, shape, values: datatype === "BYTES" ? data.map((text) => new TextEncoder().encode(text)) : data };
    const values = read(new DataView(buffer, at, size), datatype);
    at += size;
    return { name, datatype, shape, values };
  });
  return { version: document.model_version, outputs };
}

function read(view, datatype) {
  if (datatype === "BYTES") return readBytes(view);
  const [size, one] = READERS[datatype];
  return Array.from({ length: view.byteLength / size }, (_, place) => one(view, place * size));
}

function readBytes(view) {
  const found = [];
  for (let at = 0; at < view.byteLength; ) {
    const size = view.getUint32(at, true);
    found.push(new Uint8Array(view.buffer, view.byteOffset + at + 4, size));
    at += 4 + size;
  }
  return found;
}

function half(bits) {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (!exponent) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function brain(bits) {
  BITS[0] = bits << 16;
  return FLOAT[0];
}

// To the nearest, ties to even.
function toBrain(text) {
  FLOAT[0] = Number(text);
  return Number.isNaN(FLOAT[0]) ? 0x7fc0 : (BITS[0] + 0x7fff + ((BITS[0] >> 16) & 1)) >>> 16;
}
