// What JavaScript adds to a page that works without it: keys, a filter, copying, waiting.
import { addCopyButtons } from "./copying.js";
import { startFilter } from "./filter.js";
import { listenToKeys } from "./keys.js";
import { openTarget, startToggle } from "./opening.js";
import { waitForSessions } from "./waiting.js";

for (const element of document.querySelectorAll("[data-script]")) element.hidden = false;
for (const form of document.querySelectorAll("[data-submit-on-change]")) {
  form.addEventListener("change", () => form.requestSubmit());
  form.querySelector("button").hidden = true;
}
addCopyButtons();
startFilter();
startToggle();
listenToKeys();
openTarget();
waitForSessions();
