// A button beside whatever somebody may want to paste elsewhere.

export function addCopyButtons() {
  if (!navigator.clipboard) return;
  for (const source of document.querySelectorAll("[data-copy-from]")) {
    const text = source.textContent.trim();
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      setTimeout(() => (button.textContent = "Copy"), 1500);
    });
    source.append(button);
  }
}
