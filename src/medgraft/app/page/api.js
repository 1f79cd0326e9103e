// What is asked of the server, and why it could not answer, in its own words.

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

async function asked(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Refused(0, "medgraft does not answer. If it was ended, start it again; a study that runs goes on.");
  }
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    throw new Refused(answer.status, content.error?.text ?? `medgraft met a fault of its own (${answer.status}).`);
  }
  return content;
}

export const get = (path) => asked(path, {});
export const post = (path, content = {}) => asked(path, { method: "POST", body: JSON.stringify(content) });
export const send = (path, body) => asked(path, { method: "POST", body });
