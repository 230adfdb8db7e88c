/* The page: adds scans to the server's queue, shows how far they are, and shows and saves their results. */
"use strict";

const BUSY_MS = 1000, IDLE_MS = 4000;  // between two requests for the list
const AT_ONCE = 2;  // uploads
const OWN_SCAN = /\.(nii|nii\.gz|zip)$/i;  // files that are a scan of their own; other files are slices
const STEPS = ["loading the model", "reading the scan", "finding kidneys and tumors",
               "measuring and writing the labels", "preparing the view"];
const STATUS = {queued: "waiting", running: "running", done: "done", failed: "failed", canceled: "being removed",
                uploading: "uploading", refused: "refused", choose: "several series"};
const SAVED = {"labels.nii.gz": ["Save labels (NIfTI)", "_labels.nii.gz"],
               "labels.dcm": ["Save labels (DICOM SEG)", "_labels.dcm"], "report.json": ["Save report", "_report.json"]};

const by = id => document.getElementById(id);
let token = sessionStorage.getItem("token");
let server = null;  // the answer of /api/server
let scans = [];
let uploads = [];  // {title, files, status, sent, said, choices, request}
let shown = null;  // id of the scan in the viewer
let viewer = null;
let asking = null;

function make(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

// --- requests to the server -----------------------------------------------------------------------------------------

const credentials = () => token ? {Authorization: `Bearer ${token}`} : {};

class Refused extends Error {
  constructor(status, detail) { super(detail); this.status = status; }
}

async function call(path, options = {}) {
  const answer = await fetch(`api/${path}`, {...options, headers: credentials()});
  if (answer.ok) return answer;
  const {detail} = await answer.json().catch(() => ({detail: `The server answers ${answer.status}.`}));
  throw new Refused(answer.status, detail);
}

// A token may come with the address that the server printed. It is taken out of the address, which others may see.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  token = given;
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname + location.search);
}

async function refresh() {
  clearTimeout(asking);
  let again = IDLE_MS;
  try {
    server ??= await (await call("server")).json();
    scans = await (await call("scans")).json();
    by("token-form").hidden = by("offline").hidden = true;
    by("main").hidden = false;
    render();
    if (scans.some(scan => ["queued", "running", "canceled"].includes(scan.status))) again = BUSY_MS;
  } catch (error) {
    if (error instanceof Refused && error.status === 403) return askForToken();
    by("offline").hidden = false;
  }
  asking = setTimeout(refresh, again);
}

function askForToken() {
  by("main").hidden = true;
  by("token-form").hidden = false;
  by("token-said").textContent = token ? "This token is wrong." : "";
  by("token").focus();
}

by("token-form").onsubmit = event => {
  event.preventDefault();
  token = by("token").value.trim();
  sessionStorage.setItem("token", token);
  by("token").value = "";
  refresh();
};

// --- adding scans --------------------------------------------------------------------------------------------------

// Returns scans to upload, {title, files: [{file, path}]}, of files with their paths: each NIfTI and zip is one, and
// the other files of a folder, or beside each other, are the slices of one.
function grouped(files, title) {
  const visible = files.filter(({path}) => !path.split("/").some(part => part.startsWith(".") || part === "DICOMDIR"));
  const own = visible.filter(({path}) => OWN_SCAN.test(path));
  const slices = visible.filter(({path}) => !OWN_SCAN.test(path));
  const found = own.map(one => ({title: one.file.name, files: [one]}));
  if (slices.length && (!own.length || !title)) found.push({
    title: title || (slices.length === 1 ? slices[0].file.name : `${slices.length} files`), files: slices});
  return found;
}

async function filesOf(entry) {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) return [{file: await new Promise((found, failed) => entry.file(found, failed)), path}];
  const reader = entry.createReader(), files = [];
  for (;;) {  // a reader returns a part at a time
    const part = await new Promise((found, failed) => reader.readEntries(found, failed));
    if (!part.length) return files;
    for (const child of part) files.push(...await filesOf(child));
  }
}

async function addDropped(items) {
  // Before the first await, at which the items go. A drop that a script makes has files, but no entries.
  const dropped = [...items].map(item => ({entry: item.webkitGetAsEntry?.(), file: item.getAsFile()}));
  const loose = [];
  for (const {entry, file} of dropped) {
    if (entry?.isDirectory) add(grouped(await filesOf(entry), entry.name), entry.name);
    else if (file) loose.push({file, path: file.name});
  }
  if (loose.length) add(grouped(loose));
}

function add(found, folder) {
  if (!found.length)
    found = [{title: folder || "the drop", files: [], status: "refused", said: "There is no file in it."}];
  for (const one of found) {
    const bytes = one.files.reduce((sum, {file}) => sum + file.size, 0);
    const tooLarge = bytes > server.max_upload_mb * 2 ** 20 &&
      `It has ${megabytes(bytes)}; this server takes at most ${megabytes(server.max_upload_mb * 2 ** 20)}.`;
    uploads.push({sent: 0, status: tooLarge ? "refused" : "uploading", said: tooLarge || "", choices: [], ...one});
  }
  startUploads();
}

function startUploads() {
  const wanted = uploads.filter(upload => upload.status === "uploading");
  const free = AT_ONCE - wanted.filter(upload => upload.request).length;
  wanted.filter(upload => !upload.request).slice(0, free).forEach(send);
  render();
}

function send(upload, series) {
  const form = new FormData();
  if (typeof series === "string") form.append("series", series);
  for (const {file, path} of upload.files) form.append("file", file, path);
  const request = upload.request = new XMLHttpRequest();  // fetch does not tell how much was sent
  request.open("POST", "api/scans");
  for (const [name, value] of Object.entries(credentials())) request.setRequestHeader(name, value);
  request.upload.onprogress = event => {
    upload.sent = event.total ? event.loaded / event.total : 0;
    const bar = [...by("scans").children].find(card => card.of === upload)?.querySelector("progress");
    if (bar) bar.value = upload.sent;
  };
  request.onloadend = () => {
    upload.request = null;
    let answer = {};
    try { answer = JSON.parse(request.responseText); } catch { /* no answer, or one of a proxy */ }
    if (request.status === 201) {
      uploads = uploads.filter(other => other !== upload);
      refresh();
    } else {
      Object.assign(upload, {status: answer.choices ? "choose" : "refused", choices: answer.choices ?? [],
                             said: answer.detail ?? "The upload was interrupted; try again."});
    }
    startUploads();
  };
  request.send(form);
}

function chooseSeries(upload, series) {
  Object.assign(upload, {status: "uploading", sent: 0, said: "", choices: []});
  send(upload, series);
  render();
}

function dismiss(upload) {
  uploads = uploads.filter(other => other !== upload);
  upload.request?.abort();
  startUploads();
}

for (const [button, input] of [["choose-files", "files"], ["choose-folder", "folder"]]) {
  by(button).onclick = () => by(input).click();
  by(input).onchange = () => {
    const files = [...by(input).files].map(file => ({file, path: file.webkitRelativePath || file.name}));
    const folder = input === "folder" && files.length ? files[0].path.split("/")[0] : "";
    add(grouped(files, folder), folder);
    by(input).value = "";
  };
}
for (const name of ["dragenter", "dragover", "dragleave", "drop"])
  addEventListener(name, event => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    by("drop").classList.toggle("over", name === "dragenter" || name === "dragover");
    if (name === "drop" && server) addDropped(event.dataTransfer.items);
  });
addEventListener("beforeunload", event => { if (uploads.some(upload => upload.request)) event.preventDefault(); });

// --- the list ------------------------------------------------------------------------------------------------------

const megabytes = bytes =>
  bytes < 2 ** 30 ? `${Math.ceil(bytes / 2 ** 20)} MB` : `${(bytes / 2 ** 30).toPrecision(3)} GB`;
const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;

function time(text) {
  const when = new Date(text), today = when.toDateString() === new Date().toDateString();
  return when.toLocaleString([], {hour: "2-digit", minute: "2-digit", ...today ? {} : {day: "numeric", month: "short"}});
}

const isWaiting = scan => ["queued", "running"].includes(scan.status);
const titleOf = scan => scan.title || `${scan.kind} of ${time(scan.created)}`;

function button(text, act, name) {
  return make("button", {type: "button", textContent: text, onclick: act, name: name ?? ""});
}

function summary({kidneys, kidney_ml, tumors, tumor_ml, largest_tumor_mm}) {
  const largest = largest_tumor_mm ? `, the largest ${Math.round(largest_tumor_mm)} mm` : "";
  return `${plural(kidneys, "kidney")} (${Math.round(kidney_ml)} ml without tumor), ` +
    (tumors ? `${plural(tumors, "tumor")} (${tumor_ml.toFixed(1)} ml${largest})` : "no tumor found");
}

function steps(stage) {
  const now = STEPS.indexOf(stage);
  return make("ol", {className: "steps"}, ...STEPS.slice(now > 0 ? 1 : 0).map(step => make("li", {
    textContent: step, className: step === stage ? "now" : STEPS.indexOf(step) < now ? "past" : ""})));
}

function card(one, ...rest) {
  return make("li", {of: one.id ?? one, className: one.id && one.id === shown ? "shown" : ""},
              make("div", {className: "head"}, make("span", {className: "title", textContent: titleOf(one)}),
                   make("span", {className: `status ${one.status}`, textContent: STATUS[one.status]}),
                   make("span", {className: "note deleted",
                                 textContent: one.deleted ? `kept until ${time(one.deleted)}` : ""})),
              ...rest);
}

function scanCard(scan) {
  const rest = [];
  if (scan.status === "running") rest.push(steps(scan.stage));
  if (scan.report) rest.push(make("p", {className: "said", textContent: summary(scan.report)}));
  if (scan.report?.warnings.length) rest.push(make("p", {className: "said warning", textContent:
    plural(scan.report.warnings.length, "warning") + `: ${scan.report.warnings[0]}` +
    (scan.report.warnings.length > 1 ? " …" : "")}));
  if (!scan.report && scan.message) rest.push(make("p", {
    className: `said ${scan.status === "failed" ? "failed" : "note"}`, textContent: scan.message}));
  const actions = scan.status !== "done" ? [] : [
    button("Look", () => look(scan), "look"),
    ...Object.entries(SAVED).filter(([file]) => scan.files.includes(file)).map(([file, [text, ending]]) =>
      button(text, () => save(scan, file, ending), file))];
  if (scan.status !== "canceled")
    actions.push(button(isWaiting(scan) ? "Cancel" : "Delete", () => remove(scan), "remove"));
  rest.push(make("div", {className: "actions"}, ...actions));
  return card(scan, ...rest);
}

function uploadCard(upload) {
  const rest = [];
  if (upload.status === "uploading") rest.push(make("progress", {value: upload.sent}));
  if (upload.choices.length) rest.push(make("p", {className: "said", textContent:
    `It has ${upload.choices.length} CT series. Which one is to be segmented?`}));
  else if (upload.said) rest.push(make("p", {className: "said failed", textContent: upload.said}));
  rest.push(make("div", {className: "actions"},
                 ...upload.choices.map(({series, text}) => button(text, () => chooseSeries(upload, series), "series")),
                 button(upload.status === "uploading" ? "Cancel" : "Dismiss", () => dismiss(upload), "dismiss")));
  return card(upload, ...rest);
}

// Replaces what has changed alone, so that a button stays the same while it is clicked.
function render() {
  if (!server) return;
  const list = by("scans");
  const wanted = [...uploads.map(uploadCard), ...[...scans].reverse().map(scanCard)];
  wanted.forEach((card, index) => {
    const old = list.children[index];
    if (!old) list.append(card);
    else if (old.outerHTML !== card.outerHTML || old.of !== card.of) old.replaceWith(card);
  });
  while (list.children.length > wanted.length) list.lastChild.remove();
  by("none").hidden = wanted.length > 0;
  by("limit").textContent = megabytes(server.max_upload_mb * 2 ** 20);
  by("about").textContent = `kits_tf ${server.version}, model version ${server.model}`;
  by("held-text").textContent = held();
  by("delete-all").hidden = !scans.length;
  if (shown && !scans.some(scan => scan.id === shown)) closeViewer();
}

function held() {
  const hours = server.keep_hours === 1 ? "an hour" : `${server.keep_hours} hours`;
  const rule = `Every scan and its result are deleted ${hours} after the upload. ` +
    "Names of files are held in memory only.";
  if (!scans.length) return `None: this server holds no scan. ${rule}`;
  const done = scans.filter(scan => scan.status === "done").length;
  const waiting = scans.filter(isWaiting).length;
  const kinds = [
    done && `the images, labels and reports of ${plural(done, "scan")}`,
    waiting && `the uploaded files of ${plural(waiting, "scan")} that ${waiting === 1 ? "is" : "are"} not done`,
    done + waiting < scans.length && `messages about ${plural(scans.length - done - waiting, "scan")} that failed`];
  const last = scans.map(scan => scan.deleted).sort().at(-1);
  return `This server holds ${kinds.filter(Boolean).join(", ")}. DICOM labels (SEG) have the patient's name and ` +
    `numbers, as their series does. ${rule} All of it is gone by ${time(last)}.`;
}

async function attempt(act) {
  try {
    await act();
  } catch (error) {
    if (!(error instanceof Refused && error.status === 404)) alert(error.message);
  }
  refresh();
}

const remove = scan => attempt(() => call(`scans/${scan.id}`, {method: "DELETE"}));

by("delete-all").onclick = () => {
  if (confirm("Delete all scans and results on this server, also those of others who use it?"))
    attempt(() => Promise.all(scans.map(scan => call(`scans/${scan.id}`, {method: "DELETE"}))));
};

const save = (scan, file, ending) => attempt(async () => {
  const blob = await (await call(`scans/${scan.id}/${file}`)).blob();
  const url = URL.createObjectURL(blob);
  const name = titleOf(scan).replace(OWN_SCAN, "").replace(/[^\p{L}\p{N}._-]+/gu, "_");
  make("a", {href: url, download: name + ending}).click();
  setTimeout(() => URL.revokeObjectURL(url), 60000);
});

// --- looking -------------------------------------------------------------------------------------------------------

function closeViewer() {
  viewer?.close();
  viewer = shown = null;
  by("viewer").replaceChildren();
  by("look").hidden = true;
}

async function look(scan) {
  closeViewer();
  shown = scan.id;
  by("look").hidden = false;
  by("look-heading").textContent = titleOf(scan);
  by("look-said").textContent = "Loading the images…";
  by("warnings").replaceChildren(...scan.report.warnings.map(
    text => make("li", {className: "warning", textContent: text})));
  by("findings").replaceChildren(findings(scan.report.findings));
  by("look").scrollIntoView({behavior: "smooth"});
  render();
  try {
    const view = await (await call(`scans/${scan.id}/view.json`)).json();
    if (shown !== scan.id) return;
    const {tumors, kidneys} = scan.report.findings;
    const opened = await kitsViewer.open(by("viewer"), {...view, name: "scan", findings: [...tumors, ...kidneys]});
    if (shown !== scan.id) return opened.close();
    viewer = opened;
    by("look-said").textContent = view.note;
  } catch (error) {
    if (shown === scan.id) by("look-said").textContent = error.message;
  }
}

function findings({kidneys, tumors}) {
  const rows = [...kidneys.map(one => ["kidney", one]), ...tumors.map(one => ["tumor", one])];
  if (!rows.length) return make("p", {className: "note", textContent: "Nothing was found."});
  const number = (value, digits) => make("td", {className: "number", textContent: value?.toFixed(digits) ?? ""});
  return make("table", {}, make("thead", {}, make("tr", {}, ...["", "side", "volume, ml", "diameter, mm", "slice", ""].map(
    text => make("th", {textContent: text})))), make("tbody", {}, ...rows.map(([what, one]) => make("tr", {},
      make("td", {textContent: what}), make("td", {textContent: one.side}), number(one.volume_ml, 1),
      number(one.diameter_axial_mm, 0), number(one.slice === undefined ? undefined : one.slice + 1, 0),
      make("td", {}, button("Show", () => viewer?.goTo(one), "show"))))));
}

takeToken();
addEventListener("hashchange", () => { takeToken(); refresh(); });
refresh();
