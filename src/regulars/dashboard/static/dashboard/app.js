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

// A run under way tells of itself. Numbers are put in as they come; the rest of the part is asked for
// when its words change. Without events (an old browser, a proxy, too many listeners) the part goes on
// asking for itself, as it is written to do.
const progress = () => document.getElementById("progress");

function watchRun() {
  const path = progress()?.dataset.events;
  if (!path || !window.EventSource) return;
  const source = new EventSource(path);
  let shown = null;
  const refresh = (by) => {
    const part = progress()?.dataset.part;
    if (part) htmx.ajax("GET", part + by, { target: "#progress", swap: "outerHTML" });
  };
  source.addEventListener("progress", (event) => {
    const run = JSON.parse(event.data);
    showNumbers(run);
    const words = JSON.stringify([run.state, run.reason, run.holds, run.unknown > 0]);
    if (words !== shown) refresh("&by=events");
    shown = words;
  });
  source.addEventListener("over", () => {
    source.close();
    refresh("");
  });
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) refresh("");
  });
}

function showNumbers(run) {
  const figures = { ...run, failed: run.failed - run.unknown };
  for (const name of ["processed", "sent", "skipped", "failed", "unknown", "held"]) {
    const place = document.getElementById(name);
    if (place) place.textContent = figures[name];
  }
  const bar = progress().querySelector("progress");
  if (bar && run.state !== "planning") {
    bar.max = Math.max(1, run.processed);
    bar.value = run.processed - run.held;
  }
  showSpeed(run);
}

function showSpeed(run) {
  const place = document.getElementById("speed");
  if (!place) return;
  place.hidden = !run.per_second;
  const rate = (run.per_second ?? 0).toLocaleString(document.documentElement.lang, {
    maximumFractionDigits: run.per_second < 10 ? 1 : 0,
  });
  const seconds = run.seconds_left ?? 0;
  const left = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  const text = run.seconds_left === null ? place.dataset.rate : place.dataset.left;
  place.textContent = text.replace("{rate}", rate).replace("{left}", left);
}

watchRun();
