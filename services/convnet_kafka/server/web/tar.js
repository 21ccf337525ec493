// A tar archive (POSIX ustar, with pax records for long names) made of files that stay on disk until they are sent.

const BLOCK = 512;
const encoder = new TextEncoder();

// files: a list of {name, file}. Gives a Blob.
export function tarOf(files) {
  const parts = [];
  for (const { name, file } of files) {
    const bytes = encoder.encode(name);
    if (bytes.length > 100) {
      const record = paxRecord("path", name);
      parts.push(header(encoder.encode("pax"), record.length, "x"), record, padding(record.length));
    }
    parts.push(header(bytes.slice(0, 100), file.size, "0"), file, padding(file.size));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts, { type: "application/x-tar" });
}

function header(name, size, kind) {
  const block = new Uint8Array(BLOCK);
  const put = (text, at) => block.set(encoder.encode(text), at);
  block.set(name, 0);
  put("0000644\0", 100);
  put("0000000\0", 108);
  put("0000000\0", 116);
  put(`${size.toString(8).padStart(11, "0")}\0`, 124);
  put("00000000000\0", 136);
  put("        ", 148);
  put(kind, 156);
  put("ustar\u000000", 257);
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  return block;
}

// "LENGTH key=value\n", where the length counts its own digits too.
function paxRecord(key, value) {
  const rest = encoder.encode(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length = String(length).length + rest.length;
  const record = new Uint8Array(length);
  record.set(encoder.encode(String(length)));
  record.set(rest, length - rest.length);
  return record;
}

function padding(size) {
  return new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
}
