// The images on the page: what is known of each, and in which order they are looked at.

import { baseName } from "./files.js";

let came = 0;

export function newCase({ file = null, path }) {
  return {
    file, path, id: path, came: ++came, key: `${path}|${file?.size}|${file?.lastModified}`,
    labelled: "", study: null, row: null, error: null, maps: null, decision: null, item: null,
    url: null, blob: "", seen: null, // whether its picture is there; null until that is known
  };
}

// The study's images by the last part of their names, to know dropped files by.
export function byName(cases) {
  const found = new Map();
  for (const one of cases) {
    const name = baseName(one.id);
    found.set(name, [...found.get(name) ?? [], one]);
  }
  return found;
}

export function studyCase(path, names) {
  const fits = (names.get(baseName(path)) ?? []).filter(
    ({ id }) => id === path || path.endsWith(`/${id}`) || id.endsWith(`/${path}`));
  return fits.length === 1 ? fits[0] : null;
}

// The label that a dropped folder gives: the nearest that is named like a class.
export function folderLabel(path, classes) {
  return path.split("/").slice(0, -1).reverse().find((part) => classes.includes(part)) ?? "";
}

// How close a call is: 0 at the threshold or between equals, 1 where there is no doubt.
function margin(probabilities, model) {
  if (model.threshold !== null && model.classes.length === 2) {
    const p = probabilities[model.positive];
    const at = model.threshold;
    return p >= at ? (p - at) / (1 - at || 1) : (at - p) / (at || 1);
  }
  const ordered = Object.values(probabilities).sort((a, b) => b - a);
  return ordered[0] - ordered[1];
}

const LAST = 9;
const RANKS = {
  came: () => 0,
  unsure: (one, model) => {
    if (one.row?.unlike) return -1;
    const said = one.row?.probabilities ?? one.study?.probabilities;
    return said ? margin(said, model) : LAST;
  },
  // As the report: what the study suspects, and how sure another class is. Of an image that the
  // model learned from, those that had not seen it know better.
  label: (one) => {
    const said = one.study?.probabilities ?? one.row?.probabilities;
    if (!said || !one.labelled) return LAST;
    const others = Object.keys(said).filter((name) => name !== one.labelled);
    return -Math.max(...others.map((name) => said[name])) - (one.study?.why === "label");
  },
};

export function inOrder(cases, order, model) {
  const rank = new Map(cases.map((one) => [one, RANKS[order](one, model)]));
  return [...cases].sort((a, b) => rank.get(a) - rank.get(b) || a.came - b.came);
}
