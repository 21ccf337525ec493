// The page: ties what a person does to the album, the job that is open, and what is shown. Draws at most once a frame.

import { Album, State } from "./album.js";
import { Api, Problem } from "./api.js";
import { Chart } from "./chart.js";
import { csvOf, download } from "./csv.js";
import { Gallery } from "./gallery.js";
import { Job } from "./job.js";
import { keepJobs, keptJobs } from "./memory.js";
import { looksLikePicture, ofDrop, ofList, ofPaste } from "./pictures.js";
import { Thumbnails } from "./thumbnails.js";
import { number, pictures } from "./words.js";

// How often a screen reader is told how far it is, and how many failures are listed.
const SAY_EVERY_MS = 4000;
const FAILURES_LISTED = 200;
const MAX_NAME_BYTES = 1024;

const $ = (id) => document.getElementById(id);
const album = new Album();
const api = new Api(askForKey);
const chart = new Chart($("classes"), $("more-classes"), album, choose);
const gallery = new Gallery($("gallery"), $("more-pictures"), $("nothing"), $("card"), album, new Thumbnails());
const jobs = [];
const rate = { at: 0, done: 0, perSecond: 0 };
let drawing = false;
let saidAt = 0;
let saidDone = false;
let failuresListed = 0;

// --- what a person does

function take(found) {
  if (!found.length) return;
  const fresh = [];
  for (const { name, file } of found) {
    const item = album.add(name.toWellFormed?.() ?? name, file);
    if (!item) continue;
    const wrong = whyNot(name, file);
    if (wrong) album.set(item, State.failed, wrong);
    else fresh.push(item);
  }
  if (fresh.length) openJob().add(fresh);
  draw();
}

function whyNot(name, file) {
  if (!looksLikePicture(file)) return { error: "unsupported", detail: `Not sent: not a picture (${file.type}).` };
  if (!file.size) return { error: "empty", detail: "Not sent: the file is empty." };
  if (new TextEncoder().encode(name).length > MAX_NAME_BYTES) return { error: "bad-name", detail: "Not sent: its name is too long." };
  return null;
}

function openJob() {
  const last = jobs.at(-1);
  return last && !last.finished ? last : newJob();
}

function newJob() {
  const job = new Job(api, album, { saved: save, notice, trouble });
  jobs.push(job);
  return job;
}

async function startOver() {
  $("again").disabled = true;
  keepJobs([]);
  await Promise.all(jobs.map((job) => job.cancel()));
  location.reload();
}

function choose(row) {
  const wanted = { class: (item) => item.state === State.labelled && item.label === row.label, failed: (item) => item.state === State.failed };
  gallery.filter(row ? wanted[row.kind] : () => true);
  $("show-all").hidden = !row;
  $("pictures-title").textContent = row ? `Pictures: ${row.label}` : "Pictures";
}

function askForKey(wrong) {
  const dialog = $("key");
  // What comes behind it says how programs send a key.
  $("key-wrong").textContent = wrong.split(";")[0];
  $("key-wrong").hidden = !wrong;
  $("key-text").value = "";
  return new Promise((resolve, reject) => {
    dialog.returnValue = "";
    dialog.onclose = () => {
      if (dialog.returnValue === "go") resolve($("key-text").value.trim());
      else reject(new Problem(401, "unauthenticated", "This server asks for a key. Choose the pictures again to enter one."));
      setTimeout(showModel);
    };
    dialog.showModal();
  });
}

// --- what jobs tell

function save() {
  keepJobs(jobs.filter((job) => job.id).map(({ id, chosen, accepted, settled }) => ({ job: id, chosen, accepted, settled })));
}

function notice(text) {
  $("notice").hidden = !text;
  if ($("notice").textContent !== text) $("notice").textContent = text;
}

function trouble(job, problem) {
  if (problem.status === 404 || problem.status === 410) {
    jobs.splice(jobs.indexOf(job), 1);
    save();
  }
  notice(problem.message || "Something went wrong. Reload the page to go on.");
  draw();
}

// --- what is shown

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    show();
  });
}

function show() {
  const { counts, size, done } = album;
  const stage = !size ? "empty" : done < size ? "busy" : "done";
  $("main").dataset.stage = stage;
  $("results").hidden = !size;
  if (!size) return;
  $("labelled").textContent = number(counts.labelled);
  $("total").textContent = number(size);
  $("progress-done").style.width = `${(100 * counts.labelled) / size}%`;
  $("progress-failed").style.width = `${(100 * counts.failed) / size}%`;
  $("progress").setAttribute("aria-valuenow", String(Math.floor((100 * done) / size)));
  $("details").textContent = detailsOf(stage);
  $("no-classes").hidden = done > 0;
  $("export").disabled = !done;
  chart.draw();
  showFailures();
  say(stage);
}

function detailsOf(stage) {
  const { counts, done } = album;
  const now = performance.now();
  if (now - rate.at > 1000) {
    const seconds = (now - rate.at) / 1000;
    rate.perSecond = rate.at && seconds < 5 ? (done - rate.done) / seconds : 0;
    [rate.at, rate.done] = [now, done];
  }
  const parts = [];
  if (counts.waiting) parts.push(`${number(counts.waiting)} to be sent`);
  if (counts.sent) parts.push(`${number(counts.sent)} being classified`);
  if (counts.failed) parts.push(`${number(counts.failed)} without a label`);
  if (stage === "busy" && rate.perSecond >= 1) parts.push(`${number(Math.round(rate.perSecond))} a second`);
  return parts.join(" · ") || "All done.";
}

function showFailures() {
  const failed = album.counts.failed;
  $("why").hidden = !failed;
  if (!failed) $("failures").hidden = true;
  if (failed === failuresListed) return;
  failuresListed = failed;
  $("why").textContent = `${number(failed)} failed: why?`;
  const rows = album.items.filter((item) => item.state === State.failed).slice(0, FAILURES_LISTED);
  $("failures-list").replaceChildren(...rows.map(failureRow));
}

function failureRow(item) {
  const row = document.createElement("li");
  const name = document.createElement("b");
  name.textContent = item.name;
  row.append(name, ` ${item.detail || item.error}`);
  return row;
}

function say(stage) {
  const now = performance.now();
  const isDone = stage === "done";
  if (now - saidAt < SAY_EVERY_MS && isDone === saidDone) return;
  if (isDone && saidDone) return;
  [saidAt, saidDone] = [now, isDone];
  const { counts, size } = album;
  const failed = counts.failed ? `, ${number(counts.failed)} without a label` : "";
  $("said").textContent = `${isDone ? "Done: " : ""}${number(counts.labelled)} of ${pictures(size)} labelled${failed}.`;
}

async function showModel() {
  try {
    const found = await api.json("GET", "/v1/models", undefined, { quiet: true });
    const model = found.models.find((each) => each.version === found.stable);
    $("model").textContent = model ? `Model ${model.version} · ${number(model.classes.length)} classes` : "No model yet";
    $("model").title = model ? model.classes.slice(0, 100).join(", ") : "Pictures are kept until there is one.";
  } catch {
    $("model").textContent = "";
  }
}

function resume() {
  const kept = keptJobs();
  let lost = 0;
  for (const each of kept) {
    newJob().resume(each);
    lost += Math.max(0, each.chosen - each.settled);
  }
  if (lost) notice(`${pictures(lost)} may not have been sent when the page was left: choose them again to be sure. No picture is classified twice.`);
}

// --- wiring

album.addEventListener("add", draw);
album.addEventListener("change", draw);
$("choose-pictures").addEventListener("click", () => $("pictures").click());
$("choose-folder").addEventListener("click", () => $("folder").click());
for (const id of ["pictures", "folder"]) {
  $(id).addEventListener("change", (event) => {
    take(ofList(event.target.files));
    event.target.value = "";
  });
}
$("export").addEventListener("click", () => download(csvOf(album.items.filter((item) => item.state === State.labelled || item.state === State.failed)), "labels.csv"));
$("again").addEventListener("click", startOver);
$("why").addEventListener("click", () => {
  $("failures").hidden = !$("failures").hidden;
  $("why").setAttribute("aria-expanded", String(!$("failures").hidden));
});
$("key-cancel").addEventListener("click", () => $("key").close());
$("show-all").addEventListener("click", () => chart.choose(null));
document.addEventListener("paste", (event) => take(ofPaste(event.clipboardData)));

let dragged = 0;
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
const overlay = (step) => {
  dragged = step === 0 ? 0 : Math.max(0, dragged + step);
  $("overlay").hidden = !dragged;
};
document.addEventListener("dragenter", (event) => hasFiles(event) && overlay(1));
document.addEventListener("dragleave", (event) => hasFiles(event) && overlay(-1));
document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
document.addEventListener("drop", async (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  overlay(0);
  take(await ofDrop(event.dataTransfer));
});

resume();
showModel();
