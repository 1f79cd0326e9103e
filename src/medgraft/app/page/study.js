// One study: while it runs, and what it left.

import { get, post } from "./api.js";
import { about, bar, duration, fill, h, say, several, trouble, when } from "./dom.js";
import { open } from "./start.js";

const EVERY = 1000; // ms; while nobody looks at the page, five times as long

const TITLES = { running: "is being studied", stopping: "is ending", finished: "", stopped: "was stopped",
  failed: "did not work", elsewhere: "is being studied by another command", broken: "cannot be read",
  newer: "is of a newer medgraft" };

export function show(stage, id) {
  const title = h("h1", {}, "…");
  const parts = Object.fromEntries(["now", "bars", "said", "actions", "plan", "scenarios", "facts"].map((name) => [name, h("div")]));
  stage.append(h("p", { class: "quiet" }, h("a", { href: "#/" }, "← Start")), title, ...Object.values(parts));
  let going = true;
  let timer = 0;
  let compared = null;

  async function look() {
    clearTimeout(timer);
    try {
      const told = await get(`/api/studies/${id}`);
      if (!going) return;
      const alive = ["running", "stopping", "elsewhere"].includes(told.state);
      title.textContent = `${told.name} ${TITLES[told.state]}`.trim();
      document.title = `${title.textContent} · medgraft`;
      if (told.state === "finished" && compared === null) compared = (await get("/api/runs")).runs;
      draw(told, parts, compared ?? [], look);
      const judged = told.scenarios.length;
      say(alive ? `${told.name} ${TITLES[told.state]}${judged ? `, ${several(judged, "scenario", "scenarios")} judged` : ""}` : `${told.name} ${TITLES[told.state] || "is finished"}`);
      if (alive) timer = setTimeout(look, document.hidden ? 5 * EVERY : EVERY);
    } catch (error) {
      if (!going) return;
      fill(parts.now, error.message, () => trouble(error.message));
      if (error.status !== 404) timer = setTimeout(look, 3 * EVERY);
    }
  }

  const seen = () => { if (!document.hidden) look(); };
  document.addEventListener("visibilitychange", seen);
  look();
  return () => {
    going = false;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
}

function draw(told, parts, runs, look) {
  const alive = ["running", "stopping"].includes(told.state);
  fill(parts.now, [told.state, told.error, Math.floor(told.elapsed ?? 0), told.headline], () => nowPart(told));
  fill(parts.bars, [alive, told.tasks], () => (alive ? barsPart(told) : []));
  fill(parts.said, [alive, told.said], () => (alive && told.said.length ? saidPart(told.said) : []));
  fill(parts.actions, [told.state, told.resumable, told.files, runs.length], () => actionsPart(told, runs, look));
  fill(parts.plan, told.plan ?? null, () => (told.plan ? planPart(told.plan) : []));
  const done = told.state === "finished";
  fill(parts.scenarios, [done, told.scenarios, told["given up"], told.steps], () => scenariosPart(told, done));
  fill(parts.facts, told.facts ?? null, () => (told.facts ? factsPart(told.facts) : []));
}

function nowPart(told) {
  if (told.state === "finished") return told.headline ? headlinePart(told) : [];
  if (["failed", "broken", "newer"].includes(told.state)) return trouble(told.error || "It ended without a word.");
  if (told.state === "stopped") {
    return h("p", { class: "lead" }, told.scenarios.length
      ? `${several(told.scenarios.length, "scenario was", "scenarios were")} judged, and what was done is kept.`
      : "What was done is kept.");
  }
  if (told.state === "elsewhere") return h("p", {}, "It was started in a terminal; it is shown here when it is finished.");
  const ending = told.state === "stopping";
  const budget = told.budget ? ` of ${duration(60 * Number.parseInt(told.budget, 10))}` : "";
  return h("p", { class: "lead" }, ending
    ? told.budget ? "Stopping. A report is made of what is known by now." : "Stopping …"
    : `Running for ${duration(Math.floor(told.elapsed)).replace(".0", "")}${budget}. You may close this page; the study goes on.`);
}

const barsPart = (told) => (told.tasks.length
  ? told.tasks.map(bar)
  : h("p", {}, told.scenarios.length ? "Working …" : "Beginning …"));

const saidPart = (said) => h("details", {}, h("summary", {}, "What it says"), h("p", { class: "pre" }, said.join("\n")));

const WHERE = { test: "on the test images, which chose nothing", "out of fold": "on images not learned from (out of fold), no test split" };

function headlinePart(told) {
  const one = told.headline;
  return [
    told.interrupted && h("p", {}, "It was stopped early: what had been judged by then is compared, and the report says what was left out."),
    one.figure && h("p", { class: "lead" }, h("strong", {}, `${one.metric} ${one.figure}`), ` ${WHERE[one.where]}`),
    (one.verdict || one.comparable) && h("p", {},
      h("span", { class: `badge ${one.verdict}` }, one.verdict || "not run"), " ", told.audit),
  ];
}

const FILES = { "methods.md": "Methods for a paper", "references.bib": "References", "result.json": "All numbers (JSON)" };

function actionsPart(told, runs, look) {
  const failed = h("div", {});
  const act = (words, path, kind = "") => {
    const button = h("button", { type: "button", class: kind, onclick: async () => {
      button.disabled = true;
      try {
        await post(`/api/studies/${told.id}/${path}`);
      } catch (error) {
        failed.replaceChildren(trouble(error.message));
      }
      look();
    } }, words);
    return button;
  };
  if (told.state === "running") return [h("p", {}, act(told.budget ? "Stop, and report what is known" : "Stop", "stop")), failed];
  if (told.state === "stopping") return [];
  const again = told.resumable && ["stopped", "failed"].includes(told.state);
  const link = (words, href, kind = "button") => h("a", { class: kind, href, target: "_blank", rel: "noopener" }, words);
  const others = runs.filter((one) => one.comparable && one.id !== told.id);
  const files = told.files ?? [];
  const at = `/runs/${told.id}`;
  return [
    h("p", { class: "row" },
      files.includes("report.html") && link("Read the report", `${at}/files/report.html`, "button main"),
      told.model && link("Try it on new images", `${at}/try/`),
      again && act("Go on", "resume", "main"),
      again && told.data && h("button", { type: "button", onclick: () => open(told.data, told.flags) }, "Look at the data"),
      files.filter((name) => FILES[name]).map((name) => link(FILES[name], `${at}/files/${name}`, "file"))),
    told.findings?.length > 0 && findingsPart(told.findings),
    others.length > 0 && told.headline?.comparable && compareForm(told, others),
    failed,
  ];
}

const findingsPart = (findings) => [
  h("h2", {}, "Each finding"),
  h("p", {}, "Every one has a report and a model of its own."),
  h("ul", { class: "row" }, findings.map((one) => h("li", {}, h("a", { class: "button", href: `#/study/${one.id}` }, one.name)))),
];

function compareForm(told, others) {
  const chosen = h("select", { id: "other" }, others.map((one) => h("option", { value: one.id }, `${one.name}, ${when(one.when)}`)));
  return h("form", { class: "row", onsubmit: (event) => {
    event.preventDefault();
    window.open(`/compare?a=${told.id}&b=${chosen.value}`, "_blank", "noopener");
  } }, h("label", { for: "other" }, "Compare with"), chosen, h("button", { type: "submit" }, "Compare"));
}

function planPart(plan) {
  return [
    h("h2", {}, `The plan for ${duration(plan.seconds)}`),
    h("ol", { class: "plan" }, plan.steps.map((one) => h("li", { class: one.outcome === "planned" ? "" : "done" },
      h("span", {}, one.words), " ",
      h("span", { class: "quiet" }, one.outcome === "planned"
        ? `${one.predicted ? about(one.predicted) : ""}: ${one.why}`
        : [one.said, one.seconds ? `took ${duration(one.seconds)}` : ""].filter(Boolean).join(", "))))),
    h("p", { class: "quiet" }, `Then comparison, audit and report: ${about(plan.finish)}.`),
  ];
}

function scenariosPart(told, done) {
  const judged = told.scenarios;
  if (!judged.length) return [];
  const list = h("ol", { class: "scenarios" }, judged.map((one) => h("li", {}, one.name, " ",
    h("span", { class: "quiet" }, duration(one.seconds)))));
  const gone = told["given up"];
  const heading = `${several(judged.length, "scenario", "scenarios")} judged`;
  if (done) return h("details", {}, h("summary", {}, heading), list);
  return [
    h("h2", {}, heading),
    h("p", { class: "quiet" }, "Their figures come at the end, when all are compared on the same patients. The order says nothing."),
    list,
    gone.length > 0 && h("p", { class: "quiet" }, `Stopped, for they could not win any more: ${gone.map((one) => one.name).join(", ")}`),
  ];
}

const FIRST = /^(data|splits|classes|recommended|scenario|took)$| on the test$| corrected for the choice$| out of fold$/;

function factsPart(facts) {
  const table = (rows) => h("table", { class: "facts" }, h("tbody", {},
    rows.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, value)))));
  const first = facts.filter(([name]) => FIRST.test(name));
  return [
    h("h2", {}, "In short"), table(first),
    h("details", {}, h("summary", {}, "All that the run keeps of itself"), table(facts.filter(([name]) => !FIRST.test(name)))),
  ];
}
