// One image: the picture with its heatmap, and what is said of it.

import { casePicture, mapsOf, pictureOf } from "./ask.js";
import { depthName, draw, heatWords } from "./heat.js";
import { decisionText, inSet, inWords, knownLabel, percent, setMeans, UNLIKE } from "./words.js";

const byId = (id) => document.getElementById(id);
const picture = byId("picture");
const heat = byId("heat");
const answer = byId("answer");
let current = null;
let about = null;
let shown = false; // whether heatmaps are
let depth = 0; // from the deepest map
let noticed = () => {};

function put(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

// noticed : told of an image once it is known whether its picture is there.
export function useAbout(found, onSight) { about = found; noticed = onSight; }

export function show(one) {
  current = one;
  const unlike = Boolean(one.row?.unlike);
  byId("case-title").textContent = unlike ? UNLIKE : one.row?.label ?? (one.error ? "Not read" : one.path);
  put("case-name", one.row || one.error ? one.path : "");
  picture.alt = `Image ${one.path}`;
  showPicture(one);
  answer.open = !unlike;
  byId("unlike").hidden = !unlike;
  answer.querySelector("summary").hidden = !unlike;
  put("words", one.row ? inWords(one.row, about) : one.error ? one.error.message : one.file ? "It waits for its answer." : "");
  put("set", one.row ? inSet(one.row, about) : "");
  byId("set-means").hidden = byId("set").hidden;
  byId("set-means").querySelector("p").textContent = setMeans(about);
  put("known", knownLabel(one));
  put("remark", one.row?.remark ?? "");
  showBars(one);
  put("decided", decisionText(one, about.model));
  byId("heat-on").parentElement.hidden = !one.row;
  showHeat();
}

// Where its picture lies, by and by: in its file, or where the study read it; "" where neither is.
export async function urlOf(one) {
  one.url ??= one.file ? one.blob = URL.createObjectURL(one.file)
    : one.study?.picture ? casePicture(one.study.picture).catch(() => "") : "";
  return one.url;
}

// What the browser does not know, the server shows; asked once, however often it fails here.
export async function instead(one, failed) {
  if (one.error || failed !== one.blob) one.url = "";
  else if (one.url === failed) one.url = pictureOf(one.file).catch(() => "");
  return one.url;
}

async function showPicture(one) {
  const before = picture.getAttribute("src");
  picture.hidden = before !== one.url;
  put("absent", "");
  const url = await urlOf(one);
  if (current !== one) return;
  picture.hidden = !url;
  put("absent", url ? "" : absent(one));
  if (!url) sight(one, false);
  else if (url !== before) picture.src = url;
}

function sight(one, seen) {
  if (one.seen === seen) return;
  one.seen = seen;
  noticed(one);
}

function absent(one) {
  return one.file ? "No picture of this file can be shown."
    : "This image does not lie where the study read it, or was changed. Drop it on this page to see it.";
}

picture.addEventListener("error", async () => {
  const one = current;
  if (!one) return;
  await instead(one, picture.getAttribute("src"));
  if (current === one) showPicture(one);
});

picture.addEventListener("load", async () => {
  const one = current;
  const ratio = picture.naturalWidth / picture.naturalHeight;
  byId("views").style.setProperty("--ratio", Math.min(1.6, Math.max(0.8, ratio)));
  if (await one.url === picture.getAttribute("src")) sight(one, true);
});

function showBars({ row, study }) {
  const said = row ?? study;
  byId("bars").hidden = !said;
  byId("bars").caption.textContent = row ? "Probability of each class" : "By models that had not seen it";
  const rows = Object.entries(said?.probabilities ?? {}).map(([name, p]) => {
    const line = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name;
    const bar = document.createElement("td");
    const fill = document.createElement("i");
    fill.style.width = `${100 * p}%`;
    bar.className = "bar";
    bar.append(fill);
    const number = document.createElement("td");
    number.textContent = percent(p);
    line.className = name === row?.label ? "called" : "";
    line.append(head, bar, number);
    return line;
  });
  byId("bars").tBodies[0].replaceChildren(...rows);
}

// --------------------------------------------------------------------------- heatmap

export function toggleHeat() {
  shown = !shown;
  showHeat();
}

export function moveDepth(step) {
  const slider = byId("depth");
  slider.value = Number(slider.value) + step;
  slider.dispatchEvent(new Event("input"));
}

// Beside the image, which stays as it is.
function pane(open) {
  byId("heat-view").hidden = byId("sliders").hidden = !open;
  byId("look").classList.toggle("heated", open);
}

async function showHeat() {
  const one = current;
  byId("heat-does").textContent = shown ? "Hide where it looks" : "Show where it looks";
  put("heat-words", "");
  if (!shown || !one.row) {
    pane(false);
    return;
  }
  heat.hidden = byId("under").hidden = true;
  if (!one.maps) {
    put("heat-words", "Looking … the first time this takes some seconds, for what draws it has to be loaded.");
    byId("view").setAttribute("aria-busy", "true");
    try {
      one.maps = await mapsOf(one.file);
    } catch (error) {
      if (current === one) {
        pane(false);
        put("heat-words", error.message);
      }
      return;
    } finally {
      byId("view").removeAttribute("aria-busy");
    }
  }
  if (current !== one || !shown) return;
  const n = one.maps.maps.length;
  byId("depth-row").hidden = n < 2;
  byId("depth").max = n;
  byId("depth").value = n - Math.min(depth, n - 1);
  await drawHeat();
}

async function drawHeat() {
  const one = current;
  const { maps } = one.maps;
  const at = Number(byId("depth").value) - 1;
  const map = maps[Math.min(at, maps.length - 1)];
  depth = maps.length - 1 - at;
  const name = depthName(map, at, maps.length);
  byId("depth-said").textContent = name;
  byId("depth").setAttribute("aria-valuetext", name);
  await draw(heat, map);
  if (current !== one || !shown) return;
  const no = one.maps.shallow ? `No map at each depth: ${about.no_depth} ` : "";
  put("heat-words", no + heatWords(one.maps, map, name));
  byId("under").src = await urlOf(one);
  heat.hidden = byId("under").hidden = false;
  pane(true);
  fade();
}

function fade() {
  const opacity = Number(byId("opacity").value);
  heat.style.opacity = opacity / 100;
  byId("opacity-said").textContent = `${opacity} %`;
}

byId("heat-on").addEventListener("click", toggleHeat);
byId("depth").addEventListener("input", () => current?.maps && drawHeat());
byId("opacity").addEventListener("input", fade);
