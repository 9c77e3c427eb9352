// Numbers as people read them. Durations come in seconds, sizes in bytes, times in seconds since 1970.

export function seconds(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (value === 0) return "0 ms";
  if (value < 0.001) return `${digits(value * 1e6)} µs`;
  if (value < 1) return `${digits(value * 1e3)} ms`;
  return `${digits(value)} s`;
}

export function bytes(value) {
  if (value === null || value === undefined) return "–";
  if (value < 1024) return `${value} B`;
  const units = ["KiB", "MiB", "GiB", "TiB"];
  let size = value / 1024;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${digits(size)} ${units[unit]}`;
}

export function rate(value) {
  return value === null || value === undefined ? "–" : `${digits(value)}/s`;
}

export function count(value) {
  return value === null || value === undefined ? "–" : value.toLocaleString("en");
}

// Three significant digits, and whole numbers beyond them.
export function digits(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return Math.round(value).toLocaleString("en");
  if (size >= 10) return String(Math.round(value * 10) / 10);
  if (size >= 0.01) return String(Math.round(value * 100) / 100);
  return value.toPrecision(2);
}

export function percent(part) {
  return `${digits(part * 100)} %`;
}

// How far back, to the second in the first minutes.
export function back(past) {
  const whole = Math.round(past);
  if (whole < 60) return `${whole} s ago`;
  return `${Math.floor(whole / 60)} min${whole % 60 ? ` ${whole % 60} s` : ""} ago`;
}

export function clock(time) {
  return new Date(time * 1000).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "medium" });
}

// A shape, with a question mark for any size.
export function shape(dimensions) {
  return `[${dimensions.map((size) => (size < 0 ? "?" : size)).join(", ")}]`;
}
