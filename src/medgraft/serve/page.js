"use strict";

const AT_ONCE = 8; // files a request
const byId = (id) => document.getElementById(id);
const state = byId("state");

class Refused extends Error {
  constructor(error) {
    const value = error.value[0].toUpperCase() + error.value.slice(1);
    super(`${value}. What helps: ${error.remedy}.`);
    this.code = error.code;
  }
}

async function ask(path, files) {
  const form = new FormData();
  // The name stays here: the server needs none.
  for (const file of files) form.append("files", file, "image");
  const key = byId("key").value;
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: form, headers });
  } catch {
    throw new Error("The server does not answer.");
  }
  if (answer.status === 401) {
    byId("key-row").hidden = false;
    byId("key").focus();
    throw new Error("This server asks for a key. Enter it below, then choose the images again.");
  }
  const content = await answer.json();
  if (!answer.ok) throw new Refused(content.error);
  return content;
}

function inWords(p) {
  const of = p < 0.1 || p > 0.9 ? 100 : 10;
  const n = Math.min(of - 1, Math.max(1, Math.round(p * of)));
  return `right for about ${n} in ${of} images that it is as sure of`;
}

function element(name, text, kind) {
  const found = document.createElement(name);
  found.textContent = text;
  if (kind) found.className = kind;
  return found;
}

// A label that is not the most probable class is the threshold's.
function why(row, model) {
  if (row.probabilities[row.label] === Math.max(...Object.values(row.probabilities))) return "";
  return ` Called so because ${model.positive} is called from ${model.threshold.toFixed(2)} on.`;
}

function show(file, row, model) {
  const item = byId("answer").content.firstElementChild.cloneNode(true);
  const part = (name) => item.querySelector(name);
  const image = part(".image");
  image.alt = `Image ${file.name}`;
  image.onerror = () => image.replaceWith(element("p", "No preview of this kind of file", "absent"));
  image.src = URL.createObjectURL(file);
  image.onload = () => URL.revokeObjectURL(image.src);
  if (row.error) {
    part("h2").textContent = "Not read";
    part(".words").textContent = row.error.message;
    part(".explain").remove();
  } else {
    const p = row.probabilities[row.label];
    part("h2").textContent = row.label;
    part(".words").textContent = `Probability ${p.toFixed(2)}: ${inWords(p)}.${why(row, model)}`;
    part(".set").textContent = inSet(row);
    if (row.unlike) part(".set").after(element("p", "Unlike the images it learned from: do not rely on it.", "warn"));
    part(".explain").onclick = (event) => explain(file, part(".maps"), event.currentTarget);
  }
  part(".note").textContent = [file.name, row.remark].filter(Boolean).join(" · ");
  byId("answers").append(item);
}

function inSet(row) {
  if (!row.set) return "";
  if (row.set.length === 1) return "No other class fits as well.";
  const all = row.set.length === Object.keys(row.probabilities).length;
  const sure = all ? " It is not sure: nothing is ruled out." : "";
  return `Cannot be left out: ${row.set.join(", ")}.${sure}`;
}

async function explain(file, maps, button) {
  button.disabled = true;
  button.textContent = "Looking …";
  try {
    let found;
    try {
      found = await ask("v1/explain?method=gradcam", [file]);
    } catch (error) {
      if (error.code !== "no_such_map") throw error;
      found = await ask("v1/explain?method=auto", [file]);
    }
    maps.replaceChildren(...found.maps.map((map, k) => figure(map, k, found)));
    maps.append(element("p", `Where “${found.target}” comes from (${found.method}), from shallow to deep. ` +
      "Each map is scaled to its own largest value. A heatmap shows where, not why."));
    maps.hidden = false;
    maps.focus();
    button.remove();
  } catch (error) {
    button.disabled = false;
    button.textContent = "Show where it looks";
    maps.replaceChildren(element("p", error.message, "warn"));
    maps.hidden = false;
  }
}

function figure(map, k, found) {
  const image = document.createElement("img");
  const depth = found.maps.length > 1 ? `Depth ${k + 1} of ${found.maps.length}` : "The whole model";
  image.src = map.overlay;
  image.alt = `${depth}: heatmap for ${found.target}`;
  const none = map.largest > 0 ? "" : " (nothing here speaks for it)";
  const made = document.createElement("figure");
  made.append(image, element("figcaption", `${depth}: ${map.tap}${none}`));
  return made;
}

function describe(model) {
  const at = model.threshold === null ? "" :
    ` ${model.positive} is called from ${model.threshold.toFixed(2)} on (${model.threshold_rule}).`;
  byId("model").textContent = `Model ${model.scenario}, sha256 ${model.sha256}.${at}`;
}

async function predict(chosen) {
  const files = [...chosen];
  byId("answers").replaceChildren();
  for (let start = 0; start < files.length; start += AT_ONCE) {
    state.textContent = `Reading ${start + 1} to ${Math.min(start + AT_ONCE, files.length)} of ${files.length} …`;
    const some = files.slice(start, start + AT_ONCE);
    try {
      const found = await ask("v1/predict", some);
      describe(found.model);
      for (const row of found.images) {
        const error = row.error && new Refused(row.error);
        show(some[row.index], { ...row, error }, found.model);
      }
    } catch (error) {
      if (!(error instanceof Refused)) {
        state.textContent = error.message;
        return;
      }
      await oneByOne(some, error);
    }
  }
  state.textContent = files.length === 1 ? "1 image" : `${files.length} images`;
}

// Not one of several was read, and the refusal is the first one's.
async function oneByOne(files, first) {
  show(files[0], { error: first });
  for (const file of files.slice(1)) {
    await ask("v1/predict", [file]).catch((error) => show(file, { error }));
  }
}

const drop = byId("drop");
for (const kind of ["dragover", "dragenter"]) {
  drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
}
drop.addEventListener("dragleave", () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  predict(event.dataTransfer.files);
});
byId("files").addEventListener("change", (event) => {
  predict(event.target.files).then(() => { event.target.value = ""; });
});
byId("form").addEventListener("submit", (event) => event.preventDefault());
