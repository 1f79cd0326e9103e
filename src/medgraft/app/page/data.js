// How data was read, what is wrong with it, and the study to start.

import { get, post } from "./api.js";
import { bar, count, fill, finding, h, say, several, trouble } from "./dom.js";
import { open } from "./start.js";

const EVERY = 500; // ms
const OPTIONS = [
  ["group", "What tells patients apart", "patient_id", "A column of the table; or, by the names of files, a pattern as the documentation has it"],
  ["label_column", "The table’s column of classes", "diagnosis", ""],
  ["finding_columns", "The table’s columns of several findings an image", "A,B,C", ""],
  ["binarize", "Two classes: with this finding, and without", "Mass", "Or a value, such as >=50"],
  ["class_names", "Names for the labels", "0=normal,1=ill", ""],
  ["order", "Classes that are grades, from the least to the most", "none,mild,severe", ""],
  ["split_column", "The table’s column of train, val and test", "fold", "none to make a split anew"],
  ["overrides", "A table of corrections: path, action, value, why", "/home/me/corrections.csv", "What you said on Try it; or the suggestions.csv of a check, once you have looked at it"],
  ["layout", "What each level of the folders is, from the outermost on", "split/class/group/image", "In these words: split, class, group (a patient), image, mask, * (does not matter)"],
  ["images", "A folder below which the table’s images lie", "/home/me/images", ""],
];
const MANY = ["images", "leave_out", "rename"]; // options that take several values

export function show(stage, _, query) {
  const data = query.get("data") ?? "";
  const flags = {};
  for (const [name, value] of query) if (name !== "data") flags[name] = JSON.parse(value);
  const name = data.split(/[\\/]/).filter(Boolean).pop() ?? data;
  const [read, check, study] = [h("div"), h("div"), h("div")];
  stage.append(h("p", { class: "quiet" }, h("a", { href: "#/" }, "← Start")),
    h("h1", {}, name), h("p", { class: "quiet path" }, data), read, check, study);
  let going = true;
  let timer = 0;
  let id = "";
  let known = new Set();
  let shown = 0; // images that the page counts; the check may find some that cannot be read

  async function look(again = false) {
    try {
      const reading = id && !again ? await get(`/api/readings/${id}`) : await post("/api/readings", { data, flags, again });
      id = reading.id;
      if (!going) return;
      fill(read, reading, () => readPart(reading, { data, flags, again: () => look(true) }));
      if (reading.state === "reading") {
        timer = setTimeout(look, EVERY);
        return;
      }
      say(reading.state === "read" ? `Read: ${reading.found.title}`
        : reading.error || "There is a question about how to read it.");
      if (reading.state !== "read") return;
      shown = reading.found.images;
      known = new Set(reading.found.findings.map((one) => one.text));
      fill(study, [id, reading.found.audit], () => studyPart(reading));
      checkNow();
    } catch (error) {
      if (!going) return;
      if (error.status === 404) { id = ""; timer = setTimeout(look, EVERY); return; } // the server is another one
      read.replaceChildren(trouble(error.message), h("p", {}, h("a", { class: "button main", href: "#/" }, "Choose another")));
    }
  }

  async function checkNow(anew = false) {
    try {
      const found = await post(`/api/readings/${id}/check`, { again: anew });
      if (!going) return;
      if (found.state === "done" && found.images !== shown) {
        const reading = await get(`/api/readings/${id}`);
        shown = reading.found.images;
        fill(read, reading, () => readPart(reading, { data, flags, again: () => look(true) }));
        fill(study, [id, reading.found.audit], () => studyPart(reading));
      }
      fill(check, found, () => checkPart(found, known, () => checkNow(true), { data, flags }));
      if (found.state === "running") timer = setTimeout(() => checkNow(), 2 * EVERY);
    } catch (error) {
      if (going) check.replaceChildren(trouble(error.message));
    }
  }

  look();
  return () => {
    going = false;
    clearTimeout(timer);
  };
}

function readPart(reading, asked) {
  const heading = h("h2", {}, "How it was read");
  if (reading.state === "reading") {
    return [heading, reading.tasks.length ? reading.tasks.map((one) => bar(one)) : h("p", {}, "Reading …"),
      h("button", { type: "button", onclick: () => {
        post(`/api/readings/${reading.id}/stop`).catch(() => {});
        location.hash = "#/";
      } }, "Cancel")];
  }
  if (reading.state === "question") return [heading, question(reading, asked), otherWays(asked)];
  if (reading.state === "gone") {
    return [heading, trouble(reading.error), h("p", { class: "row" },
      h("a", { class: "button main", href: "#/" }, "Choose another"),
      h("button", { type: "button", onclick: asked.again }, "Look again"))];
  }
  if (reading.state === "refused") return [heading, trouble(reading.said || "It cannot be read as it was asked for. Say below how it is meant."), otherWays(asked, true)];
  const found = reading.found;
  return [
    heading,
    h("p", { class: "lead" }, titled(found)),
    h("ul", { class: "classes" }, found.classes.slice(0, found.classes.length - found.more).map((one) => classCard(one, found, reading))),
    found.more > 0 && h("p", { class: "quiet" }, `… and ${several(found.more, "class", "classes")} more`),
    grouped(found, asked),
    found.notes.length > 0 && h("ul", { class: "notes" }, found.notes.map((one) => h("li", {}, one))),
    found.skipped.length > 0 && h("details", { open: found.skipped.length < 6 },
      h("summary", {}, `${several(found.skipped.length, "image is", "images are")} left out of these counts`),
      h("ul", { class: "notes" }, found.skipped.slice(0, 100).map(([source, reason]) => h("li", {}, h("strong", {}, source), `: ${reason}`)),
        found.skipped.length > 100 && h("li", {}, `… and ${count(found.skipped.length - 100)} more`))),
    found.findings.length > 0 && h("ul", { class: "findings" }, found.findings.map((one) =>
      (one.check === "positive_class" ? guessed(found, asked) : finding(one, answers(one, asked))))),
    grades(found, asked),
    h("p", { class: "row" }, h("button", { type: "button", onclick: asked.again }, "Read it anew"),
      h("span", { class: "quiet" }, "after you have changed something in the folder")),
    otherWays(asked, false, found),
  ];
}

function classCard(one, found, reading) {
  const parts = found.splits.map((split, i) => `${split} ${count(one["by split"][i])}`).join(" · ");
  return h("li", { class: "card" },
    h("h3", {}, one.name, " ", one.positive && h("span", { class: "badge info", title: "what sensitivity is about" }, "positive")),
    h("p", {}, several(one.images, "image", "images"), one.uncertain ? `, uncertain ${count(one.uncertain)}` : "",
      parts && h("span", { class: "quiet" }, ` ${parts}`)),
    h("div", { class: "pictures" }, one.pictures.map((row, i) => h("img", {
      src: `/api/readings/${reading.id}/pictures/${row}?of=${found.images}`, alt: `${one.name}, example ${i + 1}`, loading: "lazy",
      width: 72, height: 72, onerror: (event) => event.target.replaceWith(h("span", { class: "absent" }, "cannot be read")),
    }))));
}

// Where folders say the classes, how; else what gave the labels.
function titled(found) {
  const [n, layout] = found.title.split(", read as ");
  return layout === undefined ? found.title : `${n}. ${levels(layout) ?? ""}`;
}

// Who is one patient, in words; the other answer is a button.
function grouped(found, { data, flags }) {
  const alone = found.groups === found.images;
  const own = flags.no_groups === true;
  const { group, ...rest } = flags;
  const [words, button, act] = alone
    ? [`Each image is taken as another patient${own ? ", as you said" : ""}.`, "Some are of the same patient", () => {
      const others = document.querySelector("#others");
      others.open = true;
      others.querySelector("[name=no_groups]").checked = false;
      others.querySelector("[name=group]").focus();
    }]
    : [`${several(found.images, "image", "images")} of ${several(found.groups, "patient", "patients")}: ${found.grouping.text}`,
      "No, each image is another patient", () => open(data, { ...rest, no_groups: true })];
  return h("p", { class: "row" }, h("span", {}, words), h("button", { type: "button", onclick: act }, button));
}

// A finding that asks something, with its answers.
const answers = (one, { data, flags }) => one.ways?.length > 0 && h("p", { class: "row" }, one.ways.map((way) =>
  h("button", { type: "button", onclick: () => open(data, { ...flags, ...way.flags }) }, way.words)));

// Of two classes one is what is looked for; where no name says which, a person does.
function guessed(found, { data, flags }) {
  return h("li", { class: "finding warn" },
    h("h3", {}, "Which of the two is to be found?"),
    h("p", {}, `Sensitivity will be about ${found.positive}, for it is the last by name.`),
    h("p", { class: "row" }, found.classes.map((one) =>
      h("button", { type: "button", onclick: () => open(data, { ...flags, positive: one.name }) }, one.name))));
}

// Names that count up may be grades; whether they are, a person says.
function grades(found, { data, flags }) {
  if (!found.grades) return [];
  const { ordered, order, ...plain } = flags;
  const [words, button, next] = found.grades === "taken"
    ? ["These classes are grades, in this order: a mistake weighs by how far it is off.", "They are no grades", plain]
    : ["The names of these classes count up. Are they grades? A mistake then weighs by how far it is off.", "Yes, they are grades",
      { ...plain, ordered: true }];
  return h("p", { class: "row" }, h("span", {}, words),
    h("button", { type: "button", onclick: () => open(data, next) }, button));
}

const MEANS = { split: "the part (training, test)", class: "the class", group: "the patient", image: "the images",
  mask: "masks", "*": "folders that do not matter", "**": "any folders" };

// A layout in words, where its levels are plain ones.
function levels(layout) {
  const ways = layout.split(" + ").map((one) => one.split("/").map((level) => MEANS[level]));
  if (ways.flat().includes(undefined)) return null;
  return `From the outermost folders to the files: ${ways.map((one) => one.join(", then ")).join("; or ")}.`;
}

function question(reading, { data, flags }) {
  return h("div", { class: "question" },
    h("p", { class: "lead" }, "This can be read in more than one way. Which is right?"),
    h("ul", { class: "choices" }, reading.choices.map((one) => h("li", {},
      h("button", { type: "button", class: "choice", onclick: () => open(one.data || data, { ...flags, ...one.flags }) },
        h("strong", {}, one.shows.replace(/^\((.*)\)$/, "$1")),
        one.flags.layout && h("span", {}, levels(one.flags.layout)),
        h("code", {}, [one.data, ...Object.entries(one.flags).filter(([name]) => name !== "layout").map(([name, value]) =>
          (name.endsWith("_column") ? `the column ${value}` : value))].filter(Boolean).join(" · ")))))),
    reading.said && !reading.choices.every((one) => one.flags.layout) && h("p", { class: "quiet" }, reading.said.replace(/[;,:][^;,:]*:$/, ".")));
}

function otherWays({ data, flags }, opened = false, found = null) {
  const fields = OPTIONS.map(([name, label, example, hint]) => h("p", { class: "field" },
    h("label", { for: `opt-${name}` }, label),
    h("input", { id: `opt-${name}`, name, type: "text", placeholder: example, value: [flags[name] ?? ""].flat().join(","),
      list: found && ["group", "label_column", "split_column"].includes(name) ? "columns" : undefined, autocomplete: "off", spellcheck: "false", "aria-describedby": hint ? `hint-${name}` : undefined }),
    hint && h("span", { class: "quiet", id: `hint-${name}` }, hint)));
  if (found && found.classes.length === 2 && found.positive) {
    fields.unshift(h("p", { class: "field" }, h("label", { for: "opt-positive" }, "The class that sensitivity is about"),
      h("select", { id: "opt-positive", name: "positive" }, found.classes.map((one) =>
        h("option", { value: one.name, selected: one.name === found.positive }, one.name)))));
  }
  if (found?.several) {
    fields.unshift(h("p", { class: "field" }, h("label", { for: "opt-uncertain" }, "Findings that are marked as uncertain are taken as"),
      h("select", { id: "opt-uncertain", name: "uncertain" }, ["unknown", "negative", "positive"].map((one) =>
        h("option", { value: one, selected: one === flags.uncertain }, one)))));
  }
  const alone = h("input", { type: "checkbox", id: "opt-alone", name: "no_groups", checked: flags.no_groups === true });
  return h("details", { open: opened, id: "others" }, h("summary", {}, "Read it in another way"),
    h("form", { onsubmit: (event) => {
      event.preventDefault();
      const asked = Object.fromEntries(Object.entries(flags).filter(([name]) => !OPTIONS.some(([one]) => one === name)));
      delete asked.no_groups;
      delete asked.uncertain;
      for (const [name, value] of new FormData(event.target)) {
        const text = value.trim();
        if (!text || name === "no_groups" || (name === "positive" && !flags.positive && text === found.positive)
          || (name === "uncertain" && text === "unknown")) continue;
        asked[name] = MANY.includes(name) ? [text] : text;
      }
      if (alone.checked) asked.no_groups = true;
      open(data, asked);
    } }, found && h("datalist", { id: "columns" }, found.columns.map((one) => h("option", { value: one }))), fields,
    h("p", {}, alone, " ", h("label", { for: "opt-alone" }, "Every image is a patient of its own")),
    h("p", {}, h("button", { type: "submit" }, "Read it so"))));
}

function headline(grave) {
  const severe = grave.filter((one) => one.severity === "severe").length;
  const warnings = grave.length - severe;
  return `${[severe && several(severe, "severe finding", "severe findings"), warnings && several(warnings, "warning", "warnings")]
    .filter(Boolean).join(" and ")}.`;
}

// What stands above already, of how it was read, is not said again.
function checkPart(found, known, again, { data, flags }) {
  const heading = h("h2", {}, "What is wrong with it");
  if (found.state === "running") {
    return [heading, h("p", {}, "Being checked: copies, wrong labels, files that tell the class …"), found.tasks.map((one) => bar(one)),
      h("p", { class: "quiet" }, "You need not wait; a study checks the same.")];
  }
  if (found.state === "stopped") return [heading, h("p", {}, "The check has ended, to leave the machine to the study; its report has the same findings.")];
  if (found.state === "failed") {
    return [heading, trouble(found.error), h("button", { type: "button", onclick: again }, "Check again"),
      h("p", { class: "quiet" }, "A study can be started all the same.")];
  }
  if (found.state !== "done") return [];
  const grave = found.findings.filter((one) => one.severity !== "info" && !known.has(one.text));
  const notes = found.findings.filter((one) => one.severity === "info");
  return [
    heading,
    grave.length === 0
      ? h("p", {}, `Nothing ${known.size ? "else " : ""}that would have to be mended was found.`)
      : h("p", {}, `${headline(grave)} Look at the pictures before you believe a study of these images.`),
    h("ul", { class: "findings" }, grave.map((one) => finding(one, answers(one, { data, flags })))),
    notes.length > 0 && h("details", {}, h("summary", {}, several(notes.length, "note", "notes")), h("ul", { class: "findings" }, notes.map((one) => finding(one)))),
    h("p", { class: "row" }, h("a", { href: `/${found.page}`, target: "_blank", rel: "noopener" }, "All of it, with the pictures"),
      found.suggestions && !flags.overrides && h("button", { type: "button", onclick: () => open(data, { ...flags, overrides: found.suggestions }) },
        "Use its suggestions, now that I have looked")),
  ];
}

const BUDGETS = [
  ["0", "Quick", "Layers of a ready-made network are compared (of VGG-16 too, if it is installed and the images are few); none is trained. Some minutes for a thousand images, the first time. No clock decides anything, so that the same images give the same numbers."],
  ["60", "An hour", "What is worth it in an hour is planned from your images, and the network is trained again where there are enough. What cannot win is stopped. Often a little better, seldom much."],
  ["own", "My own time", "The same, with the time that you give it."],
];

function studyPart(reading) {
  const minutes = h("input", { id: "minutes", type: "number", min: "1", max: "10080", value: "20", "aria-label": "Minutes" });
  const failed = h("div", {});
  let beside = false;
  const short = reading.found.audit;
  const start = h("button", { type: "submit", class: "main" }, "Start the study");
  const many = reading.found.several;
  const budgets = many ? BUDGETS.slice(0, 1) : BUDGETS; // of several findings none can be given
  return [
    h("h2", {}, "The study"),
    h("p", {}, "Ways to learn from these images are compared on patients that they have not seen",
      many ? " for each finding, and a report of all and of each is written." : "; one is recommended, what it looks at is audited, and a report is written."),
    h("form", { onsubmit: async (event) => {
      event.preventDefault();
      const chosen = new FormData(event.target).get("budget");
      start.disabled = true;
      try {
        const asked = chosen === "own" ? Math.round(Number(minutes.value)) : Number(chosen);
        const { id, running } = await post("/api/studies", { reading: reading.id, minutes: asked, beside });
        if (!running) {
          location.hash = `#/study/${id}`;
          return;
        }
        beside = true;
        start.disabled = false;
        start.className = "";
        start.textContent = "Start a second one all the same";
        failed.replaceChildren(h("div", { class: "trouble", role: "alert" },
          h("p", {}, `Already running: ${running.name} is a study of the same data. A second one would share the machine with it.`),
          h("p", {}, h("a", { class: "button main", href: `#/study/${running.id}` }, "Show it"))));
      } catch (error) {
        start.disabled = false;
        failed.replaceChildren(trouble(error.message));
      }
    } },
    h("fieldset", {}, h("legend", {}, many ? "How it is done" : "How long may it take?"), budgets.map(([value, name, words], i) =>
      h("p", { class: "budget" },
        h("input", { type: "radio", name: "budget", id: `budget-${value}`, value, checked: i === 0, "aria-describedby": `words-${value}` }),
        h("label", { for: `budget-${value}` }, h("strong", {}, name)),
        value === "own" && h("span", { class: "own" }, minutes, " minutes"),
        h("span", { class: "quiet", id: `words-${value}` }, words)))),
    short.name !== undefined && h("p", { class: "finding warn" }, `The audit of what decides will stay undecided: ${short.name} has ${
      several(short.images, "image", "images")} ${short.given ? "to learn from" : "in all"}, and about ${count(short.wanted)} of every class are needed. The rest of the study is made all the same.`),
    start, failed),
  ];
}
