// Crash reports: why a worker died, what it had in hand, its last words.

import { h } from "./dom.js";
import { bytes, clock } from "./format.js";

export function showCrashes(reports) {
  if (!reports.length) return [h("p", { class: "soft" }, "None of its processes has died.")];
  return reports.map((report) =>
    h(
      "article",
      { class: "panel crash" },
      h("h2", {}, report.cause),
      h(
        "dl",
        { class: "facts" },
        [
          ["when", clock(report.time)],
          ["version", `${report.version}, instance ${report.instance}`],
          ["reason", report.reason],
          ["memory", report.rss_bytes ? bytes(report.rss_bytes) : "–"],
          ["requests it took with it", report.requests.join(", ") || "none"],
          ["report", report.id],
        ].map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))),
      ),
      report.output.length ? h("details", { open: true }, h("summary", {}, `Its last ${report.output.length === 1 ? "line" : `${report.output.length} lines`}`), h("pre", { tabindex: "0" }, report.output.join("\n"))) : h("p", { class: "soft" }, "It has printed nothing."),
    ),
  );
}
