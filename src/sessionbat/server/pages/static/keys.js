// Keys: j and k walk the rows, e the errors; Enter is the browser's own, since rows are links or
// summaries. Nothing happens while somebody types or holds a modifier.
import { toggleAll } from "./opening.js";

export function listenToKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (isTyping(event.target)) {
      if (event.key === "Escape") event.target.blur();
      if (event.key === "Enter" && event.target.matches("[data-filter]")) walk("[data-item]", 1);
      return;
    }
    const action = actions[event.key];
    if (action && !document.querySelector("dialog[open]")) {
      event.preventDefault();
      action();
    }
  });
}

const actions = {
  j: () => walk("[data-item]", 1),
  k: () => walk("[data-item]", -1),
  e: () => walk("[data-item][data-error]", 1, true),
  o: toggleAll,
  u: () => document.querySelector("[data-up]")?.click(),
  "/": () => focusFilter(),
  "?": () => document.querySelector("[data-help]").showModal(),
};

function isTyping(target) {
  return target.matches("input, textarea, select, [contenteditable]");
}

function focusFilter() {
  const filter = document.querySelector("[data-filter]");
  filter?.focus();
  filter?.select();
}

function walk(selector, step, wrap = false) {
  const rows = [...document.querySelectorAll(selector)].filter((row) => row.offsetParent !== null);
  if (!rows.length) return;
  const next = neighbour(rows, step) ?? (wrap ? rows[0] : null);
  const stop = next?.querySelector("[data-stop]");
  stop?.focus({ preventScroll: true });
  stop?.scrollIntoView({ block: "nearest" });
}

// The row after (or before) the focus in the document, whether or not the focus is in a row.
function neighbour(rows, step) {
  const here = document.activeElement?.closest("[data-item]") ?? document.activeElement;
  if (!here || here === document.body) return step > 0 ? rows[0] : rows.at(-1);
  const wanted = step > 0 ? Node.DOCUMENT_POSITION_FOLLOWING : Node.DOCUMENT_POSITION_PRECEDING;
  const order = step > 0 ? rows : rows.toReversed();
  return order.find((row) => {
    const position = here.compareDocumentPosition(row);
    return position & wanted && !(position & Node.DOCUMENT_POSITION_CONTAINS);
  });
}
