// Steps open and close: all at once, and the one that the address points to.

export function startToggle() {
  document.querySelector("[data-toggle-all]")?.addEventListener("click", toggleAll);
}

export function toggleAll() {
  const steps = [...document.querySelectorAll("details[data-item]")];
  const open = steps.some((step) => !step.open);
  for (const step of steps) step.open = open;
  const button = document.querySelector("[data-toggle-all]");
  if (button) button.textContent = open ? "Close all" : "Open all";
}

// Browsers open a closed <details> for a fragment inside it, but not all of them do.
export function openTarget() {
  const open = () => {
    const target = document.getElementById(fragment());
    const step = target?.closest("details[data-item]");
    if (!step) return;
    step.open = true;
    step.scrollIntoView({ block: "start" });
    step.querySelector("[data-stop]").focus({ preventScroll: true });
  };
  addEventListener("hashchange", open);
  open();
}

function fragment() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return location.hash.slice(1);
  }
}
