"use strict";
// The view follows from the controls, and the controls from the address: #sort=gain&only=failures
const data = JSON.parse(document.getElementById("data").textContent);
const tools = document.getElementById("tools");
const list = document.getElementById("photos");
const failures = document.getElementById("failures");
const template = document.getElementById("card").content.firstElementChild;
const collator = new Intl.Collator("en", { numeric: true });
const controls = Object.fromEntries(
  [...tools.querySelectorAll("input, select")].map((control) => [control.name, control]),
);
const usual = Object.fromEntries(Object.keys(controls).map((name) => [name, valueOf(name)]));
const APPROXIMATE =
  "A cross-fade of the two pictures: an approximation of --strength, which scales the parameters " +
  "towards neutral. 100 % is the choice of this run; the parameters shown are exact.";
const SPREAD = 2; // standard deviations at the ends of an attribute's bar
const FEW = 3; // failures that are listed above the photographs without being asked for

function element(name, className = "", text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

function signed(number, digits) {
  const text = Math.abs(number).toFixed(digits);
  return (Number(text) === 0 ? "±" : number < 0 ? "−" : "+") + text;
}

const plain = (number, digits) => signed(number, digits).replace(/^[+±]/, "");
const compact = (number) => plain(number, 2).replace(/\.?0+$/, "");
const gain = (photo) => photo.score && photo.score[1] - photo.score[0];
const change = (photo) => Math.hypot(...photo.theta) / Math.sqrt(photo.theta.length);
const isUnchanged = (photo) => photo.theta.every((x) => Math.abs(x) < 0.0005);

// ---- one photograph

function card(photo) {
  const made = template.cloneNode(true);
  const part = (selector) => made.querySelector(selector);
  const compare = part(".compare");
  compare.style.setProperty("--ratio", photo.size[0] / photo.size[1]);
  part(".neutral").src = photo.neutral;
  part(".neutral").alt = `${photo.name}, neutral rendering`;
  part(".enhanced").src = photo.enhanced;
  part(".enhanced").alt = `${photo.name}, enhanced`;
  part(".split").ariaLabel = `${photo.name}: divider between neutral (left) and enhanced (right)`;
  part("h2 a").textContent = photo.name;
  part("h2 a").href = photo.photograph;
  part("h2 a").title = "The photograph in full size";
  part(".about").textContent = about(photo);
  part(".strength input").ariaLabel = `${photo.name}: strength`;
  showScore(part(".score"), photo);
  if (photo.attributes) showAttributes(part(".attributes"), photo.attributes);
  Object.assign(made.dataset, { name: photo.name, gain: gain(photo) ?? "" });
  part(".split").addEventListener("input", () => split(made, part(".split").value));
  part(".strength input").addEventListener("input", () => {
    strengthen(made, photo, part(".strength input").value);
  });
  part("details").addEventListener("toggle", () => showParameters(made, photo));
  followPointer(compare, part(".split"));
  return made;
}

function about(photo) {
  const kept = photo.kept.length ? [`kept: ${photo.kept.join(", ")}`] : [];
  const strength = photo.strength === 1 ? [] : [`strength ${photo.strength}`];
  const unchanged = isUnchanged(photo) ? ["unchanged"] : [];
  const parts = [photo.camera, photo.size.join("\u00a0×\u00a0"), ...strength, ...kept];
  return [...parts, ...unchanged, ...photo.fallbacks].filter(Boolean).join(" · ");
}

function showScore(place, photo) {
  if (!photo.score) {
    place.classList.add("none");
    place.textContent = photo.reason;
    return;
  }
  const [before, after] = photo.score;
  const more = gain(photo);
  const shown = signed(more, 3);
  const side = shown.startsWith("±") ? "quiet" : more > 0 ? "up" : "down";
  place.append(element("span", "quiet", `${plain(before, 3)} → `), `${plain(after, 3)} `);
  place.append(element("b", side, shown));
}

function bar(fills, label) {
  const made = element("span", "bar");
  made.role = "img";
  made.ariaLabel = label;
  made.append(...fills);
  return made;
}

// A bar from the middle to a position in [-1, 1]
const fill = (position, className) => stretch(element("i", className), position);

function stretch(mark, position) {
  const length = Math.min(Math.abs(position), 1) * 50;
  mark.style.left = `${position < 0 ? 50 - length : 50}%`;
  mark.style.width = `${length}%`;
  return mark;
}

function showAttributes(rows, attributes) {
  data.attributes.forEach(({ name, help }, index) => {
    const [before, after] = attributes[index];
    const row = element("li");
    row.title = help;
    row.append(
      element("span", "", name),
      bar(
        [fill(before / SPREAD, "before"), fill(after / SPREAD, "after")],
        `before ${plain(before, 2)}, after ${plain(after, 2)}`,
      ),
      element("span", "number quiet", `${plain(before, 2)} → ${plain(after, 2)}`),
    );
    rows.append(row);
  });
}

// As isp_env.isp.parameters.Parameter.to_value: both halves are affine in the value or its logarithm
function physical(knob, theta) {
  const [low, neutral, high] = [knob.low, knob.neutral, knob.high].map((bound) =>
    knob.scale === "log" ? Math.log(bound) : bound,
  );
  const value = neutral + theta * (theta < 0 ? neutral - low : high - neutral);
  return knob.scale === "log" ? Math.exp(value) : value;
}

function showParameters(made, photo) {
  const rows = made.querySelector(".parameters");
  if (!made.querySelector("details").open) return;
  if (!rows.children.length) {
    for (const knob of data.knobs) {
      const row = element("li", photo.kept.includes(knob.name) ? "kept" : "");
      row.title = `${knob.help || knob.name}; ${knob.low} to ${knob.high} ${knob.unit}`.trim();
      row.append(
        element("span", "", knob.name.replaceAll("_", " ")),
        element("span", "end", compact(knob.low)),
        bar([element("i", "")], ""),
        element("span", "end", compact(knob.high)),
        element("span", "number"),
      );
      rows.append(row);
    }
  }

  const strength = made.querySelector(".strength input").value / 100;
  data.knobs.forEach((knob, index) => {
    const row = rows.children[index];
    const factor = photo.kept.includes(knob.name) ? 1 : strength;
    const theta = photo.theta[index] * factor;
    const value = physical(knob, theta);
    const text = knob.neutral === 0 ? signed(value, 2) : plain(value, 2);
    const neutral = knob.neutral === 0 ? "" : ` (neutral ${compact(knob.neutral)})`;
    stretch(row.querySelector("i"), theta);
    row.querySelector(".bar").ariaLabel = `${text} ${knob.unit}${neutral}`;
    row
      .querySelector(".number")
      .replaceChildren(
        text,
        element("span", "quiet", ` ${knob.unit}`),
        element("span", "quiet neutral", neutral),
      );
  });
}

function split(made, value) {
  made.querySelector(".split").value = value;
  made.querySelector(".split").ariaValueText = `${value} % neutral`;
  made.querySelector(".compare").style.setProperty("--split", value);
}

function strengthen(made, photo, value) {
  made.querySelector(".strength input").value = value;
  made.querySelector(".strength output").textContent = `${value} %`;
  made.querySelector(".compare").style.setProperty("--strength", value / 100);
  showParameters(made, photo);
}

// Drags anywhere on the picture; a range input of its own drags by its thumb only on some phones
function followPointer(compare, range) {
  let pressed = false;
  const follow = (event) => {
    const box = compare.getBoundingClientRect();
    const share = (event.clientX - box.left) / box.width;
    range.value = Math.round(100 * Math.min(Math.max(share, 0), 1));
    range.dispatchEvent(new Event("input"));
  };
  compare.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pressed = true;
    compare.setPointerCapture(event.pointerId);
    event.preventDefault();
    range.focus({ preventScroll: true });
    if (event.pointerType === "mouse") follow(event);
  });
  compare.addEventListener("pointermove", (event) => pressed && follow(event));
  compare.addEventListener("click", follow);
  for (const end of ["pointerup", "pointercancel"]) {
    compare.addEventListener(end, () => {
      pressed = false;
    });
  }
}

// ---- all photographs

const shown = data.photos.map((photo) => ({ photo, card: card(photo) }));

const keys = { gain, change, before: (p) => p.score?.[0], score: (p) => p.score?.[1] };
offer("Attribute after", data.attributes, (index) => (photo) => photo.attributes?.[index][1]);
offer("Parameter", data.knobs, (index) => (photo) => photo.theta[index]);

function offer(label, named, key) {
  const group = document.createElement("optgroup");
  group.label = label;
  named.forEach(({ name }, index) => {
    keys[name] = key(index);
    group.append(new Option(name.replaceAll("_", " "), name));
  });
  controls.sort.append(group);
}

function compareBy(sort, descending) {
  const byName = (a, b) =>
    collator.compare(a.photo.name, b.photo.name) || collator.compare(a.photo.folder, b.photo.folder);
  const sign = descending ? -1 : 1;
  if (!(sort in keys)) return (a, b) => sign * byName(a, b);
  return (a, b) => {
    const [first, second] = [keys[sort](a.photo), keys[sort](b.photo)];
    if (first == null || second == null) return (first == null) - (second == null) || byName(a, b);
    return sign * (first - second) || byName(a, b);
  };
}

function arrange() {
  const words = controls.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (...texts) => {
    const text = texts.join(" ").toLowerCase();
    return words.every((word) => text.includes(word));
  };
  const only = controls.only.checked;
  let count = 0;
  shown.sort(compareBy(controls.sort.value, controls.order.value === "desc"));
  for (const { photo, card } of shown) {
    card.hidden =
      only ||
      (controls.hide.checked && isUnchanged(photo)) ||
      !matches(photo.name, photo.folder, photo.camera);
    count += card.hidden ? 0 : 1;
  }
  list.replaceChildren(...shown.map(({ card }) => card));
  let failed = 0;
  for (const row of failures.querySelectorAll("li")) {
    row.hidden = !matches(row.dataset.name);
    failed += row.hidden ? 0 : 1;
  }
  failures.hidden = !failed;
  list.hidden = only;
  failures.querySelector("h2").textContent = `Not developed: ${failed}`;
  failures.querySelector("details").open = only || failed <= FEW;
  const texts = only ? [] : [`${count} of ${shown.length} photographs`];
  if (data.failures.length) texts.push(`${failed} of ${data.failures.length} failures`);
  if (only && !data.failures.length) texts.push("no failures");
  document.getElementById("count").textContent = texts.join(", ");
}

function summarise() {
  const gains = data.photos.map(gain).filter((x) => x != null);
  const mean = (when) => {
    const scores = data.photos.filter((p) => p.score).map((p) => p.score[when]);
    return plain(scores.reduce((sum, x) => sum + x, 0) / scores.length, 3);
  };
  const parts = [`${data.photos.length} photographs`];
  if (gains.length) {
    parts.push(`mean score ${mean(0)} → ${mean(1)}`);
    parts.push(`${gains.filter((x) => x >= 0.0005).length} better`);
    parts.push(`${gains.filter((x) => x <= -0.0005).length} worse`);
  }
  parts.push(`${data.photos.filter(isUnchanged).length} unchanged`);
  if (data.failures.length) parts.push(`${data.failures.length} failed`);
  document.getElementById("summary").textContent = parts.join(" · ");
}

function listFailures() {
  for (const { file, reason } of data.failures) {
    const row = element("li", "", file);
    row.dataset.name = file;
    row.append(element("span", "", reason));
    failures.querySelector("ul").append(row);
  }
}

// ---- controls and address

function valueOf(name) {
  const control = controls[name];
  if (control.type === "checkbox") return control.checked ? control.value : "";
  return control.value;
}

function setControl(name, value) {
  const control = controls[name];
  if (control.type === "checkbox") control.checked = value === control.value;
  else control.value = value;
  if (control.tagName === "SELECT" && !control.value) control.value = usual[name];
}

function applyControl(name) {
  const value = valueOf(name);
  if (name === "split") for (const { card } of shown) split(card, value);
  if (name === "strength") {
    tools.querySelector("output").textContent = `${value} %`;
    for (const { card, photo } of shown) strengthen(card, photo, value);
  }
  if (name === "open") {
    for (const { card, photo } of shown) {
      card.querySelector("details").open = value !== "";
      showParameters(card, photo);
    }
  }
  if (name === "size") document.body.classList.toggle("large", value !== "");
  if (["sort", "order", "filter", "only", "hide"].includes(name)) arrange();
}

// Names sort from A to Z and numbers from the highest unless the address or the user says otherwise
const usualOrder = () => (controls.sort.value === "name" ? "asc" : "desc");

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(controls)) setControl(name, asked.get(name) ?? usual[name]);
  if (!asked.has("order")) controls.order.value = usualOrder();
  for (const name of ["split", "strength", "open", "size", "sort"]) applyControl(name);
}

function writeAddress() {
  const asked = new URLSearchParams();
  for (const name of Object.keys(controls)) {
    const value = valueOf(name);
    if (value !== (name === "order" ? usualOrder() : usual[name])) asked.set(name, value);
  }
  history.replaceState(null, "", `#${asked}`);
}

for (const label of document.querySelectorAll("[data-approximate]")) label.title = APPROXIMATE;
for (const { card } of shown) card.querySelector(".strength").title = APPROXIMATE;
tools.addEventListener("submit", (event) => event.preventDefault());
tools.addEventListener("input", (event) => {
  if (event.target.name === "sort") controls.order.value = usualOrder();
  applyControl(event.target.name);
  writeAddress();
});
addEventListener("hashchange", readAddress);
listFailures();
summarise();
readAddress();
