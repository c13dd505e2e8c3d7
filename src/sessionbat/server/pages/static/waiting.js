// The empty page asks every two seconds whether anything has arrived, and becomes the list.

export function waitForSessions() {
  const address = document.querySelector("[data-waiting]")?.dataset.waiting;
  if (!address) return;
  setInterval(async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch(address);
      if ((await answer.json()).items.length) location.reload();
    } catch {
      // The server is away for a moment; the next try tells.
    }
  }, 2000);
}
