// Files from the browser: dropped, or chosen in its own dialog. They are copied to medgraft's folder.

import { post, send } from "./api.js";
import { count, h, say, several, trouble } from "./dom.js";

const FILES = 250; // of a batch
const BYTES = 16 << 20; // of a batch, but for a file that is larger alone
const LEFT = /^(\.|Thumbs\.db$|desktop\.ini$|__MACOSX$)/i;

export function dropZone(open) {
  const state = h("div", { class: "state" });
  const input = h("input", { type: "file", webkitdirectory: true, multiple: true, id: "folder" });
  const zone = h("section", { class: "card drop", "aria-labelledby": "copied" },
    h("h2", { id: "copied" }, "Drop a folder here"),
    h("p", {}, "A copy is kept in medgraft’s own folder on this machine."),
    h("label", { class: "button", for: "folder" }, "Copy a folder …"), input, state);
  input.addEventListener("change", () => {
    const files = [...input.files].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
    input.value = "";
    copy(files, state, open);
  });
  for (const kind of ["dragenter", "dragover"]) zone.addEventListener(kind, () => zone.classList.add("over"));
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", async (event) => {
    event.preventDefault();
    // The entries are gone when the event is over, so that they are taken out of it first.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    const loose = entries.length ? [] : [...event.dataTransfer.files];
    state.replaceChildren(h("p", {}, "Looking at what was dropped …"));
    try {
      const files = loose.map((file) => ({ path: file.name, file }));
      for (const entry of entries) await walk(entry, files, state);
      await copy(files, state, open);
    } catch (error) {
      state.replaceChildren(trouble(`The browser cannot read what was dropped (${error.message}).`));
    }
  });
  return zone;
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
