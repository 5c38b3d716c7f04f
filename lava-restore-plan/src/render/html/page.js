"use strict";
(() => {
  const page = document.documentElement;
  const key = "lava-restore-plan/" + page.dataset.plan;
  const boxes = [...document.querySelectorAll("input[data-tick]")];
  const steps = [...document.querySelectorAll("article.step")];
  const done = (step) => step.querySelector("h3 input").checked;
  const parts = [...document.querySelectorAll("[data-part]")].map(
    (place) => [place, steps.filter((step) => step.dataset.of === place.dataset.part)]);
  const says = document.getElementById("says");
  const say = (text) => { says.textContent = text; };

  // A browser may keep nothing for a page from a file; then ticks last as long as the page.
  const kept = () => {
    try { return JSON.parse(localStorage.getItem(key)) || []; } catch { return []; }
  };
  const keep = () => {
    const ticked = boxes.filter((box) => box.checked).map((box) => box.dataset.tick);
    try { localStorage.setItem(key, JSON.stringify(ticked)); } catch { say("This browser keeps no ticks: leave the page open."); }
  };
  const show = () => {
    const ticked = new Set(kept());
    for (const box of boxes) box.checked = ticked.has(box.dataset.tick);
    count();
  };
  const count = () => {
    for (const [place, own] of parts) {
      const ready = own.filter(done).length;
      place.textContent = ready + " of " + own.length;
      place.classList.toggle("all", ready === own.length);
    }
    const ready = steps.filter(done).length;
    const next = steps.find((step) => !done(step));
    for (const step of steps) step.classList.toggle("next", step === next);
    document.getElementById("all").value = ready;
    document.getElementById("all-says").textContent = ready + " of " + steps.length + " steps done";
    const link = document.getElementById("next");
    link.hidden = !next;
    if (next) link.href = "#" + next.id;
  };
  const copy = async (box) => {
    // Without a newline at its end, so that pasting it does not run it.
    try {
      await navigator.clipboard.writeText(box.querySelector("code").textContent);
      say("Copied.");
    } catch {
      getSelection().selectAllChildren(box.querySelector("pre"));
      say("Selected: copy it with the keyboard.");
    }
  };

  for (const box of document.querySelectorAll(".box")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy: " + box.querySelector("code").textContent);
    button.addEventListener("click", () => copy(box));
    box.append(button);
  }
  document.addEventListener("change", (event) => {
    if (!event.target.matches("input[data-tick]")) return;
    keep();
    count();
  });
  document.getElementById("clear").addEventListener("click", () => {
    if (!confirm("Take all ticks of this plan away?")) return;
    for (const box of boxes) box.checked = false;
    keep();
    count();
  });
  addEventListener("storage", (event) => { if (event.key === key) show(); });
  page.classList.add("scripted");
  show();
})();
