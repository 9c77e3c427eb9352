// Elements out of names, attributes and children. Text is only ever text: nothing here parses markup.

const SVG = "http://www.w3.org/2000/svg";

// h("a", {href: "#/", class: "quiet", on: {click}}, "text", node, null): null and false children are left out.
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

// The same for what is drawn.
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") for (const [event, handler] of Object.entries(value)) node.addEventListener(event, handler);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

// Sets a text only where it differs, so that nothing is announced, selected or drawn again for nothing.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps one child of `parent` for each item, in order: those that stay are updated where they are, and keep the focus.
// `make(item)` gives {node, update(item)}.
export function keep(parent, items, keyOf, make) {
  const kept = (parent.keptChildren ??= new Map());
  const wanted = new Map(items.map((item) => [keyOf(item), item]));
  for (const [key, child] of kept) {
    if (!wanted.has(key)) {
      child.node.remove();
      kept.delete(key);
    }
  }
  let place = parent.firstChild;
  for (const [key, item] of wanted) {
    if (!kept.has(key)) kept.set(key, make(item));
    const child = kept.get(key);
    if (child.node === place) place = place.nextSibling;
    else parent.insertBefore(child.node, place);
    child.update(item);
  }
}

let numbers = 0;

// An id for a label and what it labels.
export function newId() {
  numbers += 1;
  return `id-${numbers}`;
}

// A label over a control, with an optional hint under it.
export function field(label, control, hint = "") {
  control.id ||= newId();
  const note = hint && h("small", { id: `${control.id}-hint` }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, label), control, note || null);
}

// Says something to who can't see the page change.
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}
