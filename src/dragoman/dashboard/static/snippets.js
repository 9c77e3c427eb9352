// A call as code that does the same: curl, Python, gRPC. Every name in it is quoted for the language it stands in.
// Knows no element.

import { describe } from "./wire.js";
import { nest } from "./values.js";

const NUMPY = { BOOL: "bool", FP16: "float16", FP32: "float32", FP64: "float64", BF16: "float32", BYTES: "object" };

// What stands for a key: the secret itself is never in the code.
const KEY = "DRAGOMAN_KEY";

// {curl, Python, gRPC} for tensors. `call` has the model, the version ("" is any), inputs, the outputs that are wanted
// as classes; `where` has the page's address, the gRPC port (0 without) and the header of the key, if one is needed.
export function forTensors(call, where) {
  return {
    curl: curlTensors(call, where),
    Python: pythonTensors(call, where, "http"),
    gRPC: where.grpcPort ? pythonTensors(call, where, "grpc") : "",
  };
}

// The same for what a handler reads as it is.
export function forHandler(call, where) {
  const file = call.sent.kind === "File";
  const address = new URL(`predictions/${encodeURIComponent(call.model)}${call.version ? `/${encodeURIComponent(call.version)}` : ""}`, where.base).href;
  const data = file ? `--data-binary @${shell(call.sent.file.name)}` : `--data-raw ${shell(call.sent.text)}`;
  const curl = [`curl -s ${shell(address)}`, ...keyOption(where), `  -H ${shell(`Content-Type: ${call.sent.type}`)}`, `  ${data}`].join(" \\\n");
  return { curl, Python: pythonHandler(call, where, address), gRPC: where.grpcPort ? grpcHandler(call, where) : "" };
}

function curlTensors(call, where) {
  const place = `v2/models/${encodeURIComponent(call.model)}${call.version ? `/versions/${encodeURIComponent(call.version)}` : ""}/infer`;
  const address = shell(new URL(place, where.base).href);
  const tail = [];
  const inputs = call.inputs.map((input) => describe(input, tail)).join(",");
  const outputs = call.classes.map(({ name, count }) => `{"name":${JSON.stringify(name)},"parameters":{"classification":${count}}}`);
  const json = `{"inputs":[${inputs}]${outputs.length ? `,"outputs":[${outputs.join(",")}]` : ""}}`;
  if (!tail.length) return [`curl -s ${address}`, ...keyOption(where), "  -H 'Content-Type: application/json'", `  -d ${shell(json)}`].join(" \\\n");
  const length = new TextEncoder().encode(json).length;
  const pieces = call.inputs.flatMap((input) => (input.files ? [`printf '${octal(input.file.size)}'`, `cat ${shell(input.file.name)}`] : binary(input)));
  return [
    `{ printf '%s' ${shell(json)}; ${pieces.join("; ")}; } |`,
    [`curl -s ${address}`, ...keyOption(where), `  -H 'Inference-Header-Content-Length: ${length}'`, "  --data-binary @-"].join(" \\\n"),
  ].join("\n");
}

function binary(input) {
  const tail = [];
  describe(input, tail);
  return tail.map((piece) => `printf '${[...piece].map((byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("")}'`);
}

// A size as four bytes, the smallest first, as every printf understands them.
function octal(size) {
  return [0, 8, 16, 24].map((shift) => `\\${((size >>> shift) & 255).toString(8).padStart(3, "0")}`).join("");
}

function keyOption({ lock }) {
  if (!lock) return [];
  return [`  -H "${lock}: ${lock === "Authorization" ? "Bearer " : ""}$${KEY}"`];
}

function pythonKey({ lock }) {
  return lock ? `{${python(lock)}: ${lock === "Authorization" ? '"Bearer " + ' : ""}os.environ["${KEY}"]}` : "";
}

function pythonTensors(call, where, wire) {
  const { base } = where;
  const address = wire === "grpc" ? `${base.hostname}:${where.grpcPort}` : base.host;
  const secure = base.protocol === "https:" ? ", ssl=True" : "";
  const key = wire === "grpc" && where.lock ? `{${python(grpcHeader(where.lock))}: ${pythonKey(where).split(": ").slice(1).join(": ")}` : pythonKey(where);
  const lines = [
    ...(key ? ["import os", ""] : []),
    "import numpy as np",
    `import tritonclient.${wire} as triton  # pip install 'tritonclient[${wire}]'`,
    "",
    `client = triton.InferenceServerClient(${python(address)}${secure})`,
    "inputs = []",
  ];
  for (const input of call.inputs) {
    const array = input.files ? `np.array([open(${python(input.file.name)}, "rb").read()], object).reshape(${JSON.stringify(input.shape)})` : pythonArray(input);
    lines.push(`inputs.append(triton.InferInput(${python(input.name)}, ${JSON.stringify(input.shape)}, ${python(input.datatype)}))`, `inputs[-1].set_data_from_numpy(${array})`);
  }
  const more = [call.version ? `, model_version=${python(call.version)}` : "", key ? `, headers=${key}` : ""];
  if (call.classes.length) {
    const wanted = call.classes.map(({ name, count }) => `triton.InferRequestedOutput(${python(name)}${count ? `, class_count=${count}` : ""})`);
    lines.push(`outputs = [${wanted.join(", ")}]`);
    more.unshift(", outputs=outputs");
  }
  lines.push(`answer = client.infer(${python(call.model)}, inputs${more.join("")})`);
  lines.push(wire === "grpc" ? "for output in answer.get_response().outputs:" : 'for output in answer.get_response()["outputs"]:');
  lines.push(wire === "grpc" ? "    print(output.name, answer.as_numpy(output.name))" : '    print(output["name"], answer.as_numpy(output["name"]))');
  return lines.join("\n");
}

// gRPC's restrictions are named with a prefix; a bearer's key has its own name everywhere.
function grpcHeader(lock) {
  return lock === "Authorization" ? "authorization" : `triton-grpc-protocol-${lock.toLowerCase()}`;
}

function pythonArray({ datatype, shape, items }) {
  const numpy = NUMPY[datatype] ?? datatype.toLowerCase();
  const write = datatype === "BYTES" ? (item) => `${python(item)}.encode()` : pythonNumber;
  if (!items.length) return `np.empty(${JSON.stringify(shape)}, np.${numpy})`;
  const list = (part) => (Array.isArray(part) ? `[${part.map(list).join(", ")}]` : write(part));
  return shape.length ? `np.array(${list(nest(items, shape))}, ${typeOf(numpy)})` : `np.array(${write(items[0])}, ${typeOf(numpy)})`;
}

const typeOf = (numpy) => (numpy === "object" || numpy === "bool" ? numpy : `np.${numpy}`);

function pythonNumber(item) {
  return { true: "True", false: "False", NaN: "np.nan", Infinity: "np.inf", "-Infinity": "-np.inf" }[item] ?? item;
}

function pythonHandler(call, where, address) {
  const key = pythonKey(where);
  const headers = `{"Content-Type": ${python(call.sent.type)}${key ? `, **${key}` : ""}}`;
  const data = call.sent.kind === "File" ? `open(${python(call.sent.file.name)}, "rb")` : `${python(call.sent.text)}.encode()`;
  return [
    ...(key ? ["import os", ""] : []),
    "import requests  # pip install requests",
    "",
    `answer = requests.post(${python(address)}, data=${data}, headers=${headers})`,
    "answer.raise_for_status()",
    "print(answer.text)",
  ].join("\n");
}

function grpcHandler(call, where) {
  const { sent } = call;
  const input = { name: "data", datatype: "BYTES", shape: [1] };
  const filled = sent.kind === "File" ? { ...input, files: [sent.file], file: sent.file } : { ...input, items: [sent.text] };
  const note = "# A handler gets tensors as JSON of the Open Inference Protocol; the stock ones take one tensor.";
  return `${note}\n${pythonTensors({ ...call, inputs: [filled], classes: [] }, where, "grpc")}`;
}

// A text as one word of a POSIX shell.
export function shell(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

// A text as a literal of Python, which reads JSON's escapes as JSON does.
export function python(text) {
  return JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
