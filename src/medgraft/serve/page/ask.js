// Questions to the server. Addresses are relative, so that the page works below any path.

export class Refused extends Error {
  constructor(error) {
    const value = error.value[0].toUpperCase() + error.value.slice(1);
    super(`${value}. What helps: ${error.remedy}.`);
    this.code = error.code;
    this.value = error.value;
  }
}

export class KeyNeeded extends Error {}

let key = "";
export function useKey(given) { key = given; }

async function fetched(path, options = {}) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Is it still running?");
  }
  if (answer.status === 401) throw new KeyNeeded("This server asks for its key.");
  if (!answer.ok) {
    const content = await answer.json().catch(() => null);
    if (!content?.error) throw new Error(`The server answers ${answer.status}.`);
    throw new Refused(content.error);
  }
  return answer;
}

function form(files) {
  const made = new FormData();
  // The name stays here: the server needs none.
  for (const file of files) made.append("files", file, "image");
  return { method: "POST", body: made };
}

export async function about() { return (await fetched("v1/model")).json(); }

export async function studyCases() { return (await (await fetched("v1/cases")).json()).cases; }

async function picture(...asked) {
  return URL.createObjectURL(await (await patiently(() => fetched(...asked))).blob());
}

export const pictureOf = (file) => picture("v1/picture", form([file]));
export const casePicture = (name) => picture(`v1/cases/${name}`);

// A server that has too much to do says so, and is asked again.
export async function patiently(work) {
  for (let tries = 0; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (error.code !== "busy" || tries === 20) throw error;
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

// Maps at each depth, or where the model has none the one map of the whole model.
export async function mapsOf(file) {
  try {
    return await (await fetched("v1/explain?method=gradcam", form([file]))).json();
  } catch (error) {
    if (error.code !== "no_such_map") throw error;
    const found = await (await fetched("v1/explain?method=auto", form([file]))).json();
    return { ...found, shallow: true };
  }
}

// Answers of files in order, a row or a Refused each.
export async function predict(files) {
  let found;
  try {
    found = await (await fetched("v1/predict", form(files))).json();
  } catch (error) {
    if (!(error instanceof Refused) || error.code === "busy") throw error;
    if (files.length === 1) return [error];
    // Not one of several was read, and the refusal is that of the first.
    const rows = [error];
    for (const file of files.slice(1)) rows.push(...await predict([file]));
    return rows;
  }
  return found.images.map((row) => (row.error ? new Refused(row.error) : row));
}
