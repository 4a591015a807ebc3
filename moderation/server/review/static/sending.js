// What a moderator decided and the server has not answered: kept, and sent until it has, also by the next page of the tab.
"use strict";
const sending = (() => {
  const { user, ask, answered, signedOut, pause, say, notice } = desk;
  const fresh = () => [...crypto.getRandomValues(new Uint8Array(12))].map((n) => n.toString(16).padStart(2, "0")).join("");
  const stored = `moderation-pending-${user}`;
  let pending = [];
  try { pending = JSON.parse(sessionStorage.getItem(stored)) || []; } catch { pending = []; }
  const before = [...pending]; // what the page before could not send, or had no answer to

  function save() {
    try { sessionStorage.setItem(stored, JSON.stringify(pending)); } catch { /* full or forbidden */ }
  }

  // `about` is for the next page, if it is to send this: the comment, and what is done with it
  function keep(url, fields, about) {
    const entry = { url, fields: { ...fields, key: fresh() }, ...about };
    pending.push(entry);
    save();
    return entry;
  }

  async function deliver(entry) {
    for (let wait = 500; ; wait = Math.min(wait * 2, 30000)) {
      const answer = await ask(entry.url, entry.fields).catch(() => null);
      if (answered(answer)) {
        pending = pending.filter((one) => one !== entry);
        save();
        return answer;
      }
      const away = answer && answer.ours && answer.status === 401;
      if (away && wait === 500) signedOut();
      else if (wait === 500) say("A decision waits for the connection.");
      if (!away && wait >= 2000) notice("silent", "No connection to the queue. What you decide is kept in this tab and sent as soon as there is one: leave the tab open.", { bad: true });
      await pause(wait);
    }
  }

  // The next page undoes what this one was told to undo before the server had it.
  function undoToo(entry) {
    entry.undo = true;
    save();
  }

  // Whoever follows the link to sign in again does what the page asked for, and loses nothing: the browser asks nothing then.
  let signingIn = false;
  document.addEventListener("click", (event) => {
    if (!event.target.closest('a[href^="/sign-in"]') || event.ctrlKey || event.metaKey || event.shiftKey) return;
    signingIn = true;
    setTimeout(() => { signingIn = false; }, 2000); // the page is still here
  }, true);

  addEventListener("beforeunload", (event) => { if (pending.length && !signingIn) event.preventDefault(); });

  return { before, keep, deliver, undoToo };
})();
