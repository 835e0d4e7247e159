"use strict";
// Takes the page anew every two seconds and puts its content in place, unless somebody reads or has stopped it.
(function () {
  const button = document.getElementById("live");
  if (!button) return;
  let running = true;
  function show() {
    button.textContent = running ? "Pause updates" : "Resume updates";
    button.setAttribute("aria-pressed", String(!running));
  }
  button.hidden = false;
  button.addEventListener("click", function () { running = !running; show(); });
  show();
  async function update() {
    if (running && !document.hidden && !String(window.getSelection())) {
      try {
        const answer = await fetch(window.location.href, { cache: "no-store" });
        if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
          const main = document.querySelector("main");
          const next = fresh.querySelector("main");
          const focused = document.activeElement && main.contains(document.activeElement)
            ? document.activeElement.getAttribute("href") : null;
          if (next) {
            main.replaceChildren(...next.childNodes);
            if (focused !== null) {
              const again = Array.from(main.querySelectorAll("a")).find((link) => link.getAttribute("href") === focused);
              if (again) again.focus({ preventScroll: true });
            }
          }
          document.body.classList.remove("lost");
        }
      } catch (error) {
        document.body.classList.add("lost");
      }
    }
    window.setTimeout(update, 2000);
  }
  window.setTimeout(update, 2000);
})();
