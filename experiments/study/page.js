"use strict";
// What a participant sees follows from the study's seed and the participant's number alone: the order
// and the sides are drawn by mulberry32, seeded by the 32-bit FNV-1a hash of "SEED:PARTICIPANT".
const study = JSON.parse(document.getElementById("data").textContent);
const FORMAT = "attiqa-study-answers-1";
const $ = (selector) => document.querySelector(selector);
const KEYS = { ArrowLeft: "left", ArrowRight: "right", ArrowDown: "none" };

// ---- what is drawn

function hash(text) {
  let state = 0x811c9dc5;
  for (const byte of new TextEncoder().encode(text)) {
    state = Math.imul(state ^ byte, 0x01000193) >>> 0;
  }
  return state;
}

function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(items, draw) {
  const made = [...items];
  for (let i = made.length - 1; i > 0; i -= 1) {
    const j = Math.floor(draw() * (i + 1));
    [made[i], made[j]] = [made[j], made[i]];
  }
  return made;
}

// Participants 1, 2, ... take consecutive parts of the list of pairs, so that all pairs are seen
// equally often; others begin where they are drawn. The first third of a participant's pairs has
// those that come again in the last third, sides swapped; each equal stretch has one check.
function plan(participant) {
  const { pairs, checks, perParticipant: count } = study;
  const draw = generator(hash(`${study.seed}:${participant}`));
  const drawn = Math.floor(draw() * pairs.length);
  const first = /^\d{1,9}$/.test(participant) ? Math.max(participant - 1, 0) * count : drawn;
  const own = Array.from({ length: count }, (_, i) => pairs[(first + i) % pairs.length]);
  const sided = (trial) => {
    const [left, right] = draw() < 0.5 ? trial.pictures : [...trial.pictures].reverse();
    return { trial: trial.trial, left, right };
  };
  const showings = shuffled(own, draw).map((trial, i) => ({ at: i, ...sided(trial) }));
  const third = Math.floor(count / 3);
  const again = shuffled(showings.slice(0, third), draw).slice(0, study.repeats);
  const repeated = again.map(({ trial, left, right }) => {
    const at = count - third + draw() * third;
    return { at, trial, left: right, right: left };
  });
  const checked = shuffled(checks, draw).map((trial, i) => {
    const at = ((i + draw()) * count) / checks.length;
    return { at, ...sided(trial) };
  });
  return [...showings, ...repeated, ...checked]
    .sort((a, b) => a.at - b.at)
    .map(({ trial, left, right }) => ({ trial, left, right }));
}

// ---- what is kept

let session = null; // answers of the participant, as they are exported
let trials = [];
let shownAt = null; // null while the pictures are not there

const place = (participant) => `attiqa-study:${study.study}:${participant}`;
const CURRENT = `attiqa-study:${study.study}`;

function stored(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(name);
    if (value === null) localStorage.removeItem(name);
    else localStorage.setItem(name, value);
  } catch {
    complain("This browser keeps no answers: save them before this page is closed.");
  }
  return null;
}

function keep() {
  stored(place(session.participant), JSON.stringify(session));
  stored(CURRENT, session.participant);
}

function open(participant) {
  trials = plan(participant);
  const before = stored(place(participant));
  session = before
    ? JSON.parse(before)
    : {
        format: FORMAT,
        study: study.study,
        participant,
        started: new Date().toISOString(),
        finished: null,
        window: [innerWidth, innerHeight, devicePixelRatio],
        trials: trials.length,
        undone: 0,
        answers: [],
      };
  keep();
  goOn();
}

const complete = () => session.answers.length >= trials.length;
const goOn = () => (complete() ? showEnd() : showTrial());

// ---- what is seen

function complain(text) {
  $("#problem").textContent = text;
  $("#problem").hidden = false;
}

function show(id) {
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== id;
  scrollTo(0, 0);
}

const asked = () => new URLSearchParams(location.hash.slice(1)).get("participant") ?? "";

function showIntro() {
  $("#start").reset();
  $("[name=participant]").value = asked();
  show("intro");
}

async function showTrial() {
  const number = session.answers.length;
  const trial = trials[number];
  shownAt = null;
  show("trial");
  $("progress").value = number / trials.length;
  $("#count").textContent = `${number + 1} of ${trials.length}`;
  $("#undo").disabled = number === 0;
  const pair = $("#pair");
  pair.classList.add("waiting");
  pair.dataset.trial = trial.trial;
  const images = [...pair.querySelectorAll("img")];
  images[0].src = address(trial.left);
  images[1].src = address(trial.right);
  try {
    await Promise.all(images.map((image) => image.decode()));
  } catch {
    if (trials[session?.answers.length] !== trial) return;
    complain(`A picture cannot be shown (${trial.left}, ${trial.right}): is the folder complete?`);
    return;
  }
  if (trials[session?.answers.length] !== trial || $("#trial").hidden) return;
  pair.classList.remove("waiting");
  document.activeElement?.blur();
  shownAt = performance.now();
  const next = trials[number + 1];
  if (next) for (const file of [next.left, next.right]) new Image().src = address(file);
}

const address = (file) => `pictures/${file}`;

function showEnd() {
  const count = session.answers.length;
  shownAt = null;
  $("#end h1").textContent = complete() ? "Thank you" : "Paused";
  $("#summary").textContent = complete()
    ? `You have answered all ${count} pairs. Please save your answers and hand in the file.`
    : `You have answered ${count} of ${trials.length} pairs. You can go on now or later, in this ` +
      "browser on this machine, or save what there is.";
  $("#on").hidden = complete();
  $("#next").hidden = !complete();
  $("#saved").textContent = "";
  show("end");
}

// ---- what is done

function answer(choice) {
  if (shownAt === null || (choice === "none" && !study.ties)) return;
  const ms = Math.round(performance.now() - shownAt);
  session.answers.push({ ...trials[session.answers.length], choice, ms });
  if (complete()) session.finished = new Date().toISOString();
  keep();
  goOn();
}

function undo() {
  if ($("#trial").hidden || !session.answers.length) return;
  session.answers.pop();
  session.undone += 1;
  keep();
  showTrial();
}

function save() {
  const text = JSON.stringify(session, null, 1);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = `answers-${study.study}-${session.participant}.json`;
  link.click();
  URL.revokeObjectURL(link.href);
  $("#saved").textContent = `${link.download} is among your downloads.`;
}

function drawnName() {
  const [number] = crypto.getRandomValues(new Uint32Array(1));
  return `r${number.toString(16).padStart(8, "0")}`;
}

$("#start").addEventListener("submit", (event) => {
  event.preventDefault();
  open($("[name=participant]").value || drawnName());
});
for (const button of document.querySelectorAll("[data-choice]")) {
  button.addEventListener("click", () => answer(button.dataset.choice));
}
$("#undo").addEventListener("click", undo);
$("#stop").addEventListener("click", showEnd);
$("#on").addEventListener("click", showTrial);
$("#save").addEventListener("click", save);
$("#next").addEventListener("click", () => {
  stored(CURRENT, null);
  session = null;
  showIntro();
});
addEventListener("keydown", (event) => {
  if ($("#trial").hidden || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key in KEYS) answer(KEYS[event.key]);
  else if (event.key === "Backspace") undo();
  else return;
  event.preventDefault();
});

for (const paragraph of study.intro) {
  const made = document.createElement("p");
  made.textContent = paragraph;
  $("#text").append(made);
}
$(".consent span").textContent = study.consent;
$("#question").textContent = study.question;
$("button.none").hidden = !study.ties;
const current = stored(CURRENT);
if (current && [current, ""].includes(asked())) open(current);
else showIntro();
