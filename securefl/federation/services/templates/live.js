"use strict";
(() => {
  const main = document.getElementById("live");
  const old = document.getElementById("old");
  let heard = Date.now();
  const events = new EventSource("events");
  events.onmessage = (event) => {
    heard = Date.now();
    main.innerHTML = JSON.parse(event.data);
  };
  setInterval(() => {
    const late = Date.now() - heard > 8000;
    old.hidden = !late;
    main.classList.toggle("stale", late);
  }, 1000);
})();
