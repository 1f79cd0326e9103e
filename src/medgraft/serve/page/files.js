// Files that are dropped, chosen or pasted, each with its path below what was dropped.

export function ofInput(input) {
  return [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

let pasted = 0;
export function ofPaste(data) {
  // A picture that is pasted has the same name as the one before it.
  return [...data.files].map((file) => ({ file, path: `pasted-${++pasted}-${file.name}` }));
}

export async function ofDrop(data) {
  // Entries are there during the event alone; what is in them may be read later.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return [...data.files].map((file) => ({ file, path: file.name }));
  const found = [];
  for (const entry of entries) await walk(entry, "", found);
  return found;
}

async function walk(entry, above, found) {
  if (entry.name.startsWith(".")) return;
  const path = above + entry.name;
  if (entry.isFile) {
    const file = await new Promise((done, failed) => entry.file(done, failed)).catch(() => null);
    if (file) found.push({ file, path });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // It gives a hundred at a time, and none at the end.
    const some = await new Promise((done, failed) => reader.readEntries(done, failed)).catch(() => []);
    if (!some.length) return;
    for (const one of some) await walk(one, `${path}/`, found);
  }
}

export function baseName(path) { return path.slice(path.lastIndexOf("/") + 1); }
