// The page: images come in, are answered, looked at one by one, and judged by a person.

import * as ask from "./ask.js";
import { byName, folderLabel, inOrder, newCase, studyCase } from "./cases.js";
import { baseName, ofDrop, ofInput, ofPaste } from "./files.js";
import { overridesTable, predictionsTable, save } from "./tables.js";
import * as viewer from "./viewer.js";
import { describe } from "./model.js";
import { decisionText, short, UNLIKE } from "./words.js";

const AT_ONCE = 8; // files a request
const LISTED = 200; // images of the list that are shown, and at each wish for more
const UNSEEN = 400; // ms in which nobody has looked at an image: an answer then meant the one before
const byId = (id) => document.getElementById(id);
const cases = [];
const early = []; // that came before it was known what the model is
let about = null;
let study = new Map();
let ordered = [];
let current = null;
let most = LISTED;
let reading = false;
let touched = false; // whether the person has chosen an image
let unsaved = false;
let since = 0; // when the current image came up
let said = 0; // decisions so far

function say(text) { byId("state").textContent = text; }

// --------------------------------------------------------------------------- start

async function start() {
  try {
    about = await ask.about();
  } catch (error) {
    byId("key-row").hidden = !(error instanceof ask.KeyNeeded);
    if (error instanceof ask.KeyNeeded) byId("key").focus();
    else say(error.message);
    return;
  }
  byId("key-row").hidden = true;
  describe(about);
  viewer.useAbout(about, (one) => { if (one === current) offerChoices(one); });
  add(early.splice(0));
  const found = await ask.studyCases().catch(() => []);
  study = byName(found);
  for (const one of cases) know(one);
  if (current) select(current, false);
  const wrong = found.filter((one) => one.why === "label").length;
  byId("offer").hidden = !found.length;
  const close = found.length - wrong;
  const kinds = [wrong && `${wrong} whose label may be wrong`, close && `the ${close} closest calls`];
  byId("offer-text").textContent = `Of the images it learned from: ${kinds.filter(Boolean).join(", and ")}.` +
    (found.some((one) => one.picture) ? "" : " Drop the study’s folder to see them.");
  byId("offer-add").onclick = () => {
    byId("offer").hidden = true;
    byId("order").value = wrong ? "label" : "unsure";
    add(found.map((one) => ({ path: one.id })));
    select(ordered[0]);
  };
}

function know(one) {
  const id = one.row?.id; // of DICOM, whose files have no names in a study
  one.study = (id && study.get(id)?.[0]) || studyCase(one.path, study);
  one.id = one.study?.id ?? id ?? one.path; // which an overrides table knows
  one.labelled = one.study?.labelled ?? folderLabel(one.path, about.model.classes);
}

// A DICOM file is known by its answer alone: it may be one that the study named already.
function recognise(one) {
  know(one);
  const place = cases.findIndex((other) => !other.file && other.id === one.id);
  if (place < 0) return;
  const [named] = cases.splice(place, 1);
  one.decision ??= named.decision;
  if (current === named) current = one;
}

// --------------------------------------------------------------------------- images

function add(found) {
  if (!about) {
    early.push(...found);
    return;
  }
  const keys = new Set(cases.map((one) => one.key));
  for (const one of found.map(newCase)) {
    if (keys.has(one.key)) continue;
    keys.add(one.key);
    know(one);
    const waiting = one.file && cases.find((other) => !other.file && other.id === one.id);
    if (waiting) Object.assign(waiting, { file: one.file, key: one.key, url: null, seen: null });
    else cases.push(one);
  }
  if (!cases.length) return;
  byId("work").hidden = byId("tables").hidden = false;
  sort();
  if (!current) select(ordered[0]);
  read();
}

// As many as a request may hold: the first alone, so that it is answered at once.
function nextFiles() {
  const { files, request_bytes: bytes } = about.limits;
  const most = cases.some((one) => one.row || one.error) ? Math.min(AT_ONCE, files) : 1;
  const some = [];
  let size = 0;
  for (const one of cases) {
    if (!one.file || one.row || one.error) continue;
    size += one.file.size + 1000;
    if (some.length === most || (some.length && size > bytes)) break;
    some.push(one);
  }
  return some;
}

async function read() {
  if (reading) return;
  reading = true;
  try {
    for (let some = nextFiles(); some.length; some = nextFiles()) {
      const done = cases.filter((one) => one.row || one.error).length;
      say(`Reading ${done + 1} of ${cases.filter((one) => one.file).length} …`);
      const rows = await ask.patiently(() => ask.predict(some.map((one) => one.file)));
      some.forEach((one, k) => {
        if (rows[k] instanceof Error) one.error = rows[k];
        else one.row = rows[k];
        if (one.row?.id) recognise(one);
        fill(one);
      });
      if (some.includes(current)) select(current, false);
    }
    sort();
    if (!touched) select(ordered[0], false);
    say(summary());
  } catch (error) {
    say(error.message);
    byId("key-row").hidden = !(error instanceof ask.KeyNeeded);
  } finally {
    reading = false;
  }
}

function summary() {
  const bad = cases.filter((one) => one.error).length;
  const unlike = cases.filter((one) => one.row?.unlike).length;
  const parts = [cases.length === 1 ? "1 image" : `${cases.length} images`];
  if (unlike) parts.push(`${unlike} not like those it learned from`);
  if (bad) parts.push(`${bad} not read`);
  return `${parts.join(", ")}.`;
}

// --------------------------------------------------------------------------- the list

function fill(one) {
  if (!one.item) {
    one.item = byId("item").content.firstElementChild.cloneNode(true);
    const image = one.item.querySelector("img");
    one.item.querySelector("button").onclick = () => { touched = true; select(one); };
    image.onerror = async () => {
      const failed = image.getAttribute("src");
      image.removeAttribute("src");
      const url = await viewer.instead(one, failed);
      if (url) image.src = url;
    };
  }
  const part = (name) => one.item.querySelector(name);
  part(".name").textContent = baseName(one.path);
  part(".name").title = one.path;
  part(".answer").textContent = short(one);
  part(".answer").classList.toggle("warn", Boolean(one.row?.unlike || one.error));
  part(".mark").textContent = one.decision ? "✓" : one.row?.unlike ? "!" : "";
  part(".mark").title = decisionText(one, about.model) || (one.row?.unlike ? UNLIKE : "");
  viewer.urlOf(one).then((url) => { if (url && !part("img").src) part("img").src = url; });
}

function sort() {
  ordered = inOrder(cases, byId("order").value, about.model);
  list();
}

function list() {
  const some = ordered.slice(0, most);
  for (const one of some) fill(one);
  byId("list").replaceChildren(...some.map((one) => one.item));
  byId("further").hidden = ordered.length <= most;
  byId("further").textContent = `Show more of ${ordered.length}`;
  byId("queue-title").textContent = cases.length === 1 ? "1 image" : `${cases.length} images`;
}

function select(one, tell = true) {
  current?.item?.querySelector("button").removeAttribute("aria-current");
  if (current !== one) since = performance.now();
  current = one;
  const place = ordered.indexOf(one);
  if (place >= most) {
    most = place + LISTED;
    list();
  }
  const button = one.item.querySelector("button");
  button.setAttribute("aria-current", "true");
  viewer.show(one);
  offerChoices(one);
  if (!tell) return;
  button.scrollIntoView({ block: "nearest" });
  say(`${place + 1} of ${ordered.length}: ${one.path}, ${short(one)}. ${decisionText(one, about.model)}`);
}

function step(by) {
  touched = true;
  const place = ordered.indexOf(current) + by;
  if (ordered[place]) select(ordered[place]);
}

// --------------------------------------------------------------------------- what a person says

// None where nobody sees what it shows.
function choices(one) {
  const found = [];
  const { row } = one;
  const called = row?.unlike ? undefined : row?.label;
  if (!one.error && one.seen !== false) {
    about.model.classes.forEach((name, k) => {
      const keys = k < 9 ? [String(k + 1)] : [];
      if (name === called) found.unshift({ text: `Yes, ${name}`, keys: ["Y", ...keys], action: "relabel", value: name });
      else found.push({ text: `It is ${name}`, keys, action: "relabel", value: name });
    });
    const out = { text: "Leave it out", keys: ["X"], action: "exclude", value: "" };
    if (row?.unlike) found.unshift(out);
    else found.push(out);
  }
  if (lastDecided()) found.push({ text: one.decision ? "Take back" : "Take back the last answer", keys: ["U"], action: null });
  return found;
}

function lastDecided() {
  return cases.filter((one) => one.decision).sort((a, b) => b.decision.n - a.decision.n)[0];
}

function offerChoices(one) {
  const buttons = choices(one).map((choice) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(choice.text);
    for (const name of choice.keys) {
      const key = document.createElement("kbd");
      key.textContent = name;
      button.append(" ", key);
    }
    button.setAttribute("aria-keyshortcuts", choice.keys.join(" "));
    if (choice.action) button.setAttribute("aria-pressed", chosen(one, choice));
    button.onclick = () => decide(choice);
    return button;
  });
  byId("choices").replaceChildren(...buttons);
  byId("nothing").hidden = !one.error && one.seen !== false;
  byId("nothing").textContent = `It cannot be ${one.error ? "read" : "seen here"}, so there is nothing to say of it.`;
}

function chosen(one, choice) {
  return one.decision?.action === choice.action && one.decision.value === choice.value;
}

async function decide({ action, value }) {
  touched = true;
  const one = action || current.decision ? current : lastDecided();
  if (action) {
    if (!one.seen || performance.now() - since < UNSEEN) return;
    if (action === "relabel" && one.row?.unlike && !await sure(value)) return;
  }
  one.decision = action ? { action, value, n: ++said } : null;
  unsaved = cases.some((other) => other.decision);
  byId("save-decided").disabled = !unsaved;
  fill(one);
  const place = ordered.indexOf(one);
  const next = [...ordered.slice(place + 1), ...ordered.slice(0, place)].find((other) => !other.decision);
  const focused = byId("choices").contains(document.activeElement);
  select(action && next ? next : one, false);
  if (focused) byId("choices").querySelector("button")?.focus();
  const left = ordered.filter((other) => !other.decision).length;
  say(`${decisionText(one, about.model) || "Taken back."} ${left} left. Now ${current.path}, ${short(current)}.`);
}

// Asks before a class is given to an image that is of none, perhaps.
function sure(name) {
  byId("ask-text").textContent = `${UNLIKE}. Is it ${name} all the same?`;
  byId("ask-yes").textContent = `Yes, ${name}`;
  byId("ask").returnValue = "";
  byId("ask").showModal();
  return new Promise((done) => {
    byId("ask").addEventListener("close", () => done(byId("ask").returnValue === "yes"), { once: true });
  });
}

// --------------------------------------------------------------------------- wires

const moves = {
  j: () => step(1), k: () => step(-1), h: () => current.row && viewer.toggleHeat(),
  s: () => viewer.moveDepth(-1), d: () => viewer.moveDepth(1),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=range], [type=checkbox]), select, textarea");
  if (typing || !current || !byId("keys").checked || event.ctrlKey || event.metaKey || event.altKey) return;
  if (byId("ask").open) return;
  const key = event.key.toLowerCase();
  const choice = choices(current).find((one) => one.keys.includes(key.toUpperCase()));
  if (choice && event.repeat) return;
  const move = moves[key] ?? (choice && (() => decide(choice)));
  if (!move) return;
  event.preventDefault();
  move();
});

const body = document.documentElement;
body.addEventListener("dragover", (event) => { event.preventDefault(); body.classList.add("over"); });
body.addEventListener("dragleave", (event) => { if (!event.relatedTarget) body.classList.remove("over"); });
body.addEventListener("drop", async (event) => {
  event.preventDefault();
  body.classList.remove("over");
  add(await ofDrop(event.dataTransfer));
});
document.addEventListener("paste", (event) => add(ofPaste(event.clipboardData)));
for (const [button, input] of [["pick", "files"], ["pick-folder", "folder"]]) {
  byId(button).onclick = () => byId(input).click();
  const chosen = byId(input), take = () => { add(ofInput(chosen)); chosen.value = ""; };
  chosen.onchange = take;
  if (chosen.files.length) take(); // by a person who was faster than this program
}
byId("order").onchange = () => { sort(); byId("list").scrollTop = 0; select(ordered[0]); };
byId("further").onclick = () => { most += LISTED; list(); };
byId("ask-no").onclick = () => byId("ask").close("");
byId("ask-yes").onclick = () => byId("ask").close("yes");
byId("key-row").onsubmit = (event) => { event.preventDefault(); ask.useKey(byId("key").value); start(); };
byId("save-said").onclick = () => save("predictions.csv", predictionsTable(cases, about.model.classes));
byId("save-decided").onclick = () => {
  const table = overridesTable(cases);
  const link = save("overrides.csv", table.text);
  unsaved = false;
  const left = table.unclear ? ` ${table.unclear} were left out: images of one name about which you said different things.` : "";
  byId("tables-note").replaceChildren(`${table.n} ${table.n === 1 ? "image is" : "images are"} in `, link, `.${left}`);
};
window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
start();
