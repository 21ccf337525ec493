// From what a person drops, pastes or picks to a list of {name, file}: whole folders too, each with its path inside the folder.

// Files that systems put into folders by themselves.
const CLUTTER = /(^|\/)(\.[^/]*|Thumbs\.db|desktop\.ini)$/i;

export async function ofDrop(transfer) {
  // Asked for before the first await: the list is empty after it.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return ofList(transfer.files);
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

// A FileList of an input or of the clipboard.
export function ofList(files) {
  return [...files].map((file) => ({ name: file.webkitRelativePath || file.name, file })).filter(({ name }) => !CLUTTER.test(name));
}

export function ofPaste(transfer) {
  return ofList(transfer.files).filter(({ file }) => file.type.startsWith("image/"));
}

// A file that says it is something else than a picture is not sent. One that says nothing is: the server looks at its bytes.
export const looksLikePicture = (file) => file.type === "" || file.type.startsWith("image/");

async function walk(entry, found) {
  const name = entry.fullPath.replace(/^\//, "");
  if (CLUTTER.test(name)) return;
  if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) found.push({ name, file });
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    // A folder is told in parts, the last of which is empty.
    const part = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!part.length) return;
    for (const each of part) await walk(each, found);
  }
}
