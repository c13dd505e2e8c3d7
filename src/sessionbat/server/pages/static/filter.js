// The filter hides what does not hold every word typed; what is typed stays in the address.

export function startFilter() {
  const field = document.querySelector("[data-filter]");
  if (!field) return;
  field.value = new URLSearchParams(location.search).get("filter") ?? "";
  field.addEventListener("input", () => {
    apply(field.value);
    remember(field.value);
  });
  if (field.value) apply(field.value);
}

function apply(typed) {
  const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const item of document.querySelectorAll("[data-item]")) {
    const text = words.length ? item.textContent.toLowerCase() : "";
    item.hidden = !words.every((word) => text.includes(word));
    shown += item.hidden ? 0 : 1;
  }
  for (const group of document.querySelectorAll("[data-group]")) {
    group.hidden = words.length > 0 && !group.querySelector("[data-item]:not([hidden])");
  }
  const nothing = document.querySelector("[data-nothing]");
  if (nothing) nothing.hidden = shown > 0 || !words.length;
}

function remember(typed) {
  const address = new URL(location.href);
  if (typed) address.searchParams.set("filter", typed);
  else address.searchParams.delete("filter");
  history.replaceState(history.state, "", address);
}
