// The page: which view is shown, what is asked of the server and when, the theme, the key.

import { keys, setKey } from "./api.js";
import { openDialog } from "./actions.js";
import { announce, field, h, say } from "./dom.js";
import { logView } from "./log.js";
import { modelView } from "./model.js";
import { overview } from "./overview.js";
import { Poll } from "./poll.js";
import { Server } from "./server.js";

const main = document.getElementById("main");
const state = document.getElementById("state");
const trouble = document.getElementById("trouble");
const logLink = document.getElementById("log-link");

const app = {
  server: new Server(),
  inferenceLock: null, // the header that inference wants a key in
  refresh: () => poll.now(),
  askForKey,
  hideLog: () => (logLink.hidden = true),
};
const poll = new Poll(look, lost);
let view = null;
let asking = false;

// Once every two seconds.
async function look() {
  await app.server.refresh();
  const { stats } = app.server;
  trouble.hidden = true;
  say(state, stats.ready ? "ready" : "not ready");
  state.dataset.state = stats.ready ? "good" : "busy";
  say(document.getElementById("version"), stats.version);
  logLink.hidden = !app.server.offers("predictions");
  if (app.server.lock && !(app.server.lock in keys())) say(document.getElementById("key"), "Enter key");
  view.update();
}

function lost(error, wait) {
  if (error.lock) {
    askForKey(error.lock, error.message);
    return;
  }
  const why = error instanceof TypeError ? "The server doesn't answer" : error.message;
  say(trouble, `${why}. What is shown is old; the next try is in ${wait / 1000} seconds.`);
  trouble.hidden = false;
  say(state, "no answer");
  state.dataset.state = "bad";
}

// #/ · #/models/NAME[/PART] · #/log
function route() {
  const [kind, name, part = ""] = location.hash.replace(/^#\/?/, "").split("/").map(decodeURIComponent);
  const first = view === null;
  view = kind === "models" && name ? modelView(app, name, part) : kind === "log" ? logView(app) : overview(app);
  main.replaceChildren(view.node);
  document.title = view.title === "Models" ? "Dragoman" : `${view.title} · Dragoman`;
  for (const link of document.querySelectorAll("#views a")) {
    const here = link.getAttribute("href") === (kind === "log" ? "#/log" : "#/");
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (app.server.stats) view.update();
  if (!first) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
    announce(document.title);
  }
}

// A key that stays in this tab. `lock` is the header that the server wants it in.
function askForKey(lock, words = "") {
  if (asking) return;
  asking = true;
  const secret = h("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  openDialog({
    title: "The server asks for a key",
    about: words || (lock === "Authorization" ? "It is sent as a bearer's token with every call of this page." : `It is sent in the header ${lock} with every call of this page.`),
    content: [field("Key", secret, "kept in this tab only, until it is closed; an empty one forgets it")],
    confirm: "Use it",
    async submit() {
      setKey(lock, secret.value.trim());
      asking = false;
      say(document.getElementById("key"), "Key");
      app.refresh();
    },
    cancelled: () => (asking = false),
  });
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("dragoman-theme", root.dataset.theme);
  announce(`${root.dataset.theme} theme`);
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
document.getElementById("theme").addEventListener("click", changeTheme);
document.getElementById("key").addEventListener("click", () => askForKey(app.server.lock ?? app.inferenceLock ?? "Authorization"));
addEventListener("hashchange", route);
route();
poll.now();
