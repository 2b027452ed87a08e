// The page keeps itself fresh: the server says when what is shown is old, and the page fetches that part anew.
"use strict";
(() => {
  const body = document.body, base = body.dataset.base;
  const live = () => document.querySelector("[data-live]");
  let beat = Date.now(), busy = false, again = false, seen = null, version = body.dataset.version, chosen = null;

  // somebody is at work in a part: what has the focus there would be lost
  const atWork = (part) => {
    const at = document.activeElement;
    return at && part.contains(at) && /^(input|select|textarea|button)$/i.test(at.tagName);
  };

  async function refresh() {
    const part = live();
    if (!part || busy) { again = Boolean(part); return; }
    busy = true;
    let rest = 500;
    try {
      const answer = await fetch(part.dataset.live, { headers: { "X-Part": "1" } });
      if (answer.redirected || answer.status === 401) { location.reload(); return; }
      if (answer.ok) {
        const fresh = document.createElement("template");
        fresh.innerHTML = await answer.text();
        announce(fresh.content);
        if (atWork(part)) {  // looked at now: they may have begun since the part was asked for
          again = true;
          rest = 2000;
        } else show(part, fresh.content);
      }
    } catch { /* the stream says it */ }
    setTimeout(() => { busy = false; if (again) { again = false; refresh(); } }, rest);
  }
  function show(part, fresh) {
    for (const old of part.querySelectorAll("input[id]")) {  // written, and not sent yet
      const field = old.value !== old.defaultValue && fresh.getElementById(old.id);
      if (field) field.value = old.value;
    }
    const focus = document.activeElement && document.activeElement.id;
    part.replaceChildren(fresh);
    if (focus && document.getElementById(focus)) document.getElementById(focus).focus();
    if (chosen !== null) look(chosen); else mark();
  }

  // alarms: a sound and a notification, by choice
  const wants = (what) => localStorage.getItem("phasewatch-" + what) === "yes";
  function announce(part) {
    const now = new Set([...part.querySelectorAll("[data-alarm]")].map((one) => one.dataset.alarm));
    const fresh = seen ? [...now].filter((one) => !seen.has(one)) : [];
    seen = now;
    if (!fresh.length) return;
    document.getElementById("said").textContent = "Alarm: " + fresh.join(", ");
    if (wants("sound")) beep();
    if (wants("notify") && "Notification" in window && Notification.permission === "granted")
      new Notification("Phasewatch: alarm", { body: fresh.join(", ") });
  }
  function beep() {
    const audio = new AudioContext(), tone = audio.createOscillator(), loud = audio.createGain();
    tone.frequency.value = 880; loud.gain.value = 0.15;
    tone.connect(loud).connect(audio.destination);
    tone.start(); tone.stop(audio.currentTime + 0.5);
  }
  for (const box of document.querySelectorAll("input[data-wants]")) {
    box.checked = wants(box.dataset.wants);
    box.addEventListener("change", () => {
      localStorage.setItem("phasewatch-" + box.dataset.wants, box.checked ? "yes" : "no");
      if (box.checked && box.dataset.wants === "notify" && "Notification" in window) Notification.requestPermission();
    });
  }

  // the stream
  if (live()) {
    const open = () => {
      const stream = new EventSource(base + "/stream");
      stream.addEventListener("changed", (event) => {
        beat = Date.now();
        if (event.data !== version) { version = event.data; refresh(); }
      });
      stream.addEventListener("beat", () => { beat = Date.now(); });
      stream.addEventListener("error", () => {  // closed for good by any answer but 200, as a proxy gives meanwhile
        if (stream.readyState === EventSource.CLOSED) setTimeout(() => { open(); refresh(); }, 3000);
      });
    };
    open();
    setInterval(refresh, 10000);  // time passes: what was live is stale
    setInterval(() => {
      const lost = Date.now() - beat > 6000;
      if (!lost && body.classList.contains("lost")) refresh();
      body.classList.toggle("lost", lost);
    }, 1000);
    announce(live());
  }

  // the cursor of a timeline: mouse, touch, arrow keys
  const shown = () => [...document.querySelectorAll("svg.timeline")].find((one) => one.getBoundingClientRect().width > 0);
  let asked = 0;
  async function look(at) {
    const panel = document.getElementById("window");
    if (!panel) return;
    const mine = ++asked;
    chosen = at;
    const answer = await fetch(panel.dataset.of + "&at=" + encodeURIComponent(at), { headers: { "X-Part": "1" } });
    if (!answer.ok || mine !== asked) return;
    panel.innerHTML = await answer.text();
    mark();
  }
  function mark() {
    const end = document.querySelector("#window [data-end]");
    for (const svg of document.querySelectorAll("svg.timeline")) {
      if (!end) continue;
      const { first, last, left, inner } = svg.dataset;
      // whole seconds: a double does not hold nanoseconds since 1970
      const share = Number(BigInt(end.dataset.end) - BigInt(first)) / Number(BigInt(last) - BigInt(first));
      svg.querySelector(".cursor").setAttribute("d", `M${Number(left) + Number(inner) * share} 0V200`);
    }
  }
  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest && event.target.closest("svg.timeline");
    if (!svg) return;
    const { first, last, left, inner, width } = svg.dataset, box = svg.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * Number(width);
    const share = Math.min(1, Math.max(0, (x - Number(left)) / Number(inner)));
    const span = BigInt(last) - BigInt(first);
    look(String(BigInt(first) + span * BigInt(Math.round(share * 1e6)) / 1000000n));
  });
  document.addEventListener("keydown", (event) => {
    if (!shown() || /input|select|textarea/i.test(event.target.tagName)) return;
    const way = { ArrowLeft: "before", ArrowRight: "after", Home: "first", End: "last" }[event.key];
    const link = way && document.querySelector(`#window a[rel="${way}"]`);
    if (link) { event.preventDefault(); look(link.dataset.at); }
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("#window a[data-at]");
    if (link) { event.preventDefault(); look(link.dataset.at); }
  });
  mark();
})();
