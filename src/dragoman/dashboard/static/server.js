// What the server serves now: its numbers, its models and their versions, put together from the public APIs.

import { call, get, path } from "./api.js";
import { History } from "./history.js";

export class Server {
  history = new History();
  stats = null; // the newest /stats document
  models = []; // as GET /management/models has them; `traffic` and `instances` are null where management is closed
  lock = null; // the header that management wants a key in
  crashes = [];
  #exits = -1;
  #signatures = new Map();

  // Asks anew. Throws Refused, or TypeError when there is no answer at all.
  async refresh() {
    const stats = await get("stats");
    this.stats = stats;
    this.history.add(stats);
    this.models = await this.#list();
    await this.#lookForCrashes();
  }

  get manages() {
    return this.stats?.offers.includes("management") ?? false;
  }

  offers(word) {
    return this.stats?.offers.includes(word) ?? false;
  }

  model(name) {
    return this.models.find((model) => model.name === name) ?? null;
  }

  // The inputs and outputs of a version, with what Triton's configuration says beside them: `optional`, `labels`.
  async signature(name, version) {
    const key = `${name}\n${version}`;
    if (!this.#signatures.has(key)) this.#signatures.set(key, await describe(name, version));
    return this.#signatures.get(key);
  }

  // What was known of signatures may have changed.
  forget() {
    this.#signatures.clear();
  }

  async #list() {
    this.lock = null;
    if (this.manages) {
      try {
        return (await get("management/models")).models;
      } catch (error) {
        if (!error.lock) throw error;
        this.lock = error.lock;
      }
    }
    return group(await call("POST", "v2/repository/index", {}));
  }

  // Only when a process has ended: reports change with nothing else.
  async #lookForCrashes() {
    const exits = this.stats.models.flatMap((model) => Object.values(model.exits));
    const all = exits.reduce((first, second) => first + second, 0);
    if (all === this.#exits) return;
    this.crashes = all ? await get("crashes") : [];
    this.#exits = all;
  }
}

// The repository's index as models with versions, for who may not manage them.
function group(lines) {
  const models = new Map();
  for (const { name, version = "", state = "UNAVAILABLE", reason = "" } of lines) {
    if (!models.has(name)) models.set(name, { name, default: "", traffic: null, versions: [] });
    const model = models.get(name);
    model.versions.push({ name, version, state, reason, step: "", runtime: "", instances: null, memory_bytes: null });
    if (state === "READY") model.default = version; // the newest one, unless somebody has chosen
  }
  return [...models.values()];
}

async function describe(name, version) {
  const place = `v2/models/${path(name)}${version ? `/versions/${path(version)}` : ""}`;
  const metadata = await get(place);
  const config = await get(`${place}/config`).catch(() => ({ input: [], output: [] }));
  const about = (part, spec) => config[part].find((each) => each.name === spec.name) ?? {};
  return {
    platform: metadata.platform,
    inputs: metadata.inputs.map((spec) => ({ ...spec, optional: about("input", spec).optional ?? false })),
    outputs: metadata.outputs.map((spec) => ({ ...spec, labels: Boolean(about("output", spec).label_filename) })),
  };
}
