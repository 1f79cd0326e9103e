// Choose data, and see what was studied before.

import { get } from "./api.js";
import { choose } from "./choose.js";
import { h, trouble, when } from "./dom.js";
import { dropZone } from "./drop.js";

export function open(data, flags = {}) {
  const query = new URLSearchParams({ data });
  for (const [name, value] of Object.entries(flags)) query.set(name, JSON.stringify(value));
  location.hash = `#/data?${query}`;
}

export function show(stage) {
  const path = h("input", { id: "path", type: "text", autocomplete: "off", spellcheck: "false",
    placeholder: "/home/me/images" });
  const typed = h("form", { class: "row", onsubmit: (event) => {
    event.preventDefault();
    if (path.value.trim()) open(path.value.trim());
  } }, h("label", { for: "path" }, "Or type where it lies"), path, h("button", { type: "submit" }, "Open"));
  const runs = h("div", { id: "runs" }, h("p", { class: "quiet" }, "Looking …"));
  stage.append(
    h("h1", {}, "Which images?"),
    h("p", { class: "lead" }, "A folder with one folder for each class, or a table that lists images and says what each is."),
    h("div", { class: "ways" },
      h("section", { class: "card", "aria-labelledby": "in-place" },
        h("h2", { id: "in-place" }, "Where they lie"),
        h("p", {}, "They are read in their place; nothing is copied or changed."),
        h("button", { type: "button", class: "main", onclick: () => choose(open) }, "Choose a folder or table …"),
        typed),
      dropZone(open)),
    h("section", { "aria-labelledby": "before" }, h("h2", { id: "before" }, "Your studies"), runs));
  get("/api/runs").then((found) => runs.replaceChildren(list(found.runs)), (error) => runs.replaceChildren(trouble(error.message)));
}

const STATES = { running: "running", killed: "stopped", failed: "did not work", broken: "cannot be read",
  newer: "of a newer medgraft" };

function list(runs) {
  if (!runs.length) return h("p", { class: "quiet" }, "None yet. The first takes a few minutes.");
  const compare = h("button", { type: "submit", disabled: true }, "Compare the two");
  const form = h("form", { onsubmit: (event) => {
    event.preventDefault();
    const [a, b] = new FormData(form).getAll("run");
    window.open(`/compare?a=${a}&b=${b}`, "_blank", "noopener");
  }, onchange: () => {
    const n = new FormData(form).getAll("run").length;
    compare.disabled = n !== 2;
  } });
  const comparable = runs.filter((run) => run.comparable).length > 1;
  form.append(h("ul", { class: "runs" }, runs.map((run) => row(run, comparable))));
  if (comparable) form.append(h("p", { class: "row" }, compare, h("span", { class: "quiet" }, "Tick two that are finished.")));
  return form;
}

function row(run, comparable) {
  const facts = [run.kind === "study" ? "" : run.kind, run.data, when(run.when)].filter(Boolean).join(" · ");
  const state = STATES[run.state];
  return h("li", {},
    comparable && (run.comparable
      ? h("input", { type: "checkbox", name: "run", value: run.id, "aria-label": `Compare ${run.name}` })
      : h("span", {})),
    h("div", {},
      h("a", { href: `#/study/${run.id}` }, run.name),
      state && h("span", { class: `badge ${run.state === "running" ? "info" : "warn"}` }, state),
      h("p", { class: "quiet" }, facts)),
    h("p", { class: "figure" }, run.figure && h("span", {}, `${run.metric} ${run.figure}`),
      run.figure && h("span", { class: "quiet" }, run.where === "test" ? "on the test images" : "out of fold"),
      run.verdict && h("span", { class: `badge ${run.verdict}` }, `audit ${run.verdict}`)));
}
