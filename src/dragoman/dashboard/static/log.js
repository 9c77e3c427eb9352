// Predictions that the server has kept, newest first, with a search. Only there where the server keeps any.

import { get } from "./api.js";
import { field, h, say } from "./dom.js";
import { clock, seconds } from "./format.js";

const PAGE = 50;

export function logView(app) {
  const query = h("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const rows = h("tbody", {});
  const more = h("button", { type: "button", class: "quiet", hidden: true }, "Older ones");
  const state = h("p", { class: "soft", role: "status" });
  const problem = h("p", { class: "trouble", role: "alert", hidden: true });
  const heads = ["When", "Model", "Outcome", "Took", "Request", "Answer"].map((text) => h("th", { scope: "col" }, text));
  const form = h("form", { role: "search", class: "row" }, field("Search", query, "in models, ids, requests and answers"), h("button", { type: "submit", class: "primary" }, "Search"));
  let next = "";

  async function ask(fresh) {
    problem.hidden = true;
    const wanted = new URLSearchParams({ query: query.value, limit: String(PAGE) });
    if (!fresh && next) wanted.set("before", next);
    try {
      const page = await get(`log/predictions?${wanted}`);
      if (fresh) rows.replaceChildren();
      rows.append(...page.predictions.map(showPrediction));
      next = page.next ?? "";
      more.hidden = !next;
      say(state, rows.childElementCount ? `${rows.childElementCount} shown${next ? ", there are more" : ""}` : "none found");
    } catch (error) {
      if (error.status === 404) app.hideLog();
      if (error.lock) app.askForKey(error.lock, error.message);
      say(problem, error.message);
      problem.hidden = false;
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    ask(true);
  });
  more.addEventListener("click", () => ask(false));
  ask(true);
  const node = h("div", {}, h("h1", {}, "Predictions"), form, problem, state, h("div", { class: "panel scroll", tabindex: "0", role: "group", "aria-label": "predictions" }, h("table", { class: "log" }, h("thead", {}, h("tr", {}, heads)), rows)), more);
  return { node, title: "Predictions", update() {} };
}

function showPrediction(each) {
  const words = (value) => (typeof value === "string" ? value : JSON.stringify(value) ?? "");
  return h(
    "tr",
    {},
    h("td", {}, h("time", { datetime: new Date(each.time * 1000).toISOString() }, clock(each.time)), h("small", {}, ` ${each.id}`)),
    h("td", {}, h("b", {}, each.model), ` ${each.version}`),
    h("td", {}, each.code, h("small", {}, ` ${each.dialect}`)),
    h("td", {}, seconds(each.seconds)),
    h("td", {}, h("code", {}, words(each.request))),
    h("td", {}, h("code", {}, words(each.response))),
  );
}
