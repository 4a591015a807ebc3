// Bulk: what the form says is previewed at once, and a range can be dragged over the histogram.
"use strict";
(() => {
  const { user, find, all, ask, answered, heard, pause } = desk;
  const range = find("#range"), preview = find("#preview");
  if (!range) return;
  const low = find("#b-low"), high = find("#b-high");
  let asked = 0, stale = false; // stale: the bars are of another filter than the form

  function paint() {
    const from = Number(low.value), to = high.value === "" ? 1 : Number(high.value);
    for (const column of all("#histogram .column")) {
      const middle = (Number(column.dataset.low) + Number(column.dataset.high)) / 2;
      column.classList.toggle("in", middle >= from && middle <= to);
    }
  }

  function tell(words) {
    if (preview.textContent === words) return;
    const section = document.createElement("section"), text = document.createElement("p");
    section.className = "sheet";
    text.className = "flash bad";
    text.textContent = words;
    section.append(text);
    preview.replaceChildren(section);
  }

  function show(data) {
    preview.innerHTML = data.preview;
    if (data.histogram) find("#bars").outerHTML = data.histogram;
    stale = false;
  }

  async function look() {
    const mine = ++asked;
    for (const button of all("button", preview)) button.disabled = true; // what they say is not true any more
    find("#bars").classList.toggle("stale", stale);
    await new Promise((go) => setTimeout(go, 200)); // more may be typed
    for (let wait = 1000; mine === asked; wait = Math.min(wait * 2, 30000)) {
      const query = new URLSearchParams(new FormData(range));
      if (range.checkValidity()) history.replaceState(null, "", `/bulk?${query}`); // loaded anew, the page shows the same
      const more = new URLSearchParams({ user, ...(stale && { bars: "yes" }) });
      const answer = await ask(`/bulk/preview?${query}&${more}`).catch(() => null);
      if (mine !== asked) return;
      if (answered(answer)) {
        if (answer.ok) show(answer.data);
        else tell(answer.data.error || `Error ${answer.status}`);
        return;
      }
      tell(heard.trouble === "out" ? "You are signed out. Sign in again to see what this takes in." : "The queue does not answer. It is asked again until it does.");
      await pause(wait);
    }
  }

  range.addEventListener("input", ({ target }) => {
    if (target === low || target === high) paint();
    else stale = true;
    look();
  });

  // The bars are exchanged with their filter, so what is around them listens.
  const around = find("#bars").parentElement;
  let from = null;

  function share(event) {
    const box = find("#histogram").getBoundingClientRect();
    return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
  }

  function drag(event) {
    const to = share(event), ends = [Math.min(from, to), Math.max(from, to)];
    low.value = (Math.floor(ends[0] * 20) / 20).toFixed(2);
    high.value = (Math.ceil(Math.max(ends[1], ends[0] + 0.001) * 20) / 20).toFixed(2);
    paint();
  }

  around.addEventListener("pointerdown", (event) => {
    const bars = event.target.closest("#histogram");
    if (!bars || stale) return;
    asked += 1; // no answer exchanges the bars under the pointer
    from = share(event);
    bars.setPointerCapture(event.pointerId);
    drag(event);
  });
  around.addEventListener("pointermove", (event) => { if (from !== null) drag(event); });
  for (const end of ["pointerup", "pointercancel"]) around.addEventListener(end, () => { if (from !== null) { from = null; look(); } });
})();
