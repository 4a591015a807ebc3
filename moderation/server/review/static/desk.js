// What every script of the pages needs: asking the server, and telling the moderator. The others follow this one.
"use strict";
const desk = (() => {
  const body = document.body, page = body.dataset.page, user = body.dataset.user;
  const find = (what, where = document) => where.querySelector(what);
  const all = (what, where = document) => [...where.querySelectorAll(what)];

  async function ask(url, fields) {
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
    const { ok, data } = await ask("/token");
    if (ok && data.user !== user) return { ...answer, status: 401 };
    if (!ok || data.csrf === sent) return answer;
    body.dataset.csrf = data.csrf;
    for (const field of all("input[name=csrf]")) field.value = data.csrf;
    return ask(url, fields);
  }

  let out = null;
  function signedOut() {
    if (out?.isConnected) return;
    const back = encodeURIComponent(location.pathname + location.search);
    out = toast("You are signed out. Sign in again: what you decided is kept and will be sent.", { bad: true, href: `/sign-in?next=${back}` });
  }

  function say(words) {
    find("#say").textContent = words;
  }

  function toast(words, { action, label, bad, href, seconds = 8 } = {}) {
    const box = document.createElement("div"), text = document.createElement("p");
    box.className = bad ? "toast bad" : "toast";
    text.textContent = words;
    box.append(text);
    if (href) {
      const link = document.createElement("a");
      link.href = href;
      link.textContent = "Open it";
      box.append(link);
    }
    if (action) {
      const button = document.createElement("button");
      button.type = "button";
      button.innerHTML = label;
      button.addEventListener("click", () => { box.remove(); action(); });
      box.append(button);
    }
    const toasts = find("#toasts");
    while (toasts.children.length > 2) toasts.firstChild.remove();
    toasts.append(box);
    if (!bad) setTimeout(() => box.remove(), seconds * 1000);
    else box.addEventListener("click", () => box.remove());
    return box;
  }

  const counts = { waiting: null }; // as last heard; null: not yet

  function live(data) {
    if ("waiting" in data) counts.waiting = data.waiting;
    for (const [name, value] of Object.entries(data)) {
      if (typeof value !== "number") continue;
      for (const place of all(`[data-count="${name}"]`)) {
        place.textContent = value.toLocaleString("en").replaceAll(",", "\u202f");
        place.hidden = !value;
      }
      for (const place of all(`[data-live="${name}"]`)) place.textContent = value.toLocaleString("en").replaceAll(",", "\u202f");
    }
  }

  return { page, user, find, all, ask, signedOut, say, toast, counts, live };
})();
