// What makes the console's pages quicker to use. Every page works without it: it sends
// nothing, decides nothing and keeps nothing.
"use strict";

// A form is sent once: whoever clicks twice, or presses Enter twice, sends no second.
// The server takes a form twice for one anyway. Pages that come back by Back can send
// again.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  if (form.method === "post") form.dataset.sent = "yes";
});
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
