// One image: the picture with its heatmap, and what is said of it.

import { mapsOf, pictureOf } from "./ask.js";
import { depthName, draw, heatWords } from "./heat.js";
import { decisionText, inSet, inWords, knownLabel, percent, UNLIKE } from "./words.js";

const byId = (id) => document.getElementById(id);
const picture = byId("picture");
const heat = byId("heat");
let current = null;
let about = null;
let shown = false; // whether heatmaps are
let depth = 0; // from the deepest map

function put(id, text) {
  byId(id).textContent = text;
  byId(id).hidden = !text;
}

export function useAbout(found) { about = found; }

export function show(one) {
  current = one;
  byId("case-title").textContent = one.row?.label ?? (one.error ? "Not read" : one.path);
  put("case-name", one.row || one.error ? one.path : "");
  picture.alt = `Image ${one.path}`;
  showPicture(one);
  put("unlike", one.row?.unlike ? UNLIKE : "");
  put("words", one.row ? inWords(one.row, about) : one.error ? one.error.message : one.file ? "It waits for its answer." : "");
  put("set", one.row ? inSet(one.row, about) : "");
  put("known", knownLabel(one));
  put("remark", one.row?.remark ?? "");
  showBars(one.row);
  put("decided", decisionText(one, about.model));
  byId("heat-on").parentElement.hidden = !one.row;
  showHeat();
}

// What the browser does not know, the server shows.
export async function urlOf(one) {
  if (!one.url && one.file) one.url = URL.createObjectURL(one.file);
  return one.url;
}

export async function fromServer(one) {
  if (one.served || !one.file || one.error) return false;
  one.served = true;
  try {
    URL.revokeObjectURL(one.url);
    one.url = await pictureOf(one.file);
    return true;
  } catch {
    one.url = "";
    return false;
  }
}

async function showPicture(one) {
  const url = await urlOf(one);
  if (current !== one) return;
  picture.hidden = !url;
  put("absent", url ? "" : absent(one));
  if (url && picture.getAttribute("src") !== url) picture.src = url;
}

function absent(one) {
  return one.file ? "No picture of this file can be shown."
    : "Drop the study’s folder on this page to see this image.";
}

picture.addEventListener("error", async () => {
  const one = current;
  if (!one?.file) return;
  await fromServer(one);
  if (current === one) showPicture(one);
  one.item?.dispatchEvent(new Event("picture"));
});

picture.addEventListener("load", () => {
  const ratio = picture.naturalWidth / picture.naturalHeight;
  byId("view").style.aspectRatio = Math.min(1.6, Math.max(0.8, ratio));
});

function showBars(row) {
  byId("bars").hidden = !row;
  const rows = Object.entries(row?.probabilities ?? {}).map(([name, p]) => {
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
    line.className = name === row.label ? "called" : "";
    line.append(head, bar, number);
    return line;
  });
  byId("bars").tBodies[0].replaceChildren(...rows);
}

// --------------------------------------------------------------------------- heatmap

export function toggleHeat() {
  shown = !shown;
  byId("heat-on").setAttribute("aria-pressed", shown);
  showHeat();
}

export function moveDepth(step) {
  const slider = byId("depth");
  slider.value = Number(slider.value) + step;
  slider.dispatchEvent(new Event("input"));
}

async function showHeat() {
  const one = current;
  const on = shown && Boolean(one.row);
  byId("sliders").hidden = true;
  heat.hidden = true;
  picture.classList.remove("grey");
  put("heat-words", "");
  if (!on) return;
  if (!one.maps) {
    put("heat-words", "Looking … the first time this takes some seconds.");
    byId("view").setAttribute("aria-busy", "true");
    try {
      one.maps = await mapsOf(one.file);
    } catch (error) {
      if (current === one) put("heat-words", error.message);
      return;
    } finally {
      byId("view").removeAttribute("aria-busy");
    }
  }
  if (current !== one || !shown) return;
  const n = one.maps.maps.length;
  byId("sliders").hidden = false;
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
  put("heat-words", no + heatWords(one.maps, map));
  heat.hidden = false;
  fade();
}

function fade() {
  const opacity = Number(byId("opacity").value);
  heat.style.opacity = opacity / 100;
  byId("opacity-said").textContent = `${opacity} %`;
  picture.classList.toggle("grey", opacity > 0 && !heat.hidden);
}

byId("heat-on").addEventListener("click", toggleHeat);
byId("depth").addEventListener("input", () => current?.maps && drawHeat());
byId("opacity").addEventListener("input", fade);
