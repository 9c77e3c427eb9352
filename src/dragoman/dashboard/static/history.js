// What the last minutes were like, out of counters that only grow: rates, percentiles, gauges. Knows no element.

const KEPT = 150; // snapshots: five minutes
const SMOOTH = 5; // snapshots that a percentile looks back
const MISTAKES = new Set(["invalid_input", "not_found", "conflict", "too_large", "unsupported", "cancelled"]);

// By whom a request ended: "ok", "mistake" (the client's) or "failure" (the server's or the model's).
export function outcomeOf(code) {
  return code === "ok" ? "ok" : MISTAKES.has(code) ? "mistake" : "failure";
}

export class History {
  #snapshots = [];

  // Takes in a /stats document. A server that has started again begins a new history.
  add(stats) {
    const last = this.#snapshots.at(-1);
    if (last && (last.started !== stats.started || stats.time <= last.time)) this.#snapshots = [];
    this.#snapshots.push(stats);
    if (this.#snapshots.length > KEPT) this.#snapshots.shift();
  }

  get times() {
    return this.#snapshots.slice(1).map((snapshot) => snapshot.time);
  }

  get bounds() {
    return this.#snapshots.at(-1)?.bounds ?? { seconds: [], rows: [] };
  }

  // Series over time of what `select(line of a model)` chooses: each a list as long as `times`.
  read(select = () => true) {
    const totals = this.#snapshots.map((snapshot) => sum(snapshot, select));
    const rates = { ok: [], mistake: [], failure: [] };
    const percentiles = { p50: [], p95: [], p99: [] };
    for (let place = 1; place < totals.length; place += 1) {
      const elapsed = this.#snapshots[place].time - this.#snapshots[place - 1].time;
      for (const kind of Object.keys(rates)) {
        rates[kind].push(Math.max(0, totals[place].outcomes[kind] - totals[place - 1].outcomes[kind]) / elapsed);
      }
      const since = totals[Math.max(0, place - SMOOTH)];
      const counts = minus(totals[place].total, since.total);
      for (const [name, part] of [["p50", 0.5], ["p95", 0.95], ["p99", 0.99]]) {
        percentiles[name].push(percentile(counts, this.bounds.seconds, part));
      }
    }
    const rest = totals.slice(1);
    return {
      rates,
      percentiles,
      waiting: rest.map((total) => total.waiting),
      running: rest.map((total) => total.running),
      memory: rest.map((total) => total.memory),
      batches: totals.length > 1 ? minus(totals.at(-1).batch, totals[0].batch) : [],
      answered: totals.at(-1)?.outcomes ?? { ok: 0, mistake: 0, failure: 0 },
    };
  }
}

function sum(snapshot, select) {
  const total = { outcomes: { ok: 0, mistake: 0, failure: 0 }, total: [], batch: [], waiting: 0, running: 0, memory: null };
  for (const model of snapshot.models.filter(select)) {
    for (const codes of Object.values(model.answers)) {
      for (const [code, number] of Object.entries(codes)) total.outcomes[outcomeOf(code)] += number;
    }
    total.total = plus(total.total, model.total.counts);
    total.batch = plus(total.batch, model.batch.counts);
    total.waiting += model.waiting;
    total.running += model.running;
    if (model.memory_bytes !== undefined) total.memory = (total.memory ?? 0) + model.memory_bytes;
  }
  return total;
}

function plus(first, second) {
  return second.map((number, place) => number + (first[place] ?? 0));
}

function minus(now, before) {
  return now.map((number, place) => Math.max(0, number - (before[place] ?? 0)));
}

// Where a part of the observations lies, in a straight line through the bucket; null without observations. What is
// beyond the last bound counts as the last bound.
export function percentile(counts, bounds, part) {
  const all = counts.reduce((first, second) => first + second, 0);
  if (!all) return null;
  const wanted = all * part;
  let seen = 0;
  for (let place = 0; place < bounds.length; place += 1) {
    if (counts[place] && seen + counts[place] >= wanted) {
      const from = place ? bounds[place - 1] : 0;
      return from + ((bounds[place] - from) * (wanted - seen)) / counts[place];
    }
    seen += counts[place];
  }
  return bounds.at(-1) ?? null;
}
