// Sentences about one image. Numbers are told as counts, which people misread least.

export function percent(p) {
  const number = p > 0.99 && p < 1 ? "> 99" : p < 0.01 && p > 0 ? "< 1" : Math.round(100 * p);
  return `${number}\u00a0%`;
}

function ofHundred(p) {
  if (p > 0.99) return "more than 99";
  if (p < 0.01) return "fewer than 1";
  return `about ${Math.round(100 * p)}`;
}

export function inWords(row, about) {
  // How often an answer is right was measured on images like those learned from.
  if (row.unlike) return `Of what it knows it comes nearest to ${row.label}. How often that is right is not known of such an image.`;
  const p = row.probabilities[row.label];
  const how = about.calibration.verdict === "PASS"
    ? `Of 100 images that it answers like this, ${ofHundred(p)} are ${row.label}.`
    : `It says that of 100 such images ${ofHundred(p)} are ${row.label}; ${doubt(about)}.`;
  return `${how}${why(row, about.model)}${grade(row)}`;
}

function doubt(about) {
  return {
    WARN: "these numbers do not quite come true, so take them with care",
    FAIL: "these numbers do not come true, so go by the label alone",
    INCONCLUSIVE: "too few images were seen to know whether that comes true",
  }[about.calibration.verdict] ?? "whether that comes true was not measured";
}

function grade(row) {
  if (typeof row.mean_grade !== "number") return "";
  return ` The mean grade is ${row.mean_grade.toFixed(2)} (standard deviation ${row.grade_sd.toFixed(2)}).`;
}

// A label that is not the most probable class is the threshold's.
function why(row, model) {
  if (row.probabilities[row.label] === Math.max(...Object.values(row.probabilities))) return "";
  return ` It is called so because ${model.positive} is called from ${percent(model.threshold)} on.`;
}

function listed(names, last) {
  return names.length < 2 ? names.join("") : `${names.slice(0, -1).join(", ")} ${last} ${names.at(-1)}`;
}

export function inSet(row, about) {
  if (!row.set || row.unlike) return "";
  const others = row.set.filter((name) => name !== row.label);
  if (!others.length) return "May also be: none of the other classes.";
  const all = row.set.length === about.model.classes.length ? "; no class is ruled out" : "";
  return `May also be: ${listed(others, "or")}${all}.${leftOut(row, others, about)}`;
}

// Each class has a limit of its own, so that one may be left out that is likelier than one named.
function leftOut(row, others, about) {
  const p = row.probabilities;
  const least = others.reduce((a, b) => (p[b] < p[a] ? b : a));
  const out = Object.keys(p).filter((name) => !row.set.includes(name) && p[name] > p[least]);
  if (!out.length) return "";
  const that = out.length > 1 ? "such a class" : "that class";
  return ` It leaves out ${listed(out, "and")}, though likelier than ${least}, because about ${sure(about)} or more in 100 ` +
    `images of ${that} got a higher probability of it.`;
}

function sure(about) { return 100 - Math.round(100 * about.alpha); }

export function setMeans(about) {
  return `Every class that cannot be left out is named. Of 100 new images of a class, like those it learned from, ` +
    `about ${sure(about)} or more have it as the answer or among these.`;
}

export const UNLIKE = "Not like the images it learned from";

export function knownLabel(one) {
  if (!one.labelled) return "";
  const from = one.study ? "In the study it is labelled" : "Its folder says";
  const oof = one.study?.probabilities;
  if (!oof) return `${from} ${one.labelled}.`;
  const likeliest = Object.keys(oof).reduce((a, b) => (oof[b] > oof[a] ? b : a));
  return `${from} ${one.labelled}. Models that had not seen it gave ${likeliest} ${percent(oof[likeliest])}.`;
}

// For list, screen reader and heading.
export function short(one) {
  if (one.error) return "not read";
  if (one.row?.unlike) return "not like its images";
  if (one.row) return `${one.row.label}, ${percent(one.row.probabilities[one.row.label])}`;
  return one.study ? `labelled ${one.labelled}` : "waits";
}

export function decisionText(one, model) {
  const said = one.decision;
  if (!said) return "";
  if (said.action === "exclude") return "You left it out.";
  const answer = one.row?.label;
  if (answer === undefined) return `You called it ${said.value}.`;
  return said.value === answer ? `You confirmed ${said.value}.` : `You called it ${said.value}, not ${answer}.`;
}
