// What every script of the pages needs: asking the server, and telling the moderator. The others follow this one.
"use strict";
const desk = (() => {
  const body = document.body, page = body.dataset.page, user = body.dataset.user;
  const find = (what, where = document) => where.querySelector(what);
  const all = (what, where = document) => [...where.querySelectorAll(what)];

  // As last heard. waiting: comments that wait, null: not heard yet. trouble: "out": who this page is for is not signed
  // in any more, "silent": the queue does not answer, "": neither
  const heard = { waiting: null, trouble: "" };

  async function ask(url, fields) {
    let answer = null;
    try {
      answer = await request(url, fields);
      return answer;
    } finally {
      hear(answer);
    }
  }

  async function request(url, fields) {
    const options = { headers: { accept: "application/json" }, credentials: "same-origin", cache: "no-store" };
    const sent = body.dataset.csrf; // another request may renew it while this one is on its way
    if (fields) {
      options.method = "POST";
      options.body = new URLSearchParams({ ...fields, csrf: sent });
      // A decision arrives also when the page is closed at once; browsers allow that for 64 KiB in all.
      options.keepalive = String(options.body).length < 10000;
    }
    const response = await fetch(url, options);
    const ours = !response.redirected && (response.headers.get("content-type") || "").includes("json");
    const answer = { ok: ours && response.ok, status: response.status, ours, data: ours ? await response.json() : {} };
    if (!fields || answer.status !== 403) return answer;
    // Somebody signed in anew in another tab: if it is who this page is for, the page goes on with the new session.
    const { ok, status, data } = await request("/token");
    if (ok ? data.user !== user : status === 401) return { ...answer, status: 401 };
    if (!ok) return { ...answer, status: 503 }; // whether it was refused cannot be told yet
    if (data.csrf === sent) return answer;
    body.dataset.csrf = data.csrf;
    for (const field of all("input[name=csrf]")) field.value = data.csrf;
    return request(url, fields);
  }

  // What is not ours may be the sign-in page of a public network; 502 and 504 are a proxy whose server is starting anew.
  const answered = (answer) => Boolean(answer && answer.ours && ![401, 502, 503, 504].includes(answer.status));

  function hear(answer) {
    const was = heard.trouble;
    const out = answer && answer.ours && answer.status === 401;
    heard.trouble = out ? "out" : answered(answer) && answer.status !== 500 ? "" : "silent";
    if (heard.trouble !== "silent") over("silent");
    if (!heard.trouble) over("out");
    if (out && was !== "out") signedOut();
  }

  function signedOut() {
    const back = encodeURIComponent(location.pathname + location.search);
    const words = "You are signed out. Sign in again: what you decided is kept in this tab and will be sent.";
    notice("out", words, { bad: true, href: `/sign-in?next=${back}`, link: "Sign in" });
  }

  // Waits; shorter when the connection, or the moderator, comes back meanwhile
  function pause(milliseconds) {
    return new Promise((go) => {
      const ended = new AbortController();
      const end = () => { ended.abort(); clearTimeout(timer); go(); };
      const timer = setTimeout(end, milliseconds);
      for (const back of ["online", "focus"]) addEventListener(back, end, { signal: ended.signal });
    });
  }

  function say(words) {
    find("#say").textContent = words;
  }

  function toast(words, { action, label, bad, href, link = "Open it", stays = bad, kind, seconds = 8 } = {}) {
    const box = document.createElement("div"), text = document.createElement("p");
    box.className = bad ? "toast bad" : "toast";
    if (kind) box.dataset.kind = kind;
    text.textContent = words;
    box.append(text);
    if (href) {
      const way = document.createElement("a");
      way.href = href;
      way.textContent = link;
      box.append(way);
    }
    if (action) {
      const button = document.createElement("button");
      button.type = "button";
      button.innerHTML = label;
      button.addEventListener("click", () => { box.remove(); action(); });
      box.append(button);
    }
    const toasts = find("#toasts"), others = all(".toast:not([data-kind])", toasts);
    if (!kind) for (const old of others.slice(0, Math.max(others.length - 2, 0))) old.remove();
    toasts.append(box);
    if (!stays) setTimeout(() => box.remove(), seconds * 1000);
    else box.addEventListener("click", () => box.remove());
    return box;
  }

  // A notice of a kind stands once, and until it is over

  const standing = (kind) => find(`.toast[data-kind="${kind}"]`);

  function notice(kind, words, options) {
    const there = standing(kind);
    if (there) find("p", there).textContent = words;
    else toast(words, { ...options, kind, stays: true });
  }

  function over(kind) {
    standing(kind)?.remove();
  }

  function live(data) {
    if ("waiting" in data) heard.waiting = data.waiting;
    for (const [name, value] of Object.entries(data)) {
      if (typeof value !== "number") continue;
      for (const place of all(`[data-count="${name}"]`)) {
        place.textContent = value.toLocaleString("en").replaceAll(",", "\u202f");
        place.hidden = !value;
      }
      for (const place of all(`[data-live="${name}"]`)) place.textContent = value.toLocaleString("en").replaceAll(",", "\u202f");
    }
  }

  return { page, user, find, all, ask, answered, heard, signedOut, pause, say, toast, notice, over, live };
})();
