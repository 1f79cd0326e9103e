// What is said of the model on top of the page.

import { percent } from "./words.js";

const byId = (id) => document.getElementById(id);
// A shape each, so that colour does not say it alone: tick, triangle, cross, question mark.
const SHAPES = {
  PASS: "M4 13l5 5L20 6",
  WARN: "M12 3L22 21H2Z M12 10v5 M12 18v.5",
  FAIL: "M5 5l14 14 M19 5L5 19",
  INCONCLUSIVE: "M8 9a4 4 0 1 1 6 3.5c-1.5 1-2 1.5-2 3 M12 19v.5",
};

function element(name, text) {
  const found = document.createElement(name);
  found.textContent = text;
  return found;
}

export function describe(about) {
  const { verdict, says, means, findings } = about.audit;
  const word = verdict ?? "INCONCLUSIVE";
  byId("verdict").className = word;
  byId("verdict").querySelector("path").setAttribute("d", SHAPES[word]);
  byId("verdict-word").textContent = verdict ?? "not audited";
  byId("verdict-says").textContent = says;
  byId("verdict-means").textContent = means;
  const facts = [];
  if (findings.length) {
    const list = document.createElement("ul");
    list.append(...findings.map((text) => element("li", text)));
    facts.push(element("h3", "What the audit found"), list);
  }
  facts.push(element("h3", "What to make of a probability"), element("p", about.calibration.says), element("p", labels(about)));
  const learned = Object.entries(about.learned_from).map(([name, n]) => `${n.toLocaleString("en")} ${name}`);
  if (learned.length) facts.push(element("h3", "What it learned from"), element("p", `Images: ${learned.join(", ")}. It knows no other class, and answers for any picture.`));
  byId("facts").replaceChildren(...facts);
  byId("verdict").hidden = false;
  byId("model").textContent = `Model ${about.model.scenario}, sha256 ${about.model.sha256}.`;
}

function labels(about) {
  const { model } = about;
  const at = model.threshold === null ? "The label is the most probable class."
    : `${model.positive} is called from a probability of ${percent(model.threshold)} on (${model.threshold_rule}).`;
  const unlike = about.knows_unlike ? "" : " It keeps nothing to tell by what is unlike the images it learned from.";
  const sets = about.alpha === null ? " Nor can it say which classes cannot be left out." : "";
  return at + unlike + sets;
}
