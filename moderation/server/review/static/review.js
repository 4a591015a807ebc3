// The pages work without this file. With it: the next comment before it is asked for, undo, live counts.
"use strict";
const review = (() => {
  const { page, user, find, all, ask, heard, say, toast, notice, over, live } = desk, body = document.body;
  const stage = find("#stage");
  document.documentElement.classList.add("js");

  // What the page asks for by itself

  async function look(url, fields) {
    const { ok, data } = await ask(url, fields).catch(() => ({}));
    if (ok) live(data);
    vacant();
    return ok ? data : null;
  }

  function vacant() {
    const box = stage && find(".empty", stage);
    if (!box || page !== "work") return;
    const fine = find("#empty").content.firstElementChild.cloneNode(true), others = find("[data-others]", fine);
    if (others && heard.waiting !== null) {
      others.hidden = heard.waiting <= flying.size;
      find("[data-none]", fine).hidden = !others.hidden;
    }
    const words = {
      out: ["You are signed out", "Sign in again to get comments."],
      silent: ["The queue does not answer", "It is asked again every few seconds."],
    }[heard.trouble] || coming();
    if (words) [find("h2", fine).textContent, find("p", fine).textContent] = words;
    if (fine.innerHTML === box.innerHTML) return;
    box.innerHTML = fine.innerHTML;
    say(find("h2", box).textContent);
  }

  function coming() {
    if (eager) return ["The next comment is on its way", "It appears here by itself."];
    if (flying.size && mine().length >= MOST) return ["Your decisions are on their way", "The next comment comes when the queue has them."];
    return open().length ? ["Nothing else is waiting", "What you passed is still open with you: press k to go back."] : null;
  }

  // Cards: those that were seen, the one that is read, and those ahead

  const cards = [], MOST = 12; // as many as the server lets one moderator have open
  let at = -1, filling = null, eager = false, settled = 0, lastActive = Date.now();
  const current = () => cards[at];
  const open = () => cards.filter((card) => card.state === "open");
  const flying = new Set(); // cards on which something is on its way: the server has not answered yet
  const mine = () => [...open(), ...flying]; // what the server counts as held by this moderator
  const made = []; // what `u` takes back, latest last: decisions of this page, and those that it found
  const undoing = new Set();

  function adopt(element) {
    const card = { ref: element.dataset.ref, element, state: "open" };
    const old = cards.findIndex((one) => one.ref === card.ref); // it came back: edited, or given back by a colleague
    if (old >= 0 && old === at) {
      cards[at] = card;
      show(at);
      return card;
    }
    if (old >= 0) cards.splice(old, 1);
    if (old >= 0 && old < at) at -= 1;
    cards.push(card);
    return card;
  }

  // A second press, or the second click of a double click, is meant for the comment before: nobody has read this one.
  const SOON = 250, DOUBLE = 500; // milliseconds
  let shownAt = -Infinity;
  const soon = (event, time = SOON) => event.timeStamp - shownAt < time;

  function early(click) {
    if (click.detail > 1 && click.target.closest("#stage")) return soon(click, DOUBLE);
    return Boolean(click.target.closest("[data-act]")) && soon(click);
  }

  function show(place) {
    at = place;
    const card = current();
    if (card && stage.firstElementChild !== card.element) shownAt = performance.now();
    eager = Boolean(fill()) && !card;
    if (card) {
      stage.replaceChildren(card.element);
      find("h2", card.element).focus({ preventScroll: true });
      const { author, level, label } = card.element.dataset;
      say([author, level, label].filter(Boolean).join(", "));
      mark(card);
    } else {
      stage.replaceChildren(find("#empty").content.cloneNode(true));
      vacant();
      find(".empty", stage).focus({ preventScroll: true });
      say(find("h2", stage).textContent);
    }
    hint();
    measure();
    scrollTo(0, 0);
  }

  // On a narrow page messages stand above the bar of buttons, which takes more lines where the text is large.
  function measure() {
    const bar = stage && all(".acts:not([hidden])", stage).at(-1);
    document.documentElement.style.setProperty("--bar", `${bar ? bar.offsetHeight : 0}px`);
  }

  function mark(card) {
    card.element.classList.toggle("settled", card.state !== "open");
    for (const acts of all(".acts", card.element)) acts.hidden = card.state !== "open";
    let note = find(".settled-note", card.element);
    if (card.state === "open") { if (note) note.remove(); return; }
    if (!note) {
      note = document.createElement("div");
      note.className = "settled-note acts soft";
      card.element.append(note);
    }
    note.hidden = false;
    const words = document.createElement("p");
    words.textContent = card.state === "gone" ? card.why : `You ${card.state} this comment.${more(card)}`;
    note.replaceChildren(words);
    if (made.includes(card)) note.append(undoButton(card));
    measure();
  }

  function undoButton(card) {
    const button = document.createElement("button");
    button.type = "button";
    button.innerHTML = "Undo <kbd>u</kbd>";
    button.addEventListener("click", () => undo(card));
    return button;
  }

  function more(card) {
    if (card.state === "skipped") return " A skip cannot be undone, but the queue has it still.";
    if (undoing.has(card)) return " It is undone as soon as the queue has answered.";
    return made.includes(card) ? " Press u to undo it." : "";
  }

  // What `u` takes back: the decision on the card that is read, and where there is none the last one
  const target = () => (made.includes(current()) ? current() : made.at(-1));

  function hint() {
    for (const card of made) {
      const key = card.toast && find("kbd", card.toast);
      if (key) key.hidden = card !== target();
    }
  }

  function fill() {
    if (page !== "work" || filling) return filling;
    const ahead = cards.slice(at + 1).filter((card) => card.state === "open").length;
    if (ahead >= 2 && current()) return null;
    const held = mine(), before = settled;
    if (held.length >= MOST) return null;
    const hold = Math.min(held.length + (3 - Math.min(ahead + (current() ? 1 : 0), 2)), MOST);
    const known = held.map((card) => card.ref).join(",");
    filling = look(`/work/cards?${stage.dataset.query}&hold=${hold}&known=${known}&user=${encodeURIComponent(user)}`).then((data) => {
      if (data) take(data.cards);
    }).catch(() => {}).finally(() => {
      filling = null;
      // What settled meanwhile, the server may have left out as known to this page.
      eager = Boolean(!current() && settled !== before && fill());
      vacant();
    });
    return filling;
  }

  function take(found) {
    const none = !current(); // asked before cards are adopted: one of them takes the place that is open
    for (const { ref, html } of found) {
      if (mine().some((card) => card.ref === String(ref))) continue;
      const holder = document.createElement("template");
      holder.innerHTML = html;
      adopt(find(".card", holder.content));
    }
    if (none && current()) show(at);
    else if (none && cards.at(-1)?.state === "open") show(cards.findIndex((card) => card.state === "open"));
  }

  function next() {
    let place = cards.findIndex((card, n) => n > at && card.state === "open");
    if (place < 0) place = cards.findIndex((card) => card.state === "open"); // one that was passed
    if (place >= 0) return show(place);
    at = cards.length;
    return show(at);
  }

  function forward() {
    if (open().length >= 11) return toast("You have many comments open. Decide on some, or skip them.");
    if (at + 1 < cards.length) return show(at + 1);
    if (current()) { at = cards.length; show(at); }
    return undefined;
  }

  function backward() {
    if (at > 0) show(at - 1);
  }

  const DONE = { approve: "approved", reject: "rejected", escalate: "escalated", skip: "skipped" };

  function decide(act, form, extra = {}) {
    const card = current();
    if (!card || card.state !== "open") return;
    const fields = { ...Object.fromEntries(new FormData(form)), ...extra };
    delete fields.csrf; delete fields.key; delete fields.back;
    card.state = DONE[act];
    for (const menu of all("details.menu", card.element)) menu.open = false;
    find("#flash")?.replaceChildren(); // the undo that it offers is not that of the last decision any more
    if (act !== "skip") made.push(card);
    fly(card, sending.keep(form.getAttribute("action"), fields, { ref: card.ref, act }));
    if (page === "work") next();
    else mark(card);
  }

  function fly(card, entry) {
    card.entry = entry;
    flying.add(card);
    card.sending = sending.deliver(entry).then((answer) => {
      settle(card);
      land(card, entry.act, answer);
      vacant();
      if (!current()) fill();
    });
  }

  function settle(card) {
    flying.delete(card);
    settled += 1;
  }

  function land(card, act, { ok, status, data }) {
    if (!ok) {
      card.state = status === 400 ? "open" : "gone";
      card.why = data.error || `Error ${status}`;
      forget(card);
      toast(`Comment #${card.ref} was not ${DONE[act]}: ${card.why}.`, { bad: true, href: `/comments/${card.ref}` });
      if (card === current()) mark(card);
      return;
    }
    live(data);
    if (find("[data-live=fitting]")) poll();
    card.decision = data.decision;
    forget(made.find((one) => one !== card && one.decision && one.decision === card.decision)); // the server had it already
    if (undoing.has(card)) return;
    if (page !== "work" && card.element) {
      location.assign(act === "skip" ? "/work" : `/comments/${card.ref}?done=${data.decision}`);
      return;
    }
    if (act === "skip") { toast(`You skipped #${card.ref}.`, { href: `/comments/${card.ref}` }); return; }
    const sampled = data.sampled ? " It came from the random sample: the policy had let it through." : "";
    card.toast = toast(`You ${DONE[act]} #${card.ref}.${sampled}`, { action: () => undo(card), label: "Undo <kbd>u</kbd>", seconds: sampled ? 14 : 8 });
    hint();
  }

  function forget(card) {
    if (!made.includes(card)) return;
    made.splice(made.indexOf(card), 1);
    if (card === current()) mark(card);
    hint();
  }

  function undoLast() {
    const button = find("[data-undo] button"); // the page says what it would undo
    if (button) {
      if (!button.disabled) button.form.requestSubmit(button);
      button.disabled = true;
      return undefined;
    }
    const card = target();
    if (undoing.size && !(card && card === current())) return waits([...undoing].at(-1));
    if (!card) return toast("There is nothing to undo here. Your earlier decisions stand under My decisions.");
    return card.bulk ? location.assign(`/bulk?made=${card.bulk}`) : undo(card);
  }

  function waits(card) {
    const words = `Your decision on #${card.ref} is undone as soon as the queue has answered.`;
    notice("undo", words);
    say(words);
  }

  async function undo(card) {
    if (undoing.has(card)) { waits(card); return; }
    undoing.add(card);
    forget(card);
    card.toast?.remove();
    if (flying.has(card)) sending.undoToo(card.entry);
    const late = setTimeout(() => waits(card), 400);
    await card.sending;
    if (card.decision) await takeBack(card);
    clearTimeout(late);
    undoing.delete(card);
    if (card === current()) mark(card); // it may stand as it was
    if (!undoing.size) over("undo");
  }

  async function takeBack(card) {
    flying.add(card);
    const entry = sending.keep(`/decisions/${card.decision}/undo`, {}, { ref: card.ref, act: "undo" });
    const answer = await sending.deliver(entry);
    settle(card);
    card.decision = null;
    await undone(card, answer);
  }

  async function undone(card, { ok, status, data }) {
    if (!ok) return toast(`Not undone: ${data.error || `Error ${status}`}.`, { bad: true });
    live(data);
    const words = `Undone. #${card.ref} is open again.`, where = `/comments/${card.ref}`;
    if (card.before) return toast(words, { href: where }); // the moderator is at something else by now
    const place = () => (page === "work" ? cards.findIndex((one) => one.ref === card.ref) : -1); // another card, if it came back
    if (place() < 0) return location.assign(`${where}?done=${data.decision}`);
    cards[place()].state = "open";
    toast(words);
    await look("/work/hold", { refs: card.ref });
    return show(place());
  }

  // Claims: prolonged while somebody works, given back when the page is left

  const idle = () => Date.now() - lastActive > 240000; // nobody is there: what they held is for others

  async function hold() {
    if (document.hidden || idle() || !open().length) return;
    const refs = open().map((card) => card.ref);
    const data = await look("/work/hold", { refs: refs.join(",") });
    if (!data) return;
    for (const card of open()) {
      if (!(card.ref in data.lost)) continue;
      card.state = "gone";
      card.why = data.lost[card.ref] ? `${data.lost[card.ref]} has this comment now.` : "This comment is gone.";
      if (card === current()) mark(card);
      else if (!card.element) toast(`Comment #${card.ref}: ${card.why}`, { bad: true });
    }
  }

  // A link to an open comment, to its thread, or from there to Work or another comment goes on with it: it stays claimed.
  let going = [];
  function named(where) {
    const { pathname, searchParams } = new URL(where, location.href);
    const ref = pathname === "/work" ? searchParams.get("at") : pathname.match(/^\/comments\/(\d+)/)?.[1];
    return [ref, ...(searchParams.has("back") ? named(searchParams.get("back")) : [])];
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[href]"), elsewhere = event.ctrlKey || event.metaKey || event.shiftKey;
    going = link && !elsewhere && link.origin === location.origin ? named(link.href) : [];
  });

  const left = "moderation-left-while-asking";

  function leave() {
    // Comments that are on their way here would stay claimed: the next page of this tab gives all back.
    try { if (filling) sessionStorage.setItem(left, user); } catch { /* the claims expire */ }
    const refs = open().map((card) => card.ref).filter((ref) => !going.includes(ref));
    if (!refs.length) return;
    navigator.sendBeacon("/work/release", new URLSearchParams({ refs: refs.join(","), csrf: body.dataset.csrf }));
    tabs.postMessage({ left: refs });
  }

  function giveBack() {
    try { if (!sessionStorage.getItem(left)) return; } catch { return; }
    const whose = sessionStorage.getItem(left), done = () => sessionStorage.removeItem(left);
    if (page === "work" || whose !== user) { done(); return; }
    // Not when another tab works: it gets these comments with its next ones, and all of its own would go with them.
    let others = false;
    tabs.addEventListener("message", ({ data }) => { if (data === "here") others = true; });
    tabs.postMessage("who works?");
    setTimeout(() => {
      if (others) { done(); return; }
      const but = open().map((card) => card.ref).join(",");
      ask("/work/release", { all: "yes", but }).then(done, () => {}); // else the next page tries
    }, 300);
  }

  const tabs = user && new BroadcastChannel(`moderation-${user}`);
  if (user) giveBack();

  function keepHold() {
    setTimeout(hold, 1500); // the page before, or a reload, gave the claims back just now
    setInterval(hold, 60000);
    addEventListener("pagehide", leave);
    tabs.addEventListener("message", ({ data }) => {
      if (data === "who works?" && open().length) tabs.postMessage("here");
      if (data.left && open().some((card) => data.left.includes(card.ref))) setTimeout(hold, 500); // it was open twice
    });
  }

  // What was decided before this page: the last one, which can be undone, and what is still on its way

  const { latest, latestOn, latestBulk } = stage ? stage.dataset : {};
  const known = sending.before.some((entry) => entry.url === `/decisions/${latest}/undo`);
  if (latest && !known) made.push({ ref: latestOn, decision: Number(latest), bulk: latestBulk });
  for (const entry of sending.before) {
    const card = { ref: entry.ref, state: DONE[entry.act], before: entry.act === "undo" || entry.undo };
    if (entry.act === "undo") sending.deliver(entry).then((answer) => undone(card, answer));
    else fly(card, entry);
    if (entry.undo) undo(card);
    else if (card.sending && entry.act !== "skip") made.push(card);
  }

  const first = stage && find(".card", stage), sent = first && [...flying].find((card) => card.ref === first.dataset.ref);
  if (first && !sent) adopt(first);
  at = 0;
  if (stage && page === "work") {
    if (sent) show(0);
    else fill();
    keepHold();
    setInterval(() => { if (!current() && !document.hidden && !idle()) fill(); }, 15000);
  } else if (first) {
    if (sent) { sent.element = first; cards.push(sent); mark(sent); }
    const card = current();
    // What may be decided here and waits was claimed for this page.
    if (page === "comment" && find(".acts", card.element) && !find("[name=revise]", card.element)) keepHold();
  }

  const held = find("[data-held]"); // the comment whose thread this is
  if (held) {
    at = -1;
    cards.push({ ref: held.dataset.held, state: "open" });
    keepHold();
  }

  measure();
  addEventListener("resize", measure);

  // Highlights

  function highlight(card, label) {
    for (const word of all("mark[data-w]", card)) {
      const found = word.dataset.w.split(" ").map((one) => one.split(":")).find(([name]) => name === label);
      word.className = found ? `w${found[2]}` : "";
      if (found) { word.dataset.weight = found[1]; word.tabIndex = 0; } else { delete word.dataset.weight; word.removeAttribute("tabindex"); }
    }
    for (const link of all("[data-show]", card)) {
      if (link.dataset.show === label) link.setAttribute("aria-current", "true"); else link.removeAttribute("aria-current");
    }
    for (const words of all("[data-drivers]", card)) words.hidden = words.dataset.drivers !== label;
    say(find(`[data-drivers="${CSS.escape(label)}"]`, card)?.textContent || "");
  }

  function nextLabel() {
    const card = find(".card"), links = all("[data-show]", card || document);
    if (!links.length) return;
    const now = links.findIndex((link) => link.hasAttribute("aria-current"));
    highlight(card, links[(now + 1) % links.length].dataset.show);
  }

  document.addEventListener("click", (event) => {
    if (early(event)) { event.preventDefault(); return; }
    const link = event.target.closest("[data-show]");
    if (link && !event.ctrlKey && !event.metaKey) { event.preventDefault(); highlight(link.closest(".card"), link.dataset.show); }
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });

  document.addEventListener("submit", (event) => {
    const form = event.target, act = form.dataset.act;
    if (!act || !current() || !current().element.contains(form)) return;
    event.preventDefault();
    const button = event.submitter;
    decide(act, form, button && button.name ? { [button.name]: button.value } : {});
  });

  // Signs that somebody is there

  function active() {
    const back = idle();
    lastActive = Date.now();
    if (back && stage && !current()) fill();
  }

  for (const kind of ["pointerdown", "pointermove", "scroll"]) addEventListener(kind, active, { passive: true });
  document.addEventListener("visibilitychange", () => { if (!document.hidden && stage && !current()) fill(); });

  // Live counts

  let told = null;
  async function poll() {
    if (document.hidden || !user) return;
    const data = await look(`/counts?user=${encodeURIComponent(user)}&${stage?.dataset.query || ""}`);
    if (!data) return;
    if (told !== null && told !== data.waiting && page !== "work") say(`${data.waiting} comments are waiting.`);
    told = data.waiting;
  }
  if (user) setInterval(poll, 20000);
  document.addEventListener("visibilitychange", poll);

  return { soon, forward, backward, undoLast, nextLabel, active };
})();
