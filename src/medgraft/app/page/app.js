// Which part of the page is shown: what stands behind the # of the address.

import { get, post } from "./api.js";
import { ask, byId, h, say, trouble } from "./dom.js";
import { takeDrop } from "./drop.js";
import * as start from "./start.js";

const main = byId("main");
let leaveView = () => {};
let shown = 0;

async function route() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean);
  const mine = ++shown;
  leaveView();
  leaveView = () => {};
  say("");
  try {
    const view = await viewOf(parts);
    if (mine !== shown) return;
    const stage = h("div", {});
    main.replaceChildren(stage);
    leaveView = view.show(stage, parts[1] ?? "", new URLSearchParams(query ?? "")) ?? (() => {});
  } catch (error) {
    main.replaceChildren(h("h1", {}, "That did not work"), trouble(error.message));
  }
  const heading = main.querySelector("h1");
  document.title = heading ? `${heading.textContent} · medgraft` : "medgraft";
  if (mine > 1) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

async function viewOf(parts) {
  if (parts[0] === "data") return import("./data.js");
  if (parts[0] === "study") return import("./study.js");
  return start;
}

byId("leave").addEventListener("click", async () => {
  const { runs } = await get("/api/runs").catch(() => ({ runs: [] }));
  const running = runs.filter((one) => one.state === "running").map((one) => one.name);
  if (running.length && !await ask("Quit while a study runs?",
    h("p", {}, `${running.join(", ")} ${running.length === 1 ? "goes" : "go"} on without this page. Start medgraft again to see the result, or to stop.`),
    "Quit medgraft", "Stay")) return;
  await post("/api/leave").catch(() => {});
  leaveView();
  document.body.replaceChildren(h("main", {},
    h("h1", {}, "medgraft has ended"),
    h("p", {}, "You may close this page. A study that was running goes on; start medgraft again to see it.")));
});

// A drop is taken wherever on the page it falls.
for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.querySelector(".drop")?.classList.add("over");
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.querySelector(".drop")?.classList.remove("over");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.querySelector(".drop")?.classList.remove("over");
  takeDrop(event);
});
addEventListener("hashchange", route);
route();
get("/api/state").then((state) => { byId("home").textContent = state.home; }, () => {});
