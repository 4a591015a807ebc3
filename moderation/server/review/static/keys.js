// The keys of the pages, and the help that names them.
"use strict";
(() => {
  const { page, find, all, say, toast } = desk, { soon, forward, backward, undoLast, nextLabel, active } = review;
  const stage = find("#stage");

  function menu(name) {
    const found = find(`.card details[data-menu="${name}"]`);
    if (!found || found.closest("[hidden]")) return;
    found.open = true;
    (find("textarea[required]", found) || find("button", found)).focus();
  }

  function press(act, event) {
    if (soon(event)) return;
    const form = find(`.card form[data-act="${act}"]`);
    if (form && !form.closest("[hidden]")) form.requestSubmit(find("button", form));
  }

  function reveal() {
    const card = find(".card"), box = find(".reveal", document.activeElement.closest(".row") || card || document.createElement("p"));
    if (!box) return card || !find(".veiled") ? undefined : toast(`Go to a comment with j or k, then press b: only its text is shown.${every()}`);
    box.checked = !box.checked;
    return say(box.checked ? "The text is shown." : "The text is blurred.");
  }

  const every = () => (find(".reveal-all") ? " Show all, above the list, shows all texts." : "");

  document.addEventListener("change", ({ target }) => {
    if (!target.matches(".reveal-all")) return;
    for (const box of all(".row .reveal", target.parentElement)) box.checked = target.checked;
    say(target.checked ? "All texts are shown." : "The texts are blurred.");
  });

  // A whole bulk act is undone by a second press: a press too many in Work leads to its page, and is not meant for it.
  const SOON = 250, SURE = 8000; // milliseconds before a press counts, and in which the second one does
  let seenAt = Infinity;
  requestAnimationFrame(() => { seenAt = performance.now(); });

  function undo(event) {
    const whole = find("form[data-whole]"), sure = find("#sure");
    if (!whole) return undoLast();
    if (event.timeStamp - seenAt < SOON) return undefined;
    if (!sure.hidden) return undoLast();
    sure.textContent = `Press u again to undo ${whole.dataset.whole}`;
    sure.hidden = false;
    seenAt = performance.now();
    setTimeout(() => { sure.hidden = true; }, SURE);
    return undefined;
  }

  function filter() {
    const filters = find("#filters");
    if (filters) filters.open = true;
    const words = find("#f-words, #b-words");
    words?.focus();
    words?.select();
  }

  // The focus goes back to the comment: in a field of the filter a key would choose there, without a word.
  function closeFilter() {
    const filters = find("#filters[open]");
    if (!filters) return find("#b-words:focus")?.blur();
    filters.open = false;
    return (stage && find("h2, .empty", stage) || find("summary", filters)).focus({ preventScroll: true });
  }

  function help() {
    find("#help").showModal();
  }

  function step(by) {
    if (page === "work") return by > 0 ? forward() : backward();
    const rows = all(".row-text"), now = rows.findIndex((text) => text.closest(".row").contains(document.activeElement));
    rows[Math.max(0, Math.min(rows.length - 1, now + by))]?.focus();
    return undefined;
  }

  // A thread opens at a comment, and its links lead to others: from there the keys go on.
  function reach() {
    const row = /^#row-\d+$/.test(location.hash) ? location.hash : ".row[aria-current]";
    find(`${row} .row-text`)?.focus();
  }

  if (page === "thread") {
    for (const kind of ["load", "hashchange"]) addEventListener(kind, reach); // the browser has gone there by then
  }

  const KEYS = {
    a: (event) => press("approve", event),
    r: () => menu("reject"),
    e: () => menu("escalate"),
    s: (event) => press("skip", event),
    u: undo,
    j: () => step(1),
    n: () => step(1),
    k: () => step(-1),
    p: () => step(-1),
    b: reveal,
    l: nextLabel,
    "/": filter,
    "?": help,
  };

  let keysOn = true;
  try { keysOn = localStorage.getItem("moderation-keys") !== "off"; } catch { /* as it is */ }
  const keysBox = find("#keys-on");
  if (keysBox) {
    keysBox.checked = keysOn;
    keysBox.addEventListener("change", () => {
      keysOn = keysBox.checked;
      try { localStorage.setItem("moderation-keys", keysOn ? "on" : "off"); } catch { /* for this page only */ }
    });
  }

  document.addEventListener("keydown", (event) => {
    active();
    const opened = find("details.menu[open]");
    if (event.key === "Escape" && !find("dialog[open]")) {
      if (opened) {
        opened.open = false;
        find("summary", opened).focus();
      } else closeFilter();
      return;
    }
    const typing = event.target.closest("textarea, select, input:not(.reveal):not([type=checkbox])");
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && typing) {
      const form = typing.closest('form[data-act="escalate"]');
      if (form) { event.preventDefault(); form.requestSubmit(find("button", form)); }
      return;
    }
    if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat || !keysOn || find("dialog[open]")) return;
    const reason = opened && find(`button[data-key="${CSS.escape(event.key)}"]`, opened);
    if (reason) {
      event.preventDefault();
      if (soon(event)) return;
      reason.form.requestSubmit(reason);
      return;
    }
    const act = !opened && KEYS[event.key];
    if (act) { event.preventDefault(); act(event); }
  });

  document.addEventListener("click", (event) => {
    if (event.defaultPrevented || !event.target.closest("[data-help]")) return;
    event.preventDefault();
    help();
  });
})();
