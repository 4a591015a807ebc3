// The reminder of a break.
"use strict";
(() => {
  const { find, ask } = desk, body = document.body;
  const rest = find("#break");
  if (rest && body.dataset.break) {
    const after = Number(rest.dataset.after) * 60000;
    const due = () => {
      const over = Date.now() - new Date(body.dataset.break);
      if (over < 0) return;
      find("[data-worked]", rest).textContent = Math.floor((over + after) / 60000);
      rest.hidden = false;
    };
    setInterval(due, 30000);
    find("form", rest).addEventListener("submit", async (event) => {
      event.preventDefault();
      await ask("/rest", { back: location.pathname }).catch(() => {});
      rest.hidden = true;
      body.dataset.break = new Date(Date.now() + after).toISOString();
    });
  }
})();
