// Tables to take along. Made here, so that no name of a file goes to the server.

// The same rule as in medgraft/files.py: text that a spreadsheet would run gets an apostrophe.
export const FORMULA = /^'*[=+\-@\t\r\n]/;
export const NUMBER = /^[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?$/;

export function cell(value) {
  let text = String(value ?? "");
  if (typeof value === "string" && FORMULA.test(text) && !NUMBER.test(text)) text = `'${text}`;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function csv(rows, ending = "\r\n") {
  return rows.map((row) => row.map(cell).join(",") + ending).join("");
}

// As `medgraft predict --out` writes it, but for digits that nobody reads.
export function predictionsTable(cases, classes) {
  const read = cases.filter((one) => one.row || one.error);
  const sets = read.some((one) => one.row?.set);
  const unlike = read.some((one) => typeof one.row?.unlike === "boolean");
  const grades = read.some((one) => typeof one.row?.mean_grade === "number");
  const head = ["source", "label", ...classes.map((name) => `probability of ${name}`)];
  if (grades) head.push("mean grade", "sd of grade");
  if (sets) head.push("set");
  if (unlike) head.push("unlike");
  const rows = read.map((one) => {
    const row = one.row;
    const said = row ? [row.label, ...classes.map((name) => Number(row.probabilities[name].toFixed(4)))] : ["", ...classes.map(() => "")];
    if (grades) said.push(...[row?.mean_grade, row?.grade_sd].map((one) => one?.toFixed(3) ?? ""));
    if (sets) said.push(row?.set ? row.set.join(" | ") : "");
    if (unlike) said.push({ true: "yes", false: "no" }[row?.unlike] ?? "");
    return [one.row?.id ?? one.path, ...said, one.error ? one.error.value ?? one.error.message : ""];
  });
  return csv([[...head, "error"], ...rows]);
}

// As `medgraft study --overrides` reads it. An image under two decisions would be refused there.
export function overridesTable(cases) {
  const by = grouped(cases.filter((one) => one.decision));
  const rows = [];
  let unclear = 0;
  for (const [id, some] of by) {
    const kinds = new Set(some.map((one) => `${one.decision.action} ${one.decision.value}`));
    if (kinds.size > 1) { unclear += some.length; continue; }
    const { action, value } = some[0].decision;
    rows.push([id, action, value, reason(some[0])]);
  }
  return { text: csv([["path", "action", "value", "why"], ...rows], "\n"), n: rows.length, unclear };
}

function grouped(cases) {
  const by = new Map();
  for (const one of cases) by.set(one.id, [...by.get(one.id) ?? [], one]);
  return by;
}

function reason(one) {
  const row = one.row;
  if (!row) return "seen by a reader";
  const said = `the model said ${row.label} (${row.probabilities[row.label].toFixed(2)})`;
  if (one.decision.action === "exclude") return `left out by a reader; ${said}`;
  return one.decision.value === row.label ? `confirmed by a reader; ${said}` : `corrected by a reader; ${said}`;
}

// Saves a table, and gives the link that saves it once more.
export function save(name, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
  link.download = name;
  link.textContent = name;
  link.click();
  return link;
}
