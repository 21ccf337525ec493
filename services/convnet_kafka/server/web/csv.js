// The table that a person takes away: one line per picture (RFC 4180), readable by spreadsheets.

const COLUMNS = ["name", "label", "confidence", "error", "detail", "model", "milliseconds", "image"];

export function csvOf(items) {
  const lines = [COLUMNS, ...items.map((item) => COLUMNS.map((column) => item[column]))];
  // With a byte order mark, without which spreadsheets take UTF-8 for something else.
  return new Blob(["\ufeff", lines.map((cells) => cells.map(cell).join(",")).join("\r\n"), "\r\n"], { type: "text/csv;charset=utf-8" });
}

function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  // A name is somebody's text: a spreadsheet is not to run it as a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export function download(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
