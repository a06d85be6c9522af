// What HTML has not: copying at a click, and `/` as the key to the search.
"use strict";

addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy], button[data-copy-next]");
  if (!button) return;
  const text = button.dataset.copy ?? button.closest(".snippet").querySelector("code").textContent;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // A browser gives the clipboard to what comes by HTTPS or from this machine: select it, to be copied by hand.
    getSelection().selectAllChildren(button.dataset.copy ? button : button.closest(".snippet").querySelector("code"));
    return;
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
});

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  document.querySelector("input[type=search]").focus();
});
