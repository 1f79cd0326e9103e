// Files from the browser: dropped, or chosen in its own dialog. They are copied to medgraft's folder.

import { post, send } from "./api.js";
import { count, h, say, several, trouble } from "./dom.js";

const FILES = 250; // of a batch
const BYTES = 16 << 20; // of a batch, but for a file that is larger alone
const PACKED = /\.(zip|7z|rar|tar|t?gz|bz2|xz)$/i;
const TABLE = /\.(csv|tsv|xlsx|parquet|npz)$/i;
const LEFT = /^(\.|Thumbs\.db$|desktop\.ini$|__MACOSX$)/i;

let place = null; // where the page takes a drop: what happens is shown there
let early = null; // what was dropped where there is none, until there is

// Copies one small file, and gives where it lies.
export async function kept(file) {
  const { id } = await post("/api/uploads", { name: file.name.replace(/\.\w+$/, ""), files: 1, bytes: file.size });
  await send(`/api/uploads/${id}`, packed([{ path: file.name, file }]));
  return (await post(`/api/uploads/${id}/end`)).data;
}

export function dropZone(open) {
  const state = h("div", { class: "state", role: "status" });
  const input = h("input", { type: "file", webkitdirectory: true, multiple: true, id: "folder" });
  const zone = h("section", { class: "card drop", "aria-labelledby": "copied" },
    h("h2", { id: "copied" }, "Drop a folder on this page"),
    h("p", {}, "A copy is kept in medgraft’s own folder on this machine."),
    h("label", { class: "button", for: "folder" }, "Copy a folder …"), input, state);
  input.addEventListener("change", () => {
    const files = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
    input.value = "";
    copy(files, state, open);
  });
  place = { zone, state, open };
  if (early) {
    const waiting = early;
    early = null;
    looked(waiting, place);
  }
  return zone;
}

export function takeDrop(event) {
  // The entries are gone when the event is over, so that they are taken out of it first.
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const dropped = { entries, loose: entries.length ? [] : [...event.dataTransfer.files] };
  if (!entries.length && !dropped.loose.length) return;
  if (place?.zone.isConnected) {
    looked(dropped, place);
    return;
  }
  early = dropped;
  location.hash = "#/";
}

async function looked({ entries, loose }, { state, open }) {
  state.replaceChildren(h("p", {}, "Looking at what was dropped …"));
  state.scrollIntoView({ block: "nearest" });
  try {
    const files = loose.map((file) => ({ path: file.name, file }));
    for (const entry of entries) await walk(entry, files, state);
    await copy(files, state, open);
  } catch (error) {
    state.replaceChildren(trouble(`The browser cannot read what was dropped (${error.message}).`));
  }
}

// Why files are not copied, for nothing could be learned from them; "" where that may be.
function refusal(files) {
  if (files.every(({ path }) => PACKED.test(path))) {
    return `${files[0].path} is packed. Unpack it first (open it, or right-click and extract), then drop the folder that comes out. Nothing was copied.`;
  }
  if (files.some(({ path }) => path.includes("/") || TABLE.test(path))) return "";
  const what = files.length === 1 ? "A single file says" : "Files without a folder say";
  return `${what} nothing of classes. Drop the folder that has a folder for each class. To have a model judge a photo, open a finished study and choose “Try it on new images”. Nothing was copied.`;
}

async function walk(entry, files, state) {
  if (LEFT.test(entry.name)) return;
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed));
    files.push({ path: entry.fullPath.replace(/^\//, ""), file });
    if (files.length % 500 === 0) state.replaceChildren(h("p", {}, `Looking: ${count(files.length)} files …`));
    return;
  }
  const reader = entry.createReader();
  for (;;) { // a hundred at a time, until there are no more
    const some = await new Promise((done, failed) => reader.readEntries(done, failed));
    if (!some.length) return;
    for (const one of some) await walk(one, files, state);
  }
}

async function copy(all, state, open) {
  const files = all.filter(({ path }) => !path.split("/").some((part) => LEFT.test(part)));
  if (!files.length) {
    state.replaceChildren(trouble("There is no file in what was dropped. Drop a folder of images, or a table."));
    return;
  }
  const why = refusal(files);
  if (why) {
    state.replaceChildren(trouble(why));
    return;
  }
  const size = files.reduce((sum, { file }) => sum + file.size, 0);
  const name = files[0]?.path.split("/")[0].replace(/\.\w+$/, "") || "dropped";
  const words = h("p", {});
  const progress = h("progress", { max: Math.max(1, size), value: 0, "aria-label": "Copied" });
  let going = true;
  const cancel = h("button", { type: "button", onclick: () => { going = false; } }, "Cancel");
  state.replaceChildren(words, progress, cancel);
  let id = "";
  try {
    ({ id } = await post("/api/uploads", { name, files: files.length, bytes: size }));
    say(`Copying ${several(files.length, "file", "files")}`);
    let sent = 0;
    let done = 0;
    for (const batch of batches(files)) {
      if (!going) throw new Error("Cancelled; nothing was kept.");
      words.textContent = `Copying: ${count(done)} of ${several(files.length, "file", "files")}, ` +
        `${(sent / 1e6).toFixed(0)} of ${(size / 1e6).toFixed(0)} MB`;
      await send(`/api/uploads/${id}`, packed(batch));
      done += batch.length;
      sent += batch.reduce((sum, { file }) => sum + file.size, 0);
      progress.value = sent;
    }
    const { data } = await post(`/api/uploads/${id}/end`);
    open(data);
  } catch (error) {
    if (id) post(`/api/uploads/${id}/forget`).catch(() => {});
    state.replaceChildren(trouble(error.message));
  }
}

function* batches(files) {
  let batch = [];
  let size = 0;
  for (const one of files) {
    if (batch.length && (batch.length === FILES || size + one.file.size > BYTES)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(one);
    size += one.file.size;
  }
  if (batch.length) yield batch;
}

// The length of the list, the list, then the files, which the browser reads from the disk as it sends.
function packed(batch) {
  const list = new TextEncoder().encode(JSON.stringify(batch.map(({ path, file }) => [path, file.size])));
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, list.length);
  return new Blob([length.buffer, list, ...batch.map(({ file }) => file)]);
}
