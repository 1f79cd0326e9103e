// Elements are made of text, never of markup: what files are called cannot become a part of the page.

export function h(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value") made.value = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat(3).filter((one) => one !== null && one !== undefined && one !== false));
  return made;
}

export const byId = (id) => document.getElementById(id);

// What a screen reader is told; said once, however often it is found anew.
let said = "";
export function say(text) {
  if (text === said) return;
  said = text;
  byId("say").textContent = text;
}

// Fills a part of the page anew only where what it shows has changed, so that focus stays.
export function fill(part, shown, build) {
  const key = JSON.stringify(shown);
  if (part.key === key) return;
  part.key = key;
  part.replaceChildren(...[build()].flat(3).filter(Boolean));
}

export const count = (n) => n.toLocaleString("en");
export const several = (n, one, more) => `${count(n)} ${n === 1 ? one : more}`;

export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  const minutes = Math.floor(Math.round(seconds) / 60);
  const rest = Math.round(seconds) % 60;
  if (minutes < 60) return rest ? `${minutes} min ${rest} s` : `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

// Of what is still to come nobody knows the second.
export function about(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.ceil(seconds / 10) * 10} s`;
  if (seconds < 3600 * 1.5) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(1)} h`;
}

export function when(seconds) {
  return new Date(seconds * 1000).toLocaleString("en-GB", {
    day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit",
  });
}

const WORDS = { severe: "severe", warn: "warning", info: "note" };
export const badge = (severity) => h("span", { class: `badge ${severity}` }, WORDS[severity] ?? severity);

export function finding(one, answers = null) {
  const grave = one.severity !== "info";
  return h("li", { class: `finding ${one.severity}` },
    h("h3", {}, badge(one.severity), " ", one.title),
    h("p", {}, one.text),
    grave && one["such as"].length > 0 && h("p", { class: "quiet" }, `Such as: ${one["such as"].join(", ")}`),
    grave && one.remedy && h("p", {}, `→ ${one.remedy}`), answers);
}

// What the seconds left are of, where that is not all there is to do, is said by `of`.
export function bar(task, of = "") {
  const words = `${task.what}: ${count(task.done)} of ${count(task.total)}`;
  return h("div", { class: "bar" },
    h("p", {}, words, task.left === null || task.left === undefined ? "" : `, ${about(task.left)} left${of}`),
    h("progress", { max: Math.max(1, task.total), value: task.done, "aria-label": words }));
}

// Asks before something is done; whether it is to be.
export function ask(title, content, yes, no) {
  return new Promise((answered) => {
    const opener = document.activeElement;
    const dialog = h("dialog", { "aria-labelledby": "ask-title" },
      h("h2", { id: "ask-title" }, title), content,
      h("p", { class: "row" },
        h("button", { type: "button", onclick: () => dialog.close() }, no),
        h("button", { type: "button", onclick: () => { dialog.returnValue = "yes"; dialog.close("yes"); } }, yes)));
    dialog.addEventListener("close", () => {
      dialog.remove();
      opener?.focus();
      answered(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

export const trouble = (text) => h("div", { class: "trouble", role: "alert" }, h("p", {}, text));
