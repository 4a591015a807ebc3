// Bulk: drag a range over the histogram.
"use strict";
(() => {
  const { find, all } = desk;
  const histogram = find("#histogram"), range = find("#range");
  if (histogram && range) {
    const low = find("#b-low"), high = find("#b-high"), columns = all(".column", histogram);
    let from = null, later = null;
    const share = (event) => {
      const box = histogram.getBoundingClientRect();
      return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
    };
    const paint = () => {
      const a = Number(low.value), b = Number(high.value);
      for (const column of columns) {
        const middle = (Number(column.dataset.low) + Number(column.dataset.high)) / 2;
        column.classList.toggle("in", middle >= a && middle <= b);
      }
    };
    let asked = 0;
    const look = () => {
      clearTimeout(later);
      for (const button of all("#preview button")) button.disabled = true; // what they say is not true any more
      later = setTimeout(async () => {
        const mine = ++asked;
        const response = await fetch(`/bulk/preview?${new URLSearchParams(new FormData(range))}`, { cache: "no-store" }).catch(() => null);
        if (!response || !response.ok || mine !== asked) return;
        find("#preview").innerHTML = await response.text();
      }, 200);
    };
    const drag = (event) => {
      const to = share(event), ends = [Math.min(from, to), Math.max(from, to)];
      low.value = (Math.floor(ends[0] * 20) / 20).toFixed(2);
      high.value = (Math.ceil(Math.max(ends[1], ends[0] + 0.001) * 20) / 20).toFixed(2);
      paint();
    };
    histogram.addEventListener("pointerdown", (event) => { from = share(event); histogram.setPointerCapture(event.pointerId); drag(event); });
    histogram.addEventListener("pointermove", (event) => { if (from !== null) drag(event); });
    histogram.addEventListener("pointerup", () => { if (from !== null) { from = null; look(); } });
    for (const input of [low, high]) input.addEventListener("input", () => { paint(); look(); });
  }
})();
