// What htmx and HTML cannot do alone: open the dialog that htmx has just filled, and close it again.
document.addEventListener("htmx:afterSwap", (event) => {
  const dialog = event.detail.target;
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
});

// A click on the backdrop is a click on the dialog itself.
document.addEventListener("click", (event) => {
  if (event.target instanceof HTMLDialogElement) event.target.close();
});

// Sending twice by a double click is caught by the engine; the button says so at once.
document.addEventListener("submit", (event) => {
  const button = event.target.querySelector("[data-busy]");
  if (!button) return;
  button.textContent = button.dataset.busy;
  button.setAttribute("aria-disabled", "true");
});

// Filters of a form apply as soon as they are chosen.
document.addEventListener("change", (event) => {
  if (event.target.matches("select[data-submits]")) event.target.form.requestSubmit();
});
