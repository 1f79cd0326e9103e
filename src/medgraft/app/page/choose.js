// A list of this machine's folders, in which one is chosen. All of it by keyboard: its buttons.

import { get } from "./api.js";
import { count, h, several, trouble } from "./dom.js";

const PACKED = /^\.(zip|7z|rar|tar|gz|tgz)$/;

export function choose(chosen) {
  const where = h("nav", { "aria-label": "Folders above" });
  const inside = h("div", { class: "inside" });
  const take = h("button", { type: "button" }, "Use this folder");
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Cancel");
  const note = h("p", { class: "quiet", role: "status" });
  const dialog = h("dialog", { class: "chooser", "aria-labelledby": "chooser-title" },
    h("h2", { id: "chooser-title" }, "Choose a folder or a table"), where, inside, note,
    h("p", { class: "row" }, take, close));
  document.body.append(dialog);
  const opener = document.activeElement;
  dialog.addEventListener("close", () => { dialog.remove(); opener?.focus(); });
  let here = "";

  function done(path) {
    dialog.close();
    chosen(path);
  }
  take.addEventListener("click", () => done(here));

  async function go(path, focus) {
    note.textContent = "";
    let found;
    try {
      found = await get(`/api/folders?path=${encodeURIComponent(path)}`);
    } catch (error) {
      note.replaceChildren(trouble(error.message));
      return;
    }
    here = found.path;
    where.replaceChildren(h("ol", { class: "above" }, found.above.map((one, i) => h("li", {},
      i === found.above.length - 1
        ? h("span", { "aria-current": "location" }, one.name)
        : h("button", { type: "button", class: "plain", onclick: () => go(one.path, true) }, one.name)))));
    inside.replaceChildren(h("ul", {},
      found.folders.map((one) => h("li", {}, h("button", { type: "button", class: "entry folder",
        onclick: () => go(one.path, true) }, one.name))),
      found.tables.map((one) => h("li", {}, h("button", { type: "button", class: "entry table",
        onclick: () => done(one.path) }, one.name)))));
    inside.scrollTop = 0;
    const images = found.below ? `${several(found.below, "image", "images")}${found.counted ? "" : " or more"}` : "no images seen";
    take.textContent = `Use “${found.name}” (${images})`;
    take.className = found.below && !found.own ? "main" : "";
    note.textContent = [
      found.pictures ? `${several(found.pictures, "picture", "pictures")}${found.all ? "" : " or more"} here` : "",
      found.folders.length ? several(found.folders.length, "folder", "folders") : "no folders in it",
      found.other ? `${several(found.other, "other file is", "other files are")} not listed (${found.others.map(([kind, n]) => `${count(n)} ${kind}`).join(", ")})${
        found.others.some(([kind]) => PACKED.test(kind)) ? "; unpack what is packed first" : ""}` : "",
      found.more ? `${count(found.more)} more are not listed: type the path` : "",
    ].filter(Boolean).join(" · ");
    if (focus) (inside.querySelector("button") ?? take).focus();
  }

  dialog.showModal();
  go(sessionStorage.getItem("folder") ?? "", true);
  dialog.addEventListener("close", () => sessionStorage.setItem("folder", here));
}
